/** `ferrite delete`: marks resources for deletion and waits until they are gone, unless told not to. */
import { Console, Duration, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { findKind } from "#protocol/resource/Kinds.ts"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../../gateway/GatewayStatus.ts"
import { newCommandId, patiently } from "../Commands.ts"
import { inApplyOrder } from "../ApplyOrder.ts"
import { type ManifestDocument, readDocuments } from "../Documents.ts"
import { failed, misused, renderProblem } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { withRegion } from "../Region.ts"
import { keyIn, nameOf, parseTargets } from "../Targets.ts"
import { waitFor } from "../Wait.ts"

/** The key that a manifest names, whatever else it says. */
const keyOfDocument = (document: ManifestDocument, namespace: string) =>
  Effect.gen(function* () {
    const value = document.value as {
      readonly kind?: unknown
      readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown }
    } | null
    const kind = findKind(String(value?.kind ?? ""))
    const name = value?.metadata?.name
    if (kind === undefined || typeof name !== "string") {
      return yield* failed(`${document.source}: names no resource; kind and metadata.name must be set`)
    }
    const own = value?.metadata?.namespace
    return keyIn(kind, typeof own === "string" ? own : namespace, name)
  })

const keysOf = Effect.fnUntraced(function* (
  client: GatewayClient,
  words: ReadonlyArray<string>,
  options: { readonly namespace: string; readonly selector: string; readonly all: boolean },
) {
  const targets = words.length === 0 ? [] : yield* parseTargets(words)
  const keys: Array<ResourceKey> = []
  for (const { kind, names } of targets) {
    keys.push(...names.map((name) => keyIn(kind, options.namespace, name)))
    if (names.length > 0) continue
    if (options.selector === "" && !options.all) {
      return yield* misused(`which ${kind.plural}? Give names, -l LABELS or --all`)
    }
    const { resources } = yield* client.list({
      kind: kind.kind,
      namespace: kind.namespaced ? options.namespace : "",
      labelSelector: options.selector,
    })
    keys.push(
      ...resources.flatMap(({ key }) =>
        key ? [{ kind: key.kind, namespace: key.namespace, name: key.name }] : [],
      ),
    )
  }
  return keys
})

const deleteOne = Effect.fnUntraced(function* (
  client: GatewayClient,
  key: ResourceKey,
  timeout: Option.Option<Duration.Duration>,
) {
  const { resource } = yield* patiently(client.delete({ key, commandId: newCommandId() }))
  if (resource === undefined) return yield* Console.log(`${nameOf(key)} deleted`)
  if (Option.isNone(timeout)) return yield* Console.log(`${nameOf(key)} is being deleted`)
  yield* waitFor(client, key, {
    until: Option.match({ onNone: () => true, onSome: ({ metadata }) => metadata.uid !== resource.uid }),
    wanted: "deleted",
    timeout: timeout.value,
  })
  yield* Console.log(`${nameOf(key)} deleted`)
})

export const remove = Command.make(
  "delete",
  {
    resources: Argument.String("KIND").pipe(
      Argument.withDescription("A kind and names, or KIND/NAME..."),
      Argument.variadic(),
    ),
    filenames: Flags.filenames,
    namespace: Flags.namespace,
    selector: Flags.selector,
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("All of the kind in the namespace"),
      Flag.withDefault(false),
    ),
    ignoreNotFound: Flag.Boolean("ignore-not-found").pipe(
      Flag.withDescription("What does not exist is deleted already"),
      Flag.withDefault(false),
    ),
    wait: Flag.Boolean("wait").pipe(Flag.withDescription("Wait until they are gone"), Flag.withDefault(true)),
    timeout: Flags.timeout("60s"),
    gateway: Flags.gateway,
  },
  Effect.fnUntraced(function* (options) {
    const { filenames, gateway, ignoreNotFound, resources } = options
    if (filenames.length === 0 && resources.length === 0) {
      return yield* misused("nothing is named; give a kind and names, or -f FILE")
    }
    const namespace = Option.getOrElse(options.namespace, () => "default")
    const documents = filenames.length === 0 ? [] : yield* readDocuments(filenames)
    const named = yield* Effect.forEach(inApplyOrder(documents), (document) =>
      keyOfDocument(document, namespace),
    )
    yield* withRegion(gateway, (client) =>
      Effect.gen(function* () {
        // What was applied first is needed longest.
        const keys = [...(yield* keysOf(client, resources, { ...options, namespace })), ...named.toReversed()]
        const problems: Array<string> = []
        const timeout = options.wait ? Option.some(options.timeout) : Option.none()
        yield* Effect.forEach(
          keys,
          (key) =>
            deleteOne(client, key, timeout).pipe(
              Effect.catchTags({
                GatewayProblem: (problem: GatewayProblem) => {
                  if (problem.status === "UNAVAILABLE") return Effect.fail(problem)
                  const ignored = ignoreNotFound && problem.status === "NOT_FOUND"
                  if (!ignored) problems.push(...renderProblem(problem))
                  return Effect.void
                },
                CommandFailure: (failure) =>
                  Effect.sync(() => {
                    problems.push(failure.message, ...failure.details)
                  }),
              }),
            ),
          { concurrency: 8, discard: true },
        )
        if (problems.length > 0) return yield* failed(problems[0] ?? "", problems.slice(1))
      }),
    )
  }),
).pipe(
  Command.withDescription("Delete resources"),
  Command.withExamples([
    { command: "ferrite delete nic nic-a", description: "One, waiting until it is gone" },
    { command: "ferrite delete -f examples/first-light", description: "What the manifests name, last first" },
    { command: "ferrite delete nics -l tier=web --no-wait", description: "By label, without waiting" },
  ]),
)
