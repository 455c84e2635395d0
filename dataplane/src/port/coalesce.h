/* Joins TCP segments of one flow, received in one burst, into a super-packet (receive offload in software).
 *
 * The opposite of port/segment.h: what a VM's kernel then sees is one packet with the offload that it would have got
 * from a device, for one system call instead of thirty. Joined are only neighbours of one inner flow with nothing to
 * tell them apart but sequence and length, each with a checksum that was verified here. Order within a flow stays.
 * Payload is chained, not copied: at most COALESCE_SEGMENTS buffers a packet.
 */
#ifndef FERRITE_PORT_COALESCE_H
#define FERRITE_PORT_COALESCE_H

#include "packet/buffer.h"

enum { COALESCE_SEGMENTS = BURST };

/* Works in place on outer IPv6 packets; the new count. */
unsigned coalesce(struct rte_mbuf **burst, unsigned count);

#endif
