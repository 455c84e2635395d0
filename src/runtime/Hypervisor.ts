/**
 * The agent role: one hypervisor's agent over the network, with its journal, its dataplane's socket, its reflectors
 * and its controllers.
 */
import { Layer } from "effect"
import type { Ids } from "#protocol/Ids.ts"
import { layerNative } from "./dataplane/NativeDataplane.ts"
import * as RouteDistributionClient from "./metalbond/RouteDistributionClient.ts"
import { Agent, type AgentMisconfigured } from "./node/Agent.ts"
import * as ControllerLinks from "./node/ControllerLinks.ts"
import * as Journal from "./node/Journal.ts"

export interface HypervisorOptions {
  readonly node: string
  /** `host:port` or `unix:/path` each. */
  readonly controllers: readonly [string, ...ReadonlyArray<string>]
  /** `[host]:port` each. */
  readonly reflectors: ReadonlyArray<string>
  /** gRPC address of the dataplane, `unix:/path` or `host:port`. */
  readonly dataplane: string
  /** The /64 that the dataplane was started with. */
  readonly underlayPrefix: string
  /** File of the journal; its folder exists. */
  readonly journal: string
  readonly version: string
  /** How long reflectors hold our routes when we are gone. Default 60; 0: plain metalbond v1. */
  readonly restartSeconds?: number
}

export const layer = (
  options: HypervisorOptions,
): Layer.Layer<Agent, AgentMisconfigured | Journal.JournalError, Ids> => {
  const { node, restartSeconds, underlayPrefix, version } = options
  return Agent.layer({ node, underlayPrefix, dataplane: "native", version }).pipe(
    Layer.provide([
      layerNative({ address: options.dataplane }),
      RouteDistributionClient.layer({
        reflectors: options.reflectors,
        originator: node,
        ...(restartSeconds === undefined ? {} : { restartSeconds }),
      }),
      ControllerLinks.layerGrpc(options.controllers),
      Journal.layerSqlite(options.journal),
    ]),
  )
}
