/* What the dataplane holds, and what it costs: `capacity_bench [PART...]`, all parts by default, a minute or two and 3 GB.
 *
 * Each part fills a table to the number that is promised (or asked for), says how much memory became resident and how
 * long that took, and looks things up at that fill, each answer of which must be right. A part is a process of its own,
 * so that its resident memory is its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/state.h"
#include "packet/murmur.h"

enum {
	INTERFACES = 10000, VNIS = 30000, ROUTES = FERRITE_MAX_ROUTES, FLOWS = 4000000, BALANCERS = 1000, TARGETS = 1000,
	RULES = 100000, RULES_EACH = 1000, NEIGHBORS = FERRITE_MAX_NEIGHBOR_NATS, LOOKUPS = 1000000,
};

static uint64_t state = 42;

static uint32_t chance(uint32_t below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(((state >> 32) * below) >> 32);
}

static double now(void)
{
	struct timespec at;
	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double resident(void)
{
	unsigned long size, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file == NULL || fscanf(file, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	if (file != NULL)
		(void)fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void must(bool right, const char *what)
{
	if (right)
		return;
	(void)fprintf(stderr, "not so: %s\n", what);
	exit(1);
}

static struct { const char *name; double memory, time; } part;

static void begin(const char *name)
{
	part.name = name;
	part.memory = resident();
	part.time = now();
}

static void filled(uint32_t count, const char *what)
{
	double seconds = now() - part.time, memory = resident() - part.memory;
	(void)printf("%-22s %8u %-18s %8.1f MB  %7.1f bytes each  %7.2f s  %9.0f ns each\n", part.name, count, what, memory,
		     memory * 1048576 / count, seconds, seconds * 1e9 / count);
	part.time = now();
}

static void looked(uint32_t count)
{
	(void)printf("%-22s %8u %-18s %47.0f ns each\n", "", count, "look-ups, all right", (now() - part.time) * 1e9 / count);
}

static struct ferrite_engine *engine_of(uint32_t flows)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine *engine;
	struct ferrite_engine_config config = {.name = "bench", .mtu = 1500, .has_seed = true, .seed = 7, .uplink = "none",
					       .flow_capacity = flows};
	memcpy(config.underlay_prefix.bytes, (const uint8_t[]){0xfd, 0, 0, 0x0f, 0, 1}, 6);
	if (ferrite_engine_start(&config, &engine, error) == 0)
		return engine;
	(void)fprintf(stderr, "no engine: %s\n", error);
	exit(1);
}

static struct ferrite_route route_of(uint32_t number, uint32_t vnis, uint32_t salt)
{
	struct ferrite_route route = {.key = {.vni = 1 + number % vnis, .family = 4, .length = 32},
				      .next_hop = {{0xfd, 0, 0, 0x0f, 0, 9, 0, 0, 0xd0, 1}}};
	uint32_t within = number / vnis + (10u << 24);
	store32(route.key.prefix, within);
	store32(route.next_hop.bytes + 12, number ^ salt);
	return route;
}

static void put_routes(struct ferrite_engine *engine, uint32_t count, uint32_t vnis, uint32_t salt)
{
	for (uint32_t i = 0; i < count; i++) {
		struct ferrite_route route = route_of(i, vnis, salt);
		must(ferrite_route_put(engine, &route, true) == 0, "a route is put");
	}
}

static void find_routes(struct ferrite_engine *engine, uint32_t count, uint32_t vnis, uint32_t salt)
{
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		struct ferrite_route route = route_of(chance(count), vnis, salt);
		const struct route_entry *entry =
			route_lookup4(&engine->routes, vni_find(&engine->routes, route.key.vni), route.key.prefix);
		uint8_t hop[16];
		must(entry != NULL, "a route is found");
		route_hop(entry, hop);
		must(memcmp(hop, route.next_hop.bytes, 16) == 0, "its next hop is the one that was said last");
	}
}

/* Of 1,024 VNIs: as the control layer tells them. */
static void routes(void)
{
	struct ferrite_engine *engine = engine_of(0);
	begin("routes");
	put_routes(engine, ROUTES, 1024, 0);
	filled(ROUTES, "routes");
	double memory = (resident() - part.memory);
	find_routes(engine, ROUTES, 1024, 0);
	looked(LOOKUPS);
	begin("");
	put_routes(engine, ROUTES, 1024, 99);
	filled(ROUTES, "other next hops");
	find_routes(engine, ROUTES, 1024, 99);
	looked(LOOKUPS);
	struct ferrite_route more = {.key = {.vni = 5000, .family = 4}};
	must(ferrite_route_put(engine, &more, true) == -ENOSPC, "one more is refused");
	(void)printf("%-22s %s\n", "", memory <= 65 ? "within 64 MB and its VNIs" : "MORE THAN 64 MB");
}

