/** DHCPv6 messages (RFC 8415, 5970): the codec of what one address needs, and the answers of a dataplane's gateway. */
import { ipv6At, macBytes, parseIpv6 } from "./address.ts"
import { type Bytes, concat, equal, fromAscii, put16, put32, u16, u32, u8 } from "./bytes.ts"

export const messageTypes = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  informationRequest: 11,
} as const

export const optionCodes = {
  clientId: 1,
  serverId: 2,
  identityAssociation: 3,
  temporaryAssociation: 4,
  address: 5,
  optionRequest: 6,
  preference: 7,
  elapsedTime: 8,
  statusCode: 13,
  rapidCommit: 14,
  userClass: 15,
  dns: 23,
  prefixDelegation: 25,
  bootFileUrl: 59,
  clientArchitecture: 61,
} as const

export const statusCodes = {
  success: 0,
  noAddressesAvailable: 2,
  noBinding: 3,
  notOnLink: 4,
  noPrefixAvailable: 6,
} as const

export interface Option {
  readonly code: number
  readonly value: Bytes
}

export interface Dhcp6 {
  readonly type: number
  /** 24 bits. */
  readonly transaction: number
  readonly options: ReadonlyArray<Option>
}

/** Up to the first option that reaches beyond the end. */
const wholeOptions = (bytes: Bytes): ReadonlyArray<Option> => {
  const out: Array<Option> = []
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = u16(bytes, at + 2)
    if (at + 4 + length > bytes.length) break
    out.push({ code: u16(bytes, at), value: bytes.subarray(at + 4, at + 4 + length) })
    at += 4 + length
  }
  return out
}

export const encodeOptions = (options: ReadonlyArray<Option>): Bytes =>
  concat(...options.flatMap(({ code, value }) => [put16(code), put16(value.length), value]))

/** What is cut off at the end is left out. */
export const decodeDhcp6 = (bytes: Bytes): Dhcp6 | undefined =>
  bytes.length < 4
    ? undefined
    : {
        type: u8(bytes, 0),
        transaction: u32(bytes, 0) % 0x100_0000,
        options: wholeOptions(bytes.subarray(4)),
      }

export const encodeDhcp6 = (message: Dhcp6): Bytes =>
  concat(put32(message.type * 0x100_0000 + message.transaction), encodeOptions(message.options))

export const option = (options: ReadonlyArray<Option>, code: number): Bytes | undefined =>
  options.find((candidate) => candidate.code === code)?.value

/** An IA_NA, IA_TA or IA_PD, and what is in it. */
export interface Association {
  readonly id: number
  readonly addresses: ReadonlyArray<{ readonly address: string; readonly validSeconds: number }>
  readonly status: number | undefined
}

/** Bytes before the options of an association: its id, and but for temporary ones two times. */
const headOf = (code: number): number => (code === optionCodes.temporaryAssociation ? 4 : 12)

export const decodeAssociation = (
  value: Bytes,
  code: number = optionCodes.identityAssociation,
): Association | undefined => {
  if (value.length < headOf(code)) return undefined
  const inner = wholeOptions(value.subarray(headOf(code)))
  const status = option(inner, optionCodes.statusCode)
  return {
    id: u32(value, 0),
    addresses: inner
      .filter((o) => o.code === optionCodes.address && o.value.length >= 24)
      .map((o) => ({ address: ipv6At(o.value, 0), validSeconds: u32(o.value, 20) })),
    status: status === undefined ? undefined : u16(status, 0),
  }
}

export const infiniteSeconds = 0xffff_ffff

/** T1 and T2 are infinite with an address, else zero. */
export const encodeAssociation = (
  association: Association,
  code: number = optionCodes.identityAssociation,
): Bytes =>
  concat(
    put32(association.id),
    new Uint8Array(headOf(code) - 4).fill(association.status === undefined ? 0xff : 0),
    encodeOptions([
      ...(association.status === undefined
        ? []
        : [{ code: optionCodes.statusCode, value: Uint8Array.from(put16(association.status)) }]),
      ...association.addresses.map(({ address, validSeconds }) => ({
        code: optionCodes.address,
        value: concat(parseIpv6(address) ?? new Uint8Array(16), put32(validSeconds), put32(validSeconds)),
      })),
    ]),
  )

/** What the gateway tells its one client. */
export interface Lease6 {
  readonly address: string | undefined
  readonly dns: ReadonlyArray<string>
  readonly gatewayMac: string
  /** Where a VM boots from by network (RFC 5970), and which file iPXE then gets by HTTP. */
  readonly boot?: { readonly server: string; readonly file: string } | undefined
}

/** UEFI firmware (architecture 7) is sent to the iPXE loader by TFTP, and iPXE to its file by HTTP. */
const bootFileUrl = (lease: Lease6, options: ReadonlyArray<Option>): string | undefined => {
  if (lease.boot === undefined || parseIpv6(lease.boot.server) === undefined) return undefined
  const all = (code: number) => options.filter((o) => o.code === code).map(({ value }) => value)
  if (all(optionCodes.userClass).some((value) => String.fromCharCode(...value).includes("iPXE")))
    return `http://[${lease.boot.server}]/${lease.boot.file}`
  const efi = all(optionCodes.clientArchitecture).some((value) =>
    Array.from({ length: value.length >> 1 }, (_, i) => u16(value, i * 2)).includes(7),
  )
  return efi ? `tftp://[${lease.boot.server}]/ipxe/x86_64/ipxe.new` : undefined
}

