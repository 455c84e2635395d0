/* Parts of the fast path as functions of bytes, to be compared one by one with those of the model. */
#ifndef FERRITE_REPLAY_PIECES_H
#define FERRITE_REPLAY_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PIECES_ROOM = 70000 };

/* One call, written in `in`; the length of what is written to `out`, of PIECES_ROOM bytes. False: not a call. Needs a
 * started environment. Numbers are big-endian, but ports, which are as in a packet.
 *
 *   'p' IP packet                        a tuple, or nothing: malformed
 *   'q' start of a packet, as quoted     likewise
 *   't' rewrite, IP packet               the packet, translated (IPv4)
 *   'e' rewrite, rewrite, IP packet      the ICMP error, translated; nothing: cannot
 *   'd' side4, side4, IP packet          IPv6 to IPv4 (down); nothing: cannot
 *   'w' side6, side6, IP packet          IPv4 to IPv6 (wide); nothing: cannot
 *   'r' IP packet                        the RST to it; nothing: none
 *   'u' type, code, rest (4), source (16), IP packet   the ICMP error about it; nothing: none
 *   'o' IP packet                        the echo reply to it; nothing: none
 *   'h' seed (4), IP packet              the hash that a choice is made by (4)
 *   'n' seed (4), VNI (4), IP packet     the hash that a NAT port is searched from (4)
 *   'm' slots (4), members of address (16) and weight (2)   the Maglev table, 2 bytes a slot
 *   'f' egress, default ingress, default egress, count (2), rules, IP packet   1: accepted, 0: not
 *
 * Tuple: family, protocol, fragment, icmp, ports (4), L4 offset (2), length (2), fragment id (4), TCP flags, ICMP type, code.
 * Rewrite: set, source (4), destination (4), source port (2), destination port (2). Sides: set, addresses, both ports.
 * Rule: egress, accept, family, protocol, source length, destination length, source (16), destination (16), four ports (2
 * each), ICMP type (2), code (2).
 */
bool pieces_call(const uint8_t *in, uint32_t length, uint8_t *out, uint32_t *written);

#ifdef __cplusplus
}
#endif
#endif
