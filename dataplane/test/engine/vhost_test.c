/* Virtqueues of a guest that this test plays: what a driver may do comes through, what it may not breaks its ring. */
#include "control/check.h"
#include "port/vhost_ring.h"
#include "vhost_world.h"
#include "world.h"

static struct guest guest;
static struct rte_mbuf *got;

static enum vhost_result take(void)
{
	if (got == NULL)
		got = rte_pktmbuf_alloc(buffers.small);
	CHECK(got != NULL);
	return vhost_ring_take(&guest.ring, got);
}

/* The packet that was taken is as long as this and counts up from `seed`. */
static void got_pattern(uint32_t length, uint8_t seed)
{
	static uint8_t data[FRAME_ROOM];
	CHECK_NUMBER(packet_copy_out(got, data, sizeof data), length);
	for (uint32_t i = 0; i < length; i++)
		if (data[i] != (uint8_t)(seed + i * 3)) {
			CHECK_NUMBER(i, length);
			break;
		}
	rte_pktmbuf_free(got);
	got = NULL;
}

static void fill(uint64_t address, uint32_t length, uint8_t seed)
{
	for (uint32_t i = 0; i < length; i++)
		guest.memory[address + i] = (uint8_t)(seed + i * 3);
}

static void packets_of_a_guest_come_whole_however_they_lie(void)
{
	/* Header and data in one piece, apart, cut inside the header, in many pieces, behind an indirect descriptor. */
	const uint32_t lengths[] = {14, 60, 1514, 2048, 2049, 9014, 65549};
	for (unsigned shape = 0; shape < 5; shape++)
		for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			uint32_t length = lengths[i], at = GUEST_DATA, left = 12 + length, part;
			unsigned count = 0;
			guest_begin(&guest, 64, 12);
			guest.ring.indirect = shape == 4;
			memset(guest.memory + at, 0, 12);
			fill(at + 12, length, (uint8_t)i);
			while (left > 0) {
				part = shape == 0 ? left : shape == 1 && count == 0 ? 12 : shape == 2 && count < 2 ? 7 :
				       shape >= 3 && left > 2000 ? 2000 : left;
				part = part < left ? part : left;
				guest.pieces[count++] = (struct vring_desc){.addr = GUEST_PHYSICAL + at, .len = part};
				at += part;
				left -= part;
			}
			if (shape == 4)
				guest_offer_indirect(&guest, count);
			else
				guest_offer(&guest, count);
			CHECK_NUMBER(take(), VHOST_OK);
			CHECK_NUMBER(packet_of(got)->ip_offset, 14);
			got_pattern(length, (uint8_t)i);
			CHECK_NUMBER(take(), VHOST_EMPTY);
			CHECK(vhost_ring_publish(&guest.ring));
			CHECK_NUMBER(guest.ring.used->idx, 1);
			CHECK_NUMBER(guest.ring.used->ring[0].len, 0);
		}
}

static void an_offload_passes_as_the_guest_says_it_or_the_packet_is_dropped(void)
{
	guest_begin(&guest, 16, 12);
	struct vnet_header vnet = {.flags = VNET_NEEDS_CHECKSUM, .gso_type = GSO_TCP4, .gso_size = 1448,
				   .header_length = 66, .checksum_start = 34, .checksum_offset = 16};
	guest_packet(&guest, &vnet, 5000);
	CHECK_NUMBER(take(), VHOST_OK);
	const struct offload *offload = &packet_of(got)->offload;
	CHECK_NUMBER(offload->needs_checksum, 1);
	CHECK_NUMBER(offload->gso, GSO_TCP4);
	CHECK_NUMBER(offload->gso_size, 1448);
	CHECK_NUMBER(offload->checksum_start, 20);
	CHECK_NUMBER(offload->checksum_offset, 16);
	rte_pktmbuf_free(got);
	got = NULL;
	vnet.checksum_start = 4999; /* the field would lie behind the packet */
	guest_packet(&guest, &vnet, 5000);
	CHECK_NUMBER(take(), VHOST_BAD);
	vnet = (struct vnet_header){.gso_type = 3, .gso_size = 1448}; /* UDP segmentation was not offered */
	guest_packet(&guest, &vnet, 5000);
	CHECK_NUMBER(take(), VHOST_BAD);
	CHECK(!guest.ring.broken);
	CHECK_NUMBER(guest.ring.filled, 3); /* also what is dropped is given back */
}

