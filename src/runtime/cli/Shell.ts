/**
 * Programs of the machine, run to their end: `ip`, `ping`, `iperf3`, `dpkg-query`.
 *
 * The arguments are a list, never a line for a shell. Output is bounded, time too; interruption kills the program.
 */
import { Duration, Effect, Schema } from "effect"
import { execFile } from "node:child_process"

export interface ProgramOptions {
  readonly timeout?: Duration.Input
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Exit statuses that are no failure. */
  readonly accept?: ReadonlyArray<number>
}

export interface ProgramResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** A program is missing, ended with another status than it should, or took too long. */
export class ProgramFailed extends Schema.TaggedError<ProgramFailed>()("ProgramFailed", {
  command: Schema.String,
  reason: Schema.String,
  output: Schema.String,
}) {
  override get message(): string {
    const said = this.output.trim().split("\n").slice(-3).join("; ")
    return `\`${this.command}\` ${this.reason}${said === "" ? "" : `: ${said}`}`
  }
}

const maxOutput = 8 * 1024 * 1024

export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: ProgramOptions = {},
): Effect.Effect<ProgramResult, ProgramFailed> => {
  const line = [command, ...args].join(" ")
  const limit = Duration.fromInputUnsafe(options.timeout ?? "20 seconds")
  const fail = (reason: string, output: string) =>
    Effect.fail(new ProgramFailed({ command: line, reason, output }))
  return Effect.callback<ProgramResult, ProgramFailed>((resume) => {
    const child = execFile(
      command,
      [...args],
      {
        encoding: "utf8",
        maxBuffer: maxOutput,
        killSignal: "SIGKILL",
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        env: { ...process.env, LC_ALL: "C", ...options.env },
      },
      (error, stdout, stderr) => {
        if (!error) return resume(Effect.succeed({ exitCode: 0, stdout, stderr }))
        if (error.code === "ENOENT") return resume(fail("can't run, it is not installed", ""))
        const exitCode = typeof error.code === "number" ? error.code : -1
        if (options.accept?.includes(exitCode)) return resume(Effect.succeed({ exitCode, stdout, stderr }))
        const ended = error.signal ? `ended by ${error.signal}` : `ended with status ${String(error.code)}`
        return resume(fail(ended, stderr === "" ? stdout : stderr))
      },
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () => fail(`took longer than ${Duration.format(limit)}`, ""),
    }),
  )
}

/** Whether a program is on the path. */
export const isInstalled = (program: string): Effect.Effect<boolean> =>
  run("/bin/sh", ["-c", 'command -v "$1" >/dev/null', "sh", program], { timeout: "5 seconds" }).pipe(
    Effect.as(true),
    Effect.orElseSucceed(() => false),
  )
