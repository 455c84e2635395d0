/**
 * A region in a few maps, for tests of planners: store, claims, hosts, and an executor that commits plans as
 * `Plan.ts` asks. Every commit is checked against the invariants, every plan against totality and idempotence.
 */
import { assert } from "@effect/vitest"
import { Result } from "effect"
import { attach, detach, markDeleted } from "#actors/region/Commands.ts"
import { planNetwork } from "#actors/region/NetworkPlan.ts"
import { planNetworkInterface } from "#actors/region/NetworkInterfacePlan.ts"
import type { Peer } from "#actors/region/NetworkInterfaceObserved.ts"
import { planNode } from "#actors/region/NodePlan.ts"
import { commitOf, hostInterfaceKey, isEmpty, type Plan } from "#actors/region/Plan.ts"
import * as VniPool from "#actors/region/VniPool.ts"
import { hostInterfaceKind, type HostInterface } from "#protocol/node/HostInterface.ts"
import type { InterfaceReport } from "#protocol/node/NodeMessages.ts"
import { apply } from "#protocol/resource/Apply.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import type { Network } from "#protocol/resource/Network.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import type { Node } from "#protocol/resource/Node.ts"
import { nodeOf, vniOf } from "#protocol/resource/ProviderId.ts"
import {
  compareKeys,
  formatKey,
  type Manifest,
  parseKey,
  type ResourceKey,
} from "#protocol/resource/Resource.ts"
import type { Commit } from "#protocol/store/ResourceStore.ts"

export const networking = "networking.ironcore.dev/v1alpha1"

export const networkDocument = (name: string, spec: object = {}) => ({
  apiVersion: networking,
  kind: "Network",
  metadata: { name },
  spec,
})

export const nicDocument = (
  name: string,
  network: string,
  ips: ReadonlyArray<string>,
  spec: object = {},
) => ({
  apiVersion: networking,
  kind: "NetworkInterface",
  metadata: { name },
  spec: { networkRef: { name: network }, ips: ips.map((value) => ({ value })), ...spec },
})

export const key = (kind: string, name: string): ResourceKey => ({
  kind,
  namespace: kind === "Node" ? "" : "default",
  name,
})

interface Record {
  readonly value: unknown
  readonly references: ReadonlyArray<ResourceKey>
  readonly revision: number
}

/** What runs on a hypervisor, as its dataplane would have it. */
export interface Host {
  live: boolean
  /** Desired state as far as the stream to the agent has brought it. */
  seen: ReadonlyMap<string, HostInterface>
  seenRevision: number
  settledRevision: number
  readonly interfaces: Map<string, HostInterface>
  readonly reports: Map<string, InterfaceReport>
  refuses: boolean
}

export class Region {
  now = 1_700_000_000_000_000
  revision = 0
  uids = 0
  readonly records = new Map<string, Record>()
  readonly claims = new Map<string, ResourceKey>()
  readonly hosts = new Map<string, Host>()
  readonly events: Array<string> = []
  readonly range: VniPool.VniRange

  constructor(range: VniPool.VniRange = VniPool.fullRange) {
    this.range = range
  }

  get<M extends Manifest>(of: ResourceKey): M | undefined {
    return this.records.get(formatKey(of))?.value as M | undefined
  }
  network(name: string): Network | undefined {
    return this.get(key("Network", name))
  }
  nic(name: string): NetworkInterface | undefined {
    return this.get(key("NetworkInterface", name))
  }
  node(name: string): Node | undefined {
    return this.get(key("Node", name))
  }
  hostInterface(node: string, uid: string): HostInterface | undefined {
    return this.records.get(formatKey(hostInterfaceKey(node, uid)))?.value as HostInterface | undefined
  }
  hostInterfaces(): ReadonlyArray<{ readonly node: string; readonly value: HostInterface }> {
    return [...this.records]
      .map(([text, record]) => ({ key: parseKey(text), value: record.value as HostInterface }))
      .filter((entry) => entry.key.kind === hostInterfaceKind)
      .map((entry) => ({ node: entry.key.namespace, value: entry.value }))
  }

