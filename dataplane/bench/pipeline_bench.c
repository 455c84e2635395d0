/* Cycles per packet of the pipeline, in this process, without a port's system calls.
 *
 *   pipeline_bench [WINDOWS [FLOWS]]
 *
 * Packets circulate through a FIFO of 2048 buffers (the footprint of a NIC's ring). "base" takes 32, resets them,
 * writes the 5-tuple as DMA would, and puts them back; the other lines have the whole pipeline in between: flow lookup, connection
 * tracking, what the firewall (10 rules) and NAT decided. "new" is flows a second with all of that decided, where the median counts. A window is 4096 packets, and the 5th percentile of the windows is printed, in TSC cycles, because the machine is shared.
 * Compare within one run: the ratio to base is what moves least between machines.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "engine/state.h"
#include "stage/plan.h"

enum { DEPTH = 2048, WINDOW = 4096, MAX_WINDOWS = 4000, FRAME = 60, INTERFACES = 4000, NEXT_HOPS = 1024 };

static struct rte_mbuf *fifo[DEPTH];
static unsigned fifo_head, fifo_tail;
static struct ferrite_engine *engine;
static uint64_t random_state = 1;

static inline uint32_t chance(void)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33);
}

static void put_back(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fifo[fifo_head++ % DEPTH] = burst[i];
}

static unsigned nothing(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	return 0;
}

static void close_port(struct port *port)
{
	free(port);
}

static const struct port_ops bench_ops = {.receive = nothing, .transmit = put_back, .close = close_port};

static struct port *make_port(bool uplink, uint32_t number)
{
	struct port *port = calloc(1, sizeof *port);
	port->ops = &bench_ops;
	port->engine = engine;
	port->fd = -1;
	port->mtu = 65535;
	port->uplink = uplink;
	port->mac[0] = 2;
	store32(port->mac + 2, number);
	return port;
}

static inline void take(struct rte_mbuf **burst)
{
	for (unsigned i = 0; i < BURST; i++) {
		burst[i] = fifo[fifo_tail++ % DEPTH];
		rte_prefetch0(burst[i]);
	}
	for (unsigned i = 0; i < BURST; i++) {
		burst[i]->data_off = RTE_PKTMBUF_HEADROOM;
		rte_prefetch0((char *)burst[i]->buf_addr + RTE_PKTMBUF_HEADROOM);
	}
}

static void address_of(uint32_t flow, uint8_t to[4])
{
	uint32_t hop = flow % NEXT_HOPS;
	to[0] = 10;
	to[1] = (uint8_t)(64 + hop / 256);
	to[2] = (uint8_t)hop;
	to[3] = 1;
}

static uint16_t nat_ports[65536]; /* by source port, as in the packet */
static const uint8_t nat_ip[4] = {198, 51, 100, 7};

static inline void begin_frame(struct rte_mbuf *buffer, uint32_t length)
{
	buffer->data_len = (uint16_t)length;
	buffer->pkt_len = length;
	buffer->nb_segs = 1;
	buffer->next = NULL;
	packet_no_offload(packet_of(buffer));
}

static inline uint32_t port_of(uint32_t flow)
{
	return 1024 + flow / NEXT_HOPS % 60000;
}

