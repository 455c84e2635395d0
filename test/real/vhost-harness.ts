/**
 * VMs under QEMU, namespaces that play VMs on TAPs, and the dataplanes between them: what a test of vhost-user needs,
 * in one folder, under one name, and gone when the test is, however it ends.
 *
 * A VM is asked over its serial console: one line a command, its output and status between marks (test/vm/init).
 */
import { create, type DescMethod, type MessageShape, type DescMessage } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DPDKironcore, IpVersion } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { definitionOf } from "#runtime/grpc/GrpcService.ts"
import { ask, binary, type Client, missing as missingDataplane, until } from "./dataplane-grpc-harness.ts"

const root = path.resolve(import.meta.dirname, "../..")
const cache = path.join(root, ".ferrite/cache/vm")
const qemu = "qemu-system-x86_64"

const has = (command: string) => childProcess.spawnSync("sh", ["-c", `command -v ${command}`]).status === 0

/** Kernel and initramfs in the cache. What is not there is fetched only where the user said so. */
const prepare = (): string | undefined => {
  const fetch = process.env["FERRITE_TEST_VM"] === "1" ? [] : ["--offline"]
  const made = childProcess.spawnSync(path.join(root, "test/vm/prepare.sh"), [cache, ...fetch], {
    encoding: "utf8",
  })
  if (made.status === 0) return undefined
  return made.stdout.trim() || made.stderr.trim() || `prepare.sh ended with ${made.status}`
}

/** Why a real VM cannot run here, and how it could; undefined: it can. */
export const missing = (): string | undefined => {
  if (missingDataplane !== undefined) return missingDataplane
  if (!fs.existsSync("/dev/net/tun")) return "/dev/net/tun is not there"
  if (!has(qemu)) return `${qemu} is not there: apt-get install --no-install-recommends qemu-system-x86`
  return prepare()
}

/** Ends by name what carries this test's folder in its command line, and removes its namespaces and files. */
const janitor = `
trap '' INT TERM HUP
while read -r _; do :; done
for round in 1 2 3 4 5; do
  found=
  for each in /proc/[0-9]*; do
    [ "$each" = "/proc/$$" ] || ! tr '\\0' ' ' 2>/dev/null <"$each/cmdline" | grep -qF "$FVH_FOLDER/" && continue
    kill -9 "\${each#/proc/}" 2>/dev/null; found=yes
  done
  [ -z "$found" ] && break
  sleep 0.2
done
for name in $(ip netns list | cut -d' ' -f1 | grep "^$FVH_NAME-"); do ip netns del "$name"; done
rm -rf "$FVH_FOLDER"
`

const Ironcore = grpc.makeGenericClientConstructor(definitionOf(DPDKironcore), "DPDKironcore")
const Ferrite = grpc.makeGenericClientConstructor(definitionOf(DataplaneService), "DataplaneService")

const text = (value: string) => new TextEncoder().encode(value)
const fromText = (value: Uint8Array) => new TextDecoder().decode(value)

export interface Guest {
  readonly id: string
  readonly device: string
  readonly ipv4: string
  readonly ipv6: string
}

export const vni = 100

export interface Host {
  readonly call: (name: keyof typeof DPDKironcore.method, init?: any) => Promise<any>
  /** Makes the interface of a guest; its underlay address. */
  readonly attach: (guest: Guest) => Promise<string>
  /** All traffic to a guest goes to that underlay address from now on. */
  readonly route: (guest: Guest, underlay: string) => Promise<void>
  readonly counters: () => Promise<ReadonlyMap<string, number>>
  readonly kill: () => Promise<void>
  readonly pid: number
  readonly log: () => string
}

export interface Ran {
  readonly status: number
  readonly output: string
}

export interface Vm {
  readonly run: (line: string, seconds?: number) => Promise<Ran>
  readonly console: () => string
  readonly kill: () => Promise<void>
}

export interface Space {
  readonly run: (...command: ReadonlyArray<string>) => Ran
  /** Starts the agent and waits until it is ready; `output` ends with it. */
  readonly agent: (...words: ReadonlyArray<string>) => Promise<{ readonly output: Promise<string> }>
}