  /** False: a claim is another's, nothing was done. */
  commit(commit: Commit): boolean {
    const pool = (claim: { pool: string; value: string }) => `${claim.pool}|${claim.value}`
    const after = new Map(this.claims)
    for (const release of commit.releases ?? []) {
      const owner = after.get(pool(release))
      if (owner !== undefined && compareKeys(owner, release.owner) === 0) after.delete(pool(release))
    }
    for (const claim of commit.claims ?? []) {
      const owner = after.get(pool(claim))
      if (owner !== undefined && compareKeys(owner, claim.owner) !== 0) return false
      after.set(pool(claim), claim.owner)
    }
    this.claims.clear()
    for (const [value, owner] of after) this.claims.set(value, owner)
    this.revision++
    for (const write of commit.writes ?? []) {
      if (write._tag === "Remove") this.records.delete(formatKey(write.key))
      else {
        const { value, references } = write
        this.records.set(formatKey(write.key), {
          value: structuredClone(value),
          references,
          revision: this.revision,
        })
      }
    }
    for (const event of commit.events ?? [])
      this.events.push(`${event.about.name} ${event.type} ${event.reason}`)
    return true
  }

  put(manifest: Manifest): void {
    this.commit(
      commitOf(
        manifest,
        { next: { _tag: "Keep" }, hosts: [], claims: [], releases: [], events: [], waiting: [] },
        0,
      ),
    )
  }

  apply(document: unknown): Result.Result<unknown, { readonly message: string }> {
    const decoded = decodeManifest(document)
    if (Result.isFailure(decoded)) return decoded
    const uid = `00000000-0000-4000-8000-${String(++this.uids).padStart(12, "0")}`
    const applied = apply(this.get(decoded.success.key), decoded.success, this.now, uid)
    if (Result.isSuccess(applied) && applied.success.changed) this.put(applied.success.manifest)
    return applied
  }
  attach(name: string, node: string): string {
    const nic = this.nic(name)
    if (nic === undefined) return "NotFound"
    const attached = attach(nic, node)
    if (attached._tag === "Attached" && attached.changed) this.put(attached.manifest)
    return attached._tag
  }
  detach(name: string): void {
    const nic = this.nic(name)
    const detached = nic && detach(nic)
    if (detached !== undefined) this.put(detached)
  }
  delete(of: ResourceKey): void {
    const manifest = this.get(of)
    if (manifest !== undefined) this.put(markDeleted(manifest, this.now).manifest)
  }

  /** An agent starts, or comes back. */
  start(name: string): void {
    const host: Host = this.hosts.get(name) ?? {
      live: true,
      seen: new Map(),
      seenRevision: 0,
      settledRevision: 0,
      interfaces: new Map(),
      reports: new Map(),
      refuses: false,
    }
    host.live = true
    this.hosts.set(name, host)
    if (this.node(name) === undefined) {
      this.apply({ apiVersion: "ferrite.dev/v1alpha1", kind: "Node", metadata: { name } })
    }
  }
  stop(name: string): void {
    const host = this.hosts.get(name)
    if (host !== undefined) host.live = false
  }

  /** The stream brings the agent of a live host up to date. */
  see(name: string): void {
    const host = this.hosts.get(name)
    if (host === undefined || !host.live) return
    const mine = this.hostInterfaces().filter(({ node }) => node === name)
    host.seen = new Map(mine.map(({ value }) => [value.uid, value]))
    host.seenRevision = this.revision
  }

