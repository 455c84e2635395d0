/* What forwarding costs while routes are rewritten: `storm_bench [SECONDS]`.
 *
 * A worker forwards packets of flows that go by 1,000 routes of one VNI, in this process, and its cycles per packet are
 * taken a window of 4,096 at a time: first with nobody at the tables, then while the control thread rewrites a million
 * routes as fast as it can: next hops of other VNIs' routes and of those that are used (in place), and routes that come
 * and go in the VNI of the traffic, which has every flow decided anew. The two threads need a processor each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>

#include "engine/state.h"

enum { DEPTH = 2048, WINDOW = 4096, WINDOWS = 1 << 18, HOPS = 1000, FLOWS = 10000, OTHERS = 1000000, FRAME = 60 };

static struct rte_mbuf *fifo[DEPTH];
static unsigned fifo_head, fifo_tail;
static struct ferrite_engine *engine;
static struct port *access_port;
static uint64_t random_state = 1;
static uint32_t samples[WINDOWS];
static unsigned sample_count;
static uint64_t stop, wrong;
static uint32_t generation; /* of next hops; relaxed */

static inline uint32_t chance(uint32_t below)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(((random_state >> 32) * below) >> 32);
}

static double now(void)
{
	struct timespec at;
	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Each packet's next hop must be one that its route had: of its own number, of any time. */
static void put_back(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *outer = packet_data(burst[i]);
		wrong += load16(outer + 38) != load16(outer + 40 + 18);
		fifo[fifo_head++ % DEPTH] = burst[i];
	}
}

static unsigned nothing(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	return 0;
}

static void close_port(struct port *port)
{
	free(port);
}

static const struct port_ops ops = {.receive = nothing, .transmit = put_back, .close = close_port};

static struct port *make_port(bool uplink)
{
	struct port *port = calloc(1, sizeof *port);
	port->ops = &ops;
	port->engine = engine;
	port->fd = -1;
	port->mtu = 65535;
	port->uplink = uplink;
	port->mac[0] = 2;
	return port;
}

static struct ferrite_route route_to(uint32_t vni, uint32_t number, uint32_t salt)
{
	struct ferrite_route route = {.key = {.vni = vni, .family = 4, .length = 32},
				      .next_hop = {{0xfd, 0, 0, 0x0f, 0, 9, 0, 0, 0xd0, 1}}};
	store32(route.key.prefix, (10u << 24) + number);
	store32(route.next_hop.bytes + 10, salt);
	store16(route.next_hop.bytes + 14, number & 0xffff);
	return route;
}

static void write_frame(struct rte_mbuf *buffer, uint32_t flow)
{
	uint8_t *data = packet_data(buffer);
	buffer->data_len = FRAME;
	buffer->pkt_len = FRAME;
	buffer->nb_segs = 1;
	buffer->next = NULL;
	packet_no_offload(packet_of(buffer));
	memcpy(data, access_port->mac, 6);
	memcpy(data + 6, (const uint8_t[]){2, 9, 9, 9, 9, 9}, 6);
	store16(data + 12, ETHERTYPE_IPV4);
	memcpy(data + 14, (const uint8_t[]){0x45, 0, 0, FRAME - 14, 0, 0, 0, 0, 64, PROTOCOL_UDP}, 10);
	memcpy(data + 26, (const uint8_t[]){10, 200, 0, 1}, 4);
	store32(data + 30, (10u << 24) + flow % HOPS);
	store16(data + 34, 1024 + flow / HOPS);
	store16(data + 36, 80);
	store32(data + 38, 0x00081234);
}

static void burst(void)
{
	struct rte_mbuf *buffers_in[BURST];
	for (unsigned i = 0; i < BURST; i++) {
		buffers_in[i] = fifo[fifo_tail++ % DEPTH];
		buffers_in[i]->data_off = RTE_PKTMBUF_HEADROOM;
		write_frame(buffers_in[i], chance(FLOWS));
	}
	pipeline_access(engine, access_port, buffers_in, BURST);
	pipeline_flush(engine);
}

