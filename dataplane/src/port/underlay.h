/* The link layer of an uplink that has Ethernet below it: the MAC that an outer packet goes to, and which frames are ours.
 *
 * eth, vtap and pci share it; each brings how a frame leaves. The next MAC is, the first that there is:
 *   1. `peer=` of the specification;
 *   2. the kernel's neighbour for the gateway (without one: for a router) on the device, asked once a second;
 *   3. that of neighbour discovery (port/link.h): of the gateway, or of the destination's /64;
 *   4. on a point-to-point link (a TAP) the source of the overlay frame that was heard last, else broadcast;
 *   5. else none yet: the packet waits (LINK_HOLD of a neighbour) until discovery gives up.
 * The own MAC is that of the specification or device; a TAP without `mac=` takes the address that it is called by.
 */
#ifndef FERRITE_PORT_UNDERLAY_H
#define FERRITE_PORT_UNDERLAY_H

#include "port/link.h"
#include "port/port.h"
#include "port/spec.h"

enum { UNDERLAY_ASK_MS = 1000 };

struct underlay_ops {
	/* One frame of neighbour discovery, at once. */
	void (*frame)(struct port *port, const uint8_t *frame, uint32_t length);
	/* Takes an outer packet for this MAC; it has left at the latest with `flush`. */
	void (*packet)(struct port *port, struct rte_mbuf *buffer, const uint8_t mac[6]);
	void (*flush)(struct port *port);
};

/* Cardinality: one per uplink of kind eth, vtap or pci. */
struct underlay {
	struct port *port;
	const struct underlay_ops *ops;
	struct link_table table;      /* `table.mac` is ours */
	bool has_peer, point_to_point, own_only;
	bool mac_fixed, heard, kernel_knows;
	uint8_t peer[6], heard_mac[6], kernel_mac[6];
	int device, neighbours;       /* index in the kernel, 0: none; netlink socket, -1: none */
	uint64_t ask_ms;
	uint64_t unresolved, foreign;
};

/* `mac`: ours. `device`: index of the kernel's device whose neighbours count; 0: none. */
void underlay_init(struct underlay *underlay, struct port *port, const struct underlay_ops *ops,
		   const struct port_spec *spec, const uint8_t mac[6], int device);
void underlay_free(struct underlay *underlay);

/* Takes all of them. */
void underlay_transmit(struct underlay *underlay, struct rte_mbuf **burst, unsigned count);
/* True: an overlay packet, now without its link header. Else the caller frees it; what asks for us was answered.
 * `vnet`: NULL where the medium has none. */
bool underlay_accept(struct underlay *underlay, struct rte_mbuf *buffer, const struct vnet_header *vnet);
void underlay_tick(struct underlay *underlay, uint64_t now_ms);
/* Ethernet header of a packet to `mac`. */
void underlay_header(const struct underlay *underlay, uint8_t header[14], const uint8_t mac[6]);

#endif
