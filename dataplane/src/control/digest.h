/* The digest of what is programmed: XOR over all objects of the FNV-1a 64 hash of their text form.
 *
 * XOR makes it independent of order and cheap to keep: an object is hashed when it comes and when it goes. A
 * client that keeps the same sum of what it wants knows by one number whether anything differs.
 */
#ifndef FERRITE_CONTROL_DIGEST_H
#define FERRITE_CONTROL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "control.h"

#ifdef __cplusplus
extern "C" {
#endif

uint64_t control_fnv1a(const char *text, size_t length);
/* Of "i|<id>|<vni>|<ipv4>|<ipv6>|<device>|<hostname>", absent addresses empty. */
uint64_t control_digest_interface(const struct control_interface_spec *spec);
/* Of "r|<vni>|<prefix>|<next_hop>|<next_hop_vni>". The prefix must be masked. */
uint64_t control_digest_route(const struct ferrite_route_key *key, const ferrite_ipv6 *next_hop,
			      uint32_t next_hop_vni);

#ifdef __cplusplus
}
#endif
#endif
