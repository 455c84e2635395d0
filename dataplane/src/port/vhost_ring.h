/* A split virtqueue of a guest, walked by the host: packets out of its memory and into it.
 *
 * Walked here and not by rte_vhost's own burst functions because those keep of a super-packet only what mbuf flags
 * can say: where a partial checksum begins and what its field holds would be guessed again from the headers. What
 * stands in `struct offload` goes through unchanged this way.
 *
 * The guest writes all of this memory at any time. So: each word is read once, into a copy; an index is masked or
 * compared before use; a chain ends after as many descriptors as the ring has, and 1024 at most; an address counts
 * only as far as a region holds it. A guest that breaks the rules of the ring breaks its ring (`broken`), a packet
 * that is wrong in itself is dropped and its buffers are given back. Pure: no system call, no global; the fuzz
 * target runs it on memory of its own.
 *
 * Cardinality: two per guest; the worker's. Little-endian hosts only, as virtio 1.0 rings are.
 */
#ifndef FERRITE_PORT_VHOST_RING_H
#define FERRITE_PORT_VHOST_RING_H

#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "port/port.h"

enum {
	GUEST_REGIONS = 32,     /* of guest memory; rte_vhost takes 8 */
	VHOST_RING_LIMIT = 32768,
	VHOST_CHAIN_LIMIT = 1024, /* descriptors of one buffer */
	VHOST_CHAINS = 160,     /* buffers of a guest that one packet may take: 64 KB in pieces of 412 bytes */
	VHOST_PIECES = 320,     /* descriptors of them all */
	VHOST_HEADER_LIMIT = 12,
};

struct guest_region {
	uint64_t guest, size; /* guest-physical */
	uint8_t *host;
};

/* Guest memory, and who is told what is written there while the guest migrates. */
struct guest_memory {
	unsigned count;
	struct guest_region regions[GUEST_REGIONS];
	int device;
	/* NULL: nobody. */
	void (*wrote)(int device, uint64_t address, uint64_t length);
	void (*wrote_used)(int device, uint16_t ring, uint64_t offset, uint64_t length);
};

struct vhost_ring {
	volatile struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	const struct guest_memory *memory;
	uint16_t number;          /* 0: to the guest, 1: from it */
	uint16_t size;            /* a power of two */
	uint16_t next;            /* available entry that is read next */
	uint16_t filled;          /* used entry that is written next */
	uint16_t published;       /* used entries that the guest was shown */
	uint8_t header;           /* bytes of the virtio-net header: 10 or 12 */
	bool mergeable, indirect, event_index;
	bool quiet;               /* the guest was asked not to kick */
	bool told;                /* the guest was interrupted once since the ring came */
	bool broken;
};

enum vhost_result {
	VHOST_OK,
	VHOST_EMPTY,     /* no buffer of the guest is there, or not enough of them: nothing was consumed */
	VHOST_BAD,       /* this packet cannot be: consumed, dropped */
	VHOST_NO_MEMORY, /* of ours: consumed, dropped */
	VHOST_BROKEN,    /* the ring is broken, from now on */
};

/* False: no ring that could be walked. Everything but `quiet` and what follows it must be set. */
bool vhost_ring_sane(const struct vhost_ring *ring);

/* The next packet of the guest, with its offloads checked. `empty` holds a small buffer, which is taken when the
 * result is VHOST_OK. */
enum vhost_result vhost_ring_take(struct vhost_ring *ring, struct rte_mbuf *empty);

/* A packet to the guest, behind a header that says `vnet`. */
enum vhost_result vhost_ring_give(struct vhost_ring *ring, const struct vnet_header *vnet, const struct iovec *parts,
				  unsigned count);

/* Shows the guest what was used since. True: it wants an interrupt. */
bool vhost_ring_publish(struct vhost_ring *ring);

/* Whether the guest is to kick when it adds buffers. True from `on`: there are some already. */
bool vhost_ring_listen(struct vhost_ring *ring, bool on);

#endif