/* `from`: interface 1, whose routes are one per next hop, or 2, which has a default route and a NAT. */
static inline void write_access(struct rte_mbuf *buffer, uint32_t flow, bool wide, uint32_t from)
{
	uint8_t *data = packet_data(buffer);
	const struct interface *interface = &engine->interfaces[from];
	begin_frame(buffer, wide ? FRAME + 20 : FRAME);
	memcpy(data, interface->port->mac, 6);
	memcpy(data + 6, (const uint8_t[]){2, 9, 9, 9, 9, 9}, 6);
	store16(data + 12, wide ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	uint8_t *ip = data + 14, *l4 = ip + (wide ? 40 : 20);
	if (wide) {
		store32(ip, 0x60000000);
		store16(ip + 4, 26);
		ip[6] = PROTOCOL_UDP;
		memcpy(ip + 8, interface->ipv6, 16);
		memset(ip + 24, 0, 16);
		address_of(flow, ip + 24);
	} else {
		memcpy(ip, (const uint8_t[]){0x45, 0, 0, FRAME - 14, 0, 0, 0, 0, 64, PROTOCOL_UDP}, 10);
		memcpy(ip + 12, interface->ipv4, 4);
		address_of(flow, ip + 16);
	}
	store16(l4, port_of(flow));
	store16(l4 + 2, 80);
	store32(l4 + 4, 0x00081234);
}

static inline void write_outer(struct rte_mbuf *buffer, uint32_t flow, bool nat)
{
	uint8_t *data = packet_data(buffer);
	const struct interface *interface = &engine->interfaces[nat ? 2 : 1];
	begin_frame(buffer, 40 + FRAME - 14);
	packet_of(buffer)->ip_offset = 40;
	store32(data, 0x60000000);
	store16(data + 4, FRAME - 14);
	data[6] = PROTOCOL_IPV4;
	memcpy(data + 24, nat ? engine->endpoints.places[interface->nat_endpoint].underlay : interface->underlay, 16);
	memcpy(data + 40, (const uint8_t[]){0x45, 0, 0, FRAME - 14, 0, 0, 0, 0, 64, PROTOCOL_UDP}, 10);
	address_of(flow, data + 52);
	memcpy(data + 56, nat ? nat_ip : interface->ipv4, 4);
	store16(data + 60, 80);
	store16(data + 62, port_of(flow));
	if (nat)
		memcpy(data + 62, &nat_ports[port_of(flow)], 2);
	store32(data + 64, 0x00081234);
}

enum kind { BASE, ENCAP4, ENCAP6, DECAP, NAT_OUT, NAT_IN, KINDS };


static void burst_of(enum kind kind, uint32_t flows)
{
	struct rte_mbuf *burst[BURST];
	take(burst);
	for (unsigned i = 0; i < BURST; i++) {
		uint32_t flow = (uint32_t)(((uint64_t)chance() * flows) >> 31);
		if (kind == DECAP || kind == NAT_IN)
			write_outer(burst[i], flow, kind == NAT_IN);
		else
			write_access(burst[i], flow, kind == ENCAP6, kind == NAT_OUT ? 2 : 1);
	}
	if (kind == BASE) {
		put_back(NULL, burst, BURST);
		return;
	}
	if (kind == DECAP || kind == NAT_IN)
		pipeline_uplink(engine, engine->uplink, burst, BURST);
	else
		pipeline_access(engine, engine->interfaces[kind == NAT_OUT ? 2 : 1].port, burst, BURST);
	pipeline_flush(engine);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double samples[MAX_WINDOWS];

/* Every flow is decided before it is measured: a random walk would leave a tail of first packets. Cycles of each: the
 * median of windows of 1024. */
static double decide_all(enum kind kind, uint32_t flows)
{
	unsigned windows = 0;
	uint64_t start = rte_rdtsc_precise();
	uint32_t from = kind == NAT_OUT || kind == NAT_IN ? 2 : 1;
	for (uint32_t flow = 0; flow < flows; flow += BURST) {
		struct rte_mbuf *burst[BURST];
		take(burst);
		for (unsigned i = 0; i < BURST; i++)
			write_access(burst[i], flow + i, kind == ENCAP6, from);
		pipeline_access(engine, engine->interfaces[from].port, burst, BURST);
		pipeline_flush(engine);
		if ((flow + BURST) % 1024 != 0 || windows == MAX_WINDOWS)
			continue;
		uint64_t now = rte_rdtsc_precise();
		samples[windows++] = (double)(now - start) / 1024;
		start = now;
	}
	if (windows == 0)
		return 0;
	qsort(samples, windows, sizeof samples[0], ascending);
	return samples[windows / 2];
}

/* Which port each source port got: from the flows themselves. */
static void learn_nat_ports(void)
{
	for (uint32_t i = 0; i <= engine->flows.mask; i++)
		for (unsigned slot = 0; slot < 8; slot++) {
			const struct flow_entry *entry = &engine->flows.entries[(size_t)i * 8 + slot];
			if (engine->flows.buckets[i].tags[slot] != 0 && (entry->bits & FLOW_BY_NAT) != 0)
				nat_ports[__builtin_bswap16((uint16_t)entry->ports)] = entry->rewrite.source_port;
		}
}

/* Replies complete their direction with their first packet. */
static void reply_all(enum kind kind, uint32_t flows)
{
	for (uint32_t flow = 0; flow < flows; flow += BURST) {
		struct rte_mbuf *burst[BURST];
		take(burst);
		for (unsigned i = 0; i < BURST; i++)
			write_outer(burst[i], flow + i, kind == NAT_IN);
		pipeline_uplink(engine, engine->uplink, burst, BURST);
		pipeline_flush(engine);
	}
}

static double measure(enum kind kind, uint32_t flows, unsigned windows)
{
	if (kind == DECAP || kind == NAT_IN) {
		if (kind == NAT_IN)
			learn_nat_ports();
		reply_all(kind, flows);
	}
	for (unsigned i = 0; i < windows; i++) {
		uint64_t start = rte_rdtsc_precise();
		for (unsigned j = 0; j < WINDOW / BURST; j++)
			burst_of(kind, flows);
		samples[i] = (double)(rte_rdtsc_precise() - start) / WINDOW;
	}
	qsort(samples, windows, sizeof samples[0], ascending);
	return samples[windows / 20];
}

static void make_world(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine_config config = {.name = "bench", .uplink = "none", .mtu = 1500,
					       .underlay_prefix = {{0xfd, 0, 0, 15, 0, 1}}};
	if (ferrite_engine_start(&config, &engine, error) < 0) {
		(void)fprintf(stderr, "%s\n", error);
		exit(1);
	}
	engine->uplink = make_port(true, 0);
	engine->uplinks.count = 1;
	engine->uplinks.ports[0] = engine->uplink;
	for (uint32_t i = 1; i <= INTERFACES; i++) {
		uint32_t index;
		ferrite_ipv6 underlay;
		engine->ports[i] = make_port(false, i);
		struct ferrite_interface_config interface = {.port = i, .vni = i == 2 ? 201 : 200, .ipv4 = {{10, 0}},
							     .ipv6 = {{0x20, 1}}};
		store16(interface.ipv4.bytes + 2, i);
		store16(interface.ipv6.bytes + 14, i);
		if (ferrite_interface_add(engine, &interface, &index, &underlay) != 0 || index != i)
			exit(1);
	}
	for (uint32_t i = 0; i < NEXT_HOPS; i++) {
		struct ferrite_route route = {.key = {.vni = 200, .family = 4, .length = 24},
					      .next_hop = {{0xfd, 0, 0, 15, 0, 2, 0, 0, 0xd0, 1}}};
		store16(route.next_hop.bytes + 14, i + 1);
		address_of(i, route.key.prefix);
		(void)ferrite_route_put(engine, &route, false);
		route.key.family = 6;
		(void)ferrite_route_put(engine, &route, false);
	}
	struct ferrite_route outside = {.key = {.vni = 201, .family = 4}, .next_hop = {{0xfd, 0, 0, 15, 0, 3}}};
	struct ferrite_rule rules[10] = {0};
	ferrite_ipv6 underlay;
	(void)ferrite_route_put(engine, &outside, false);
	for (unsigned i = 0; i < 10; i++)
		rules[i] = (struct ferrite_rule){.egress = true, .accept = true, .family = 4, .protocol = 6, .destination_first = 22,
						 .destination_last = 22, .source_last = 65535, .icmp_type = -1, .icmp_code = -1};
	for (uint32_t i = 1; i <= 2; i++)
		(void)ferrite_firewall_set(engine, i, rules, 10, FERRITE_DROP, FERRITE_ACCEPT);
	if (ferrite_nat_add(engine, 2, (ferrite_ipv4){{198, 51, 100, 7}}, 1024, 65536, NULL, &underlay) != 0)
		exit(1);
	for (unsigned i = 0; i < DEPTH; i++)
		fifo[fifo_head++ % DEPTH] = rte_pktmbuf_alloc(buffers.small);
}

static void make_flows(uint32_t flows)
{
	/* A table as an operator would size it: the default one, or four entries a flow. */
	uint32_t capacity = flows * 4 <= FLOW_CAPACITY ? FLOW_CAPACITY : flows * 4;
	flow_table_free(&engine->flows);
	if (flow_table_init(&engine->flows, capacity, OWNERS, 3600, 12345) < 0)
		exit(1);
	/* All of it resident: what is measured is the packet, not the kernel that clears a page. */
	memset(engine->flows.buckets, 0, ((size_t)engine->flows.mask + 1) * sizeof(struct flow_bucket));
	memset(engine->flows.entries, 0, ((size_t)engine->flows.mask + 1) * 8 * sizeof(struct flow_entry));
	engine->flows.ended = event_ended;
	engine->flows.context = engine;
	engine->flows.now = (uint32_t)engine->now_ms;
	engine->default_flow_limit = UINT32_MAX;
}

int main(int count, char **arguments)
{
	uint32_t sizes[] = {1000, 100000, 1000000};
	unsigned size_count = 3;
	const char *names[] = {"", "encap IPv4", "encap IPv6", "decap IPv4", "encap NAT ", "decap NAT "};
	unsigned windows = count > 1 ? (unsigned)atoi(arguments[1]) : 400;
	windows = windows < 20 ? 20 : windows > MAX_WINDOWS ? MAX_WINDOWS : windows;
	if (count > 2) {
		sizes[0] = (uint32_t)atoi(arguments[2]);
		size_count = 1;
	}
	make_world();
	double base = measure(BASE, 1000, windows), hz = (double)rte_get_tsc_hz() / 1e6;
	printf("base                 %7.1f cycles/packet (TSC %.0f MHz)\n", base, hz);
	for (unsigned i = 0; i < size_count; i++) {
		for (enum kind kind = ENCAP4; kind < KINDS; kind++) {
			double fresh = 0;
			if (kind != DECAP && kind != NAT_IN) { /* which go on with the flows of the line before */
				make_flows(sizes[i]);
				fresh = decide_all(kind, sizes[i]);
			} else if (kind == DECAP) {
				make_flows(sizes[i]);
				(void)decide_all(ENCAP4, sizes[i]);
			}
			double cycles = measure(kind, sizes[i], windows);
			printf("%s %8u %8.1f cycles/packet  +%.1f  %.1fx base  %.1f Mpps", names[kind], sizes[i], cycles,
			       cycles - base, cycles / base, hz / cycles);
			if (fresh > 0)
				printf("   new %.0f cycles, %.2f M/s", fresh, hz / fresh);
			printf("\n");
		}
	}
	printf("route misses %llu, spoofed %llu, refused %llu, unknown at NAT %llu, ingress %llu, refreshed %llu, encap %llu, deliver %llu\n",
	       (unsigned long long)engine->counters.drop_route_miss, (unsigned long long)engine->counters.drop_spoof,
	       (unsigned long long)engine->counters.drop_flow_table, (unsigned long long)engine->counters.drop_nat_unknown,
	       (unsigned long long)engine->counters.drop_firewall_ingress,
	       (unsigned long long)engine->counters.stage_flow_refresh, (unsigned long long)engine->counters.stage_encap,
	       (unsigned long long)engine->counters.stage_deliver);
	return 0;
}
