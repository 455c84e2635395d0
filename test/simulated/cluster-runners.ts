/**
 * Several controllers in one process, driven by the clock, so that a test clock decides when leases expire. What
 * would be a database and a network are tables here; a killed controller loses both at once and releases nothing.
 */
import { Clock, type Context, Deferred, Duration, Effect, Exit, Layer, Option, Schema, Scope } from "effect"
import {
  ClusterError,
  MachineId,
  Message,
  MessageStorage,
  Reply,
  type Runner,
  RunnerAddress,
  RunnerHealth,
  Runners,
  RunnerStorage,
  Sharding,
  ShardingConfig,
  Snowflake,
} from "effect/cluster"

const codecFor = Schema.toCodecJson as any
const nameOf = (address: RunnerAddress.RunnerAddress) => `${address.host}:${address.port}`

export const make = Effect.fnUntraced(function* (config: Partial<ShardingConfig.ShardingConfig["Service"]>) {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const leaseMillis = Duration.toMillis(
    Duration.fromInputUnsafe(config.shardLockExpiration ?? ShardingConfig.defaults.shardLockExpiration),
  )
  const fresh = (since: number) => now() - since < leaseMillis
  const runners = new Map<
    string,
    { runner: Runner.Runner; healthy: boolean; beatMillis: number; id: number }
  >()
  const leases = new Map<string, { owner: string; sinceMillis: number }>()
  const alive = new Map<string, Sharding.Sharding["Service"]>()
  const down = new Set<string>()
  /** Done when a controller is killed: whoever waits for its answer notices as by a broken connection. */
  const deaths = new Map<string, Deferred.Deferred<void>>()
  let machines = 0

  const storageOf = (self: string) => {
    const step = <A>(body: () => A) =>
      Effect.suspend(() =>
        down.has(self)
          ? Effect.fail(new ClusterError.PersistenceError({ cause: "down" }))
          : Effect.sync(body),
      )
    return RunnerStorage.RunnerStorage.of({
      register: (runner, healthy) =>
        step(() => {
          const name = nameOf(runner.address)
          const id = runners.get(name)?.id ?? ++machines
          runners.set(name, { runner, healthy, beatMillis: now(), id })
          return MachineId.make(id)
        }),
      unregister: (address) => step(() => void runners.delete(nameOf(address))),
      getRunners: step(() =>
        [...runners.values()]
          .filter(({ beatMillis }) => fresh(beatMillis))
          .map(({ runner, healthy }) => [runner, healthy] as [Runner.Runner, boolean]),
      ),
      setRunnerHealth: (address, healthy) =>
        step(() => {
          const runner = runners.get(nameOf(address))
          if (runner !== undefined) runner.healthy = healthy
        }),
      acquire: (address, shards) =>
        step(() =>
          [...shards].filter((shard) => {
            const lease = leases.get(shard.toString())
            if (lease !== undefined && lease.owner !== nameOf(address) && fresh(lease.sinceMillis))
              return false
            leases.set(shard.toString(), { owner: nameOf(address), sinceMillis: now() })
            return true
          }),
        ),
      refresh: (address, shards) =>
        step(() => {
          const runner = runners.get(nameOf(address))
          if (runner !== undefined) runner.beatMillis = now()
          return [...shards].filter((shard) => {
            const lease = leases.get(shard.toString())
            if (lease?.owner !== nameOf(address)) return false
            lease.sinceMillis = now()
            return true
          })
        }),
      release: (address, shard) =>
        step(() => {
          if (leases.get(shard.toString())?.owner === nameOf(address)) leases.delete(shard.toString())
        }),
      releaseAll: (address) =>
        step(() => {
          for (const [shard, { owner }] of leases) if (owner === nameOf(address)) leases.delete(shard)
        }),
    })
  }

  const networkOf = (self: string) =>
    Layer.effect(
      Runners.Runners,
      Runners.make({
        codecFor,
        ping: (address) =>
          alive.has(nameOf(address))
            ? Effect.void
            : Effect.fail(new ClusterError.RunnerUnavailable({ address })),
        onRunnerUnavailable: () => Effect.void,
        notify: () => Effect.void,
        send: (({ address, message }: { address: RunnerAddress.RunnerAddress; message: any }) =>
          Effect.gen(function* () {
            const target = alive.get(nameOf(address))
            if (target === undefined || down.has(self)) {
              return yield* new ClusterError.RunnerUnavailable({ address })
            }
            if (message._tag === "OutgoingEnvelope") {
              return yield* target.send(new Message.IncomingEnvelope({ envelope: message.envelope }))
            }
            const envelope = yield* Effect.orDie(Message.serializeRequest(message, codecFor))
            const answered = yield* Deferred.make<void>()
            const back = (decoded: any) =>
              down.has(self) || down.has(nameOf(address))
                ? Effect.void
                : Effect.andThen(
                    message.respond(decoded),
                    decoded._tag === "WithExit" ? Deferred.succeed(answered, undefined) : Effect.void,
                  )
            yield* target.send(
              new Message.IncomingRequest({
                envelope,
                lastSentReply: Option.none(),
                codecFor,
                respond: (reply) =>
                  Reply.serialize(reply, codecFor).pipe(
                    Effect.flatMap((encoded) =>
                      Schema.decodeEffect(Reply.Reply(message.rpc, codecFor) as any)(encoded as any),
                    ),
                    Effect.provideContext(message.context as Context.Context<any>),
                    Effect.orDie,
                    Effect.flatMap(back),
                  ) as Effect.Effect<void>,
              }),
            )
            const death = Effect.andThen(
              Deferred.await(deaths.get(nameOf(address))!),
              Effect.fail(new ClusterError.RunnerUnavailable({ address })),
            )
            yield* Effect.raceFirst(Deferred.await(answered), death)
          })) as any,
      }),
    ).pipe(Layer.provide(Snowflake.layerGenerator))

  /** Starts a controller with its own instance of everything in `layer`. */
  const start = Effect.fnUntraced(function* <A>(
    port: number,
    layer: Layer.Layer<A, never, Sharding.Sharding>,
  ) {
    const address = RunnerAddress.make("controller", port)
    const self = nameOf(address)
    const scope = yield* Scope.fork(yield* Effect.scope)
    const whole = layer.pipe(
      Layer.provideMerge(Sharding.layer),
      Layer.provide(networkOf(self)),
      Layer.provide([
        MessageStorage.layerNoop,
        Layer.succeed(RunnerStorage.RunnerStorage, storageOf(self)),
        Layer.succeed(RunnerHealth.RunnerHealth, {
          isAlive: (other: RunnerAddress.RunnerAddress) => Effect.sync(() => alive.has(nameOf(other))),
        }),
      ]),
      Layer.provide(ShardingConfig.layer({ ...config, runnerAddress: Option.some(address) })),
      Layer.fresh,
    )
    const context = yield* Layer.buildWithScope(whole, scope)
    deaths.set(self, yield* Deferred.make<void>())
    alive.set(self, yield* Effect.provideContext(Sharding.Sharding, context))
    return {
      context,
      /** As by SIGKILL. */
      kill: Effect.suspend(() => {
        down.add(self)
        alive.delete(self)
        Deferred.doneUnsafe(deaths.get(self)!, Effect.void)
        return Effect.forkDetach(Scope.close(scope, Exit.void))
      }),
    }
  })
  return { start }
})