static void vnis(void)
{
	struct ferrite_engine *engine = engine_of(0);
	begin("VNIs");
	put_routes(engine, VNIS, VNIS, 0);
	filled(VNIS, "VNIs, a route each");
	find_routes(engine, VNIS, VNIS, 0);
	looked(LOOKUPS);
}

/* Records: ports of rings are 4,095 at the most, so the ports here are made up. */
static void interfaces(void)
{
	static struct port ports[INTERFACES];
	struct ferrite_engine *engine = engine_of(0);
	ferrite_ipv6 *underlay = calloc(INTERFACES, sizeof *underlay);
	begin("interfaces");
	for (uint32_t i = 0; i < INTERFACES; i++) {
		struct ferrite_interface_config config = {.port = 1, .vni = 1 + i % 100};
		uint32_t index;
		store32(config.ipv4.bytes, (10u << 24) + i);
		store32(config.ipv6.bytes, 0x20010db8);
		store32(config.ipv6.bytes + 12, i + 1);
		engine->ports[1] = &ports[i];
		must(ferrite_interface_add(engine, &config, &index, &underlay[i]) == 0, "an interface is added");
	}
	filled(INTERFACES, "interfaces");
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		uint32_t number = chance(INTERFACES);
		uint32_t place = endpoint_find(&engine->endpoints, underlay[number].bytes);
		must(place != 0, "an underlay address is found");
		const struct interface *interface = &engine->interfaces[engine->endpoints.places[place].owner];
		must(load32(interface->ipv4) == (10u << 24) + number, "it is the interface's");
	}
	looked(LOOKUPS);
}

static void flow_key(struct flow_key *key, const struct flow_table *table, uint32_t number, bool back)
{
	struct tuple tuple = {.family = 4, .protocol = 17, .ports = number * 2654435761u}, flipped;
	store32(tuple.addresses, (10u << 24) + (number & 0xffff));
	store32(tuple.addresses + 4, (172u << 24) + number);
	if (back)
		tuple_flip(&tuple, &flipped);
	flow_key_of(key, table->seed, flow_context(back ? FLOW_FROM_INTERFACE : FLOW_FROM_VM, 1 + number % 1000, 4, 17),
		    back ? &flipped : &tuple);
}

static uint32_t fill_flows(struct flow_table *table, uint32_t count)
{
	uint32_t refused = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct flow_key key, back;
		flow_key(&key, table, i, false);
		flow_key(&back, table, i, true);
		uint32_t index = flow_begin(table, &key, &back, 1 + i % 1000);
		refused += index == FLOW_NONE;
		if (index != FLOW_NONE)
			table->entries[index].rule = i;
	}
	return refused;
}

static uint32_t find_flows(struct flow_table *table, uint32_t count)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		struct flow_key key;
		uint32_t number = chance(count);
		flow_key(&key, table, number, i % 2 == 1);
		struct flow_entry *entry = flow_find_key(table, &key);
		if (entry == NULL)
			continue;
		must(flow_original(table, entry)->rule == number, "a flow is its own");
		found++;
	}
	return found;
}

/* Both directions of each; --flow-capacity 2^24 entries, and half of that, where nearly all places are wanted. */
static void flows(void)
{
	static struct flow_table table;
	for (unsigned bits = 24; bits >= 23; bits--) {
		char name[32];
		(void)snprintf(name, sizeof name, "flows, 2^%u entries", bits);
		must(flow_table_init(&table, 1u << bits, OWNERS, 30, 7) == 0, "a flow table");
		begin(name);
		uint32_t refused = fill_flows(&table, FLOWS);
		filled(FLOWS, "flows");
		uint32_t found = find_flows(&table, FLOWS);
		looked(LOOKUPS);
		(void)printf("%-22s %8u refused for want of room\n", "", refused);
		/* A key has two buckets of eight: a few in a million meet two full ones at half fill. */
		must(bits == 23 || refused <= FLOWS / 10000, "there is room for all but a few");
		must(refused > 0 || found == LOOKUPS, "what is there is found");
		flow_table_free(&table);
	}
}

