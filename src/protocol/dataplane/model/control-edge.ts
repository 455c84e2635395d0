/** Operations on edges. */
import { type EdgeSpec, type EdgeState, statusCodes } from "../Dataplane.ts"
import { failed, type Step } from "./result.ts"
import type { Edge, ModelState } from "./tables.ts"

export const edgeState = (edge: Edge): EdgeState => ({
  spec: edge.spec,
  underlayAddress: edge.underlayAddress,
  device: edge.device,
})

export const putEdge = (state: ModelState, _asked: EdgeSpec): Step => failed(state, statusCodes.UNIMPLEMENTED)

export const deleteEdge = (state: ModelState, _name: string): Step => failed(state, statusCodes.UNIMPLEMENTED)
