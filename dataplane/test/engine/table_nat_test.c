/* NAT ports against a slow model that knows nothing of bitmaps and hashes. */
#include <stdlib.h>

#include "control/check.h"
#include "packet/mix.h"
#include "packet/murmur.h"
#include "table/nat.h"

enum { SEED = 77 };

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static struct nat_table table;

static void begin(uint32_t capacity)
{
	CHECK_NUMBER(nat_table_init(&table, 5, capacity), 0);
}

static void end(void)
{
	nat_table_free(&table);
}

static struct nat_range range_of(uint32_t interface, uint32_t address, uint32_t min, uint32_t max)
{
	struct nat_range range = {.interface = interface, .vni = 100, .min = min, .max = max, .address = address};
	store32(range.ip, 0x2d000000 + address);
	return range;
}

static const uint8_t protocols[3] = {6, 17, 1};

static struct tuple packet(unsigned protocol, uint32_t source, uint16_t port)
{
	struct tuple tuple = {.family = 4, .protocol = protocols[protocol],
			      .icmp = protocol == 2 ? ICMP_ECHO : ICMP_NONE};
	store32(tuple.addresses, source);
	store32(tuple.addresses + 4, 0x08080808);
	store16(&tuple.ports, port);
	store16((uint8_t *)&tuple.ports + 2, 443);
	return tuple;
}

static uint32_t map(const struct nat_range *range, const struct tuple *tuple, uint16_t *port)
{
	*port = 0;
	return nat_map(&table, range, tuple, SEED, NULL, NULL, port);
}

/* Simple truths */

static void a_mapping_starts_at_its_hash_and_goes_upwards_around_the_range(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range range = range_of(3, 1, 1000, 1010);
	uint32_t first = 0;
	for (unsigned i = 0; i < 10; i++) {
		struct tuple tuple = packet(0, 0x0a000001, 4242);
		uint16_t port;
		uint32_t start = 1000 + nat_hash(100, &tuple, SEED) % 10;
		/* The same key from ten interfaces of the address: all start at one port. */
		range.interface = 3 + i;
		CHECK(map(&range, &tuple, &port) != NAT_EXHAUSTED);
		CHECK_NUMBER(port, 1000 + (start - 1000 + i) % 10);
		first = i == 0 ? start : first;
		CHECK_NUMBER(start, first);
	}
	uint16_t port;
	struct tuple tuple = packet(0, 0x0a000001, 4242);
	range.interface = 99;
	CHECK_NUMBER(map(&range, &tuple, &port), NAT_SHARED);
	CHECK_NUMBER(port, first);
	end();
}

static void the_start_is_murmur_of_vni_source_port_and_protocol(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range range = range_of(3, 1, 1024, 65536);
	struct tuple tuple = packet(1, 0x0a000105, 0x1234);
	const uint8_t bytes[] = {0, 0, 0, 100, 10, 0, 1, 5, 0x12, 0x34, 17};
	uint16_t port;
	map(&range, &tuple, &port);
	CHECK_NUMBER(port, 1024 + murmur3_32(bytes, sizeof bytes, SEED) % (65536 - 1024));
	struct tuple six = {.family = 6, .protocol = 58, .icmp = ICMP_ECHO, .addresses = {0xfd, [15] = 9}};
	store16(&six.ports, 0x1234);
	const uint8_t wide[] = {0, 0, 0, 100, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x12, 0x34, 58};
	map(&range, &six, &port);
	CHECK_NUMBER(port, 1024 + murmur3_32(wide, sizeof wide, SEED) % (65536 - 1024));
	end();
}

static void all_destinations_of_a_source_share_its_mapping_until_the_last_flow_ends(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range range = range_of(3, 1, 1000, 2000);
	struct tuple tuple = packet(0, 0x0a000001, 5);
	uint16_t port, again;
	uint32_t one = map(&range, &tuple, &port);
	store32(tuple.addresses + 4, 0x01010101);
	CHECK_NUMBER(map(&range, &tuple, &again), one);
	CHECK_NUMBER(again, port);
	CHECK_NUMBER(nat_mapping_port(&table, one), port);
	nat_hold(&table, one);
	CHECK_NUMBER(nat_used(&table, 3, 0), 1);
	nat_unmap(&table, one);
	nat_unmap(&table, one);
	CHECK_NUMBER(nat_used(&table, 3, 0), 1);
	nat_unmap(&table, one);
	CHECK_NUMBER(nat_used(&table, 3, 0), 0);
	CHECK_NUMBER(nat_group_used(&table, 1), 0);
	end();
}

