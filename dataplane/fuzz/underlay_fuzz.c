/* What a link may bring to an uplink with Ethernet, with any claim of offloads; and what the kernel may say of neighbours. */
#include <stdlib.h>

#include "engine/world.h"
#include "port/neighbour.h"
#include "port/segment.h"
#include "port/underlay.h"
#include "target.h"

static struct ferrite_engine *engine;
static struct port port;
static struct underlay underlay;
static const uint8_t gateway[16] = {0xfe, 0x80, [15] = 1};

static void take_frame(struct port *to, const uint8_t *frame, uint32_t length)
{
	if (length != LINK_FRAME || frame[12] != 0x86)
		abort();
}

static struct segment *next(void *context)
{
	static struct segment piece;
	return &piece;
}

static void take_packet(struct port *to, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	(void)segment_packet(buffer, 1540, next, NULL);
	rte_pktmbuf_free(buffer);
}

static void flush(struct port *to)
{
}

static const struct underlay_ops ops = {.frame = take_frame, .packet = take_packet, .flush = flush};

static void start(void)
{
	const struct port_spec spec = {.kind = PORT_VTAP, .weight = 1};
	engine = world_engine(1, "ring:fuzz", 1500);
	port.engine = engine;
	underlay_init(&underlay, &port, &ops, &spec, (const uint8_t[6]){2}, 0);
	underlay.point_to_point = true;
}

/* Input: one byte of mode, ten of a virtio-net header, then the frame; or answers of netlink. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnet_header vnet;
	uint8_t mac[6];
	bool done;
	if (engine == NULL)
		start();
	if (size < 1 + VNET_LENGTH)
		return 0;
	uint8_t *copy = malloc(size);
	memcpy(copy, data, size);
	if (neighbour_parse(copy + 1, size - 1, 2, (copy[0] & 1) != 0 ? gateway : NULL, mac, &done) && (mac[0] & 1) != 0)
		abort();
	memcpy(&vnet, copy + 1, VNET_LENGTH);
	uint32_t length = (uint32_t)(size - 1 - VNET_LENGTH);
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL || !packet_copy_in(buffer, copy + 1 + VNET_LENGTH, length))
		abort();
	underlay.own_only = (copy[0] & 2) != 0;
	uint8_t *end = packet_data(buffer) + buffer->data_len;
	size_t rest = (size_t)((uint8_t *)buffer->buf_addr + buffer->buf_len - end);
	ASAN_POISON_MEMORY_REGION(end, rest);
	if (underlay_accept(&underlay, buffer, (copy[0] & 4) != 0 ? NULL : &vnet)) {
		/* And out again: to whoever sent it. */
		underlay_transmit(&underlay, &buffer, 1);
		buffer = NULL;
	}
	ASAN_UNPOISON_MEMORY_REGION(end, rest);
	rte_pktmbuf_free(buffer);
	underlay_tick(&underlay, 1);
	free(copy);
	if (rte_mempool_in_use_count(buffers.small) != 0 || rte_mempool_in_use_count(buffers.big) != 0)
		abort(); /* a leak */
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	if (engine == NULL)
		start();
	memset(data, 0, 200);
	uint8_t *frame = data + 1 + VNET_LENGTH;
	if (n == 0) { /* an overlay packet */
		store16(frame + 12, ETHERTYPE_IPV6);
		frame[14] = 0x60;
		store16(frame + 18, 40);
		frame[20] = PROTOCOL_IPV4;
		memcpy(frame + 38, engine->prefix, 8);
		frame[54] = 0x45;
		store16(frame + 56, 40);
		frame[63] = PROTOCOL_TCP;
		frame[86] = 0x50;
		return 1 + VNET_LENGTH + 94;
	}
	if (n == 1) { /* a reply of a virtual service */
		store16(frame + 12, ETHERTYPE_IPV6);
		frame[14] = 0x60;
		store16(frame + 18, 20);
		frame[20] = PROTOCOL_UDP;
		memcpy(frame + 38, engine->prefix, 8);
		frame[46] = 0xd0;
		frame[47] = 0xff;
		return 1 + VNET_LENGTH + 74;
	}
	if (n == 2) { /* a neighbour: header, device 2, state, address, MAC */
		static const uint8_t message[] = {
			68, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0x80, 1,
			20, 0, 1, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 0, 2, 0, 2, 0, 0, 0, 0, 1,
		};
		data[0] = 1;
		memcpy(data + 1, message, sizeof message);
		return 1 + 68;
	}
	return 0;
}
