/* What a guest may write into its virtqueues: any descriptors, indexes and headers, in memory of exactly that size.
 *
 * Input: features, then what is laid over the table of descriptors (twelve entries), the available ring and the
 * begin of the data. The rings are walked both ways; a guest that breaks them may, but we read and write nothing
 * outside its memory, end, and lose no buffer.
 */
#include <stdlib.h>

#include "engine/vhost_world.h"
#include "engine/world.h"
#include "target.h"

enum { ENTRIES = 12, RING = 16, HEAD = 4, AVAIL = 4 + 2 * RING + 2 };

static struct guest guest;

static void lay(uint32_t at, const uint8_t **data, size_t *size, size_t most)
{
	size_t part = *size < most ? *size : most;
	memcpy(guest.memory + at, *data, part);
	*data += part;
	*size -= part;
}

static void prepare(const uint8_t *data, size_t size)
{
	guest_begin(&guest, RING, data[0] & 1 ? 12 : 10);
	guest.ring.mergeable = data[0] & 2;
	guest.ring.indirect = data[0] & 4;
	guest.ring.event_index = data[0] & 8;
	guest.ring.next = guest.ring.filled = guest.ring.published = data[1];
	data += HEAD;
	size -= HEAD;
	lay(0, &data, &size, ENTRIES * sizeof(struct vring_desc));
	lay(GUEST_AVAIL, &data, &size, AVAIL);
	lay(GUEST_TABLE, &data, &size, ENTRIES * sizeof(struct vring_desc));
	lay(GUEST_DATA, &data, &size, GUEST_BYTES - GUEST_DATA);
	if (!vhost_ring_sane(&guest.ring))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[9000];
	static struct ferrite_engine *engine;
	struct vnet_header vnet = {.flags = VNET_NEEDS_CHECKSUM};
	struct iovec parts[] = {{frame, 60}, {frame, sizeof frame - 60}};
	if (engine == NULL)
		engine = world_engine(1, "none", 1500);
	if (size < HEAD)
		return 0;
	prepare(data, size);
	for (unsigned i = 0; i < RING + 2; i++) {
		struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
		enum vhost_result result = vhost_ring_take(&guest.ring, buffer);
		if (result == VHOST_OK) {
			const struct offload *offload = &packet_of(buffer)->offload;
			if (buffer->pkt_len < ETHERNET_LENGTH || buffer->pkt_len > PACKET_LIMIT ||
			    (offload->needs_checksum && ETHERNET_LENGTH + (uint32_t)offload->checksum_start +
								    offload->checksum_offset + 2 > buffer->pkt_len))
				abort();
		}
		rte_pktmbuf_free(buffer);
		(void)vhost_ring_publish(&guest.ring);
		(void)vhost_ring_listen(&guest.ring, result == VHOST_EMPTY);
	}
	prepare(data, size);
	for (unsigned i = 0; i < RING; i++) {
		(void)vhost_ring_give(&guest.ring, &vnet, parts, 1 + i % 2);
		(void)vhost_ring_publish(&guest.ring);
	}
	if (rte_mempool_in_use_count(buffers.small) != 0 || rte_mempool_in_use_count(buffers.big) != 0)
		abort(); /* a leak */
	return 0;
}

/* Well-formed rings: of packets, of chains, of indirect tables, of room. */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	struct vring_desc table[ENTRIES], nested[ENTRIES];
	uint16_t avail[AVAIL / 2] = {0, 4, 0, 2, 4, 6};
	if (n > 5)
		return 0;
	memset(data, 0, 2048);
	data[0] = (uint8_t)(n == 5 ? 0 : n % 2 == 0 ? 7 : 15);
	for (uint16_t i = 0; i < ENTRIES; i++) {
		/* Some at the very end of the memory, where one byte more is a byte too much. */
		uint64_t at = GUEST_PHYSICAL + (i % 4 == 3 ? GUEST_BYTES - 400 : GUEST_DATA + 600u * i);
		table[i] = (struct vring_desc){.addr = at, .len = n < 2 || i % 2 == 1 ? 400 : 12};
		nested[i] = (struct vring_desc){.addr = at, .len = 100, .flags = i < 3 ? VRING_DESC_F_NEXT : 0,
						.next = (uint16_t)(i + 1)};
		if (n >= 2 && i % 2 == 0) {
			table[i].flags = VRING_DESC_F_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
		if (n == 4)
			table[i] = (struct vring_desc){.addr = GUEST_PHYSICAL + GUEST_TABLE, .len = 64,
						.flags = VRING_DESC_F_INDIRECT};
		if (n == 3 || n == 5)
			table[i].flags |= VRING_DESC_F_WRITE;
	}
	memcpy(data + HEAD, table, sizeof table);
	memcpy(data + HEAD + sizeof table, avail, AVAIL);
	memcpy(data + HEAD + sizeof table + AVAIL, nested, sizeof nested);
	return 2048;
}