static void a_range_holds_exactly_as_many_sources_as_it_has_ports_in_each_protocol(void)
{
	static const struct { uint32_t min, max; } ranges[] = {
		{0, 65536}, {1, 2}, {63, 65}, {64, 128}, {1024, 9999}, {65535, 65536}, {4095, 4161},
	};
	static uint32_t mappings[65536];
	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		begin(NAT_MAPPINGS);
		struct nat_range range = range_of(3, 1, ranges[i].min, ranges[i].max);
		uint32_t size = range.max - range.min;
		for (unsigned protocol = 0; protocol < 3; protocol++) {
			static bool seen[65536];
			memset(seen, 0, sizeof seen);
			uint16_t port;
			for (uint32_t n = 0; n < size; n++) {
				struct tuple tuple = packet(protocol, 0x0a000000 + n / 60000, (uint16_t)(n % 60000));
				mappings[n] = map(&range, &tuple, &port);
				CHECK(mappings[n] != NAT_EXHAUSTED && mappings[n] != NAT_SHARED);
				CHECK(port >= range.min && port < range.max && !seen[port]);
				seen[port] = true;
			}
			CHECK_NUMBER(nat_used(&table, 3, protocol), size);
			struct tuple tuple = packet(protocol, 0x0b000000, 7);
			CHECK_NUMBER(map(&range, &tuple, &port), NAT_SHARED);
			/* One returns: that very port is the next one's. */
			uint32_t back = chance(size);
			uint16_t freed = nat_mapping_port(&table, mappings[back]);
			nat_unmap(&table, mappings[back]);
			mappings[back] = map(&range, &tuple, &port);
			CHECK_NUMBER(port, freed);
			for (uint32_t n = 0; protocol != 1 && n < size; n++)
				nat_unmap(&table, mappings[n]);
			CHECK_NUMBER(nat_used(&table, 3, protocol), protocol == 1 ? size : 0);
		}
		CHECK_NUMBER(nat_group_used(&table, 1), size);
		end();
	}
}

struct reply { uint16_t only; bool all; unsigned asked; };

static bool is_taken(void *context, uint16_t port)
{
	struct reply *reply = context;
	reply->asked++;
	return reply->all || port == reply->only;
}

static void a_port_whose_reply_key_is_taken_makes_the_search_share_from_the_start(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range range = range_of(3, 1, 1000, 1005);
	struct tuple tuple = packet(0, 0x0a000001, 5);
	uint16_t port, shared;
	uint32_t own = map(&range, &tuple, &port);
	struct reply reply = {.only = port};
	CHECK_NUMBER(nat_map(&table, &range, &tuple, SEED, is_taken, &reply, &shared), NAT_SHARED);
	CHECK_NUMBER(shared, port == 1004 ? 1000 : port + 1);
	CHECK_NUMBER(nat_used(&table, 3, 0), 1);
	reply.all = true;
	shared = 1;
	CHECK_NUMBER(nat_map(&table, &range, &tuple, SEED, is_taken, &reply, &shared), NAT_EXHAUSTED);
	CHECK_NUMBER(shared, 1);
	nat_unmap(&table, own);
	CHECK_NUMBER(nat_group_used(&table, 1), 0);
	nat_unmap(&table, NAT_SHARED); /* nothing */
	/* A new one, too: no mapping is made for a port that it cannot use. */
	reply = (struct reply){.only = port};
	CHECK_NUMBER(nat_map(&table, &range, &tuple, SEED, is_taken, &reply, &shared), NAT_SHARED);
	CHECK_NUMBER(nat_used(&table, 3, 0), 0);
	end();
}

