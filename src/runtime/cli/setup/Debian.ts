/**
 * Debian packages that the native dataplane, the demo and the tests need: only what is missing is installed, and
 * only by root. The machine's own configuration is not touched.
 */
import { Clock, Effect, Schedule } from "effect"
import { existsSync } from "node:fs"
import { type CommandFailure, failed } from "../Failure.ts"
import { run } from "../Shell.ts"

/** To build the dataplane. */
export const buildPackages: ReadonlyArray<string> = [
  "g++",
  "libdpdk-dev",
  "libgrpc++-dev",
  "libmicrohttpd-dev",
  "libpcap-dev",
  "libprotobuf-dev",
  "meson",
  "ninja-build",
  "pkg-config",
  "protobuf-compiler",
  "protobuf-compiler-grpc",
]

/** To play VMs and look at them. */
export const runPackages: ReadonlyArray<string> = [
  "iperf3",
  "iproute2",
  "iputils-ping",
  "isc-dhcp-client",
  "util-linux",
]

/** What the real ring of the tests uses beyond that; QEMU for a real VM behind a vhost-user port. */
export const testPackages: ReadonlyArray<string> = [
  "curl",
  "ethtool",
  "python3",
  "python3-scapy",
  "qemu-system-x86",
  "tcpdump",
  "valgrind",
]

export const isRoot = (): boolean => process.getuid?.() === 0

/** Names of those that are not installed; all of them where this is no Debian. */
export const missing = (packages: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>> =>
  run("dpkg-query", ["-W", "-f=${Package} ${db:Status-Status}\n", ...packages], { accept: [1] }).pipe(
    Effect.map(({ stdout }) => {
      const installed = new Set(
        stdout
          .split("\n")
          .filter((line) => line.endsWith(" installed"))
          .map((line) => line.split(" ")[0]),
      )
      return packages.filter((name) => !installed.has(name))
    }),
    Effect.orElseSucceed(() => packages),
  )

/**
 * Installs what is missing. `say` hears of progress. Fails with the names where this is not root on a Debian, and
 * with apt's last words where apt fails.
 */
export const install = (
  packages: ReadonlyArray<string>,
  say: (doing: string) => Effect.Effect<void>,
): Effect.Effect<void, CommandFailure> =>
  Effect.gen(function* () {
    const absent = yield* missing(packages)
    if (absent.length === 0) return
    const byHand = `apt-get install ${absent.join(" ")}`
    if (!existsSync("/usr/bin/apt-get")) {
      return yield* failed(`this is no Debian; install what these packages hold: ${absent.join(" ")}`)
    }
    if (!isRoot()) return yield* failed("Debian packages are missing", [`Run as root: ${byHand}`])
    const env = { DEBIAN_FRONTEND: "noninteractive" }
    const apt = (args: ReadonlyArray<string>) =>
      run("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...args], { env, timeout: "15 minutes" })
    const begun = yield* Clock.currentTimeMillis
    const counting = (doing: string) =>
      Effect.gen(function* () {
        const seconds = Math.floor(((yield* Clock.currentTimeMillis) - begun) / 1000)
        yield* say(`${doing} (${seconds} s)`)
      }).pipe(Effect.repeat(Schedule.spaced("5 seconds")))
    const shown = <A, E>(doing: string, work: Effect.Effect<A, E>) =>
      Effect.raceFirst(work, Effect.andThen(counting(doing), Effect.never))
    const installing = shown(
      `installing ${absent.length} Debian packages: ${absent.join(" ")}`,
      apt(["install", "-y", "--no-install-recommends", ...absent]),
    )
    // A machine's package lists may be old or missing: read them when the first try needs them.
    yield* installing.pipe(
      Effect.catch(() =>
        Effect.andThen(shown("reading Debian's package lists", apt(["update"])), installing),
      ),
      Effect.mapError((error) =>
        failed("Debian packages can't be installed", [
          ...error.output.trim().split("\n").slice(-8),
          `Try by hand: apt-get update && ${byHand}`,
        ]),
      ),
    )
  })
