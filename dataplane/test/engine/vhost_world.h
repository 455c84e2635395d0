/* A guest's memory with one virtqueue in it, and the driver's side of that: for the test and the fuzz target. */
#ifndef FERRITE_TEST_VHOST_WORLD_H
#define FERRITE_TEST_VHOST_WORLD_H

#include <stdlib.h>

#include "port/vhost_ring.h"

enum {
	GUEST_BYTES = 1 << 19,
	GUEST_PHYSICAL = 1 << 20,  /* where the guest sees its memory */
	GUEST_AVAIL = 0x8000,      /* the table of descriptors is before it */
	GUEST_USED = 0xa000,
	GUEST_TABLE = 0x10000,     /* of indirect descriptors */
	GUEST_DATA = 0x14000,
	GUEST_PIECES = 256,
};

struct guest {
	uint8_t *memory;
	struct guest_memory map;
	struct vhost_ring ring;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t free; /* descriptor that is used next */
	uint32_t room; /* data that is used next for room */
	struct vring_desc pieces[GUEST_PIECES];
};

static inline void guest_begin(struct guest *guest, uint16_t size, uint8_t header)
{
	if (guest->memory == NULL)
		guest->memory = aligned_alloc(4096, GUEST_BYTES);
	memset(guest->memory, 0, GUEST_DATA);
	guest->desc = (struct vring_desc *)(void *)guest->memory;
	guest->avail = (struct vring_avail *)(void *)(guest->memory + GUEST_AVAIL);
	guest->used = (struct vring_used *)(void *)(guest->memory + GUEST_USED);
	guest->free = 0;
	guest->room = GUEST_DATA;
	guest->map = (struct guest_memory){.count = 1, .regions[0] = {GUEST_PHYSICAL, GUEST_BYTES, guest->memory}};
	guest->ring = (struct vhost_ring){
		.desc = guest->desc, .avail = guest->avail, .used = guest->used, .memory = &guest->map, .number = 1,
		.size = size, .header = header,
	};
}

static inline void guest_available(struct guest *guest, uint16_t head)
{
	guest->avail->ring[guest->avail->idx & (guest->ring.size - 1)] = head;
	guest->avail->idx++;
}

/* Makes the first `count` of `pieces` available as a chain; its head. */
static inline uint16_t guest_offer(struct guest *guest, unsigned count)
{
	uint16_t head = guest->free, mask = (uint16_t)(guest->ring.size - 1);
	for (unsigned i = 0; i < count; i++) {
		struct vring_desc *at = &guest->desc[guest->free & mask];
		*at = guest->pieces[i];
		guest->free = (uint16_t)((guest->free + 1) & mask);
		if (i + 1 < count) {
			at->flags |= VRING_DESC_F_NEXT;
			at->next = guest->free;
		}
	}
	guest_available(guest, head);
	return head;
}

static inline void guest_offer_indirect(struct guest *guest, unsigned count)
{
	struct vring_desc *table = (struct vring_desc *)(void *)(guest->memory + GUEST_TABLE);
	for (unsigned i = 0; i < count; i++) {
		table[i] = guest->pieces[i];
		if (i + 1 < count) {
			table[i].flags |= VRING_DESC_F_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
	}
	guest->pieces[0] = (struct vring_desc){
		.addr = GUEST_PHYSICAL + GUEST_TABLE, .len = (uint32_t)(count * sizeof *table), .flags = VRING_DESC_F_INDIRECT};
	(void)guest_offer(guest, 1);
}

/* A packet of the guest with this header; NULL: an empty one. */
static inline void guest_packet(struct guest *guest, const struct vnet_header *vnet, uint32_t length)
{
	memset(guest->memory + GUEST_DATA, 0, guest->ring.header);
	if (vnet != NULL)
		memcpy(guest->memory + GUEST_DATA, vnet, VNET_LENGTH);
	guest->pieces[0] = (struct vring_desc){.addr = GUEST_PHYSICAL + GUEST_DATA, .len = guest->ring.header + length};
	(void)guest_offer(guest, 1);
}

/* A buffer of the guest to be filled, in one or two pieces. */
static inline uint16_t guest_room(struct guest *guest, uint32_t length, unsigned pieces)
{
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t part = i + 1 < pieces ? length / 3 : pieces == 1 ? length : length - length / 3;
		guest->pieces[i] = (struct vring_desc){
			.addr = GUEST_PHYSICAL + guest->room, .len = part, .flags = VRING_DESC_F_WRITE};
		guest->room += part;
	}
	return guest_offer(guest, pieces);
}

/* What lies in the buffers that came back, in order. */
static inline uint32_t guest_collect(struct guest *guest, uint8_t *to, uint32_t limit)
{
	uint32_t done = 0;
	for (uint16_t i = 0; i != guest->used->idx; i++) {
		const struct vring_used_elem *used = &guest->used->ring[i & (guest->ring.size - 1)];
		uint32_t left = used->len;
		for (uint32_t at = used->id; left > 0; at = guest->desc[at].next) {
			uint32_t part = guest->desc[at].len < left ? guest->desc[at].len : left;
			if (part > limit - done)
				abort();
			memcpy(to + done, guest->memory + (guest->desc[at].addr - GUEST_PHYSICAL), part);
			done += part;
			left -= part;
		}
	}
	return done;
}

#endif
