/* The digest of what is programmed: XOR over all objects of the FNV-1a 64 hash of their text form.
 *
 * XOR makes it independent of order and cheap to keep: an object is hashed when it comes and when it goes. A
 * client that keeps the same sum of what it wants knows by one number whether anything differs. The text forms are
 * those of ferrite.dataplane.v1.GetStateResponse.digest; they are hashed as they are written and never stored.
 */
#ifndef FERRITE_CONTROL_DIGEST_H
#define FERRITE_CONTROL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "edge.h"

#ifdef __cplusplus
extern "C" {
#endif

uint64_t control_fnv1a(const char *text, size_t length);
uint64_t control_digest_interface(const struct control_interface_spec *spec);
/* The prefix of the key must be masked. */
uint64_t control_digest_route(const struct ferrite_route_key *key, const ferrite_ipv6 *next_hop,
			      uint32_t next_hop_vni);
/* Of several hops, sorted by address. */
uint64_t control_digest_hops(const struct ferrite_route_key *key, const struct ferrite_hop *hops, unsigned count);
uint64_t control_digest_prefix(const struct control_prefix *prefix);
uint64_t control_digest_vip(const struct control_vip *vip);
uint64_t control_digest_nat(const struct control_nat *nat);
uint64_t control_digest_neighbor_nat(const struct ferrite_neighbor_nat *entry);
uint64_t control_digest_balancer(const struct control_balancer *balancer);
/* For qsort: by protocol, then first port. */
int control_balancer_port_order(const void *one, const void *other);
uint64_t control_digest_edge(const struct control_edge_spec *edge);
uint64_t control_digest_firewall(const struct control_firewall *firewall);

#ifdef __cplusplus
}
#endif
#endif