/** DUID-LL of a MAC (RFC 8415 §11.4). */
export const duid = (mac: string): Bytes => concat([0, 3, 0, 1], macBytes(mac))

/** Associations that are looked at. */
const maxAssociations = 4
const associationCodes: ReadonlySet<number> = new Set([
  optionCodes.identityAssociation,
  optionCodes.temporaryAssociation,
  optionCodes.prefixDelegation,
])

/** What a client may say. */
const questions: ReadonlySet<number> = new Set([
  messageTypes.solicit,
  messageTypes.request,
  messageTypes.confirm,
  messageTypes.renew,
  messageTypes.rebind,
  messageTypes.release,
  messageTypes.decline,
  messageTypes.informationRequest,
])

/**
 * A message that names another server is not for us. One that ought to name a server or its client and does not is
 * taken all the same (RFC 8415 §16 would have it left alone): nobody else is on this link, and loaders are careless.
 */
const addressed = (type: number, server: Bytes | undefined, own: Bytes): boolean =>
  questions.has(type) && (server === undefined || equal(server, own))

/** The last of a kind counts. */
const lastOption = (options: ReadonlyArray<Option>, code: number): Bytes | undefined =>
  options.findLast((candidate) => candidate.code === code)?.value

/**
 * SOLICIT is advertised, or granted at once where the client offers rapid commit; REQUEST, RENEW and REBIND get
 * the interface's one address, and an address that they hold otherwise is taken back; CONFIRM is NotOnLink for any
 * other; RELEASE and DECLINE are acknowledged without effect; INFORMATION-REQUEST gets the settings. There are
 * neither temporary addresses nor prefixes.
 */
export const answerDhcp6 = (lease: Lease6, request: Dhcp6): Dhcp6 | undefined => {
  const m = messageTypes
  const { type } = request
  const client = lastOption(
    request.options.filter((o) => o.code !== optionCodes.clientId || o.value.length <= 130),
    optionCodes.clientId,
  )
  const own = duid(lease.gatewayMac)
  if (!addressed(type, lastOption(request.options, optionCodes.serverId), own)) return undefined
  const associations = request.options
    .filter((o) => associationCodes.has(o.code) && o.value.length >= headOf(o.code))
    .slice(0, maxAssociations)
    .map((o) => ({ code: o.code, asked: decodeAssociation(o.value, o.code) }))
  const held = associations.flatMap(({ asked }) => asked?.addresses.map(({ address }) => address) ?? [])
  if (type === m.confirm && held.length === 0) return undefined

  const rapid = type === m.solicit && option(request.options, optionCodes.rapidCommit) !== undefined
  const options: Array<Option> = [{ code: optionCodes.serverId, value: own }]
  if (client !== undefined) options.push({ code: optionCodes.clientId, value: client })
  const answer = {
    type: type === m.solicit && !rapid ? m.advertise : m.reply,
    transaction: request.transaction,
  }
  if (type === m.confirm) {
    const right = held.every((address) => address === lease.address)
    return { ...answer, options: [...options, status(right ? statusCodes.success : statusCodes.notOnLink)] }
  }
  if (type === m.release || type === m.decline)
    return { ...answer, options: [...options, status(statusCodes.success)] }
  // Nobody else will answer: no need to wait.
  if (answer.type === m.advertise) options.push({ code: optionCodes.preference, value: Uint8Array.of(255) })
  if (rapid) options.push({ code: optionCodes.rapidCommit, value: new Uint8Array(0) })
  if (type !== m.informationRequest)
    for (const { asked, code } of associations)
      options.push({ code, value: encodeAssociation(grant(lease, type, code, asked), code) })
  if (lease.dns.length > 0)
    options.push({
      code: optionCodes.dns,
      value: concat(...lease.dns.map((address) => parseIpv6(address) ?? new Uint8Array(16))),
    })
  const url = bootFileUrl(lease, request.options)
  if (url !== undefined) options.push({ code: optionCodes.bootFileUrl, value: fromAscii(url) })
  return { ...answer, options }
}

const grant = (lease: Lease6, type: number, code: number, asked: Association | undefined): Association => {
  const lives = code === optionCodes.identityAssociation && lease.address !== undefined
  const none =
    code === optionCodes.prefixDelegation ? statusCodes.noPrefixAvailable : statusCodes.noAddressesAvailable
  const other = asked?.addresses.findLast(({ address }) => address !== lease.address)
  const withdrawn =
    code === optionCodes.identityAssociation && (type === messageTypes.renew || type === messageTypes.rebind)
  return {
    id: asked?.id ?? 0,
    addresses: [
      ...(lives && lease.address !== undefined
        ? [{ address: lease.address, validSeconds: infiniteSeconds }]
        : []),
      ...(withdrawn && other !== undefined ? [{ address: other.address, validSeconds: 0 }] : []),
    ],
    status: lives ? undefined : none,
  }
}

const status = (code: number): Option => ({
  code: optionCodes.statusCode,
  value: Uint8Array.from(put16(code)),
})
