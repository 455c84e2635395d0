/**
 * The least of a dataplane that a host's planners need: tables with the contract's codes, and a device that
 * refuses. Forgets the routes of a VNI with its last interface, as some do.
 */
import {
  type DataplaneListing,
  noServices,
  type InterfaceState,
  type Operation,
  type OperationResult,
  type RouteSpec,
  statusCodes,
} from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"

export interface TinyDataplane {
  readonly uuid: string
  readonly interfaces: Map<string, InterfaceState>
  readonly routes: Map<string, RouteSpec>
  readonly refusedDevices: Set<string>
  next: number
}

export const tinyDataplane = (uuid = "dataplane-1"): TinyDataplane => ({
  uuid,
  interfaces: new Map(),
  routes: new Map(),
  refusedDevices: new Set(),
  next: 1,
})

export const listing = (dataplane: TinyDataplane): DataplaneListing => {
  const interfaces = [...dataplane.interfaces.values()]
  const routes = [...dataplane.routes.values()]
  return {
    interfaces,
    routes,
    ...noServices,
    state: {
      uuid: dataplane.uuid,
      initialized: true,
      digest: digestOf(
        interfaces.map(({ spec }) => spec),
        routes,
      ),
      underlayPrefix: "fd00:f:1::/64",
      version: "tiny",
    },
  }
}

const code = (number: number, message = ""): OperationResult => ({ code: number, message })
const done = code(statusCodes.SUCCESS)

export const applyOne = (dataplane: TinyDataplane, operation: Operation): OperationResult => {
  const { interfaces, routes } = dataplane
  const hasVni = (vni: number) => [...interfaces.values()].some(({ spec }) => spec.vni === vni)
  const key = (vni: number, prefix: string) => `${vni} ${prefix}`
  switch (operation._tag) {
    case "CreateInterface": {
      const { spec } = operation
      if (dataplane.refusedDevices.has(spec.device)) return code(statusCodes.PORT_START, "no such device")
      const local = [spec.ipv4 && `${spec.ipv4}/32`, spec.ipv6 && `${spec.ipv6}/128`]
      const clash = [...interfaces.values()].some(
        (other) =>
          other.spec.id === spec.id ||
          other.spec.device === spec.device ||
          (other.spec.vni === spec.vni &&
            ((spec.ipv4 !== undefined && other.spec.ipv4 === spec.ipv4) ||
              (spec.ipv6 !== undefined && other.spec.ipv6 === spec.ipv6))),
      )
      if (clash) return code(statusCodes.ALREADY_EXISTS)
      if (local.some((prefix) => prefix && routes.has(key(spec.vni, prefix)))) {
        return code(statusCodes.ROUTE_EXISTS)
      }
      const index = (dataplane.next++).toString(16)
      const state = {
        spec,
        underlayAddress: `fd00:f:1::d001:0:0:${index}`,
        device: spec.device.replace("vtap:", ""),
      }
      interfaces.set(spec.id, state)
      return { ...done, interface: state }
    }
    case "DeleteInterface": {
      const there = interfaces.get(operation.id)
      if (there === undefined) return code(statusCodes.NOT_FOUND)
      interfaces.delete(operation.id)
      const { vni } = there.spec
      if (!hasVni(vni))
        for (const route of routes.values()) if (route.vni === vni) routes.delete(key(vni, route.prefix))
      return done
    }
    case "PutRoute": {
      const { prefix, vni } = operation.route
      if (!hasVni(vni)) return code(statusCodes.NO_VNI)
      const local = [...interfaces.values()].some(
        ({ spec }) => spec.vni === vni && (`${spec.ipv4}/32` === prefix || `${spec.ipv6}/128` === prefix),
      )
      if (local) return code(statusCodes.ROUTE_BAD_PORT)
      routes.set(key(vni, prefix), operation.route)
      return done
    }
    case "DeleteRoute":
      if (!hasVni(operation.vni)) return code(statusCodes.NO_VNI)
      return routes.delete(key(operation.vni, operation.prefix)) ? done : code(statusCodes.ROUTE_NOT_FOUND)
    default:
      return code(statusCodes.INVALID_ARGUMENT)
  }
}

export const applyAll = (
  dataplane: TinyDataplane,
  operations: ReadonlyArray<Operation>,
): ReadonlyArray<OperationResult> => operations.map((operation) => applyOne(dataplane, operation))
