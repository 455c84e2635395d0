/**
 * Short flags with their value attached, as `-ojson` and `-nprod`: people type them after years of kubectl, the
 * parser would read a bundle of switches.
 */

/** Short flags that take a value, in every command that has them. */
const valued = "onlf"

/** `-ojson` becomes `-o json`. Nothing after `--` is touched. */
export const expandShortFlags = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  const attached = new RegExp(`^-([${valued}])([^=].*)$`, "s")
  return [
    ...own.flatMap((arg) => {
      const match = attached.exec(arg)
      return match ? [`-${match[1]}`, match[2] ?? ""] : [arg]
    }),
    ...(end === -1 ? [] : args.slice(end)),
  ]
}
