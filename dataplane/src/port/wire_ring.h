/* One direction between two dataplanes of a machine: a byte ring in shared memory.
 *
 * The receiver makes it (a memfd, sealed against resizing) and hands it to the sender. The data area is mapped twice in
 * a row, so that a record never wraps. Neither side trusts the other: each keeps its own index in private memory, reads
 * the other's once per burst and checks it; a record's header is copied before it is checked. What a sender writes
 * counts only after it moved `head`, so a sender that dies while writing leaves nothing behind.
 */
#ifndef FERRITE_PORT_WIRE_RING_H
#define FERRITE_PORT_WIRE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

enum {
	WIRE_BYTES = 4 << 20,
	WIRE_HEAD_BYTES = 4096,
	WIRE_ALIGN = 64,
};

struct wire_shared {
	uint64_t head __attribute__((aligned(64)));     /* the sender's */
	uint64_t tail __attribute__((aligned(64)));     /* the receiver's */
	uint32_t sleeping;                              /* the receiver wants a wake-up */
};

struct wire_record {
	uint32_t length;
	struct vnet_header vnet;
	uint8_t spare[18];
};
_Static_assert(sizeof(struct wire_record) == 32, "fixed between processes");

struct wire_ring {
	struct wire_shared *shared;
	uint8_t *data;
	uint64_t position; /* ours: head of a sender, tail of a receiver */
	uint64_t other;    /* the peer's, when it was last checked */
	int kept;          /* descriptor of the memory, for a successor, and 1; 0: none */
};

/* The receiver's end; `descriptor` is for the peer, the caller closes it after sending. */
int wire_ring_make(struct wire_ring *ring, int *descriptor);
/* The sender's end of a descriptor that a peer sent; -EPROTO when it is not such a ring. */
int wire_ring_map(struct wire_ring *ring, int descriptor);
/* One of a predecessor's ends, where it stopped. */
int wire_ring_adopt(struct wire_ring *ring, int descriptor, bool receiver);
void wire_ring_free(struct wire_ring *ring);

enum wire_status { WIRE_OK, WIRE_FULL, WIRE_BROKEN };

/* Writes one packet behind what was written; invisible before `wire_ring_publish`. */
enum wire_status wire_ring_write(struct wire_ring *ring, const struct rte_mbuf *buffer);
/* True: the receiver wants a wake-up. */
bool wire_ring_publish(struct wire_ring *ring);
/* Fills up to `limit` buffers. False: the peer wrote what cannot be; what was read before it is still good. */
bool wire_ring_read(struct wire_ring *ring, struct rte_mbuf **burst, unsigned limit, unsigned *count,
		    struct port_counters *counters);
/* Asks for a wake-up, or no longer. True: there is something to read already. */
bool wire_ring_sleep(struct wire_ring *ring, bool asleep);

#endif
