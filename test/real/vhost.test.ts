/**
 * A real VM on a vhost-user port: a Debian kernel under QEMU (without KVM, so slow), its virtio-net driver, and the
 * dataplane, which walks its virtqueues. Its peers are a namespace on a TAP of the same dataplane and one of a second
 * dataplane, over the wire; at the second one a VM without any offload joins, at a socket on which the dataplane
 * listens.
 *
 * Needs qemu-system-x86 and, in the cache, a kernel: `./ferrite test`, run as root, fetches it.
 */
import * as fs from "node:fs"
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { flow, type Guest, type Host, makeWorld, missing, type Space, type Vm } from "./vhost-harness.ts"

const reason = missing()
if (reason !== undefined)
  console.warn(
    `SKIPPED test/real/vhost: ${reason}\n  To run it: apt-get install --no-install-recommends qemu-system-x86, then FERRITE_TEST_VM=1`,
  )

const own = (device: string, number: number): Guest => ({
  id: `guest-${number}`,
  device,
  ipv4: `10.0.0.${number}`,
  ipv6: `2001:db8::${number}`,
})

const megabyte = 1024 * 1024
const plain =
  ",csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,guest_csum=off,guest_tso4=off," +
  "guest_tso6=off,guest_ecn=off,guest_ufo=off,mrg_rxbuf=off,indirect_desc=off,event_idx=off"

