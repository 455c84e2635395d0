/**
 * What hosts said, as conditions of a NetworkInterface: `Realised` by its own host, `Programmed` by the others.
 *
 * A report counts for the HostInterface that the host was asked for last; older ones say nothing.
 */
import { type ConditionState, findCondition } from "#protocol/resource/Conditions.ts"
import type { Attachment, NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import type { HostPlan } from "./HostPlan.ts"
import type { NetworkInterfaceObserved, Peer } from "./NetworkInterfaceObserved.ts"
import { listNames } from "./Plan.ts"

export interface Realised {
  readonly attachment: Attachment | undefined
  readonly condition: ConditionState
  /** The host can't realise it as it is. */
  readonly failed: boolean
}

type Status = ConditionState["status"]

const realised = (status: Status, reason: string, message: string): ConditionState => ({
  type: "Realised",
  status,
  reason,
  message,
})

export const realisedState = (
  nic: NetworkInterface,
  host: HostPlan,
  observed: NetworkInterfaceObserved,
): Realised => {
  const { attachment, hostInterface } = host
  const not = (status: Status, reason: string, message: string, failed = false): Realised => ({
    attachment,
    condition: realised(status, reason, message),
    failed,
  })
  if (attachment === undefined || hostInterface === undefined) {
    return not(
      "False",
      host.attached.status === "True" ? "NotAsked" : host.attached.reason,
      "no host is asked for the interface now",
    )
  }
  const { node, generation } = attachment
  const before = findCondition(nic.status?.conditions, "Realised")
  if (host.changes.length > 0) {
    return not("False", "WaitingForHost", `node ${node} is asked for the interface`)
  }
  if (host.attached.reason === "NodeLost") {
    const status: Status = attachment.realisedMicros === undefined ? "False" : "Unknown"
    return not(status, "NodeLost", `node ${node} is not heard of`)
  }
  const { report } = observed
  if (report === undefined || report.generation !== generation) {
    const known = before !== undefined && before.reason !== "NodeLost" && before.reason !== "NotAsked"
    if (known) {
      const { status, reason, message } = before
      return not(status, reason, message, nic.status?.state === "Error")
    }
    return not(
      attachment.realisedMicros === undefined ? "False" : "Unknown",
      "WaitingForHost",
      `node ${node} has not answered yet`,
    )
  }
  switch (report.state) {
    case "Realised": {
      const { device, underlayAddress, realisedMicros } = report
      return {
        attachment: {
          ...attachment,
          device,
          underlayAddress,
          realisedMicros: attachment.realisedMicros ?? realisedMicros,
        },
        condition: realised(
          "True",
          "Realised",
          `node ${node} has it as ${device}, underlay address ${underlayAddress}`,
        ),
        failed: false,
      }
    }
    case "Failed":
      return not("False", report.reason, `node ${node}: ${report.message}`, true)
    case "Pending":
      return not("False", report.reason, `node ${node}: ${report.message}`)
    case "Removed":
      return not("False", "WaitingForHost", `node ${node} took the interface down; it has to come up again`)
  }
}

const programmed = (status: Status, reason: string, message: string): ConditionState => ({
  type: "Programmed",
  status,
  reason,
  message,
})

const namesOf = (peers: ReadonlyArray<Peer>): string => listNames(peers.map(({ node }) => node).toSorted())

/**
 * Once True it stays so until the interface changes or a host withdraws a route: a host that joins the network later
 * gets all routes by itself, and does not make every interface of the network write its status twice.
 */
export const programmedState = (
  nic: NetworkInterface,
  { attachment, condition }: Realised,
  { peers }: NetworkInterfaceObserved,
): Pick<Realised, "attachment" | "condition"> => {
  if (attachment === undefined || condition.status !== "True") {
    return {
      attachment,
      condition: programmed("False", "NotRealised", "routes follow once its host has the interface"),
    }
  }
  const before = findCondition(nic.status?.conditions, "Programmed")
  const heard = (peers ?? []).filter(({ lost }) => !lost)
  const withdrawn = heard.filter(({ route }) => route === "Withdrawn")
  if (withdrawn.length > 0) {
    const message = `routes to it are gone from ${namesOf(withdrawn)}`
    return { attachment, condition: programmed("False", "RouteWithdrawn", message) }
  }
  if (before?.status === "True") {
    return { attachment, condition: programmed("True", before.reason, before.message) }
  }
  const waiting = heard.filter(({ route }) => route === "Waiting")
  if (peers === undefined || waiting.length > 0) {
    const message =
      peers === undefined ? "the other hosts are not known yet" : `no route to it yet on ${namesOf(waiting)}`
    return { attachment, condition: programmed("False", "WaitingForRoutes", message) }
  }
  const times = heard.map(({ programmedMicros }) => programmedMicros ?? 0)
  const programmedMicros = Math.max(attachment.realisedMicros ?? 0, ...times)
  const message = heard.length === 0 ? "no other host has this network" : `routed by ${namesOf(heard)}`
  return {
    attachment: { ...attachment, programmedMicros: attachment.programmedMicros ?? programmedMicros },
    condition: programmed("True", "Programmed", message),
  }
}