static void a_packet_that_cannot_be_costs_only_itself(void)
{
	const uint32_t lengths[] = {0, 13, PACKET_LIMIT + 1, 200000};
	guest_begin(&guest, 16, 12);
	for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		guest_packet(&guest, NULL, lengths[i]);
		CHECK_NUMBER(take(), VHOST_BAD);
	}
	guest.pieces[0] = (struct vring_desc){.addr = GUEST_PHYSICAL + GUEST_DATA, .len = 11}; /* no whole header */
	guest_offer(&guest, 1);
	CHECK_NUMBER(take(), VHOST_BAD);
	guest_packet(&guest, NULL, 60);
	CHECK_NUMBER(take(), VHOST_OK);
}

static void what_no_driver_does_breaks_the_ring(void)
{
	for (unsigned which = 0; which < 12; which++) {
		struct vring_desc *piece = guest.pieces;
		guest_begin(&guest, 16, 12);
		guest.ring.indirect = which != 9;
		*piece = (struct vring_desc){.addr = GUEST_PHYSICAL + GUEST_DATA, .len = 100};
		uint16_t head = guest_offer(&guest, 1);
		struct vring_desc *desc = &guest.desc[head];
		switch (which) {
		case 0: desc->addr = 0; break;                                   /* nowhere */
		case 1: desc->addr = GUEST_PHYSICAL + GUEST_BYTES - 50; break;   /* half of it nowhere */
		case 2: desc->addr = UINT64_MAX - 10; break;                     /* past the end of everything */
		case 3: desc->flags = VRING_DESC_F_NEXT; desc->next = head; break; /* for ever */
		case 4: desc->flags = VRING_DESC_F_NEXT; desc->next = 16; break; /* outside the table */
		case 5: desc->flags = VRING_DESC_F_WRITE; break;                 /* to be written, in a packet to be read */
		case 6: guest.avail->ring[0] = 16; break;
		case 7: guest.avail->idx = 17; break;                            /* more than there are */
		case 8: desc->flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT; desc->len = 32; break;
		case 9: desc->flags = VRING_DESC_F_INDIRECT; desc->len = 32; break; /* was not negotiated */
		case 10: desc->flags = VRING_DESC_F_INDIRECT; desc->len = 33; break;
		default: /* a table in a table */
			desc->flags = VRING_DESC_F_INDIRECT;
			desc->len = 32;
			*(struct vring_desc *)(void *)(guest.memory + GUEST_DATA) = (struct vring_desc){
				.addr = GUEST_PHYSICAL + GUEST_DATA, .len = 32, .flags = VRING_DESC_F_INDIRECT};
		}
		CHECK_NUMBER(take(), VHOST_BROKEN);
		guest_packet(&guest, NULL, 60);
		CHECK_NUMBER(take(), VHOST_BROKEN); /* and stays so */
		CHECK_NUMBER(guest.ring.filled, 0);
		CHECK(!vhost_ring_listen(&guest.ring, true));
	}
}

static uint8_t sent[FRAME_ROOM];

static enum vhost_result give(uint32_t length, unsigned parts)
{
	struct vnet_header vnet = {.flags = VNET_NEEDS_CHECKSUM, .gso_type = GSO_TCP6, .gso_size = 1428,
				   .checksum_start = 54, .checksum_offset = 16};
	struct iovec vector[PORT_PARTS];
	uint32_t done = 0;
	for (uint32_t i = 0; i < length; i++)
		sent[i] = (uint8_t)(i * 5 + (i >> 8));
	for (unsigned i = 0; i < parts; i++) {
		uint32_t part = i + 1 == parts ? length - done : length / parts;
		vector[i] = (struct iovec){sent + done, part};
		done += part;
	}
	return vhost_ring_give(&guest.ring, &vnet, vector, parts);
}

