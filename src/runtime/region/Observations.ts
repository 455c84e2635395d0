/**
 * What hosts have reported, in memory: what became of each interface, which routes each dataplane acknowledged, up
 * to which revision each host has done all it was asked. One per controller, lives as long as it does.
 *
 * It is filled again by the agents after every Welcome, so losing it costs time and never correctness; what was
 * concluded from it is in the store. Planners read it, nothing is decided here.
 * Bounded by what hosts may have, whatever an agent says: `maxHostInterfaces` reports and `maxRoutes`
 * acknowledgements a host; more is not heard. Reports of what is gone matter only until somebody has looked: the
 * newest are kept.
 */
import {
  type Hello,
  type InterfaceReport,
  maxHostInterfaces,
  type RouteReport,
} from "#protocol/node/NodeMessages.ts"

/** Of a node's last agent that this controller knows. */
export interface NodeSession {
  /** Undefined: this controller has never heard of it, and has waited a lease for it. */
  readonly hello: Hello | undefined
  readonly lease: "Live" | "Expired"
}

export interface Acknowledgement {
  readonly nextHop: string
  readonly programmedMicros: number
}

export interface RouteName {
  readonly vni: number
  readonly prefix: string
}

interface HostObservation {
  readonly reports: Map<string, InterfaceReport>
  readonly removed: Map<string, InterfaceReport>
  readonly routes: Map<string, { readonly route: RouteName; readonly acknowledgement: Acknowledgement }>
  readonly withdrawn: Set<string>
  settledRevision: number
  session: NodeSession | undefined
}

/** Routes that a host withdrew, kept per host, the newest. */
const maxWithdrawn = 4096
/** Interfaces that are gone from a host, kept per host, the newest. */
const maxRemoved = 4096
/** Of one host: what its dataplane has room for. */
export const maxRoutes = 1_048_576

export interface Observations {
  readonly report: (node: string, uid: string) => InterfaceReport | undefined
  readonly acknowledgement: (node: string, route: RouteName) => Acknowledgement | undefined
  /** The host had the route in this session and said that it has it no longer. */
  readonly withdrawn: (node: string, route: RouteName) => boolean
  /** 0: nothing known. */
  readonly settledRevision: (node: string) => number
  readonly setReport: (node: string, report: InterfaceReport) => void
  /** The routes that this report is about, for waking their owners. */
  readonly setRoutes: (node: string, report: RouteReport) => ReadonlyArray<RouteName>
  /** False: it was known. */
  readonly setSettled: (node: string, revision: number) => boolean
  readonly session: (node: string) => NodeSession | undefined
  /** A session begins: what the host said before no longer counts, it says everything again. */
  readonly begin: (node: string, hello: Hello) => void
  readonly expire: (node: string) => void
  /** The Node is gone. */
  readonly forget: (node: string) => void
}

const nameOf = (route: RouteName) => `${route.vni}|${route.prefix}`

export const make = (): Observations => {
  const hosts = new Map<string, HostObservation>()
  const host = (node: string): HostObservation => {
    let known = hosts.get(node)
    if (known === undefined) {
      known = {
        reports: new Map(),
        removed: new Map(),
        routes: new Map(),
        withdrawn: new Set(),
        settledRevision: 0,
        session: undefined,
      }
      hosts.set(node, known)
    }
    return known
  }

  return {
    report: (node, uid) => hosts.get(node)?.reports.get(uid) ?? hosts.get(node)?.removed.get(uid),
    acknowledgement: (node, route) => hosts.get(node)?.routes.get(nameOf(route))?.acknowledgement,
    withdrawn: (node, route) => hosts.get(node)?.withdrawn.has(nameOf(route)) ?? false,
    settledRevision: (node) => hosts.get(node)?.settledRevision ?? 0,
    setReport: (node, report) => {
      const { removed, reports } = host(node)
      const { uid } = report
      removed.delete(uid)
      if (report.state === "Removed") {
        reports.delete(uid)
        removed.set(uid, report)
        for (const oldest of removed.keys()) {
          if (removed.size <= maxRemoved) break
          removed.delete(oldest)
        }
      } else if (reports.has(uid) || reports.size < maxHostInterfaces) reports.set(uid, report)
    },
    setRoutes: (node, report) => {
      const { routes, withdrawn } = host(node)
      const touched: Array<RouteName> = []
      if (report.full) {
        for (const { route } of routes.values()) touched.push(route)
        routes.clear()
        withdrawn.clear()
      }
      for (const { vni, prefix, nextHop, programmedMicros, removed } of report.entries) {
        const route = { vni, prefix }
        const name = nameOf(route)
        touched.push(route)
        withdrawn.delete(name)
        if (!removed) {
          if (routes.has(name) || routes.size < maxRoutes)
            routes.set(name, { route, acknowledgement: { nextHop, programmedMicros } })
        } else if (routes.delete(name)) withdrawn.add(name)
      }
      for (const name of withdrawn) {
        if (withdrawn.size <= maxWithdrawn) break
        withdrawn.delete(name)
      }
      return touched
    },
    setSettled: (node, revision) => {
      const known = host(node)
      if (known.settledRevision === revision) return false
      known.settledRevision = revision
      return true
    },
    session: (node) => hosts.get(node)?.session,
    begin: (node, hello) => {
      hosts.delete(node)
      host(node).session = { hello, lease: "Live" }
    },
    expire: (node) => {
      const known = host(node)
      known.session = { hello: known.session?.hello, lease: "Expired" }
    },
    forget: (node) => {
      hosts.delete(node)
    },
  }
}
