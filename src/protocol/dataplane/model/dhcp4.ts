/** DHCPv4 messages (RFC 2131, options RFC 2132, 3442 and 4578): the codec, and the answers of a dataplane's gateway. */
import { formatIpv4, ipv4At, macAt, macBytes, parseIpv4 } from "./address.ts"
import { type Bytes, concat, empty, fromAscii, put16, put32, u16, u32, u8 } from "./bytes.ts"

export const messageTypes = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const

export const optionCodes = {
  subnetMask: 1,
  router: 3,
  dns: 6,
  hostname: 12,
  mtu: 26,
  requestedAddress: 50,
  leaseSeconds: 51,
  messageType: 53,
  serverId: 54,
  vendorClass: 60,
  clientId: 61,
  userClass: 77,
  classlessRoutes: 121,
} as const

export interface Dhcp4 {
  readonly reply: boolean
  readonly transaction: number
  readonly broadcast: boolean
  /** ciaddr: what the client has already. */
  readonly clientAddress: string
  /** yiaddr: what it is given. */
  readonly yourAddress: string
  /** siaddr: where it boots from; absent: 0.0.0.0. */
  readonly nextServer?: string
  /** What it boots, at most 127 bytes; absent: nothing. */
  readonly bootFile?: string
  readonly clientMac: string
  /** giaddr: a relay's, where one carried the message. */
  readonly relay: string
  /** The last of a kind counts; long options are not joined (RFC 3396 is not spoken). */
  readonly options: ReadonlyMap<number, Bytes>
}

const cookie = 0x63825363
const fixed = 236