static void a_mapping_outside_of_a_new_range_is_invalid_and_its_source_gets_another(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range before = range_of(3, 1, 1000, 1100), after = range_of(3, 1, 2000, 2100);
	struct tuple tuple = packet(0, 0x0a000001, 5);
	uint16_t port, other;
	uint32_t old = map(&before, &tuple, &port);
	CHECK(nat_mapping_in(&table, old, &before));
	CHECK(!nat_mapping_in(&table, old, &after));
	CHECK(!nat_mapping_in(&table, NAT_SHARED, &before));
	uint32_t new = map(&after, &tuple, &other);
	CHECK(new != old && other >= 2000);
	CHECK_NUMBER(nat_used(&table, 3, 0), 2);
	/* Wider again: both are in it, and the source keeps the one that it got last. */
	struct nat_range both = range_of(3, 1, 1000, 2100);
	uint16_t third;
	CHECK_NUMBER(map(&both, &tuple, &third), new);
	nat_unmap(&table, new);
	nat_unmap(&table, old);
	nat_unmap(&table, new);
	CHECK_NUMBER(nat_group_used(&table, 1), 0);
	struct nat_range elsewhere = both;
	elsewhere.ip[3] ^= 1;
	uint32_t last = map(&both, &tuple, &third);
	CHECK(nat_mapping_in(&table, last, &both) && !nat_mapping_in(&table, last, &elsewhere));
	end();
}

static void what_is_not_tcp_udp_or_echo_is_not_mapped(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range range = range_of(3, 1, 1000, 1100);
	struct tuple tuple = packet(0, 1, 1);
	uint16_t port;
	tuple.protocol = 132;
	CHECK_NUMBER(nat_protocol_index(&tuple), -1);
	CHECK_NUMBER(map(&range, &tuple, &port), NAT_EXHAUSTED);
	tuple.protocol = 1;
	tuple.icmp = ICMP_ERROR;
	CHECK_NUMBER(map(&range, &tuple, &port), NAT_EXHAUSTED);
	end();
}

static void a_full_table_refuses_and_recovers(void)
{
	begin(1000);
	struct nat_range range = range_of(3, 1, 0, 65536);
	uint32_t mappings[1000];
	uint16_t port;
	for (unsigned i = 0; i < 1000; i++) {
		struct tuple tuple = packet(0, i, 1);
		mappings[i] = map(&range, &tuple, &port);
	}
	struct tuple tuple = packet(0, 5000, 1);
	CHECK_NUMBER(map(&range, &tuple, &port), NAT_EXHAUSTED);
	CHECK_NUMBER(nat_group_used(&table, 1), 1000);
	nat_unmap(&table, mappings[500]);
	CHECK_NUMBER(map(&range, &tuple, &port), mappings[500]);
	end();
}

static void services_do_not_count_as_nat_and_know_interfaces_apart(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range one = range_of(3, NAT_SERVICE_GROUP + 255, 1024, 65536), two = one;
	two.interface = 4;
	struct tuple tuple = packet(0, 0x0a000001, 5);
	uint16_t first, second;
	uint32_t a = map(&one, &tuple, &first), b = map(&two, &tuple, &second);
	CHECK(a != b && first != second);
	CHECK_NUMBER(nat_used(&table, 3, 0), 0);
	CHECK_NUMBER(nat_group_used(&table, NAT_SERVICE_GROUP + 255), 2);
	end();
	begin(4096); /* few heads: keys that differ by the interface alone meet in one */
	static uint32_t mappings[4097];
	for (uint32_t i = 1; i <= 4096; i++) {
		one.interface = i;
		mappings[i] = map(&one, &tuple, &first);
	}
	for (uint32_t i = 1; i <= 4096; i++) {
		one.interface = i;
		CHECK_NUMBER(map(&one, &tuple, &first), mappings[i]);
	}
	CHECK_NUMBER(nat_group_used(&table, NAT_SERVICE_GROUP + 255), 4096);
	end();
}

/* The model */

enum { MODEL_FLOWS = 600, MODEL_INTERFACES = 6, MODEL_GROUPS = 3 };

struct flow {
	uint32_t mapping;
	struct nat_range range;
	struct tuple tuple;
	unsigned protocol;
	uint16_t port;
	bool replaced; /* its mapping, by another of its source */
};

static struct flow flows[MODEL_FLOWS];
static unsigned flow_count;

static bool port_used(uint32_t address, unsigned protocol, uint32_t port)
{
	for (unsigned i = 0; i < flow_count; i++)
		if (flows[i].mapping != NAT_SHARED && flows[i].range.address == address &&
		    flows[i].protocol == protocol && flows[i].port == port)
			return true;
	return false;
}

