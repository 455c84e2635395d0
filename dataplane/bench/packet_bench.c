/* Cycles per packet of the pure functions of src/packet and of the fragment table.
 *
 *   packet_bench [WINDOWS]
 *
 * 1024 packets of 192 bytes each (they stay in the L2 cache) are gone through in order; a window is all of them, and
 * the 5th percentile of the windows is printed, in TSC cycles, because the machine is shared. Each line but "read"
 * includes the reading of the packet's first bytes, which "read" is alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "engine/packet_world.h"
#include "packet/murmur.h"
#include "packet/nat64.h"
#include "packet/translate.h"
#include "table/fragment.h"

enum { PACKETS = 1024, ROOM = 192, MAX_WINDOWS = 4000, PIECES = 32 };

static uint8_t packets[PACKETS][ROOM] __attribute__((aligned(64)));
static uint32_t lengths[PACKETS];
static struct fragment_table fragments;
static uint64_t sink;

typedef void work(unsigned i);

static inline struct tuple parsed(unsigned i)
{
	struct tuple tuple;
	if (__builtin_expect(parse_ip(packets[i], lengths[i], lengths[i], &tuple) != PARSE_OK, 0))
		abort();
	return tuple;
}

static inline void read_first(unsigned i)
{
	sink += raw64(packets[i]) + lengths[i];
}

static inline void parse_only(unsigned i)
{
	struct tuple tuple = parsed(i);
	sink += tuple.ports + tuple.addresses[7] + tuple.l4_offset + tuple.ip_length;
}

static inline void parse_hash(unsigned i)
{
	struct tuple tuple = parsed(i);
	sink += choice_hash(&tuple, 7);
}

/* There and back, so that the packets stay what they are; source and port, as NAT does. */
static const struct rewrite rewrites[2] = {
	{.set = REWRITE_SOURCE_ADDRESS | REWRITE_SOURCE_PORT, .source = {198, 51, 100, 7}, .source_port = 0x1234},
	{.set = REWRITE_SOURCE_ADDRESS | REWRITE_SOURCE_PORT, .source = {10, 0, 0, 1}, .source_port = 0x4321},
};
static unsigned turn;

static inline void parse_translate(unsigned i)
{
	static const struct offload none;
	struct tuple tuple = parsed(i);
	translate4(packets[i], &tuple, &rewrites[turn & 1], &none);
}

static inline void remember_find(unsigned i)
{
	struct tuple tuple = parsed(i);
	tuple.fragment_id += turn;
	fragment_remember(&fragments, 1, &tuple, i % 64, turn);
	sink += fragment_find(&fragments, 1, &tuple, turn);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double cycles[MAX_WINDOWS];

static double fifth(unsigned windows)
{
	qsort(cycles, windows, sizeof cycles[0], ascending);
	return cycles[windows / 20];
}

/* One loop per kind of work, which the compiler then inlines. */
#define MEASURE(name, what) \
	do { \
		for (unsigned w = 0; w < windows; w++, turn++) { \
			uint64_t start = rte_rdtsc_precise(); \
			for (unsigned i = 0; i < PACKETS; i++) \
				what(i); \
			cycles[w] = (double)(rte_rdtsc_precise() - start) / PACKETS; \
		} \
		printf("%-46s %7.1f\n", name, fifth(windows)); \
	} while (0)

static void fill(const struct shape *shape)
{
	for (unsigned i = 0; i < PACKETS; i++)
		lengths[i] = packet_make(packets[i], shape);
}

/* IPv6 to IPv4 and back; half of it. */
static void measure_nat64(const char *name, uint8_t protocol, unsigned windows)
{
	struct rte_mbuf *pieces[PIECES];
	const struct nat64_side4 four = {.set = REWRITE_SOURCE_PORT, .source = {198, 51, 100, 7}, .destination = {192, 0, 2, 1}, .source_port = 0x1234};
	const struct nat64_side6 six = {.set = REWRITE_SOURCE_PORT, .source = {0x20, 1}, .destination = {0, 0x64, 0xff, 0x9b}, .source_port = 0x4321};
	struct shape shape = {.family = 6, .protocol = protocol, .icmp_type = 128, .payload = 64};
	fill(&shape);
	for (unsigned i = 0; i < PIECES; i++)
		pieces[i] = packet_buffer(packets[i], lengths[i], 14, 0);
	for (unsigned w = 0; w < windows; w++) {
		uint64_t start = rte_rdtsc_precise();
		for (unsigned j = 0; j < PACKETS; j++) {
			struct tuple tuple;
			uint8_t *ip = packet_data(pieces[j % PIECES]) + 14;
			uint32_t length = pieces[j % PIECES]->pkt_len - 14;
			if (parse_ip(ip, length, length, &tuple) != PARSE_OK ||
			    !nat64_make4(pieces[j % PIECES], 14, &tuple, &four, NULL) ||
			    !nat64_make6(pieces[j % PIECES], 14, &tuple, &six, NULL))
				abort();
		}
		cycles[w] = (double)(rte_rdtsc_precise() - start) / PACKETS / 2;
	}
	printf("%-46s %7.1f\n", name, fifth(windows));
	rte_pktmbuf_free_bulk(pieces, PIECES);
}

int main(int count, char **arguments)
{
	unsigned windows = count > 1 ? (unsigned)atoi(arguments[1]) : 1000;
	windows = windows < 20 ? 20 : windows > MAX_WINDOWS ? MAX_WINDOWS : windows;
	packet_world();
	if (fragment_table_init(&fragments, 1) < 0)
		return 1;
	printf("TSC %.0f MHz, cycles per packet\n", (double)rte_get_tsc_hz() / 1e6);
	struct shape tcp4 = {.family = 4, .protocol = PROTOCOL_TCP, .payload = 64}, tcp6 = tcp4, udp4 = tcp4, echo4 = tcp4, options = tcp4,
		     chain = tcp4, first = tcp4;
	tcp6.family = chain.family = 6;
	udp4.protocol = first.protocol = PROTOCOL_UDP;
	echo4.protocol = PROTOCOL_ICMP;
	echo4.icmp_type = 8;
	options.options = 3;
	chain.options = 5;
	first.fragment = 0x2000;
	fill(&tcp4);
	MEASURE("read", read_first);
	MEASURE("parse, TCP in IPv4", parse_only);
	MEASURE("parse and translate, TCP in IPv4", parse_translate);
	MEASURE("parse and choose (Murmur), TCP in IPv4", parse_hash);
	fill(&udp4);
	MEASURE("parse and translate, UDP in IPv4", parse_translate);
	fill(&echo4);
	MEASURE("parse, echo in IPv4", parse_only);
	MEASURE("parse and translate, echo in IPv4", parse_translate);
	fill(&options);
	MEASURE("parse, TCP in IPv4 with options", parse_only);
	fill(&tcp6);
	MEASURE("parse, TCP in IPv6", parse_only);
	MEASURE("parse and choose (Murmur), TCP in IPv6", parse_hash);
	fill(&chain);
	MEASURE("parse, TCP in IPv6 with two extension headers", parse_only);
	fill(&first);
	MEASURE("parse, remember and find a first fragment", remember_find);
	measure_nat64("parse and NAT64, TCP, one direction", PROTOCOL_TCP, windows);
	measure_nat64("parse and NAT64, UDP, one direction", PROTOCOL_UDP, windows);
	measure_nat64("parse and NAT64, echo, one direction", PROTOCOL_ICMP, windows);
	return sink == 1;
}
