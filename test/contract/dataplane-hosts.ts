/**
 * Two hypervisors on one underlay, as the contract suite needs them, whatever engine is inside.
 *
 * A host has a dataplane, ports that a test plays the VM on, and can be killed and started again. Frames arrive in
 * the order in which they were sent; how long that takes is the engine's affair, so a test waits for a frame that
 * must come and never for time to pass.
 */
import { Context, Data, Effect } from "effect"
import type { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import type { Bytes } from "#protocol/dataplane/model/bytes.ts"

export class NoFrame extends Data.TaggedError("NoFrame")<{ readonly message: string }> {}

export interface ContractHost {
  readonly dataplane: Dataplane["Service"]
  /** /64. */
  readonly underlayPrefix: string
  /** Connects the far end of a port that an interface opened. */
  readonly attach: (device: string) => Effect.Effect<void>
  readonly send: (device: string, frame: Bytes) => Effect.Effect<void>
  /** What arrived on a device up to and with the first frame that fits; within 5 seconds. */
  readonly receiveUntil: (
    device: string,
    fits: (frame: Bytes) => boolean,
    what: string,
  ) => Effect.Effect<ReadonlyArray<Bytes>, NoFrame>
  /** Kills the process and starts another. Returns before that serves; `connect` is to be retried. */
  readonly restart: Effect.Effect<void>
}

export class ContractHosts extends Context.Service<
  ContractHosts,
  {
    readonly first: ContractHost
    readonly second: ContractHost
    /** A device that no other test uses: `vtap:...`. */
    readonly device: () => string
  }
>()("test/ContractHosts") {}

/** Of interfaces, in both hosts of every engine. */
export const settings = {
  mtu: 1_450,
  dns4: ["192.0.2.53", "192.0.2.54"],
  dns6: ["2001:db8::53"],
  prefixes: ["fd00:f:71::/64", "fd00:f:72::/64"],
} as const
