/** Devices of ports: given at start under a name, or made on demand. */
import type { ModelState } from "./tables.ts"

/** KIND:DEVICE that a device name stands for; `undefined`: neither a port given at start nor a kind that can be made. */
export const resolveDevice = (state: ModelState, device: string): string | undefined =>
  state.config.ports.get(device) ?? (device.startsWith("vtap:") ? device : undefined)

/** A kernel name; ports given at start were opened already. */
export const opens = (state: ModelState, device: string): boolean =>
  state.config.ports.has(device) || /^vtap:[^/\s%]{1,15}$/.test(device)
