/* Packets in flight: an mbuf and, in its private area, what the engine knows about it.
 *
 * Cardinality: one pool of small and one of big buffers per process. A packet's headers are always in its first
 * segment; a super-packet has a second one, from the big pool, because a TAP is read before its size is known:
 * small buffer first, spill after it. No byte is moved for that.
 */
#ifndef FERRITE_PACKET_BUFFER_H
#define FERRITE_PACKET_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_prefetch.h>

enum {
	SMALL_ROOM = 2048,          /* bytes of a small buffer after the headroom */
	BIG_ROOM = 65535 - RTE_PKTMBUF_HEADROOM,
	SMALL_COUNT = 8192 - 1,     /* 2.5 KB each: 20 MB */
	BIG_COUNT = 512 - 1,        /* 64 KB each: 32 MB, resident only as far as used */
	BURST = 32,
	PACKET_LIMIT = 65535 + 14,  /* the longest frame that is passed on */

	/* Kinds of segmentation, as virtio-net numbers them. */
	GSO_NONE = 0,
	GSO_TCP4 = 1,
	GSO_TCP6 = 4,
	GSO_ECN = 0x80,
};

/* Offloads that are still to be done, as virtio-net says it, but counted from the inner IP header. */
struct offload {
	uint8_t needs_checksum;
	uint8_t gso;           /* GSO_* */
	uint16_t gso_size;
	uint16_t header_length;
	uint16_t checksum_start;
	uint16_t checksum_offset;
};

/* Cardinality: one per buffer; valid from receive to free. 64 bytes, one cache line. What is of the inner packet is
 * that of the packet as it is at this moment: translation changes it. */
struct packet {
	struct offload offload;
	uint16_t ip_offset;     /* of the inner IP header in the data; 0: the packet leaves as it is */
	uint64_t hash;          /* of the flow key; 20 bits of it go to the flow label */
	uint32_t context;       /* flow key: where it came from, family and protocol */
	uint32_t ports;
	uint16_t ip_length;     /* of the inner IP packet */
	uint16_t l4_offset;     /* of what follows the IP header, from the data's start */
	uint8_t family;         /* 4, 6; 0: something else, see `reason` */
	uint8_t protocol;
	uint8_t plain;          /* a flow can say all about it: whole, no ICMP error; from a VM: to a unicast MAC, from its own */
	uint8_t reason;
	uint8_t tcp_flags;
	uint8_t fragment;       /* FRAGMENT_* */
	uint8_t icmp;           /* ICMP_* */
	uint8_t passed;         /* how often one endpoint of this host handed it on to another */
	uint32_t interface;     /* that it came from or whose endpoint it came to; 0: none */
	uint32_t endpoint;      /* that it came to */
	uint32_t sender;        /* interface whose VM sent it; 0: the underlay */
	uint8_t spare[8];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct packet) == 64, "one cache line");

static inline struct packet *packet_of(const struct rte_mbuf *buffer)
{
	return rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)buffer);
}

static inline uint8_t *packet_data(const struct rte_mbuf *buffer)
{
	return rte_pktmbuf_mtod(buffer, uint8_t *);
}

static inline void packet_no_offload(struct packet *packet)
{
	packet->offload = (struct offload){0};
}

/* Copies the whole packet out; `limit` must hold it. Returns its length. */
uint32_t packet_copy_out(const struct rte_mbuf *buffer, void *to, uint32_t limit);
/* Fills an empty buffer (and, when it is long, a second one from the big pool). False: no memory, buffer is empty. */
bool packet_copy_in(struct rte_mbuf *buffer, const void *from, uint32_t length);

/* The pools of this process. */
struct buffer_pools {
	struct rte_mempool *small;
	struct rte_mempool *big;
};
extern struct buffer_pools buffers;

#endif
