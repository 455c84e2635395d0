/** `ferrite describe`: one resource for people, with its conditions, its neighbours and what happened to it. */
import { Clock, Console, Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import type { DescribeResponse } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { formatAge } from "#protocol/resource/Kind.ts"
import { misused } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { withRegion } from "../Region.ts"
import { manifestOf, toYaml } from "../Render.ts"
import * as Table from "../Table.ts"
import { keyIn, nameOf, parseTargets } from "../Targets.ts"
import { conditionsOf } from "../Wait.ts"

const indent = (text: string, by = "  "): string =>
  text
    .split("\n")
    .map((line) => (line === "" ? line : by + line))
    .join("\n")

const pairs = (map: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(map ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(", ") || "<none>"

const keys = (
  all: ReadonlyArray<{ readonly kind: string; readonly namespace: string; readonly name: string }>,
) =>
  all.map((key) => (key.namespace === "" ? nameOf(key) : `${nameOf(key)} in ${key.namespace}`)).join(", ") ||
  "<none>"

const section = (title: string, body: string): ReadonlyArray<string> =>
  body === "" || body === "{}" ? [] : [`${title}:`, indent(body)]

const ageOf = (seen: { readonly seconds: bigint } | undefined, nowMillis: number): string =>
  seen === undefined ? "" : formatAge(Math.floor(nowMillis / 1000) - Number(seen.seconds))

/** The text; `nowMillis` is what ages are counted to. */
export const renderDescription = (answer: DescribeResponse, nowMillis: number): string => {
  if (answer.resource === undefined) return ""
  const manifest = manifestOf(answer.resource)
  const { metadata } = manifest
  const conditions = conditionsOf(manifest)
  const { conditions: _conditions, ...status } = (manifest.status ?? {}) as Record<string, unknown>
  return [
    `Name:       ${metadata.name}`,
    ...(metadata.namespace === undefined ? [] : [`Namespace:  ${metadata.namespace}`]),
    `Kind:       ${manifest.kind}, ${manifest.apiVersion}`,
    `Labels:     ${pairs(metadata.labels)}`,
    ...(metadata.annotations === undefined ? [] : [`Annotations: ${pairs(metadata.annotations)}`]),
    `UID:        ${metadata.uid}`,
    `Created:    ${metadata.creationTimestamp}`,
    ...(metadata.deletionTimestamp === undefined
      ? []
      : [
          `Deleting:   since ${metadata.deletionTimestamp}, held by ${(metadata.finalizers ?? []).join(", ") || "nothing"}`,
        ]),
    `Revision:   ${answer.resource.revision}, generation ${metadata.generation}`,
    ...section("Spec", toYaml(manifest.spec ?? {})),
    ...section("Status", toYaml(status)),
    ...section(
      "Conditions",
      conditions.length === 0
        ? ""
        : Table.render({
            columns: ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"],
            rows: conditions.map((each) => [
              each.type,
              each.status,
              each.reason,
              each.lastTransitionTime,
              each.message,
            ]),
          }),
    ),
    `Refers to:  ${keys(answer.references)}`,
    `Used by:    ${keys(answer.referrers)}`,
    ...(answer.events.length === 0
      ? ["Events:     <none>"]
      : section(
          "Events",
          Table.render({
            columns: ["TYPE", "REASON", "AGE", "COUNT", "MESSAGE"],
            rows: answer.events.map((event) => [
              event.type,
              event.reason,
              ageOf(event.lastSeen, nowMillis),
              String(event.count),
              event.message,
            ]),
          }),
        )),
  ].join("\n")
}

export const describe = Command.make(
  "describe",
  {
    resources: Argument.String("KIND").pipe(
      Argument.withDescription("A kind and names, or KIND/NAME..."),
      Argument.variadic({ min: 1 }),
    ),
    namespace: Flags.namespace,
    gateway: Flags.gateway,
  },
  Effect.fnUntraced(function* ({ gateway, namespace, resources }) {
    const targets = yield* parseTargets(resources)
    if (targets.some(({ names }) => names.length === 0)) return yield* misused("which one? Give a name")
    yield* withRegion(gateway, (client) =>
      Effect.gen(function* () {
        const wanted = targets.flatMap(({ kind, names }) =>
          names.map((name) =>
            keyIn(
              kind,
              Option.getOrElse(namespace, () => "default"),
              name,
            ),
          ),
        )
        const now = yield* Clock.currentTimeMillis
        for (const [index, key] of wanted.entries()) {
          const answer = yield* client.describe({ key })
          yield* Console.log((index > 0 ? "\n" : "") + renderDescription(answer, now))
        }
      }),
    )
  }),
).pipe(
  Command.withDescription("Show a resource with its conditions, neighbours and events"),
  Command.withExamples([{ command: "ferrite describe nic nic-a", description: "Why is it not available?" }]),
)