/* A source has one mapping that counts, in the range or not. */
static struct flow *mapping_of(const struct nat_range *range, unsigned protocol, const struct tuple *tuple)
{
	for (unsigned i = 0; i < flow_count; i++)
		if (flows[i].mapping != NAT_SHARED && !flows[i].replaced &&
		    flows[i].range.interface == range->interface &&
		    flows[i].range.address == range->address && flows[i].protocol == protocol &&
		    flows[i].tuple.family == tuple->family &&
		    memcmp(flows[i].tuple.addresses, tuple->addresses, tuple->family == 4 ? 4 : 16) == 0 &&
		    (uint16_t)flows[i].tuple.ports == (uint16_t)tuple->ports)
			return &flows[i];
	return NULL;
}

static void replace(uint32_t mapping)
{
	for (unsigned i = 0; i < flow_count; i++)
		flows[i].replaced |= flows[i].mapping == mapping;
}

static bool model_taken(void *context, uint16_t port)
{
	const struct flow *asked = context;
	for (unsigned i = 0; i < flow_count; i++)
		if (flows[i].range.address == asked->range.address && flows[i].protocol == asked->protocol &&
		    flows[i].port == port && flows[i].tuple.ports >> 16 == asked->tuple.ports >> 16)
			return true;
	return false;
}

static uint32_t model_port(struct flow *flow, bool *shared)
{
	const struct nat_range *range = &flow->range;
	uint32_t size = range->max - range->min, start = nat_hash(range->vni, &flow->tuple, SEED) % size;
	const struct flow *known = mapping_of(range, flow->protocol, &flow->tuple);
	const struct flow *own = known != NULL && known->port >= range->min && known->port < range->max ? known : NULL;
	*shared = false;
	if (own != NULL && !model_taken(flow, own->port))
		return own->port;
	for (uint32_t i = 0; own == NULL && i < size; i++) {
		uint32_t port = range->min + (start + i) % size;
		if (port_used(range->address, flow->protocol, port))
			continue;
		if (model_taken(flow, (uint16_t)port))
			break;
		if (known != NULL)
			replace(known->mapping);
		return port;
	}
	*shared = true;
	for (uint32_t i = 0; i < size; i++)
		if (!model_taken(flow, (uint16_t)(range->min + (start + i) % size)))
			return range->min + (start + i) % size;
	return 65536;
}

static void drop_flow(unsigned at)
{
	nat_unmap(&table, flows[at].mapping);
	flows[at] = flows[--flow_count];
}

static void random_tuple(struct flow *flow)
{
	flow->protocol = chance(3);
	flow->tuple = packet(flow->protocol, 0x0a000000 + chance(3), (uint16_t)chance(12));
	store16((uint8_t *)&flow->tuple.ports + 2, chance(3)); /* stands for the whole remote side */
	if (chance(4) == 0) {
		flow->tuple.family = 6;
		flow->tuple.protocol = flow->protocol == 2 ? 58 : flow->tuple.protocol;
		flow->tuple.addresses[15] = (uint8_t)chance(3);
	}
}