const exited = (child: childProcess.ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once("exit", () => resolve())
  })

export const makeWorld = () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fvh-"))
  const name = `fvh${process.pid.toString(36)}`
  const keeper = childProcess.spawn("bash", ["-c", janitor], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    env: { ...process.env, FVH_FOLDER: folder, FVH_NAME: name },
  })
  fs.copyFileSync(path.join(cache, "agent"), path.join(folder, "agent"))
  fs.chmodSync(path.join(folder, "agent"), 0o755)

  const sh = (line: string) => {
    const { status, stderr } = childProcess.spawnSync("sh", ["-ec", line], { encoding: "utf8" })
    if (status !== 0) throw new Error(`${line}: ${stderr}`)
  }

  const startHost = async (which: string, prefix: string): Promise<Host> => {
    const socket = path.join(folder, `${which}.sock`)
    fs.rmSync(socket, { force: true })
    const child = childProcess.spawn(
      binary,
      [
        `--grpc=unix:${socket}`,
        `--underlay=${prefix}`,
        `--uplink=wire:${path.join(folder, "wire")}`,
        `--name=${name}-${which}`,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    )
    let log = ""
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()))
    await until("the dataplane listens", () => {
      if (child.exitCode !== null) throw new Error(`the dataplane ended:\n${log}`)
      return log.includes('msg="listening"')
    })
    const credentials = grpc.credentials.createInsecure()
    const ironcore = new Ironcore(`unix:${socket}`, credentials) as unknown as Client
    const ferrite = new Ferrite(`unix:${socket}`, credentials) as unknown as Client
    const call: Host["call"] = async (method, init = {}) => {
      const description: DescMethod = DPDKironcore.method[method]
      const answer = await ask(ironcore, method, create(description.input, init) as MessageShape<DescMessage>)
      if (answer.code !== 0) throw new Error(`${method}: ${answer.details}`)
      return answer.response
    }
    await call("initialize")
    return {
      call,
      pid: child.pid!,
      log: () => log,
      attach: async ({ device, id, ipv4, ipv6 }) => {
        const { status, underlayRoute } = await call("createInterface", {
          interfaceId: text(id),
          vni,
          deviceName: device,
          ipv4Config: { primaryAddress: text(ipv4) },
          ipv6Config: { primaryAddress: text(ipv6) },
        })
        if (status.code !== 0) throw new Error(`createInterface ${id}: ${status.message}\n${log}`)
        return fromText(underlayRoute)
      },
      route: async ({ ipv4, ipv6 }, underlay) => {
        for (const [ipver, address, length] of [
          [IpVersion.IPV4, ipv4, 32],
          [IpVersion.IPV6, ipv6, 128],
        ] as const) {
          const prefix = { ip: { ipver, address: text(address) }, length }
          const nexthopAddress = { ipver: IpVersion.IPV6, address: text(underlay) }
          await call("deleteRoute", { vni, route: { prefix } })
          const { status } = await call("createRoute", {
            vni,
            route: { prefix, nexthopVni: vni, nexthopAddress },
          })
          if (status.code !== 0) throw new Error(`createRoute ${address}: ${status.message}`)
        }
      },
      counters: async () => {
        const method = DataplaneService.method.getCounters
        const { response } = await ask(ferrite, "getCounters", create(method.input))
        return new Map(
          response.counters.map((counter: { name: string; value: bigint }) => [
            counter.name,
            Number(counter.value),
          ]),
        )
      },
      kill: async () => {
        child.kill("SIGKILL")
        await exited(child)
        ironcore.close()
        ferrite.close()
      },
    }
  }

  /** `chardev` says which socket, and who listens; `device` more properties of the network device. */
  const startVm = async (which: string, chardev: string, mac: string, device: string): Promise<Vm> => {
    const child = childProcess.spawn(
      qemu,
      [
        ["-name", `${folder}/${which}`, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
        ["-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", "max", "-m", "192", "-serial", "stdio"],
        ["-object", "memory-backend-memfd,id=memory,size=192M,share=on"],
        ["-kernel", path.join(cache, "vmlinuz"), "-initrd", path.join(cache, "initramfs.gz")],
        ["-append", "console=ttyS0 quiet loglevel=3 mitigations=off tsc=reliable panic=-1"],
        ["-chardev", `socket,id=port,${chardev}`, "-netdev", "vhost-user,id=net,chardev=port"],
        // QEMU 7.2 under TCG fails with MSI-X and vhost-user.
        ["-device", `virtio-net-pci,netdev=net,mac=${mac},vectors=0${device}`],
      ].flat(),
      { stdio: ["pipe", "pipe", "pipe"] },
    )
    let console = ""
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (console += chunk.toString().replaceAll("\r", "")))
    const alive = () => {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`QEMU ended (${child.exitCode ?? child.signalCode}):\n${console}`)
    }
    await until(
      `${which} is up`,
      () => {
        alive()
        return console.includes("@@ up")
      },
      60_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${console}`)
    })
    let number = 0
    const answer = /^@@ begin (\d+)\n([^]*?)^@@ end \1 (\d+)$/m
    return {
      console: () => console,
      kill: async () => {
        child.kill("SIGKILL")
        await exited(child)
      },
      run: async (line, seconds = 20) => {
        const from = console.length
        const own = String(++number)
        child.stdin.write(`${own} ${line}\n`)
        let ran: Ran | undefined
        await until(
          `${which}: ${line}`,
          () => {
            alive()
            const found = answer.exec(console.slice(from))
            if (found?.[1] === own) ran = { output: found[2]!, status: Number(found[3]) }
            return ran !== undefined
          },
          seconds * 1000,
        ).catch((error: unknown) => {
          throw new Error(`${String(error)}\n${console.slice(from)}`)
        })
        return ran!
      },
    }
  }

  const tap = (which: string) => `${name}-${which}`.slice(0, 15)

  /** Moves the TAP of a guest into its namespace, which is made when it is not there. */
  const enter = (which: string, { ipv4, ipv6 }: Guest): Space => {
    const space = `${name}-${which}`
    const device = tap(which)
    const within = ["netns", "exec", space]
    sh(`
      ip netns list | grep -q '^${space}\\b' || ip netns add ${space}
      ip link set ${device} netns ${space}
      ip -n ${space} link set lo up
      ip -n ${space} link set ${device} up
      ip -n ${space} addr add ${ipv4}/32 dev ${device}
      ip -n ${space} addr add ${ipv6}/128 dev ${device} nodad
      ip -n ${space} route add 169.254.0.1 dev ${device}
      ip -n ${space} route add default via 169.254.0.1 dev ${device}
      ip -n ${space} -6 route replace default via fe80::1 dev ${device}`)
    return {
      run: (...command) => {
        const { status, stderr, stdout } = childProcess.spawnSync("ip", [...within, ...command], {
          encoding: "utf8",
          timeout: 30_000,
        })
        return { status: status ?? -1, output: stdout + stderr }
      },
      agent: async (...words) => {
        const child = childProcess.spawn("ip", [...within, path.join(folder, "agent"), ...words], {
          stdio: ["ignore", "pipe", "pipe"],
        })
        let said = ""
        for (const stream of [child.stdout, child.stderr])
          stream.on("data", (chunk: Buffer) => (said += chunk.toString()))
        const output = new Promise<string>((resolve) => child.once("close", () => resolve(said)))
        await until(`agent ${words.join(" ")}`, () => said !== "" || child.exitCode !== null)
        return { output: output.then((all) => all.replace("ready\n", "")) }
      },
    }
  }

  return {
    folder,
    startHost,
    startVm,
    tap,
    enter,
    /** Everything ends, also what a failed test left half way. */
    close: async () => {
      keeper.stdin.end()
      await exited(keeper)
    },
  }
}

/** What an agent's sink or pour says. */
export const flow = (line: string) => {
  const [bytes, millis, sum] = line.trim().split("\n").at(-1)!.split(" ")
  return { bytes: Number(bytes), gigabits: (Number(bytes) * 8) / Number(millis) / 1e6, sum }
}
