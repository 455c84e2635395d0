/* Stage "edge": the door between the overlay and a plain network (docs/packet-path.md, "Edge").
 *
 * A router with no state of connections: from outside it finds the endpoint of an address, from the overlay the
 * neighbour outside. What a (direction, tuple) led to is remembered in a cache, one line an entry, that is valid under the
 * epochs that it was decided under; losing an entry costs one lookup. Neighbours outside are the worker's own.
 *
 * Edges of the graph: `encap` or another endpoint of this host; the outside port; answers to either side; a drop.
 */
#ifndef FERRITE_STAGE_EDGE_H
#define FERRITE_STAGE_EDGE_H

#include "port/outside.h"
#include "stage/act.h"

enum {
	EDGE_CACHE = 1 << 16,       /* entries of 64 bytes: 4 MB, resident as far as used, for all edges together */
	EDGE_OUTSIDE = 1 << 19,     /* in the index of a key's context: it came from outside */

	EDGE_NOTHING = 0,
	EDGE_ROUTE,                 /* to the next hop of a route: its number */
	EDGE_HOP,                   /* to an underlay address */
	EDGE_OUT,                   /* to a neighbour outside */
};

/* Where an address lies, or a packet goes. */
struct edge_way {
	uint8_t kind;
	uint8_t target[16];
};

struct edge_cached {
	uint32_t context, ports;
	uint8_t addresses[32];
	uint32_t epoch;
	uint8_t kind;
	uint8_t target[16];
	uint8_t spare[3];
};
_Static_assert(sizeof(struct edge_cached) == 64, "one cache line");

/* Cardinality: one per edge of this host, at most FERRITE_MAX_EDGES. The first part is changed between bursts only. */
struct edge {
	uint32_t index;
	uint32_t endpoint;
	uint32_t epoch;
	struct vni *vni;
	struct port *port;
	uint8_t underlay[16];
	struct outside_self self;
	uint8_t length4, length6;   /* of the prefixes on the link; 32 and 128: none but itself */
	uint8_t gateway4[4], gateway6[16];
	/* Worker. */
	uint64_t errors_next_ms;
	struct outside_table neighbours;
};

/* A burst of frames from the outside port. */
void edge_outside(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf **burst, unsigned count, struct tally *tally);
/* A packet that came to an edge's endpoint, classified. */
void edge_overlay(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tally *tally);
/* Frees what waits for neighbours. */
void edge_forget(struct edge *edge);
/* Puts an outer header before the packet and hands it to the endpoint of this host with the address `to`. */
void edge_near(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t from[16], const uint8_t to[16]);

/* Whether a packet of a VM that goes to this endpoint of this host leaves by it. */
static inline bool endpoint_is_edge(const struct ferrite_engine *engine, uint32_t place)
{
	return place != 0 && engine->endpoints.places[place].kind == ENDPOINT_EDGE;
}

#endif
