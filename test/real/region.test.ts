import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  canRunReal,
  eventually,
  ferrite,
  ferriteWith,
  inVm,
  outputOf,
  pidOf,
  type RunningDemo,
  startDemo,
  startInVm,
  until,
} from "./running-demo.ts"

let demo: RunningDemo

const ping = (from: string, to: string, ...options: ReadonlyArray<string>) =>
  inVm(from, "ping", "-c", "3", "-i", "0.2", "-W", "2", ...options, to)

const reaches = (from: string, to: string, ...options: ReadonlyArray<string>) => {
  const { stdout } = ping(from, to, ...options)
  assert.include(stdout, " 3 received", `${from} pings ${to} ${options.join(" ")}:\n${stdout}`)
}

const json = (...args: ReadonlyArray<string>) => JSON.parse(ferrite(...args, "-o", "json").stdout)

const nicManifest = (name: string, ip: string, spec = "") => `
apiVersion: networking.ironcore.dev/v1alpha1
kind: NetworkInterface
metadata:
  name: ${name}
spec:
  networkRef: { name: blue }
  ipFamilies: [IPv4]
  ips: [{ value: ${ip} }]
${spec}`

const conditionOf = (nic: string, type: string) =>
  json("get", "nic", nic).status.conditions.find((condition: { type: string }) => condition.type === type)

