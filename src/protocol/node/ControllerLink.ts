/**
 * An agent's way to a controller: one session at a time, messages both ways. Layers: gRPC to one of several
 * addresses, and straight into a node service of the same process.
 */
import { Context, Schema, Stream } from "effect"
import type { AgentMessage, ControllerMessage } from "./NodeMessages.ts"

/** Why a session ended or never began. `Replaced`: a newer agent of this node took over. */
export class LinkError extends Schema.TaggedError<LinkError>()("LinkError", {
  kind: Schema.Literals(["Unreachable", "Refused", "Replaced", "Malformed"]),
  reason: Schema.String,
}) {}

export class ControllerLink extends Context.Service<
  ControllerLink,
  {
    /** Ends or fails with the session; interrupting it ends the session. A later call may reach another controller. */
    readonly session: (requests: Stream.Stream<AgentMessage>) => Stream.Stream<ControllerMessage, LinkError>
  }
>()("ferrite/ControllerLink") {}
