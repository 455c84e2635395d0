/**
 * What the node service tells the region about its hosts. The node service writes no resource itself; the layer
 * (region actors) does. Each effect ends once the fact is durable, because the agent's next Lease says so.
 */
import { Context, Effect, Schema } from "effect"
import type { Hello, InterfaceReport, RouteReport } from "./NodeMessages.ts"

/** The region won't have this host: its underlay prefix is another's, its Node is being deleted, … */
export class NodeRefused extends Schema.TaggedError<NodeRefused>()("NodeRefused", {
  node: Schema.String,
  reason: Schema.String,
}) {}

export class NodeEvents extends Context.Service<
  NodeEvents,
  {
    /** An agent's session begins: before it is welcomed. */
    readonly hello: (node: string, hello: Hello) => Effect.Effect<void, NodeRefused>
    /** The node's lease ended. May come again for a node that is lost already. */
    readonly lost: (node: string) => Effect.Effect<void>
    readonly interfaceReport: (node: string, report: InterfaceReport) => Effect.Effect<void>
    readonly routeReport: (node: string, report: RouteReport) => Effect.Effect<void>
    /**
     * The host has done all that was asked up to this revision: a HostInterface that was removed at or before it
     * is gone from there, also where its Removed report was lost with the journal.
     */
    readonly settled: (node: string, revision: number) => Effect.Effect<void>
  }
>()("ferrite/NodeEvents") {}
