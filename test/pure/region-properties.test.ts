import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { key, networkDocument, nicDocument, Region } from "./region-model.ts"

const networks = ["blue", "red"]
/** Three that compete for the addresses of one network, and one elsewhere. */
const nics = { a: "blue", b: "blue", c: "blue", d: "red" } as const
const names = Object.keys(nics) as ReadonlyArray<keyof typeof nics>
const nodes = ["host-1", "host-2"]
const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

type Move = (region: Region) => void

const any = <A>(values: ReadonlyArray<A>) => fc.constantFrom(...values)

const put = (r: Region, name: keyof typeof nics, ip: string, spec: object = {}): void => {
  r.apply(nicDocument(name, nics[name], [ip], spec))
}

const stepSome: fc.Arbitrary<Move> = fc.tuple(fc.nat(20), fc.boolean()).map(([i, stale]): Move => (r) => {
  const all = r.manifests()
  const of = all[i % Math.max(1, all.length)]
  if (of !== undefined) r.step(of, stale)
})
const planAll: Move = (r) => {
  for (const of of r.manifests()) r.step(of, true)
}
const work = any(nodes).map(
  (name): Move =>
    (r) =>
      r.work(name),
)

const move: fc.Arbitrary<Move> = fc.oneof(
  { arbitrary: stepSome, weight: 4 },
  { arbitrary: fc.constant(planAll), weight: 3 },
  { arbitrary: work, weight: 4 },
  {
    arbitrary: fc.tuple(any(names), any(addresses)).map(
      ([name, ip]): Move =>
        (r) =>
          put(r, name, ip),
    ),
    weight: 4,
  },
  {
    arbitrary: fc.tuple(any(names), any(nodes)).map(
      ([name, node]): Move =>
        (r) =>
          void r.attach(name, node),
    ),
    weight: 3,
  },
  {
    // An Apply that names another node moves the interface.
    arbitrary: fc.tuple(any(names), any(nodes), any(addresses)).map(
      ([name, node, ip]): Move =>
        (r) =>
          put(r, name, ip, { providerID: `ironcore-net://default/${name}/${node}/x` }),
    ),
    weight: 2,
  },
  {
    arbitrary: any(names).map(
      (name): Move =>
        (r) =>
          r.detach(name),
    ),
    weight: 2,
  },
  {
    arbitrary: any(names).map(
      (name): Move =>
        (r) =>
          r.delete(key("NetworkInterface", name)),
    ),
    weight: 2,
  },
  {
    arbitrary: any(networks).map(
      (name): Move =>
        (r) =>
          r.delete(key("Network", name)),
    ),
    weight: 1,
  },
  {
    arbitrary: any(networks).map(
      (name): Move =>
        (r) =>
          void r.apply(networkDocument(name)),
    ),
    weight: 1,
  },
  {
    arbitrary: any(nodes).map(
      (name): Move =>
        (r) =>
          r.start(name),
    ),
    weight: 2,
  },
  {
    arbitrary: any(nodes).map(
      (name): Move =>
        (r) =>
          r.stop(name),
    ),
    weight: 1,
  },
  {
    arbitrary: any(nodes).map(
      (name): Move =>
        (r) =>
          r.delete(key("Node", name)),
    ),
    weight: 1,
  },
  {
    arbitrary: fc.tuple(any(nodes), fc.boolean()).map(([name, refuses]): Move => (r) => {
      const host = r.hosts.get(name)
      if (host !== undefined) host.refuses = refuses
    }),
    weight: 1,
  },
)

/** A region at rest: two hosts, all networks, every interface attached, two of them with one address. */
const busy = (region: Region): void => {
  for (const name of nodes) region.start(name)
  for (const name of networks) region.apply(networkDocument(name))
  for (const [i, name] of names.entries()) {
    put(region, name, addresses[i % 2] ?? "")
    region.attach(name, nodes[i % 2] ?? "")
  }
  region.settle()
}

/** Deletes everything in an order, hosts up; what is left of region and hosts is returned. */
const empty = (region: Region, order: ReadonlyArray<number>): void => {
  for (const name of region.hosts.keys()) region.start(name)
  for (const host of region.hosts.values()) host.refuses = false
  const all = region.manifests().filter(({ kind }) => kind !== "Node")
  const sorted = all.map((of, i) => ({ of, at: order[i] ?? 0 })).toSorted((x, y) => x.at - y.at)
  for (const [i, { of }] of sorted.entries()) {
    region.delete(of)
    if (i % 2 === 0) region.step(of)
  }
  region.settle()
  for (const name of nodes) {
    region.stop(name)
    region.delete(key("Node", name))
  }
  region.settle()
}

describe("Planners of a region", () => {
  it("keep every invariant in any order of commands, hosts and plans, and end empty", () => {
    fc.assert(
      fc.property(
        fc.array(move, { minLength: 5, maxLength: 40 }),
        fc.array(fc.nat(99), { minLength: 6, maxLength: 6 }),
        fc.constantFrom(200, 201, 300),
        (moves, order, last) => {
          const region = new Region({ first: 200, last })
          busy(region)
          for (const act of moves) {
            region.now += 1000
            act(region)
            region.check()
            region.checkHosts()
          }
          empty(region, order)
          assert.deepStrictEqual([...region.records.keys()], [])
          assert.deepStrictEqual([...region.claims.keys()], [])
          for (const host of region.hosts.values()) assert.strictEqual(host.interfaces.size, 0)
        },
      ),
      { numRuns: 500 },
    )
  })
})
