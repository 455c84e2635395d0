/* What a VM may send: every frame through the whole access pipeline, DHCP messages alone as well. */
#include <stdlib.h>

#include "engine/world.h"
#include "stage/classify.h"
#include "stage/dhcp4.h"
#include "stage/dhcp6.h"
#include "target.h"

static struct ferrite_engine *engine;
static struct ring_end *underlay;
static struct vm vm, near;

static void start(void)
{
	world_seed = 1; /* an input means the same tomorrow */
	engine = world_engine(1, "ring:fuzz", 1500);
	underlay = ring_join("fuzz");
	world_vm(&vm, engine, 1, 200, 1);
	world_vm(&near, engine, 1, 200, 3);
	struct vm far = {.ipv4 = {10, 0, 0, 2}, .ipv6 = {0x20, 1, 0x0d, 0xb8, [15] = 2}, .underlay = {{0xfd, 0, 0, 15, 0, 2}}};
	world_route(engine, 200, &far);
}

/* The parsers alone, on memory of exactly that size. */
static void alone(const uint8_t *data, size_t size)
{
	const uint8_t dns[32] = {1};
	uint8_t answer[DHCP6_LIMIT], *copy = malloc(size > 0 ? size : 1);
	bool broadcast;
	memcpy(copy, data, size);
	struct dhcp4_lease lease4 = {.address = {10, 0, 0, 1}, .server = {169, 254, 0, 1}, .mtu = 1500, .dns = dns,
				     .dns_count = 8, .hostname = "host"};
	struct dhcp6_lease lease6 = {.has_address = true, .address = {0x20, 1}, .server = {0, 3, 0, 1}, .dns = dns,
				     .dns_count = 2};
	if (dhcp4_answer(&lease4, copy, size, answer, &broadcast) > DHCP4_LIMIT ||
	    dhcp6_answer(&lease6, copy, size, answer) > DHCP6_LIMIT)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t taken[FRAME_ROOM];
	if (engine == NULL)
		start();
	alone(data, size);
	if (size > 42)
		alone(data + 42, size - 42);
	if (size > 62)
		alone(data + 62, size - 62);
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	struct port *port = engine->ports[vm.port];
	if (buffer == NULL || !packet_copy_in(buffer, data, (uint32_t)size))
		abort();
	packet_no_offload(packet_of(buffer));
	packet_of(buffer)->ip_offset = ETHERNET_LENGTH;
	/* Reading behind the frame is a bug; writing an answer there is not, so only the classifier runs like this. */
	uint8_t *end = packet_data(buffer) + buffer->data_len;
	size_t rest = (size_t)((uint8_t *)buffer->buf_addr + buffer->buf_len - end);
	ASAN_POISON_MEMORY_REGION(end, rest);
	classify(engine, port->interface, buffer);
	ASAN_UNPOISON_MEMORY_REGION(end, rest);
	engine->now_ms += 100;
	pipeline_access(engine, port, &buffer, 1);
	pipeline_flush(engine);
	while (ring_take(underlay, taken, sizeof taken, NULL) > 0 || ring_take(vm.end, taken, sizeof taken, NULL) > 0 ||
	       ring_take(near.end, taken, sizeof taken, NULL) > 0)
		continue;
	if (rte_mempool_in_use_count(buffers.small) != 0 || rte_mempool_in_use_count(buffers.big) != 0)
		abort(); /* a leak */
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	const uint8_t to4[4] = {10, 0, 0, 2}, to6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 2}, gateway6[16] = {0xfe, 0x80, [15] = 1};
	const uint8_t local6[16] = {0xfe, 0x80, [15] = 9}, all6[16] = {0xff, 2, [13] = 1, 0, 2}, nobody[4] = {0};
	const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
	uint8_t dhcp4[280] = {1, 1, 6, 0, 1, 2, 3, 4, [236] = 99, 130, 83, 99, 53, 1, 1, 50, 4, 10, 0, 0, 1, 61, 3, 1, 2, 3, 255};
	uint8_t dhcp6[] = {1, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 3, 0, 40, 0, 0, 0, 7, [28] = 0, 5, 0, 24, [53] = 1, 0, 14, 0, 0};
	uint32_t length;
	if (engine == NULL)
		start();
	switch (n) {
	case 0: return frame_udp4(data, &vm, to4, 50, 1);
	case 1: return frame_udp6(data, &vm, to6, 50, 1);
	case 2: return frame_udp4(data, &vm, near.ipv4, 50, 1);
	case 3:
	case 4:
		dhcp4[242] = (uint8_t)(n == 3 ? 1 : 3);
		return frame_wrap4(data, broadcast, vm.mac, nobody, broadcast, 68, 67, dhcp4, sizeof dhcp4);
	case 5: return frame_wrap6(data, broadcast, vm.mac, local6, all6, 546, 547, dhcp6, sizeof dhcp6);
	case 6:
		length = frame_wrap6(data, vm.gateway.bytes, vm.mac, local6, gateway6, 0x8700, 0, gateway6, 16);
		data[20] = PROTOCOL_ICMPV6;
		data[21] = 255;
		return length;
	case 7:
		memset(data, 0, 42);
		memcpy(data, broadcast, 6);
		memcpy(data + 6, vm.mac, 6);
		memcpy(data + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
		memcpy(data + 28, vm.ipv4, 4);
		memcpy(data + 38, (const uint8_t[]){169, 254, 0, 1}, 4);
		return 42;
	case 8: return frame_udp4(data, &vm, to4, 1600, 1);
	case 9: return frame_udp6(data, &vm, to6, 1600, 1);
	default: return 0;
	}
}
