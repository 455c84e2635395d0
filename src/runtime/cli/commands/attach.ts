/** `ferrite attach` and `ferrite detach`: bind network interfaces to a node, or free them. */
import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { findKind } from "#protocol/resource/Kinds.ts"
import { type NetworkInterface, NetworkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import { newCommandId, patiently } from "../Commands.ts"
import { misused } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { formatMicros } from "../Micros.ts"
import { withRegion } from "../Region.ts"
import { keyIn, nameOf, parseTargets } from "../Targets.ts"
import { isReady, waitFor } from "../Wait.ts"

const interfaces = Argument.String("NIC").pipe(
  Argument.withDescription("Names of network interfaces"),
  Argument.variadic({ min: 1 }),
)

/** Names, with or without `nic/` or a leading `nic`. */
const namesOf = Effect.fnUntraced(function* (words: ReadonlyArray<string>) {
  const isKindFirst = words.length > 1 && findKind(words[0] ?? "") !== undefined
  const named = isKindFirst || words.some((word) => word.includes("/"))
  const targets = yield* parseTargets(named ? words : ["nics", ...words])
  const other = targets.find(({ kind }) => kind.kind !== NetworkInterfaceKind.kind)
  if (other) return yield* misused(`only network interfaces can be attached, not a ${other.kind.kind}`)
  return targets.flatMap(({ names }) => names)
})

/** What became of it, and how long it took. */
const describeAttachment = (nic: NetworkInterface): string => {
  const {
    acceptedMicros: from,
    device,
    programmedMicros,
    realisedMicros,
    underlayAddress,
  } = nic.status?.attachment ?? {}
  const after = (what: string, to: number | undefined) =>
    from === undefined || to === undefined || to < from ? [] : [`${what} in ${formatMicros(to - from)}`]
  return [
    `device ${device ?? "unknown"}`,
    `underlay ${underlayAddress ?? "unknown"}`,
    ...after("realised", realisedMicros),
    ...after("programmed everywhere", programmedMicros),
  ].join(", ")
}

/** Attaches one interface; with a timeout waits until it is available. */
const attachOne = Effect.fnUntraced(function* (
  client: GatewayClient,
  nic: { readonly namespace: string; readonly name: string },
  node: string,
) {
  const { handle } = yield* patiently(client.attach({ ...nic, node, commandId: newCommandId() }))
  yield* Console.log(`networkinterface/${nic.name} attached to ${node} as ${handle}`)
})

export const attach = Command.make(
  "attach",
  {
    interfaces,
    node: Flag.String("node").pipe(Flag.withMetavar("NODE"), Flag.withDescription("The hypervisor")),
    namespace: Flags.namespace,
    wait: Flags.wait("Wait until the interface is available on its node"),
    timeout: Flags.timeout("60s"),
    gateway: Flags.gateway,
  },
  Effect.fnUntraced(function* ({ gateway, interfaces: words, namespace, node, timeout, wait }) {
    const names = yield* namesOf(words)
    const nics = names.map((name) => ({ namespace: Option.getOrElse(namespace, () => "default"), name }))
    yield* withRegion(gateway, (client) =>
      Effect.gen(function* () {
        for (const nic of nics) yield* attachOne(client, nic, node)
        if (!wait) return
        for (const nic of nics) {
          const key = keyIn(NetworkInterfaceKind, nic.namespace, nic.name)
          const seen = yield* waitFor(client, key, {
            until: Option.exists(isReady),
            wanted: "available",
            timeout,
          })
          const manifest = Option.getOrThrow(seen) as NetworkInterface
          yield* Console.log(`${nameOf(key)} is available on ${node}: ${describeAttachment(manifest)}`)
        }
      }),
    )
  }),
).pipe(
  Command.withDescription("Attach network interfaces to a node"),
  Command.withExamples([
    { command: "ferrite attach nic-a --node host-1", description: "Accepted; the rest happens behind it" },
    {
      command: "ferrite attach nic-a nic-b --node host-1 --wait",
      description: "Until both have their devices",
    },
  ]),
)

export const detach = Command.make(
  "detach",
  { interfaces, namespace: Flags.namespace, gateway: Flags.gateway },
  Effect.fnUntraced(function* ({ gateway, interfaces: words, namespace }) {
    const names = yield* namesOf(words)
    yield* withRegion(gateway, (client) =>
      Effect.forEach(
        names,
        (name) =>
          Effect.andThen(
            patiently(
              client.detach({
                namespace: Option.getOrElse(namespace, () => "default"),
                name,
                commandId: newCommandId(),
              }),
            ),
            Console.log(`networkinterface/${name} detached`),
          ),
        { discard: true },
      ),
    )
  }),
).pipe(
  Command.withDescription("Detach network interfaces from their nodes"),
  Command.withExamples([{ command: "ferrite detach nic-a", description: "Its node takes it down" }]),
)