export const decodeDhcp4 = (bytes: Bytes): Dhcp4 | undefined => {
  if (bytes.length < fixed + 4 || u32(bytes, fixed) !== cookie) return undefined
  const op = u8(bytes, 0)
  if ((op !== 1 && op !== 2) || u8(bytes, 1) !== 1 || u8(bytes, 2) !== 6) return undefined
  const options = new Map<number, Bytes>()
  for (let at = fixed + 4; at < bytes.length;) {
    const code = u8(bytes, at)
    if (code === 255) break
    if (code === 0) {
      at++
      continue
    }
    const length = u8(bytes, at + 1)
    if (at + 2 + length > bytes.length) return undefined
    options.set(code, bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return {
    reply: op === 2,
    transaction: u32(bytes, 4),
    broadcast: (u16(bytes, 10) & 0x8000) !== 0,
    clientAddress: ipv4At(bytes, 12),
    yourAddress: ipv4At(bytes, 16),
    ...(u32(bytes, 20) === 0 ? {} : { nextServer: ipv4At(bytes, 20) }),
    ...(u8(bytes, 108) === 0 ? {} : { bootFile: textAt(bytes, 108, 128) }),
    relay: ipv4At(bytes, 24),
    clientMac: macAt(bytes, 28),
    options,
  }
}

/** Up to a NUL. */
const textAt = (bytes: Bytes, at: number, length: number): string => {
  const field = bytes.subarray(at, at + length)
  const end = field.indexOf(0)
  return String.fromCharCode(...(end < 0 ? field : field.subarray(0, end)))
}

/** A text in a field of fixed length, NUL behind it. */
const field = (text: string, length: number): Bytes => {
  const out = new Uint8Array(length)
  out.set(fromAscii(text).subarray(0, length - 1))
  return out
}

const four = (ip: string): Bytes => parseIpv4(ip) ?? new Uint8Array(4)

export const encodeDhcp4 = (message: Dhcp4): Bytes => {
  const options: Array<number> = []
  for (const [code, value] of message.options) options.push(code, value.length, ...value)
  return concat(
    [message.reply ? 2 : 1, 1, 6, 0],
    put32(message.transaction),
    [0, 0, message.broadcast ? 0x80 : 0, 0],
    four(message.clientAddress),
    four(message.yourAddress),
    four(message.nextServer ?? "0.0.0.0"),
    four(message.relay),
    macBytes(message.clientMac),
    new Uint8Array(10 + 64),
    field(message.bootFile ?? "", 128),
    put32(cookie),
    options,
    [255],
  )
}

/** Zero: it has none. */
export const messageType = (message: Dhcp4): number => {
  const value = message.options.get(optionCodes.messageType) ?? empty
  return value.length === 1 ? u8(value, 0) : 0
}

/** What the gateway tells its one client. */
export interface Lease4 {
  readonly address: string
  readonly gateway: string
  readonly mtu: number
  readonly dns: ReadonlyArray<string>
  readonly hostname: string | undefined
  /** Where a VM boots from by network, and which file iPXE then gets by HTTP. */
  readonly boot?: { readonly server: string; readonly file: string } | undefined
  /** 169.254.1.0/24 is behind the gateway. */
  readonly virtualServices?: boolean
}

const contains = (value: Bytes | undefined, text: string): boolean =>
  value !== undefined && String.fromCharCode(...value).includes(text)

/** UEFI firmware is sent to the iPXE loader by TFTP, and iPXE to its file by HTTP. */
const bootFileOf = (lease: Lease4, request: Dhcp4): string | undefined => {
  if (lease.boot === undefined || parseIpv4(lease.boot.server) === undefined) return undefined
  if (contains(request.options.get(optionCodes.userClass), "iPXE"))
    return `http://${lease.boot.server}/${lease.boot.file}`
  return contains(request.options.get(optionCodes.vendorClass), "PXEClient:Arch:00007")
    ? "ipxe/x86_64/ipxe.new"
    : undefined
}

/**
 * DISCOVER is offered, REQUEST is acknowledged, INFORM gets the settings without a lease. A REQUEST for another
 * address or of another server is not ours to grant: refused with NAK, respectively left alone. RELEASE and
 * DECLINE need no answer, since the address belongs to the interface and not to the lease.
 */
export const answerDhcp4 = (lease: Lease4, request: Dhcp4): Dhcp4 | undefined => {
  if (request.reply || request.relay !== "0.0.0.0") return undefined
  const type = messageType(request)
  const server = request.options.get(optionCodes.serverId)
  const foreign = server?.length === 4 && formatIpv4(server) !== lease.gateway
  if (type === messageTypes.request) {
    if (foreign) return undefined
    const wanted = request.options.get(optionCodes.requestedAddress)
    const asked = wanted?.length === 4 ? formatIpv4(wanted) : request.clientAddress
    if (asked !== "0.0.0.0" && asked !== lease.address) return reply(lease, request, messageTypes.nak)
    return reply(lease, request, messageTypes.ack)
  }
  if (type === messageTypes.discover) return reply(lease, request, messageTypes.offer)
  if (type === messageTypes.inform) return reply(lease, request, messageTypes.ack)
  return undefined
}

const reply = (lease: Lease4, request: Dhcp4, type: number): Dhcp4 => {
  const options = new Map<number, Bytes>([
    [optionCodes.messageType, Uint8Array.of(type)],
    [optionCodes.serverId, four(lease.gateway)],
  ])
  // RFC 6842: a client may have told itself apart.
  const client = request.options.get(optionCodes.clientId) ?? empty
  if (client.length >= 2 && client.length <= 64) options.set(optionCodes.clientId, client)
  const informed = messageType(request) === messageTypes.inform
  const bootFile = type === messageTypes.nak ? undefined : bootFileOf(lease, request)
  if (type !== messageTypes.nak) {
    if (!informed) options.set(optionCodes.leaseSeconds, Uint8Array.of(255, 255, 255, 255))
    options.set(optionCodes.subnetMask, Uint8Array.of(255, 255, 255, 255))
    options.set(optionCodes.mtu, Uint8Array.from(put16(lease.mtu)))
    // The gateway is on the link, and everything else behind it.
    const services = lease.virtualServices === true ? [24, 169, 254, 1, ...four(lease.gateway)] : []
    options.set(
      optionCodes.classlessRoutes,
      concat([16, 169, 254], [0, 0, 0, 0], [0], four(lease.gateway), services),
    )
    if (lease.dns.length > 0) options.set(optionCodes.dns, concat(...lease.dns.map(four)))
    if (lease.hostname !== undefined) options.set(optionCodes.hostname, fromAscii(lease.hostname))
    // Loaders that know no classless routes.
    if (bootFile !== undefined) options.set(optionCodes.router, four(lease.gateway))
  }
  return {
    reply: true,
    transaction: request.transaction,
    broadcast: request.broadcast,
    relay: "0.0.0.0",
    clientAddress: type === messageTypes.nak ? "0.0.0.0" : request.clientAddress,
    yourAddress: type === messageTypes.nak || informed ? "0.0.0.0" : lease.address,
    clientMac: request.clientMac,
    ...(bootFile === undefined || lease.boot === undefined
      ? {}
      : { nextServer: lease.boot.server, bootFile }),
    options,
  }
}
