/* What the underlay may bring: outer packets with any offload claim, and frames of neighbour discovery. */
#include <stdlib.h>

#include "engine/world.h"
#include "port/coalesce.h"
#include "port/link.h"
#include "port/segment.h"
#include "target.h"

static struct ferrite_engine *engine;
static struct vm vm;
static struct link_table table;

static void start(void)
{
	world_seed = 1; /* an input means the same tomorrow */
	engine = world_engine(1, "ring:fuzz", 1500);
	world_vm(&vm, engine, 1, 200, 1);
	memcpy(table.prefix, engine->prefix, 8);
	table.mac[0] = 2;
}

static struct segment *next(void *context)
{
	static struct segment piece;
	return &piece;
}

static struct rte_mbuf *buffer_of(const uint8_t *data, size_t size, const struct vnet_header *vnet)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL || !packet_copy_in(buffer, data, (uint32_t)size))
		abort();
	packet_of(buffer)->ip_offset = IPV6_LENGTH;
	if (!offload_read(&packet_of(buffer)->offload, vnet, IPV6_LENGTH, (uint32_t)size))
		packet_no_offload(packet_of(buffer));
	return buffer;
}

/* Input: ten bytes of a virtio-net header, then the packet. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t taken[FRAME_ROOM];
	struct vnet_header vnet;
	uint8_t answer[LINK_FRAME];
	struct link_entry *resolved;
	if (engine == NULL)
		start();
	if (size < VNET_LENGTH)
		return 0;
	memcpy(&vnet, data, VNET_LENGTH);
	data += VNET_LENGTH;
	size -= VNET_LENGTH;
	uint8_t *copy = malloc(size > 0 ? size : 1);
	memcpy(copy, data, size);
	(void)link_input(&table, copy, (uint32_t)size, 1, answer, &resolved);
	free(copy);

	struct rte_mbuf *buffer = buffer_of(data, size, &vnet);
	void *place = buffer->buf_addr;
	uint8_t *end = packet_data(buffer) + buffer->data_len;
	size_t rest = (size_t)((uint8_t *)place + buffer->buf_len - end);
	ASAN_POISON_MEMORY_REGION(end, rest);
	pipeline_uplink(engine, engine->uplink, &buffer, 1);
	pipeline_flush(engine);
	ASAN_UNPOISON_MEMORY_REGION(end, rest);
	while (ring_take(vm.end, taken, sizeof taken, NULL) > 0)
		continue;

	buffer = buffer_of(data, size, &vnet);
	end = packet_data(buffer) + buffer->data_len;
	rest = (size_t)((uint8_t *)buffer->buf_addr + buffer->buf_len - end);
	ASAN_POISON_MEMORY_REGION(end, rest);
	(void)segment_packet(buffer, 1600, next, NULL);
	ASAN_UNPOISON_MEMORY_REGION(end, rest);
	rte_pktmbuf_free(buffer);

	struct rte_mbuf *burst[3];
	struct vnet_header plain = {0};
	for (unsigned i = 0; i < 3; i++) {
		burst[i] = buffer_of(data, size, &plain);
		if (i > 0 && size > 100) /* a sequence that may follow, a checksum that may fit */
			packet_data(burst[i])[67]++;
	}
	rte_pktmbuf_free_bulk(burst, coalesce(burst, 3));
	if (rte_mempool_in_use_count(buffers.small) != 0 || rte_mempool_in_use_count(buffers.big) != 0)
		abort(); /* a leak */
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	uint8_t frame[2048];
	uint32_t length;
	bool wide = n % 2 == 1, gso = n >= 2;
	if (engine == NULL)
		start();
	if (n == 4) { /* a solicitation */
		memset(data, 0, VNET_LENGTH);
		struct link_table other = {.mac = {2, 1}};
		struct link_entry *entry = link_find(&other, vm.underlay.bytes, 0);
		return VNET_LENGTH + link_solicit(&other, entry, 0, data + VNET_LENGTH);
	}
	if (n > 4)
		return 0;
	length = (wide ? frame_udp6(frame, &vm, vm.ipv6, 400, 1) : frame_udp4(frame, &vm, vm.ipv4, 400, 1)) - 14;
	struct vnet_header vnet = {0};
	if (gso) {
		frame[wide ? 20 : 23] = PROTOCOL_TCP;
		frame[14 + (wide ? 40 : 20) + 12] = 0x50;
		vnet = (struct vnet_header){.flags = 1, .gso_type = wide ? GSO_TCP6 : GSO_TCP4, .gso_size = 100,
					    .checksum_start = wide ? 80 : 60, .checksum_offset = 16};
	}
	memcpy(data, &vnet, VNET_LENGTH);
	uint8_t *outer = data + VNET_LENGTH;
	memset(outer, 0, 40);
	outer[0] = 0x60;
	store16(outer + 4, length);
	outer[6] = wide ? 41 : 4;
	memcpy(outer + 24, vm.underlay.bytes, 16);
	memcpy(outer + 40, frame + 14, length);
	return VNET_LENGTH + 40 + length;
}