static void any_history_of_flows_gives_the_ports_of_the_model(void)
{
	begin(NAT_MAPPINGS);
	struct nat_range ranges[MODEL_INTERFACES];
	for (uint32_t i = 0; i < MODEL_INTERFACES; i++)
		ranges[i] = range_of(1 + i, i / 2, 1000 + i % 2 * 100, 1000 + i % 2 * 100 + 5 + chance(70));
	unsigned mapped = 0, shared = 0, exhausted = 0;
	for (unsigned round = 0; round < 60000 && check_failures < 10; round++) {
		if (flow_count == MODEL_FLOWS || (flow_count > 0 && chance(100) < 45)) {
			drop_flow(chance(flow_count));
			continue;
		}
		uint32_t which = chance(MODEL_INTERFACES);
		/* A new range; most flows out of it end before anything else, as they would at their next packet. */
		if (chance(500) == 0) {
			ranges[which].min = 1000 + which % 2 * 100 + chance(20);
			ranges[which].max = ranges[which].min + 1 + chance(75);
			for (unsigned i = flow_count; i-- > 0;)
				if (flows[i].range.interface == ranges[which].interface &&
				    (flows[i].mapping == NAT_SHARED ||
				     !nat_mapping_in(&table, flows[i].mapping, &ranges[which])) && chance(4) != 0)
					drop_flow(i);
		}
		struct flow *flow = &flows[flow_count];
		*flow = (struct flow){.range = ranges[which]};
		random_tuple(flow);
		bool wants_shared;
		uint32_t wanted = model_port(flow, &wants_shared);
		flow->mapping = nat_map(&table, &flow->range, &flow->tuple, SEED, model_taken, flow, &flow->port);
		CHECK_NUMBER(flow->mapping == NAT_EXHAUSTED, wanted == 65536);
		if (flow->mapping == NAT_EXHAUSTED) {
			exhausted++;
			continue;
		}
		CHECK_NUMBER(flow->port, wanted);
		CHECK_NUMBER(flow->mapping == NAT_SHARED, wants_shared);
		shared += wants_shared;
		mapped += !wants_shared;
		flow_count++;
	}
	CHECK(mapped > 1000 && shared > 1000 && exhausted > 100); /* else it says little */
	while (flow_count > 0)
		drop_flow(flow_count - 1);
	for (uint32_t i = 0; i < MODEL_GROUPS; i++)
		CHECK_NUMBER(nat_group_used(&table, i), 0);
	for (uint32_t i = 0; i < MODEL_INTERFACES; i++)
		for (unsigned protocol = 0; protocol < 3; protocol++)
			CHECK_NUMBER(nat_used(&table, 1 + i, protocol), 0);
	CHECK_NUMBER(table.count, 0);
	end();
}

static void a_port_that_many_flows_use_is_never_given_to_two_sources(void)
{
	begin(NAT_MAPPINGS);
	static uint32_t live[20000];
	static bool used[2][3][65536];
	unsigned count = 0;
	memset(used, 0, sizeof used);
	for (unsigned round = 0; round < 300000 && check_failures < 10; round++) {
		if (count == 20000 || (count > 0 && chance(5) < 2)) {
			unsigned at = chance(count);
			const struct nat_mapping *mapping = &table.mappings[live[at]];
			if (mapping->uses == 1)
				used[mapping->address][mapping->protocol][mapping->port] = false;
			nat_unmap(&table, live[at]);
			live[at] = live[--count];
			continue;
		}
		uint32_t which = chance(4);
		struct nat_range range = range_of(1 + which, which / 2, which % 2 * 20000, which % 2 * 20000 + 20000);
		unsigned protocol = chance(3);
		struct tuple tuple = packet(protocol, 0x0a000000 + chance(50), (uint16_t)chance(2000));
		uint16_t port;
		uint32_t mapping = map(&range, &tuple, &port);
		CHECK(mapping != NAT_EXHAUSTED && mapping != NAT_SHARED && port >= range.min && port < range.max);
		if (table.mappings[mapping].uses == 1) {
			CHECK(!used[range.address][protocol][port]);
			used[range.address][protocol][port] = true;
		}
		live[count++] = mapping;
	}
	end();
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	RUN(a_mapping_starts_at_its_hash_and_goes_upwards_around_the_range);
	RUN(the_start_is_murmur_of_vni_source_port_and_protocol);
	RUN(all_destinations_of_a_source_share_its_mapping_until_the_last_flow_ends);
	RUN(a_range_holds_exactly_as_many_sources_as_it_has_ports_in_each_protocol);
	RUN(a_port_whose_reply_key_is_taken_makes_the_search_share_from_the_start);
	RUN(a_mapping_outside_of_a_new_range_is_invalid_and_its_source_gets_another);
	RUN(what_is_not_tcp_udp_or_echo_is_not_mapped);
	RUN(a_full_table_refuses_and_recovers);
	RUN(services_do_not_count_as_nat_and_know_interfaces_apart);
	RUN(any_history_of_flows_gives_the_ports_of_the_model);
	RUN(a_port_that_many_flows_use_is_never_given_to_two_sources);
	if (check_failures > 0)
		printf("seed: %s\n", argc > 1 ? argv[1] : "1");
	return CHECK_RESULT();
}
