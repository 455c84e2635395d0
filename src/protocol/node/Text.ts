/**
 * Addresses and prefixes as the node protocol carries them: text that is checked and made canonical once, at the
 * border. Everything behind it compares them as strings.
 */
import { Result, Schema, SchemaGetter } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

const canonical = <A>(
  expected: string,
  parse: (text: string) => Result.Result<A, unknown>,
  format: (value: A) => string,
) =>
  Schema.String.check(
    // 49 characters hold the longest prefix; nothing longer is worth parsing.
    Schema.makeFilter((text) =>
      text.length <= 49 && Result.isSuccess(parse(text)) ? undefined : `Expected ${expected}`,
    ),
  ).pipe(
    Schema.decode({
      // Checked above: what gets here parses.
      decode: SchemaGetter.transform((text: string) =>
        Result.match(parse(text), { onSuccess: format, onFailure: () => text }),
      ),
      encode: SchemaGetter.passthrough(),
    }),
  )

export const Ipv4Text = canonical("an IPv4 address", NetAddress.ipv4FromString, NetAddress.formatIp)
export const Ipv6Text = canonical("an IPv6 address", NetAddress.ipv6FromString, NetAddress.formatIp)

/** CIDR of either family, host bits zero. */
export const PrefixText = canonical(
  "a prefix with its host bits zero",
  IpNetwork.fromString,
  IpNetwork.format,
)

/** The /64 out of which a host's dataplane gives its underlay addresses. */
export const UnderlayPrefix = canonical(
  "an IPv6 /64 prefix",
  (text) =>
    Result.filterOrFail(
      IpNetwork.ipv6FromString(text),
      (network) => network.prefixLength === 64,
      () => "length",
    ),
  IpNetwork.format,
)
