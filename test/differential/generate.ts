/**
 * A case from a seed: a configuration, then packets, pauses and changes, each chosen after what the model did before.
 */
import type { Case, Command, Observation, Options, Outcome } from "./case.ts"
import { dice as makeDice } from "./dice.ts"
import { begin, told } from "./model.ts"
import { read } from "./packets.ts"
import {
  addDefault,
  addRoute,
  addVm,
  anyChange,
  disturb,
  emptyPlan,
  type Kind,
  type Plan,
  services,
  type Step,
} from "./plan.ts"
import { goingOn, pause, type Situation, traffic } from "./traffic.ts"

const defaults = ["accept", "accept", "drop", "rules"] as const

/** Of what went in and came out: as much as later packets refer to. */
const remembered = 60

export interface Generated {
  readonly case: Case
  /** What the model did meanwhile. */
  readonly model: Outcome
}

export const generate = (seed: number, packets: number, allowed: ReadonlySet<Kind>): Generated => {
  const dice = makeDice(seed)
  const options: Options = {
    seed: dice.below(0x1_0000_0000),
    mtu: dice.pick([1450, 1500, 1280, 1450, 1500, 1280, 9000]),
    uplink: !dice.oneIn(25),
    flowTimeoutSeconds: dice.pick([30, 30, 5]),
    ...(dice.oneIn(12) ? { flowLimit: dice.pick([2, 6]) } : {}),
    ...(dice.oneIn(6)
      ? { firewallDefault: { ingress: dice.pick(defaults), egress: dice.pick(defaults) } }
      : {}),
    ...(dice.oneIn(3) ? { services: services.slice(0, 1 + dice.below(3)) } : {}),
  }
  const running = begin(options)
  const commands: Array<Command> = []
  const observations: Array<Observation> = []
  const plan: Plan = emptyPlan(dice.oneIn(3) ? [100] : [100, 200])
  const situation: Situation = {
    plan,
    dice,
    mtu: options.mtu,
    services: options.services ?? [],
    emitted: [],
    sent: [],
  }
  const progress = { sent: 0 }

  const obey = (command: Command): void => {
    const observation = running.obey(command)
    commands.push(command)
    observations.push(observation)
    if (command._tag === "Frame" || command._tag === "Uplink") {
      progress.sent++
      remember(situation.sent, command)
    }
    for (const one of observation.emitted) remember(situation.emitted, one)
  }
  const change = (step: Step | undefined): void => {
    if (step === undefined) return
    const command: Command = { _tag: "Apply", operations: [step.change] }
    const observation = running.obey(command)
    commands.push(command)
    observations.push(observation)
    if (observation.results.every(({ code }) => code === 0)) step.done()
  }

  /** Super-packets are no longer than the MTU here: that is judged by their pieces, which the model knows nothing of. */
  const leftToDevice = (command: Command): Command => {
    if (command._tag !== "Frame") return command
    const { bytes, port } = command
    const seen = read(bytes.subarray(14))
    const segmented = seen?.protocol === 6 && seen.fragment === "whole" && seen.bytes.length <= options.mtu
    if (segmented && seen.l4.length > 32 && dice.oneIn(2))
      return { _tag: "Frame", port, bytes, segment: dice.pick([4, 8, 536, 1220]) }
    const whole = seen?.protocol === 6 || seen?.protocol === 17
    return { _tag: "Frame", port, bytes, ...(whole && dice.oneIn(4) ? { partial: true } : {}) }
  }

  for (let i = 2 + dice.below(4); i > 0; i--) change(addVm(plan, dice))
  for (const vni of new Set(plan.vms.map((vm) => vm.vni)))
    for (const prefix of ["0.0.0.0/0", "::/0"] as const)
      if (!dice.oneIn(4)) change(addDefault(plan, dice, vni, prefix))
  for (let i = 3 + dice.below(8); i > 0; i--) change(addRoute(plan, dice))
  for (let i = dice.below(14); i > 0; i--) change(anyChange(plan, dice, allowed))
  while (progress.sent < packets) {
    if (dice.oneIn(14)) {
      change(anyChange(plan, dice, allowed))
      // What lives is decided anew.
      for (let i = dice.below(5); i > 0; i--)
        for (const command of goingOn(situation)) obey(leftToDevice(command))
    }
    if (dice.oneIn(20)) {
      change(disturb(plan, dice, allowed))
      for (let i = 3; i > 0; i--) for (const command of goingOn(situation)) obey(leftToDevice(command))
    }
    if (dice.oneIn(10)) obey(pause(dice, options.flowTimeoutSeconds))
    for (const command of traffic(situation))
      if (options.uplink || command._tag !== "Uplink") obey(leftToDevice(command))
  }
  return { case: { options, commands }, model: { observations, counters: told(running) } }
}

const remember = <A>(list: Array<A>, one: A): void => {
  list.push(one)
  if (list.length > remembered) list.shift()
}
