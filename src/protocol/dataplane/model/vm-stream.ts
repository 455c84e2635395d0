/**
 * A model VM's TCP: its connections by key, a listener's new ones, and what their changes mean to whoever uses it.
 */
import { type Bytes, empty } from "./bytes.ts"
import { type Ipv4, type Ipv6, protocols } from "./ip.ts"
import * as Tcp from "./tcp.ts"
import * as Transport from "./transport.ts"
import {
  encodeIp,
  sendIp,
  sourceFor,
  still,
  followed,
  type Vm,
  type VmEvent,
  type VmTurn,
} from "./vm-state.ts"

const maxConnections = 1_024

const keyOf = (localPort: number, remote: Tcp.Peer): string => `${localPort} ${remote.address} ${remote.port}`

/** Room for 40 bytes of IPv6 and 20 of TCP. */
const segmentBytes = (vm: Vm): number => Math.max(1, vm.mtu - 60)

const sendSegments = (vm: Vm, key: string, next: Tcp.Turn): VmTurn => {
  const { local, remote } = next.connection
  const addresses = { source: local.address, destination: remote.address }
  const kept = { ...vm, connections: new Map(vm.connections).set(key, next.connection) }
  return next.segments.reduce(
    (all, segment) =>
      followed(all, (now) =>
        sendIp(
          now,
          encodeIp(
            addresses.source,
            addresses.destination,
            protocols.tcp,
            Transport.encodeTcp(addresses, segment),
          ),
        ),
      ),
    still(kept),
  )
}

export const transfer = (vm: Vm, to: string, port: number, data: Bytes): VmTurn => {
  const source = sourceFor(vm, to)
  if (source === undefined || vm.connections.size >= maxConnections) return still(vm)
  const local = { address: source, port: vm.nextPort }
  const remote = { address: to, port }
  return sendSegments(
    { ...vm, nextPort: vm.nextPort === 65_535 ? 40_000 : vm.nextPort + 1 },
    keyOf(local.port, remote),
    Tcp.open(local, remote, data, segmentBytes(vm)),
  )
}

export const receiveTcp = (vm: Vm, packet: Ipv4 | Ipv6): VmTurn => {
  const segment = Transport.decodeTcp(packet, packet.payload)
  if (segment === undefined) return still(vm)
  const local = { address: packet.destination, port: segment.destinationPort }
  const remote = { address: packet.source, port: segment.sourcePort }
  const key = keyOf(local.port, remote)
  const present = vm.connections.get(key)
  if (present !== undefined) {
    const next = Tcp.receive(present, segment)
    const after = sendSegments(vm, key, next)
    return { ...after, events: [...after.events, ...changes(present, next.connection)] }
  }
  const opening = segment.flags.syn === true && segment.flags.ack !== true
  if (opening && vm.listening.has(local.port) && vm.connections.size < maxConnections)
    return sendSegments(vm, key, Tcp.accept(local, remote, segment, segmentBytes(vm)))
  return segment.flags.rst === true ? still(vm) : refuse(vm, local, remote, segment)
}

const refuse = (vm: Vm, local: Tcp.Peer, remote: Tcp.Peer, segment: Transport.Tcp): VmTurn => {
  const addresses = { source: local.address, destination: remote.address }
  const length =
    segment.payload.length + (segment.flags.syn === true ? 1 : 0) + (segment.flags.fin === true ? 1 : 0)
  const reset = Transport.encodeTcp(addresses, {
    sourcePort: local.port,
    destinationPort: remote.port,
    sequence: segment.flags.ack === true ? segment.acknowledgement : 0,
    acknowledgement: (segment.sequence + length) % 0x1_0000_0000,
    flags: { rst: true, ack: true },
    window: 0,
    payload: empty,
  })
  return sendIp(vm, encodeIp(addresses.source, addresses.destination, protocols.tcp, reset))
}

const changes = (before: Tcp.Connection, after: Tcp.Connection): ReadonlyArray<VmEvent> => {
  const events: Array<VmEvent> = []
  if (!after.active && after.remoteClosed && !before.remoteClosed)
    events.push({
      _tag: "Received",
      from: after.remote.address,
      port: after.local.port,
      data: Tcp.receivedBytes(after),
    })
  const to = after.remote.address
  const { port } = after.remote
  if (after.active && Tcp.finished(after) && !Tcp.finished(before))
    events.push({ _tag: "Sent", to, port, bytes: after.data.length })
  if (after.active && after.reset && !before.reset) events.push({ _tag: "Refused", to, port })
  return events
}

/** Sends again what other sides have not acknowledged, and forgets connections that are over. */
export const retransmit = (vm: Vm): VmTurn => {
  const open = new Map([...vm.connections].filter(([, c]) => !c.reset && !Tcp.finished(c)))
  return [...open].reduce(
    (all, [key, connection]) => followed(all, (now) => sendSegments(now, key, Tcp.retransmit(connection))),
    still({ ...vm, connections: open }),
  )
}