describe.skipIf(reason !== undefined)("a VM on a vhost-user port", { timeout: 60_000 }, () => {
  let world: ReturnType<typeof makeWorld>
  let first: Host
  let second: Host
  let vm: Vm
  let bare: Vm
  let near: Space
  let far: Space
  let guests: { vm: Guest; near: Guest; far: Guest; bare: Guest }
  let socket: string

  /** Interfaces of the first host, and routes of both; again after each of its starts. */
  const program = async () => {
    const vmUnderlay = await first.attach(guests.vm)
    const nearUnderlay = await first.attach(guests.near)
    await second.route(guests.vm, vmUnderlay)
    await second.route(guests.near, nearUnderlay)
  }
  let farUnderlay: string
  let bareUnderlay: string
  const programFar = async () => {
    await first.route(guests.far, farUnderlay)
    await first.route(guests.bare, bareUnderlay)
  }
  const lease = async (which: Vm) => {
    const dhcp = await which.run("udhcpc -i eth0 -n -q -t 10 -T 1 -O staticroutes -s /bin/leased")
    const dhcp6 = await which.run("agent lease6 eth0")
    return { dhcp, dhcp6 }
  }
  /** What the VM's port gained, in bytes a packet, while `body` ran. */
  const packetSize = async (host: Host, path: string, direction: "rx" | "tx", body: () => Promise<void>) => {
    const read = async () => {
      const counters = await host.counters()
      const of = (what: string) => counters.get(`port.${path}.${direction}_${what}`) ?? Number.NaN
      return { bytes: of("bytes"), packets: of("packets") }
    }
    const before = await read()
    await body()
    const after = await read()
    return (after.bytes - before.bytes) / (after.packets - before.packets)
  }

  beforeAll(async () => {
    world = makeWorld()
    socket = `${world.folder}/vm.sock`
    guests = {
      vm: own(`vhost:${socket}`, 1),
      near: own(`vtap:${world.tap("near")}`, 2),
      far: own(`vtap:${world.tap("far")}`, 3),
      bare: own(`vhost:${world.folder}/bare.sock,server=on`, 4),
    }
    first = await world.startHost("first", "fd00:f:a1::/64")
    second = await world.startHost("second", "fd00:f:b2::/64")
    farUnderlay = await second.attach(guests.far)
    bareUnderlay = await second.attach(guests.bare)
    await program()
    await programFar()
    near = world.enter("near", guests.near)
    far = world.enter("far", guests.far)
    vm = await world.startVm("vm", `path=${socket},server=on,wait=off`, "52:54:00:00:00:01", "")
  })
  afterAll(async () => {
    await world?.close()
  })
  // Each begins where the one before it ended.
  let failed = false
  beforeEach(({ onTestFailed, skip }) => {
    skip(failed, "a test before it failed")
    onTestFailed(() => {
      failed = true
    })
  })

  it("takes its leases and reaches its neighbours, on its host and beyond", async () => {
    const { dhcp, dhcp6 } = await lease(vm)
    assert.match(dhcp.output, /leased 10\.0\.0\.1 mtu 1500/)
    assert.strictEqual(dhcp6.output, "2001:db8::1\n")
    await vm.run("ip addr add 2001:db8::1/128 dev eth0")
    const advertised = await vm.run("until ip -6 route | grep default; do sleep 0.1; done")
    assert.match(advertised.output, /default via fe80::1 dev eth0/)
    for (const to of ["10.0.0.2", "10.0.0.3", "2001:db8::2", "2001:db8::3"]) {
      const ping = await vm.run(`ping -c 3 -i 0.1 -W 2 -s 1400 ${to}`)
      assert.match(ping.output, /3 packets received/, ping.output)
    }
    for (const space of [near, far])
      for (const to of ["10.0.0.1", "2001:db8::1"])
        assert.strictEqual(space.run("ping", "-c", "2", "-i", "0.2", "-W", "2", to).status, 0)
  })

  it("sends and takes super-packets whole, and every byte arrives as it was sent", async () => {
    const report: Array<string> = []
    for (const [where, space, address] of [
      ["its host's namespace", near, "10.0.0.2"],
      ["the other host's namespace", far, "2001:db8::3"],
    ] as const) {
      const bytes = 64 * megabyte
      const sent = await packetSize(first, socket, "rx", async () => {
        const sink = await space.agent("sink", address, "5001")
        const poured = flow((await vm.run(`agent pour ${address} 5001 ${bytes}`)).output)
        const arrived = flow(await sink.output)
        assert.deepStrictEqual([arrived.bytes, arrived.sum], [bytes, poured.sum])
        report.push(`to ${where} ${poured.gigabits.toFixed(2)} Gb/s`)
      })
      const taken = await packetSize(first, socket, "tx", async () => {
        const own = address.includes(":") ? "2001:db8::1" : "10.0.0.1"
        await vm.run(`agent sink ${own} 5002 >/tmp/sink 2>&1 &`)
        const pour = await space.agent("pour", own, "5002", String(bytes))
        const poured = flow(await pour.output)
        const arrived = flow((await vm.run("sleep 0.2; cat /tmp/sink")).output)
        assert.deepStrictEqual([arrived.bytes, arrived.sum], [bytes, poured.sum])
        report.push(`from it ${poured.gigabits.toFixed(2)} Gb/s`)
      })
      report.push(`(packets of ${Math.round(sent)} and ${Math.round(taken)} bytes)`)
      assert.isAbove(sent, 6_000)
      assert.isAbove(taken, 3_000)
    }
    console.info(`TCP of a VM without KVM: ${report.join(", ")}`)
  })

  it("goes on after its driver began anew", async () => {
    const device = await vm.run("basename $(readlink /sys/class/net/eth0/device)")
    const driver = "/sys/bus/virtio/drivers/virtio_net"
    const name = device.output.trim()
    await vm.run(`echo ${name} >${driver}/unbind; echo ${name} >${driver}/bind; ip link set eth0 up`)
    const { dhcp } = await lease(vm)
    assert.match(dhcp.output, /leased 10\.0\.0\.1/)
    await vm.run("ip addr add 2001:db8::1/128 dev eth0")
    assert.match((await vm.run("ping -c 2 -i 0.1 -W 2 10.0.0.3")).output, /2 packets received/)
  })

  it("talks on, on the same connection, when the dataplane was killed and started again", async () => {
    await far.agent("echo", "10.0.0.3", "5003")
    await vm.run("agent hold 10.0.0.3 5003 60 >/tmp/hold 2>&1 &")
    await vm.run("until grep -q ready /tmp/hold; do sleep 0.1; done")
    await first.kill()
    first = await world.startHost("first", "fd00:f:a1::/64")
    await program()
    await programFar()
    near = world.enter("near", guests.near)
    const held = await vm.run("while pidof agent >/dev/null; do sleep 0.2; done; cat /tmp/hold", 40)
    const [count, longest] = held.output.trim().split("\n").at(-1)!.split(" ").map(Number)
    assert.strictEqual(count, 60, held.output)
    console.info(
      `a connection of the VM waited ${longest} ms at most while its dataplane was killed and started`,
    )
    assert.match((await vm.run("ping -c 2 -i 0.1 -W 2 10.0.0.2")).output, /2 packets received/)
    assert.match((await vm.run("cut -d. -f1 /proc/uptime")).output, /^\d+\n$/)
  })

  it("may be without any offload, at a socket on which the dataplane listens", async () => {
    bare = await world.startVm(
      "bare",
      `path=${world.folder}/bare.sock,reconnect=1`,
      "52:54:00:00:00:04",
      plain,
    )
    const { dhcp } = await lease(bare)
    assert.match(dhcp.output, /leased 10\.0\.0\.4/)
    const bytes = 4 * megabyte
    for (const [address, space] of [
      ["10.0.0.3", far],
      ["10.0.0.2", near],
    ] as const) {
      const sink = await space.agent("sink", address, "5004")
      const poured = flow((await bare.run(`agent pour ${address} 5004 ${bytes}`)).output)
      assert.strictEqual(flow(await sink.output).sum, poured.sum)
      await bare.run("agent sink 10.0.0.4 5005 >/tmp/sink 2>&1 &")
      const pour = flow(await (await space.agent("pour", "10.0.0.4", "5005", String(bytes))).output)
      const arrived = flow((await bare.run("sleep 0.3; cat /tmp/sink")).output)
      assert.deepStrictEqual([arrived.bytes, arrived.sum], [bytes, pour.sum])
    }
    const counters = await second.counters()
    assert.isAbove(counters.get(`port.${world.folder}/bare.sock.vhost_software`) ?? 0, 10)
    const between = await vm.run("ping -c 2 -i 0.1 -W 2 10.0.0.4")
    assert.match(between.output, /2 packets received/)
  })

  it("that is gone leaves the others alone, and its successor is served", async () => {
    await bare.kill()
    assert.match((await vm.run("ping -c 2 -i 0.1 -W 2 10.0.0.3")).output, /2 packets received/)
    assert.strictEqual(far.run("ping", "-c", "1", "-W", "1", "10.0.0.4").status, 1)
    await vm.kill()
    assert.strictEqual(near.run("ping", "-c", "2", "-i", "0.2", "-W", "2", "10.0.0.3").status, 0)
    vm = await world.startVm("vm", `path=${socket},server=on,wait=off`, "52:54:00:00:00:11", "")
    assert.match((await lease(vm)).dhcp.output, /leased 10\.0\.0\.1/)
    assert.match((await vm.run("ping -c 2 -i 0.1 -W 2 10.0.0.3")).output, /2 packets received/)
    const counters = await first.counters()
    assert.strictEqual(counters.get(`port.${socket}.vhost_broken`), 0)
    assert.strictEqual(counters.get(`port.${socket}.rx_errors`), 0)
  })

  it("costs nothing while it is silent", async () => {
    const spent = () => {
      const [, rest] = fs.readFileSync(`/proc/${first.pid}/stat`, "utf8").split(") ")
      const fields = rest!.split(" ")
      return Number(fields[11]) + Number(fields[12])
    }
    const before = spent()
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    assert.isAtMost(spent() - before, 10) // hundredths of a second
  })
})