static int by_address(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static void balancers(void)
{
	struct ferrite_engine *engine = engine_of(0);
	static ferrite_ipv6 targets[TARGETS];
	static uint32_t indexes[BALANCERS];
	begin("balancers");
	for (uint32_t i = 0; i < BALANCERS; i++) {
		struct ferrite_balancer_config config = {.vni = 1 + i, .family = 4, .address = {203, 0, 113, 1}, .port_count = 1,
							 .ports = {{6, 80, 80}}};
		ferrite_ipv6 underlay;
		must(ferrite_balancer_add(engine, &config, &indexes[i], &underlay) == 0, "a balancer is added");
		for (uint32_t j = 0; j < TARGETS; j++) {
			targets[j] = (ferrite_ipv6){{0xfd, 0, 0, 0x0f, 0, 9}};
			store32(targets[j].bytes + 8, i);
			store32(targets[j].bytes + 12, j);
		}
		qsort(targets, TARGETS, sizeof *targets, by_address);
		must(ferrite_balancer_targets(engine, indexes[i], targets, TARGETS) == 0, "its targets are set");
	}
	filled(BALANCERS, "of 1,000 targets");
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		uint32_t number = chance(BALANCERS);
		const uint8_t *target = balancer_pick(engine->balancers[indexes[number]]->set, chance(UINT32_MAX));
		must(target != NULL && load32(target + 8) == number, "a target is the balancer's own");
	}
	looked(LOOKUPS);
}

static void rules(void)
{
	static struct firewall *firewalls[RULES / RULES_EACH];
	static struct ferrite_rule list[RULES_EACH];
	begin("firewall rules");
	for (uint32_t i = 0; i < RULES / RULES_EACH; i++) {
		for (uint32_t j = 0; j < RULES_EACH; j++) {
			list[j] = (struct ferrite_rule){.accept = true, .family = 4, .protocol = 6, .source_last = 65535,
							.destination_length = 32, .destination_first = (uint16_t)(j + 1),
							.destination_last = (uint16_t)(j + 1), .icmp_type = -1, .icmp_code = -1};
			store32(list[j].destination, (10u << 24) + j);
		}
		firewalls[i] = firewall_build(list, RULES_EACH, FERRITE_DROP, FERRITE_ACCEPT);
		must(firewalls[i] != NULL, "a firewall is built");
	}
	filled(RULES, "in sets of 1,000");
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		uint32_t number = chance(RULES_EACH);
		struct tuple tuple = {.family = 4, .protocol = 6, .ports = (uint32_t)__builtin_bswap16((uint16_t)(number + 1)) << 16};
		store32(tuple.addresses + 4, (10u << 24) + number);
		struct firewall_verdict verdict = firewall_check(firewalls[chance(RULES / RULES_EACH)], &tuple, false);
		must(verdict.accept && verdict.rule == (int32_t)number, "the rule that matches decides");
	}
	looked(LOOKUPS);
}

static void neighbors(void)
{
	struct ferrite_engine *engine = engine_of(0);
	begin("neighbour NATs");
	for (uint32_t i = 0; i < NEIGHBORS; i++) {
		struct ferrite_neighbor_nat entry = {.ip = {{198, 51, (uint8_t)(i / 64 / 256), (uint8_t)(i / 64)}}, .vni = 1,
						     .min = i % 64 * 1024, .max = i % 64 * 1024 + 1024};
		store32(entry.underlay.bytes + 12, i);
		must(ferrite_neighbor_nat_add(engine, &entry) == 0, "a neighbour's NAT is added");
	}
	filled(NEIGHBORS, "of 64 an address");
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		uint32_t number = chance(NEIGHBORS);
		const uint8_t ip[4] = {198, 51, (uint8_t)(number / 64 / 256), (uint8_t)(number / 64)};
		const uint8_t *underlay =
			neighbor_nat_find(engine->neighbor_nats, 1, ip, (uint16_t)(number % 64 * 1024 + chance(1024)));
		must(underlay != NULL && load32(underlay + 12) == number, "a port is its neighbour's");
	}
	looked(LOOKUPS);
}

static const struct { const char *name; void (*run)(void); } parts[] = {
	{"interfaces", interfaces}, {"vnis", vnis}, {"routes", routes}, {"flows", flows},
	{"balancers", balancers}, {"rules", rules}, {"neighbors", neighbors},
};

static bool run_alone(void (*run)(void))
{
	int status = 1;
	(void)fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		run();
		(void)fflush(stdout);
		_exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(int count, char **arguments)
{
	bool good = true;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		bool wanted = count == 1;
		for (int j = 1; j < count; j++)
			wanted = wanted || strcmp(arguments[j], parts[i].name) == 0;
		if (wanted)
			good = run_alone(parts[i].run) && good;
	}
	return good ? 0 : 1;
}