  /** The agent of a live host does what it has seen. */
  work(name: string): void {
    const host = this.hosts.get(name)
    if (host === undefined || !host.live) return
    const desired = host.seen
    host.settledRevision = host.seenRevision
    for (const uid of new Set([...host.interfaces.keys(), ...host.reports.keys()])) {
      if (desired.has(uid)) continue
      const generation = host.interfaces.get(uid)?.generation ?? host.reports.get(uid)?.generation ?? 0
      host.interfaces.delete(uid)
      host.reports.set(uid, { _tag: "InterfaceReport", uid, generation, state: "Removed" })
    }
    for (const [uid, value] of desired) {
      const { generation } = value
      if (host.refuses) {
        host.interfaces.delete(uid)
        const why = { reason: "DataplaneRefused", message: "VNF_INSERT (401)" }
        host.reports.set(uid, { _tag: "InterfaceReport", uid, generation, state: "Failed", ...why })
        continue
      }
      host.interfaces.set(uid, value)
      host.reports.set(uid, {
        _tag: "InterfaceReport",
        uid,
        generation,
        state: "Realised",
        underlayAddress: `fd00:f:1::${uid.slice(-4)}`,
        device: `tap${uid.slice(-4)}`,
        realisedMicros: this.now,
      })
    }
    this.checkHosts()
  }

  private peersOf(nic: NetworkInterface): ReadonlyArray<Peer> {
    const own = nic.status?.attachment?.node
    const nodes = this.hostInterfaces()
      .filter(({ node, value }) => value.vni === nic.status?.vni && node !== own)
      .map(({ node }) => node)
    return [...new Set(nodes)].toSorted().map((node) => ({
      node,
      lost: this.hosts.get(node)?.live !== true,
      route: "Acknowledged",
      programmedMicros: this.now,
    }))
  }

  /** One plan, for any of the three kinds. `ignoreClaims`: what is observed about claims is stale. */
  plan(of: ResourceKey, ignoreClaims = false): Plan<Manifest> | undefined {
    const owner = (pool: string, value: string) =>
      ignoreClaims ? undefined : this.claims.get(`${pool}|${value}`)
    const nowMicros = this.now
    if (of.kind === "Network") {
      const network = this.network(of.name)
      if (network === undefined) return undefined
      const used = [...this.claims.keys()]
        .filter((text) => text.startsWith("vni|"))
        .map((text) => Number(text.slice(4)))
      const asked = vniOf(network.spec.providerID)
      return planNetwork(network, {
        nowMicros,
        referrers: [...this.records]
          .filter(([, { references }]) => references.some((other) => compareKeys(other, of) === 0))
          .map(([text]) => parseKey(text)),
        proposal: VniPool.nextFree(VniPool.make(this.range, used)) ?? "Exhausted",
        vniOwner: asked === undefined ? undefined : owner("vni", String(asked)),
      })
    }
    if (of.kind === "Node") {
      const node = this.node(of.name)
      if (node === undefined) return undefined
      const host = this.hosts.get(of.name)
      const underlayPrefix = `fd00:f:${of.name.slice(-1)}::/64`
      return planNode(node, {
        nowMicros,
        hello: host && { instance: "i", underlayPrefix, dataplane: "model", version: "1" },
        lease: host?.live === true ? "Live" : "Expired",
        underlayOwner: owner("underlay", underlayPrefix),
      })
    }
    const nic = this.nic(of.name)
    if (nic === undefined) return undefined
    const network = this.network(nic.spec.networkRef.name)
    const attachedTo = nic.status?.attachment?.node
    const host = attachedTo === undefined ? undefined : this.hosts.get(attachedTo)
    const vni = network && vniOf(network.spec.providerID)
    const nodes = [nodeOf(nic.spec.providerID), attachedTo].flatMap((name) => {
      const node = name === undefined ? undefined : this.node(name)
      return node === undefined ? [] : [[node.metadata.name, node] as const]
    })
    return planNetworkInterface(nic, {
      nowMicros,
      network,
      nodes: new Map(nodes),
      hostInterface: attachedTo === undefined ? undefined : this.hostInterface(attachedTo, nic.metadata.uid),
      report: host?.live === true ? host.reports.get(nic.metadata.uid) : undefined,
      settled:
        host?.live === true &&
        host.settledRevision >= (this.records.get(formatKey(of))?.revision ?? Infinity),
      addressOwners: new Map(
        nic.spec.ips.flatMap(({ value = "" }) => {
          const taken = owner(`ip/${vni}`, value)
          return taken === undefined ? [] : [[value, taken] as const]
        }),
      ),
      peers: this.peersOf(nic),
    })
  }

