/** DHCPv6 messages (RFC 8415): the codec of what one address needs, and the answers of a dataplane's gateway. */
import { ipv6At, macBytes, parseIpv6 } from "./address.ts"
import { type Bytes, concat, equal, put16, put32, u16, u32, u8 } from "./bytes.ts"

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
  address: 5,
  optionRequest: 6,
  elapsedTime: 8,
  statusCode: 13,
  rapidCommit: 14,
  dns: 23,
} as const

export const statusCodes = { success: 0, noAddressesAvailable: 2, noBinding: 3, notOnLink: 4 } as const

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

/** `undefined`: an option reaches beyond the end. */
export const decodeOptions = (bytes: Bytes): ReadonlyArray<Option> | undefined => {
  const out: Array<Option> = []
  for (let at = 0; at < bytes.length;) {
    const length = u16(bytes, at + 2)
    if (at + 4 + length > bytes.length) return undefined
    out.push({ code: u16(bytes, at), value: bytes.subarray(at + 4, at + 4 + length) })
    at += 4 + length
  }
  return out
}

export const encodeOptions = (options: ReadonlyArray<Option>): Bytes =>
  concat(...options.flatMap(({ code, value }) => [put16(code), put16(value.length), value]))

export const decodeDhcp6 = (bytes: Bytes): Dhcp6 | undefined => {
  if (bytes.length < 4) return undefined
  const options = decodeOptions(bytes.subarray(4))
  return options === undefined
    ? undefined
    : { type: u8(bytes, 0), transaction: u32(bytes, 0) % 0x100_0000, options }
}

export const encodeDhcp6 = (message: Dhcp6): Bytes =>
  concat(put32(message.type * 0x100_0000 + message.transaction), encodeOptions(message.options))

export const option = (options: ReadonlyArray<Option>, code: number): Bytes | undefined =>
  options.find((candidate) => candidate.code === code)?.value

/** An IA_NA (option 3) and what is in it. */
export interface Association {
  readonly id: number
  readonly addresses: ReadonlyArray<string>
  readonly status: number | undefined
}

export const decodeAssociation = (value: Bytes): Association | undefined => {
  if (value.length < 12) return undefined
  const inner = decodeOptions(value.subarray(12))
  if (inner === undefined) return undefined
  const status = option(inner, optionCodes.statusCode)
  return {
    id: u32(value, 0),
    addresses: inner
      .filter((o) => o.code === optionCodes.address && o.value.length >= 24)
      .map((o) => ipv6At(o.value, 0)),
    status: status === undefined ? undefined : u16(status, 0),
  }
}

const infinite = [255, 255, 255, 255]

/** T1 and T2 zero: the server leaves the times to the client; lifetimes are infinite. */
export const encodeAssociation = (association: Association): Bytes =>
  concat(
    put32(association.id),
    new Uint8Array(8),
    encodeOptions([
      ...association.addresses.map((address) => ({
        code: optionCodes.address,
        value: concat(parseIpv6(address) ?? new Uint8Array(16), infinite, infinite),
      })),
      ...(association.status === undefined
        ? []
        : [{ code: optionCodes.statusCode, value: Uint8Array.from(put16(association.status)) }]),
    ]),
  )

/** What the gateway tells its one client. */
export interface Lease6 {
  readonly address: string | undefined
  readonly dns: ReadonlyArray<string>
  readonly gatewayMac: string
}

/** DUID-LL of a MAC (RFC 8415 §11.4). */
export const duid = (mac: string): Bytes => concat([0, 3, 0, 1], macBytes(mac))

/**
 * SOLICIT is advertised, or granted at once where the client offers rapid commit; REQUEST, RENEW and REBIND get
 * the interface's one address; CONFIRM is NotOnLink for any other; RELEASE and DECLINE are acknowledged without
 * effect; INFORMATION-REQUEST gets the settings. A message for another server, or without a client id where one
 * is due, is left alone.
 */
export const answerDhcp6 = (lease: Lease6, request: Dhcp6): Dhcp6 | undefined => {
  const m = messageTypes
  const client = option(request.options, optionCodes.clientId)
  const server = option(request.options, optionCodes.serverId)
  const own = duid(lease.gatewayMac)
  const addressed = server !== undefined && equal(server, own)
  const named: ReadonlyArray<number> = [m.request, m.renew, m.release, m.decline]
  const open: ReadonlyArray<number> = [m.solicit, m.confirm, m.rebind]
  const informing = request.type === m.informationRequest
  if (
    named.includes(request.type)
      ? !addressed
      : open.includes(request.type)
        ? server !== undefined
        : !informing
  )
    return undefined
  if (client === undefined ? !informing : client.length === 0 || client.length > 130) return undefined
  if (informing && server !== undefined && !addressed) return undefined

  const associations = request.options
    .filter((o) => o.code === optionCodes.identityAssociation)
    .map((o) => decodeAssociation(o.value))
    .filter((a) => a !== undefined)
  const rapid = request.type === m.solicit && option(request.options, optionCodes.rapidCommit) !== undefined
  const options: Array<Option> = []
  if (client !== undefined) options.push({ code: optionCodes.clientId, value: client })
  options.push({ code: optionCodes.serverId, value: own })
  if (rapid) options.push({ code: optionCodes.rapidCommit, value: new Uint8Array(0) })

  const granting: ReadonlyArray<number> = [m.solicit, m.request, m.renew, m.rebind]
  if (granting.includes(request.type)) {
    for (const association of associations)
      options.push({
        code: optionCodes.identityAssociation,
        value: encodeAssociation({
          id: association.id,
          addresses: lease.address === undefined ? [] : [lease.address],
          status: lease.address === undefined ? statusCodes.noAddressesAvailable : undefined,
        }),
      })
  } else if (request.type === m.confirm) {
    const right = associations.every((a) => a.addresses.every((address) => address === lease.address))
    options.push(status(right ? statusCodes.success : statusCodes.notOnLink))
  } else if (!informing) options.push(status(statusCodes.success))

  if (lease.dns.length > 0)
    options.push({
      code: optionCodes.dns,
      value: concat(...lease.dns.map((address) => parseIpv6(address) ?? new Uint8Array(16))),
    })
  return {
    type: request.type === m.solicit && !rapid ? m.advertise : m.reply,
    transaction: request.transaction,
    options,
  }
}

const status = (code: number): Option => ({
  code: optionCodes.statusCode,
  value: Uint8Array.from(put16(code)),
})
