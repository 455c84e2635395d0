/** Types and codes of ICMP errors between IPv4 and IPv6: RFC 7915 sections 4.2 and 5.2. */

export interface IcmpError {
  readonly type: number
  readonly code: number
  /** The four bytes behind the checksum. */
  readonly rest: number
  /** Bytes of the quoted packet when extensions follow it (RFC 4884); 0: all that is there. */
  readonly quoted: number
}

const leastMtu6 = 1_280
const growth = 20
const none = undefined

/** RFC 1191's plateaus, of which those below IPv6's least MTU are left out. */
const plateau = (length: number): number =>
  [65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492].find((size) => size < length) ?? leastMtu6

const unreachableTo6 = [0, 0, none, 4, none, 0, 0, 0, 0, 1, 1, 0, 0, 1, none, 1]
const pointerTo6 = [0, 1, 4, 4, none, none, none, none, 7, 6, none, none, 8, 8, 8, 8, 24, 24, 24, 24]
const unreachableTo4 = [1, 10, 1, 1, 3]
const pointerTo4 = [0, 1, none, none, 2, 2, 9, 8]

/** `length`: of the quoted packet by its header. */
export const errorTo6 = (error: IcmpError, length: number): IcmpError | undefined => {
  const { code, rest, type } = error
  const quoted = type === 3 || type === 11 || type === 12 ? ((rest >>> 16) & 0xff) * 4 : 0
  const as = (newType: number, newCode: number | undefined, newRest = 0): IcmpError | undefined =>
    newCode === undefined ? undefined : { type: newType, code: newCode, rest: newRest, quoted }
  if (type === 3 && code === 2) return as(4, 1, 6)
  if (type === 3 && code === 4) {
    const mtu = rest & 0xffff
    return as(2, 0, Math.max(leastMtu6, mtu === 0 ? plateau(length) : mtu + growth))
  }
  if (type === 3) return as(1, unreachableTo6[code])
  if (type === 11) return as(3, code)
  const pointer = pointerTo6[rest >>> 24]
  return type === 12 && (code === 0 || code === 2) && pointer !== undefined ? as(4, 0, pointer) : undefined
}

const fieldTo4 = (pointer: number): number | undefined =>
  pointer < 8 ? pointerTo4[pointer] : pointer < 24 ? 12 : pointer < 40 ? 16 : undefined

export const errorTo4 = (error: IcmpError): IcmpError | undefined => {
  const { code, rest, type } = error
  const quoted = type === 1 || type === 3 ? (rest >>> 24) * 8 : 0
  const as = (newType: number, newCode: number | undefined, newRest = 0): IcmpError | undefined =>
    newCode === undefined ? undefined : { type: newType, code: newCode, rest: newRest, quoted }
  if (type === 1) return as(3, unreachableTo4[code])
  if (type === 2) return as(3, 4, Math.min(0xffff, Math.max(0, rest - growth)))
  if (type === 3) return as(11, code)
  if (type === 4 && code === 1) return as(3, 2)
  const field = type === 4 && code === 0 ? fieldTo4(rest) : undefined
  return field === undefined ? undefined : as(12, 0, field * 0x100_0000)
}
