/** `ferrite version`: of this program and what it runs on. */
import { Console, Effect, FileSystem } from "effect"
import { Command } from "effect/cli"
import { repository } from "../Region.ts"
import { version as ferrite } from "../Version.ts"

export const version = Command.make(
  "version",
  {},
  Effect.fnUntraced(function* () {
    const files = yield* FileSystem.FileSystem
    const engine = `${repository}/dataplane/build/ferrite-dataplane`
    const built = yield* Effect.orElseSucceed(files.exists(engine), () => false)
    yield* Console.log(`ferrite ${ferrite}`)
    yield* Console.log(`node ${process.versions.node}`)
    yield* Console.log(`dataplane ${built ? engine : "not built (ferrite demo and ferrite test build it)"}`)
  }),
).pipe(Command.withDescription("Show the versions of ferrite and of what it runs on"))