  /** Plans and commits once. True: something changed. */
  step(of: ResourceKey, stale = false): boolean {
    const manifest = this.get(of)
    const plan = this.plan(of, stale)
    if (manifest === undefined || plan === undefined || isEmpty(plan)) return false
    if (!this.commit(commitOf(manifest, plan, this.records.get(formatKey(of))?.revision ?? 0))) {
      assert.isTrue(stale, "a plan from fresh facts does not run into another's claim")
      return this.step(of)
    }
    this.check()
    if (plan.next._tag === "Remove" && of.kind === "Node") this.hosts.delete(of.name)
    if (stale) return true
    const again = this.plan(of)
    // The node is asked to do nothing meanwhile: what was decided is decided.
    if (again !== undefined)
      assert.isTrue(isEmpty(again), `planning again: ${JSON.stringify([plan, again], null, 1)}`)
    return true
  }

  manifests(): ReadonlyArray<ResourceKey> {
    return [...this.records.keys()].map(parseKey).filter(({ kind }) => kind !== hostInterfaceKind)
  }

  /** Until nothing changes; hosts work between. */
  settle(work = true): void {
    let quiet = 0
    for (let round = 0; round < 50; round++) {
      this.now += 1_000_000
      const before = this.revision
      for (const of of this.manifests().toSorted(compareKeys)) this.step(of)
      for (const name of work ? this.hosts.keys() : []) {
        this.see(name)
        this.work(name)
      }
      quiet = this.revision === before ? quiet + 1 : 0
      // One quiet round may have been the hosts' turn.
      if (quiet === 2) return
    }
    assert.fail("the region does not come to rest")
  }

  /** Of the store. */
  check(): void {
    for (const [value, owner] of this.claims) {
      assert.isTrue(
        this.records.has(formatKey(owner)),
        `${value} is held by ${formatKey(owner)}, which is gone`,
      )
    }
    for (const { node, value } of this.hostInterfaces()) {
      const nic = this.nic(value.name)
      assert.strictEqual(nic?.metadata.uid, value.uid, "a HostInterface has its NetworkInterface")
      assert.strictEqual(nic?.status?.attachment?.node, node, "a HostInterface is where its status says")
      for (const address of [value.ipv4, value.ipv6]) {
        if (address === undefined) continue
        assert.strictEqual(
          this.claims.get(`ip/${value.vni}|${address}`)?.name,
          value.name,
          `${address} is held`,
        )
      }
    }
    for (const of of this.manifests().filter(({ kind }) => kind === "NetworkInterface")) {
      const { status, metadata } = this.nic(of.name) ?? {}
      const mine = [...this.claims].filter(([, owner]) => compareKeys(owner, of) === 0).map(([text]) => text)
      assert.deepStrictEqual(
        mine.toSorted(),
        (status?.ips ?? []).map((ip) => `ip/${status?.vni}|${ip}`).toSorted(),
      )
      if (status?.vni !== undefined) {
        const network = this.network(this.nic(of.name)?.spec.networkRef.name ?? "")
        assert.strictEqual(
          vniOf(network?.spec.providerID),
          status.vni,
          "a network stays while addresses are held in it",
        )
      }
      const held = metadata?.finalizers?.includes("ferrite.dev/host-interface") ?? false
      assert.strictEqual(held, status?.attachment !== undefined, "the finalizer goes with the attachment")
    }
  }

  /** Of what runs: never two owners of one address. */
  checkHosts(): void {
    const seen = new Map<string, string>()
    for (const [node, { interfaces }] of this.hosts) {
      for (const { vni, ipv4, ipv6, uid } of interfaces.values()) {
        for (const address of [ipv4, ipv6]) {
          if (address === undefined) continue
          const at = `${vni} ${address}`
          assert.isUndefined(seen.get(at), `${at} is on ${node} (${uid}) and on ${seen.get(at)}`)
          seen.set(at, `${node} (${uid})`)
        }
      }
    }
  }
}
