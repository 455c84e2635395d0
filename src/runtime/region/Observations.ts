/**
 * What hosts have reported, in memory: what became of each interface, which routes each dataplane acknowledged, up
 * to which revision each host has done all it was asked. One per controller, lives as long as it does.
 *
 * It is filled again by the agents after every Welcome, so losing it costs time and never correctness; what was
 * concluded from it is in the store. Planners read it, nothing is decided here.
 * Bounded by what hosts may have: `maxHostInterfaces` reports and one acknowledgement per route and host.
 */
import type { Hello, InterfaceReport, RouteReport } from "#protocol/node/NodeMessages.ts"

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
  readonly routes: Map<string, { readonly route: RouteName; readonly acknowledgement: Acknowledgement }>
  readonly withdrawn: Set<string>
  settledRevision: number
  session: NodeSession | undefined
}

/** Routes that a host withdrew, kept per host, the newest. */
const maxWithdrawn = 4096

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
    report: (node, uid) => hosts.get(node)?.reports.get(uid),
    acknowledgement: (node, route) => hosts.get(node)?.routes.get(nameOf(route))?.acknowledgement,
    withdrawn: (node, route) => hosts.get(node)?.withdrawn.has(nameOf(route)) ?? false,
    settledRevision: (node) => hosts.get(node)?.settledRevision ?? 0,
    setReport: (node, report) => {
      host(node).reports.set(report.uid, report)
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
        if (!removed) routes.set(name, { route, acknowledgement: { nextHop, programmedMicros } })
        else if (routes.delete(name)) withdrawn.add(name)
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
