/** Cases through the model, command by command: a generator looks at what came out before it decides what comes next. */
import { fromJson } from "@bufbuild/protobuf"
import { HashMap } from "effect"
import { OperationSchema } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type { Bytes } from "#protocol/dataplane/model/bytes.ts"
import { operate } from "#protocol/dataplane/model/control.ts"
import { type Input, step } from "#protocol/dataplane/model/pipeline.ts"
import { find, initial, limits, type ModelState } from "#protocol/dataplane/model/tables.ts"
import { decodeOperation } from "#protocol/dataplane/wire.ts"
import {
  type Case,
  type Command,
  gatewayMac,
  host,
  type Observation,
  type Options,
  type Outcome,
} from "./case.ts"

export interface Running {
  readonly obey: (command: Command) => Observation
  readonly counters: () => ReadonlyMap<string, bigint>
  readonly state: () => ModelState
  /** Flows that began, by how they are translated. */
  readonly begun: () => ReadonlyMap<string, bigint>
}

export const begin = (options: Options): Running => {
  let state: ModelState = {
    ...initial({
      uuid: "00000000-0000-4000-8000-000000000000",
      underlayPrefix: `${host.prefix}/64`,
      mtu: options.mtu,
      dns4: host.dns4,
      dns6: host.dns6,
      ports: new Map(host.ports.map((port) => [port, `ring:${port}`])),
      macs: new Map(host.ports.map((port) => [`ring:${port}`, gatewayMac(port)])),
      version: "model",
      routeCapacity: limits.routes,
      seed: options.seed,
      uplink: options.uplink,
      flowTimeout: options.flowTimeoutSeconds,
      flowLimit: options.flowLimit,
      firewallDefault: options.firewallDefault,
      services: options.services,
    }),
    initialized: true,
  }
  let now: number = host.start
  const begun = new Map<string, bigint>()
  const count = (name: string): void => void begun.set(name, (begun.get(name) ?? 0n) + 1n)
  const feed = (input: Input): Observation => {
    const next = step(state, input, now)
    for (let id = state.flows.next; id < next.state.flows.next; id++) {
      const tag = find(next.state.flows.all, id)?.translation
      if (tag !== undefined)
        count(`begun.${tag._tag}${"mapping" in tag && tag.mapping === undefined ? " shared" : ""}`)
    }
    state = next.state
    const emitted = next.outputs.map((output): { port: string; bytes: Bytes } =>
      output._tag === "ToPort"
        ? { port: output.device.slice(output.device.indexOf(":") + 1), bytes: output.frame }
        : { port: "", bytes: output.packet },
    )
    return { results: [], emitted }
  }
  const obey = (command: Command): Observation => {
    switch (command._tag) {
      case "Apply":
        return {
          results: command.operations.map((change) => {
            const done = operate(state, decodeOperation(fromJson(OperationSchema, change)))
            state = done.state
            return { code: done.result.code, message: done.result.message }
          }),
          emitted: [],
        }
      case "Frame":
        return feed({ _tag: "FromPort", device: `ring:${command.port}`, frame: command.bytes })
      case "Uplink":
        return feed({ _tag: "FromUnderlay", packet: command.bytes })
      case "Advance":
        now += command.milliseconds
        return { results: [], emitted: [] }
    }
  }
  return {
    obey,
    counters: () => new Map(HashMap.toEntries(state.counters)),
    state: () => state,
    begun: () => begun,
  }
}

/** What the model did, with `begun.` flows, too. */
export const told = (running: Running): ReadonlyMap<string, bigint> =>
  new Map([...running.counters(), ...running.begun()])

export const run = (one: Case): Outcome => {
  const running = begin(one.options)
  return { observations: one.commands.map(running.obey), counters: running.counters() }
}
