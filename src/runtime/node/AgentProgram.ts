/**
 * The agent as `ferrite agent` runs it: gRPC to controllers, metalbond to reflectors, its journal in a file.
 *
 * The dataplane comes from outside: `layerNative` speaks to a `ferrite-dataplane` process; on the model the caller
 * gives the `Dataplane` of a model that it keeps, because a model ends with its process.
 */
import { Layer } from "effect"
import type { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import type { Ids } from "#protocol/Ids.ts"
import * as NativeDataplane from "../dataplane/NativeDataplane.ts"
import * as RouteDistributionClient from "../metalbond/RouteDistributionClient.ts"
import { Agent, type AgentMisconfigured, type AgentOptions } from "./Agent.ts"
import * as ControllerLinks from "./ControllerLinks.ts"
import { type JournalError, layerSqlite } from "./Journal.ts"

export interface AgentProgramOptions extends AgentOptions {
  /** gRPC addresses, `host:port` or `unix:/path`; tried in turn. */
  readonly controllers: readonly [string, ...ReadonlyArray<string>]
  /** `[host]:port` each. */
  readonly reflectors: ReadonlyArray<string>
  /** Path of the journal's file; its folder has to exist. One agent a file. */
  readonly journal: string
}

/** On whatever dataplane is given. */
export const layer = (
  options: AgentProgramOptions,
): Layer.Layer<Agent, AgentMisconfigured | JournalError, Dataplane | Ids> =>
  Agent.layer(options).pipe(
    Layer.provide([
      ControllerLinks.layerGrpc(options.controllers),
      RouteDistributionClient.layer({ reflectors: options.reflectors, originator: options.node }),
      layerSqlite(options.journal),
    ]),
  )

/** On the dataplane process that listens at `dataplaneAddress`, `unix:/path` or `host:port`. */
export const layerNative = (
  options: Omit<AgentProgramOptions, "dataplane"> & { readonly dataplaneAddress: string },
): Layer.Layer<Agent, AgentMisconfigured | JournalError, Ids> =>
  layer({ ...options, dataplane: "native" }).pipe(
    Layer.provide(NativeDataplane.layerNative({ address: options.dataplaneAddress })),
  )