static void *forward(void *unused)
{
	(void)rte_thread_register();
	(void)rte_rcu_qsbr_thread_register(engine->rcu, 0);
	rte_rcu_qsbr_thread_online(engine->rcu, 0);
	sample_count = 0;
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0) {
		uint64_t begun = rte_rdtsc();
		for (unsigned i = 0; i < WINDOW / BURST; i++) {
			burst();
			rte_rcu_qsbr_quiescent(engine->rcu, 0);
		}
		if (sample_count < WINDOWS)
			samples[sample_count++] = (uint32_t)((rte_rdtsc() - begun) / WINDOW);
	}
	rte_rcu_qsbr_thread_offline(engine->rcu, 0);
	(void)rte_rcu_qsbr_thread_unregister(engine->rcu, 0);
	rte_thread_unregister();
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

enum storm { IDLE, ELSEWHERE, IN_PLACE, COME_AND_GO, STORMS };

static uint64_t rewrite(enum storm storm, uint64_t at)
{
	struct ferrite_route route;
	uint32_t salt = ++generation;
	switch (storm) {
	case IDLE:
		(void)usleep(1000);
		return 0;
	case ELSEWHERE:
		route = route_to(1000 + (uint32_t)(at % 1000), (uint32_t)(at / 1000 % (OTHERS / 1000)), salt);
		break;
	case IN_PLACE:
		route = route_to(100, (uint32_t)(at % HOPS), salt);
		break;
	default: /* one that no packet takes, of the VNI that all are of */
		route = route_to(100, 5000 + (uint32_t)(at / 2 % 1000), salt);
		if (at % 2 == 1) {
			(void)ferrite_route_remove(engine, &route.key);
			return 1;
		}
	}
	if (ferrite_route_put(engine, &route, true) != 0) {
		(void)fprintf(stderr, "a route is refused\n");
		exit(1);
	}
	return 1;
}

static void measure(enum storm storm, const char *name, double length)
{
	pthread_t thread;
	uint64_t at = 0;
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	if (pthread_create(&thread, NULL, forward, NULL) != 0)
		exit(1);
	double begun = now(), end = begun + length;
	while (now() < end)
		for (unsigned i = 0; i < 64; i++)
			at += rewrite(storm, at);
	double seconds = now() - begun;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	(void)pthread_join(thread, NULL);
	qsort(samples, sample_count, sizeof *samples, by_size);
	(void)printf("%-46s %9.0f routes/s %6u cycles/packet (5%%) %6u (median) %6u (95%%)\n", name, (double)at / seconds,
		     samples[sample_count / 20], samples[sample_count / 2], samples[sample_count - 1 - sample_count / 20]);
}

int main(int count, char **arguments)
{
	static const char *names[STORMS] = {"idle", "next hops of other VNIs are replaced", "next hops in use are replaced",
					    "routes of the VNI in use come and go"};
	double length = count > 1 ? atof(arguments[1]) : 2;
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine_config config = {.name = "storm", .mtu = 1500, .has_seed = true, .seed = 7, .uplink = "none",
					       .flow_limit = 1 << 20};
	struct ferrite_interface_config about = {.vni = 100, .port = 1, .ipv4 = {{10, 200, 0, 1}}};
	uint32_t index;
	ferrite_ipv6 underlay;
	memcpy(config.underlay_prefix.bytes, (const uint8_t[]){0xfd, 0, 0, 0x0f, 0, 1}, 6);
	if (ferrite_engine_start(&config, &engine, error) < 0) {
		(void)fprintf(stderr, "no engine: %s\n", error);
		return 1;
	}
	engine->ports[1] = access_port = make_port(false);
	engine->uplink = engine->uplinks.ports[0] = make_port(true);
	engine->uplinks.count = 1;
	if (ferrite_interface_add(engine, &about, &index, &underlay) < 0)
		return 1;
	for (uint32_t i = 0; i < HOPS; i++)
		(void)rewrite(IN_PLACE, i);
	for (uint32_t i = 0; i < OTHERS; i++)
		(void)rewrite(ELSEWHERE, i);
	for (unsigned i = 0; i < DEPTH; i++)
		fifo[fifo_head++] = rte_pktmbuf_alloc(buffers.small);
	for (unsigned i = 0; i < 10 * FLOWS / BURST; i++)
		burst();
	for (enum storm storm = IDLE; storm < STORMS; storm++)
		measure(storm, names[storm], length);
	(void)printf("%llu packets went another way than their route's\n", (unsigned long long)wrong);
	(void)fflush(stdout); /* its threads are not all at an end */
	_exit(wrong == 0 ? 0 : 1);
}