static void a_packet_to_a_guest_takes_as_many_buffers_as_it_needs(void)
{
	static uint8_t seen[FRAME_ROOM + 100];
	const uint32_t lengths[] = {60, 1514, 1515, 9000, 65549};
	for (unsigned i = 0; i < 5; i++)
		for (unsigned parts = 1; parts <= 3; parts++) {
			guest_begin(&guest, 128, 12);
			guest.ring.mergeable = true;
			for (unsigned n = 0; n < 60; n++)
				guest_room(&guest, 1526, 1 + n % 2);
			CHECK_NUMBER(give(lengths[i], parts), VHOST_OK);
			CHECK(vhost_ring_publish(&guest.ring));
			uint32_t buffers_used = (lengths[i] + 12 + 1525) / 1526;
			CHECK_NUMBER(guest.ring.used->idx, buffers_used);
			CHECK_NUMBER(guest.ring.next, buffers_used);
			uint32_t length = guest_collect(&guest, seen, sizeof seen);
			CHECK_NUMBER(length, lengths[i] + 12);
			CHECK_NUMBER(seen[10] | seen[11] << 8, buffers_used);
			CHECK_NUMBER(seen[0], 1);
			CHECK_NUMBER(seen[1], GSO_TCP6);
			CHECK_NUMBER(memcmp(seen + 12, sent, lengths[i]), 0);
		}
}

static void a_guest_without_room_loses_the_packet_and_nothing_else(void)
{
	guest_begin(&guest, 16, 12);
	guest.ring.mergeable = true;
	CHECK_NUMBER(give(60, 1), VHOST_EMPTY);
	guest_room(&guest, 1526, 1);
	guest_room(&guest, 1526, 1);
	CHECK_NUMBER(give(9000, 1), VHOST_EMPTY);
	CHECK_NUMBER(guest.ring.next, 0); /* nothing was taken for it */
	CHECK_NUMBER(give(1514, 1), VHOST_OK);
	CHECK_NUMBER(give(1514, 1), VHOST_OK);
	guest.ring.mergeable = false;
	guest_room(&guest, 1526, 1);
	CHECK_NUMBER(give(9000, 1), VHOST_BAD);
	CHECK_NUMBER(give(1514, 1), VHOST_OK);
	CHECK(!guest.ring.broken);
}

static void buffers_that_no_driver_posts_break_the_ring(void)
{
	for (unsigned which = 0; which < 5; which++) {
		guest_begin(&guest, 16, 12);
		guest.ring.mergeable = true;
		uint16_t head = guest_room(&guest, 1526, 1);
		struct vring_desc *desc = &guest.desc[head];
		switch (which) {
		case 0: desc->flags = 0; break;                    /* to be read */
		case 1: desc->addr = GUEST_PHYSICAL - 1; break;
		case 2: desc->len = 0; break;                      /* no room, for ever */
		case 3: desc->flags |= VRING_DESC_F_NEXT; desc->next = head; desc->len = 1; break;
		default: guest.avail->idx = 100;
		}
		CHECK_NUMBER(give(60, 1), VHOST_BROKEN);
		CHECK_NUMBER(guest.ring.filled, 0);
	}
	/* Room in pieces too small to be worth it: the packet is dropped, the ring lives. */
	guest_begin(&guest, 1024, 12);
	guest.ring.mergeable = true;
	for (unsigned i = 0; i < 1000; i++)
		guest_room(&guest, 16, 1);
	CHECK_NUMBER(give(9000, 1), VHOST_BAD);
	CHECK_NUMBER(give(1514, 1), VHOST_OK);
}

static void kicks_and_interrupts_come_when_they_were_asked_for(void)
{
	for (unsigned event = 0; event < 2; event++) {
		guest_begin(&guest, 16, 12);
		guest.ring.event_index = event == 1;
		uint16_t *kick_at = (uint16_t *)(void *)&guest.ring.used->ring[16];
		CHECK(!vhost_ring_listen(&guest.ring, true));
		CHECK_NUMBER(guest.ring.used->flags, 0);
		guest_packet(&guest, NULL, 60);
		CHECK_NUMBER(take(), VHOST_OK);
		(void)vhost_ring_listen(&guest.ring, false);
		CHECK_NUMBER(guest.ring.used->flags, event == 1 ? 0 : VRING_USED_F_NO_NOTIFY);
		guest_packet(&guest, NULL, 60); /* while it is quiet */
		CHECK(vhost_ring_listen(&guest.ring, true));
		CHECK_NUMBER(*kick_at, event == 1 ? 1 : 0);
		/* The guest wants none now: by flag, or by an entry that is far. */
		(void)vhost_ring_publish(&guest.ring);
		if (event == 1)
			guest.avail->ring[16] = 9;
		else
			guest.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
		rte_pktmbuf_free(got);
		got = NULL;
		CHECK_NUMBER(take(), VHOST_OK);
		CHECK(!vhost_ring_publish(&guest.ring));
		guest.avail->ring[16] = 2;
		guest.avail->flags = 0;
		guest_packet(&guest, NULL, 60);
		CHECK_NUMBER(take(), VHOST_OK);
		CHECK(vhost_ring_publish(&guest.ring));
		CHECK(!vhost_ring_publish(&guest.ring)); /* nothing new */
	}
}

