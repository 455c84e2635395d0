/** `ferrite apply`: creates or changes resources from manifests, one after the other, each with its own verdict. */
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Outcome } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../../gateway/GatewayStatus.ts"
import { inApplyOrder } from "../ApplyOrder.ts"
import { newCommandId, patiently } from "../Commands.ts"
import { type ManifestDocument, readDocuments } from "../Documents.ts"
import { failed, misused, renderProblem } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { withRegion } from "../Region.ts"
import { manifestOf, renderManifests } from "../Render.ts"
import { nameOf } from "../Targets.ts"
import { isSettled, waitFor } from "../Wait.ts"

const words: Readonly<Record<number, string>> = {
  [Outcome.CREATED]: "created",
  [Outcome.CONFIGURED]: "configured",
  [Outcome.UNCHANGED]: "unchanged",
}

export interface ApplyOptions {
  /** Of manifests that name none. */
  readonly namespace: string
  readonly dryRun: boolean
  readonly format: "text" | "json" | "yaml" | "name"
}

/** Where a manifest names another namespace than the command line, one of the two is a mistake. */
const contradiction = (document: ManifestDocument, flag: Option.Option<string>): string | undefined => {
  const metadata = (document.value as { metadata?: { namespace?: unknown } } | null)?.metadata
  const namespace = metadata?.namespace
  return Option.isSome(flag) && typeof namespace === "string" && namespace !== flag.value
    ? `${document.source}: the manifest is for namespace ${namespace}, the command for ${flag.value}`
    : undefined
}

/** Applies one document and says what became of it; the key of what is there now. */
const applyOne = (client: GatewayClient, document: ManifestDocument, options: ApplyOptions) =>
  Effect.gen(function* () {
    const request = {
      json: JSON.stringify(document.value),
      namespace: options.namespace,
      dryRun: options.dryRun,
      commandId: newCommandId(),
    }
    const { outcome, resource } = yield* patiently(client.apply(request))
    if (resource === undefined) return undefined
    const manifest = manifestOf(resource)
    if (options.format === "text") {
      const note = options.dryRun ? " (dry run)" : ""
      yield* Console.log(
        `${nameOf(resource.key ?? { kind: "", name: "" })} ${words[outcome] ?? "applied"}${note}`,
      )
    } else {
      const separator = options.format === "yaml" ? "---\n" : ""
      yield* Console.log(separator + renderManifests([manifest], options.format, true))
    }
    const { kind = "", name = "", namespace = "" } = resource.key ?? {}
    return { kind, namespace, name } satisfies ResourceKey
  })

/** Applies all of them, by kind; what fails is gathered and does not stop the others. */
export const applyDocuments = Effect.fnUntraced(function* (
  client: GatewayClient,
  documents: ReadonlyArray<ManifestDocument>,
  options: ApplyOptions,
) {
  const applied: Array<ResourceKey> = []
  const problems: Array<string> = []
  for (const document of inApplyOrder(documents)) {
    const key = yield* applyOne(client, document, options).pipe(
      Effect.catchIf(
        (problem: GatewayProblem) => problem.status !== "UNAVAILABLE",
        (problem) => {
          problems.push(...renderProblem(problem, document.source))
          return Effect.undefined
        },
      ),
    )
    if (key) applied.push(key)
  }
  return { applied, problems }
})

export const apply = Command.make(
  "apply",
  {
    filenames: Flags.filenames,
    namespace: Flags.namespace,
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Check and plan at the region, write nothing"),
      Flag.withDefault(false),
    ),
    output: Flag.Literals("output", ["json", "yaml", "name"]).pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FORMAT"),
      Flag.withDescription("Print the resources as json, yaml or name"),
      Flag.optional,
    ),
    wait: Flags.wait("Wait until the resources are available"),
    timeout: Flags.timeout("60s"),
    gateway: Flags.gateway,
  },
  Effect.fnUntraced(function* ({ dryRun, filenames, gateway, namespace, output, timeout, wait }) {
    if (filenames.length === 0)
      return yield* misused("no manifest is named; use -f FILE, or -f - for standard input")
    const documents = yield* readDocuments(filenames)
    const wrong = documents.flatMap((document) => contradiction(document, namespace) ?? [])
    if (wrong.length > 0) return yield* misused(wrong[0] ?? "", wrong.slice(1))
    yield* withRegion(gateway, (client) =>
      Effect.gen(function* () {
        const { applied, problems } = yield* applyDocuments(client, documents, {
          namespace: Option.getOrElse(namespace, () => "default"),
          dryRun,
          format: Option.getOrElse(output, () => "text" as const),
        })
        if (problems.length > 0) return yield* failed(problems[0] ?? "", problems.slice(1))
        if (!wait || dryRun) return
        yield* Effect.forEach(
          applied,
          (key) =>
            waitFor(client, key, {
              until: Option.exists(isSettled),
              wanted: "available",
              timeout,
            }),
          { concurrency: 16, discard: true },
        )
      }),
    )
  }),
).pipe(
  Command.withDescription("Create or change resources from manifests"),
  Command.withExamples([
    { command: "ferrite apply -f examples/first-light", description: "All manifests of a folder" },
    {
      command: "cat nic.yaml | ferrite apply -f - --wait",
      description: "From standard input; wait until it is there",
    },
    { command: "ferrite apply -f nic.yaml --dry-run -o yaml", description: "What would be stored" },
  ]),
)