describe.skipIf(!canRunReal)("a running region", () => {
  beforeAll(async () => {
    demo = await startDemo()
  })
  afterAll(async () => {
    assert.strictEqual(await demo.stop(), 0)
  })

  it("gives each VM its address, MTU and gateway by DHCP", () => {
    const addresses = inVm("nic-a", "ip", "-o", "addr", "show", "scope", "global").stdout
    assert.include(addresses, "10.0.0.1/32")
    assert.include(addresses, "fd01::1/128")
    assert.match(inVm("nic-a", "ip", "route").stdout, /default via 169\.254\.0\.1/)
    assert.match(inVm("nic-a", "ip", "-6", "route").stdout, /default via fe80::1/)
    assert.match(inVm("nic-a", "ip", "link").stdout, /mtu 1500/)
  })

  it("carries packets of any size, in both families, on one host and across hosts", () => {
    for (const [to, six] of [
      ["10.0.0.2", "fd01::2"],
      ["10.0.0.3", "fd01::3"],
    ] as const) {
      reaches("nic-a", to)
      reaches("nic-a", to, "-s", "1472", "-M", "do")
      reaches("nic-a", to, "-s", "4000")
      reaches("nic-a", six)
      reaches("nic-a", six, "-s", "1452", "-M", "do")
      reaches("nic-a", six, "-s", "4000")
    }
    assert.notInclude(ping("nic-a", "10.0.0.3", "-s", "1473", "-M", "do").stdout, " 3 received")
  })

  it("answers for the gateway", () => {
    reaches("nic-a", "169.254.0.1")
  })

  it("carries TCP both ways", async () => {
    const server = startInVm("nic-c", "iperf3", "-s", "-1")
    await until("the server listens", 10, () => inVm("nic-c", "ss", "-ltn").stdout.includes(":5201"))
    const { stdout } = inVm("nic-a", "iperf3", "-c", "10.0.0.3", "-n", "50M", "-J", "--bidir")
    await outputOf(server)
    const { end } = JSON.parse(stdout)
    assert.isAtLeast(end.sum_received.bytes, 20_000_000)
    assert.isAtLeast(end.sum_received_bidir_reverse.bytes, 20_000_000)
  })

  it("keeps networks apart, though their addresses are equal", () => {
    assert.include(ping("nic-d", "10.0.0.2").stdout, " 0 received")
    assert.include(ping("nic-d", "10.0.0.3").stdout, " 0 received")
    const packets = () => Number(inVm("nic-d", "cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)
    const before = packets()
    reaches("nic-c", "10.0.0.1")
    assert.strictEqual(packets(), before)
  })

  it("lets no VM speak for another", () => {
    inVm("nic-b", "ip", "addr", "add", "10.0.0.99/32", "dev", "eth0")
    assert.include(ping("nic-b", "10.0.0.1", "-I", "10.0.0.99").stdout, " 0 received")
    inVm("nic-b", "ip", "addr", "del", "10.0.0.99/32", "dev", "eth0")
    reaches("nic-b", "10.0.0.1")
  })

  for (const process_ of ["host-1-agent", "host-2-agent", "controller", "reflector"]) {
    it(`loses no packet when the ${process_} is killed and comes back`, async () => {
      const before = pidOf(process_)!
      const flow = startInVm("nic-a", "ping", "-i", "0.02", "-c", "500", "-W", "2", "10.0.0.3")
      const six = startInVm("nic-c", "ping", "-i", "0.02", "-c", "500", "-W", "2", "fd01::2")
      const outputs = [outputOf(flow), outputOf(six)]
      await until("packets flow", 5, () => flow.pid !== undefined)
      process.kill(before, "SIGKILL")
      await until(`${process_} is back`, 20, () => pidOf(process_) !== before)
      for (const output of outputs) assert.include(await output, "500 received")
      await until("the region answers", 20, () => ferrite("get", "nics").status === 0)
    })
  }

  it("goes on deciding after all of that", async () => {
    assert.strictEqual(ferriteWith(nicManifest("nic-e", "10.0.0.5"), "apply", "-f", "-").status, 0)
    const attached = ferrite("attach", "nic-e", "--node", "host-2")
    assert.strictEqual(attached.status, 0, attached.stderr)
    await until("nic-e is available", 20, () => json("get", "nic", "nic-e").status.state === "Available")
    await until("nic-e is programmed", 20, () => conditionOf("nic-e", "Programmed")?.status === "True")
    assert.strictEqual(ferrite("delete", "nic", "nic-e").status, 0)
    await until("nic-e is gone", 20, () => ferrite("get", "nic", "nic-e").status === 1)
  })

  it("says what is wrong with a manifest, and where", () => {
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ["kind: [", /standard input:1:8/],
      [nicManifest("nic-x", "10.0.0.9", "  speed: 10\n"), /spec\.speed/],
      [nicManifest("nic-x", "fd01::9"), /spec\.ips\[0\]/],
      [nicManifest("Nic_X", "10.0.0.9"), /metadata\.name/],
      [nicManifest("nic-a", "10.0.0.1").replace("name: blue", "name: red"), /spec\.networkRef/],
    ]
    for (const [manifest, field] of cases) {
      const { status, stderr } = ferriteWith(manifest, "apply", "-f", "-")
      assert.notStrictEqual(status, 0, manifest)
      assert.match(stderr, field)
    }
  })

  it("refuses a second attachment elsewhere and repeats the same one", () => {
    assert.strictEqual(ferrite("attach", "nic-a", "--node", "host-1").status, 0)
    const elsewhere = ferrite("attach", "nic-a", "--node", "host-2")
    assert.strictEqual(elsewhere.status, 1)
    assert.match(elsewhere.stderr, /host-1/)
  })

  it("says what an interface waits for: an unknown network, a node that never comes, a taken address", async () => {
    const orphan = nicManifest("nic-f", "10.0.0.6").replace("name: blue", "name: nowhere")
    ferriteWith(orphan, "apply", "-f", "-")
    await until("it waits", 10, () => conditionOf("nic-f", "NetworkReady")?.reason === "NetworkNotFound")
    ferriteWith(nicManifest("nic-g", "10.0.0.7"), "apply", "-f", "-")
    ferrite("attach", "nic-g", "--node", "host-99")
    await until("it waits", 10, () => conditionOf("nic-g", "Attached")?.reason === "NodeNotFound")
    ferriteWith(nicManifest("nic-h", "10.0.0.1"), "apply", "-f", "-")
    await until("it waits", 10, () => conditionOf("nic-h", "AddressReady")?.reason === "AddressTaken")
    const described = ferrite("describe", "nic", "nic-h").stdout
    assert.match(described, /AddressTaken/)
    assert.match(described, /nic-a/)
    for (const name of ["nic-f", "nic-g", "nic-h"])
      assert.strictEqual(ferrite("delete", "nic", name).status, 0)
    await until("all are gone", 10, () => json("get", "nics").items.length === 4)
  })

  it("keeps a network that is in use", async () => {
    ferrite("delete", "network", "red", "--wait=false")
    const state = await eventually("it says why", 10, () =>
      json("get", "network", "red").status.conditions.find(
        (each: { type: string }) => each.type === "Deleting",
      ),
    )
    assert.strictEqual(state.reason, "InUse")
    assert.include(state.message, "nic-d")
  })
})