static void indexes_wrap(void)
{
	guest_begin(&guest, 4, 12);
	guest.ring.next = guest.ring.filled = guest.ring.published = 65530;
	guest.avail->idx = guest.used->idx = 65530;
	for (unsigned i = 0; i < 20; i++) {
		guest_packet(&guest, NULL, 100 + i);
		CHECK_NUMBER(take(), VHOST_OK);
		CHECK_NUMBER(got->pkt_len, 100 + i);
		rte_pktmbuf_free(got);
		got = NULL;
		(void)vhost_ring_publish(&guest.ring);
		guest.free = 0; /* the driver has its descriptors back */
	}
	CHECK_NUMBER(guest.used->idx, (uint16_t)(65530 + 20));
}

static uint64_t logged;

static void count_log(int device, uint64_t address, uint64_t length)
{
	CHECK(address >= GUEST_PHYSICAL && length > 0);
	logged += length;
}

static void count_used(int device, uint16_t ring, uint64_t offset, uint64_t length)
{
	logged += 1000000;
}

static void what_is_written_is_logged_while_a_guest_migrates(void)
{
	guest_begin(&guest, 16, 12);
	guest.ring.mergeable = true;
	guest.map.wrote = count_log;
	guest.map.wrote_used = count_used;
	guest_room(&guest, 1526, 1);
	logged = 0;
	CHECK_NUMBER(give(1000, 2), VHOST_OK);
	(void)vhost_ring_publish(&guest.ring);
	CHECK_NUMBER(logged, 2001012); /* packet and header; a used entry, the index */
}

static void memory_in_pieces_is_one_memory(void)
{
	guest_begin(&guest, 16, 12);
	/* The same addresses from two regions that lie apart here. */
	static uint8_t elsewhere[GUEST_BYTES];
	guest.map.count = 2;
	guest.map.regions[0].size = GUEST_DATA + 100;
	guest.map.regions[1] = (struct guest_region){GUEST_PHYSICAL + GUEST_DATA + 100, 4096, elsewhere};
	memset(guest.memory + GUEST_DATA, 0, 12);
	fill(GUEST_DATA + 12, 88, 7);
	for (uint32_t i = 0; i < 412; i++)
		elsewhere[i] = (uint8_t)(7 + (88 + i) * 3);
	guest.pieces[0] = (struct vring_desc){.addr = GUEST_PHYSICAL + GUEST_DATA, .len = 512};
	guest_offer(&guest, 1);
	CHECK_NUMBER(take(), VHOST_OK);
	got_pattern(500, 7);
}

int main(void)
{
	struct ferrite_engine *engine = world_engine(1, "none", 1500);
	RUN(packets_of_a_guest_come_whole_however_they_lie);
	RUN(an_offload_passes_as_the_guest_says_it_or_the_packet_is_dropped);
	RUN(a_packet_that_cannot_be_costs_only_itself);
	RUN(what_no_driver_does_breaks_the_ring);
	RUN(a_packet_to_a_guest_takes_as_many_buffers_as_it_needs);
	RUN(a_guest_without_room_loses_the_packet_and_nothing_else);
	RUN(buffers_that_no_driver_posts_break_the_ring);
	RUN(kicks_and_interrupts_come_when_they_were_asked_for);
	RUN(indexes_wrap);
	RUN(what_is_written_is_logged_while_a_guest_migrates);
	RUN(memory_in_pieces_is_one_memory);
	rte_pktmbuf_free(got);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.big), 0);
	free(guest.memory);
	ferrite_engine_stop(engine);
	return CHECK_RESULT();
}
