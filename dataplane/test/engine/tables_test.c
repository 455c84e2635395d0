/* Tables and checksums against slow and obvious models. */
#include <stdlib.h>

#include <errno.h>

#include "control/check.h"
#include "packet/checksum.h"
#include "table/flow.h"
#include "table/route.h"

static uint64_t state = 42;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static uint16_t slow_checksum(const uint8_t *data, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i++)
		sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void a_checksum_is_that_of_the_slow_sum_at_any_length_and_split(void)
{
	uint8_t data[300], field[2];
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t length = chance(sizeof data + 1), split = chance(length + 1);
		for (uint32_t i = 0; i < length; i++)
			data[i] = chance(8) == 0 ? 0xff : (uint8_t)chance(256);
		uint64_t sum = checksum_add(0, data, split);
		sum = split % 2 == 0 ? checksum_add(sum, data + split, length - split) :
				       checksum_add_odd(sum, data + split, length - split);
		checksum_put(field, sum);
		CHECK_NUMBER(load16(field), slow_checksum(data, length));
	}
}

struct model {
	struct ferrite_route routes[400];
	unsigned count;
};

static bool covers(const struct ferrite_route_key *key, const uint8_t *address)
{
	for (unsigned bit = 0; bit < key->length; bit++)
		if (((key->prefix[bit / 8] ^ address[bit / 8]) & (0x80 >> bit % 8)) != 0)
			return false;
	return true;
}

static const struct ferrite_route *model_lookup(const struct model *model, uint32_t vni, uint8_t family,
						const uint8_t *address)
{
	const struct ferrite_route *best = NULL;
	for (unsigned i = 0; i < model->count; i++) {
		const struct ferrite_route *route = &model->routes[i];
		if (route->key.vni == vni && route->key.family == family && covers(&route->key, address) &&
		    (best == NULL || route->key.length > best->key.length))
			best = route;
	}
	return best;
}

static void random_key(struct ferrite_route_key *key)
{
	*key = (struct ferrite_route_key){.vni = 1 + chance(3), .family = chance(2) == 0 ? 4 : 6};
	key->length = (uint8_t)chance(key->family == 4 ? 33 : 129);
	/* Few distinct bits, so that prefixes nest and collide. */
	for (unsigned i = 0; i < (key->family == 4 ? 4 : 16); i++)
		key->prefix[i] = chance(4) == 0 ? 0x80 : 0;
	for (unsigned bit = key->length; bit < 128; bit++)
		key->prefix[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
}

static unsigned seen;
static struct ferrite_route last;

static bool in_order(void *context, const struct ferrite_route *route)
{
	if (seen++ > 0) {
		int order = last.key.vni != route->key.vni ? (last.key.vni < route->key.vni ? -1 : 1) :
			last.key.family != route->key.family ? (int)last.key.family - route->key.family :
			memcmp(last.key.prefix, route->key.prefix, 16);
		CHECK(order < 0 || (order == 0 && last.key.length < route->key.length));
	}
	last = *route;
	return true;
}

static void routes_answer_as_a_linear_model_does(void)
{
	static struct route_table table;
	static struct model model;
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, 4096);
	CHECK_NUMBER(rte_rcu_qsbr_init(rcu, 1), 0);
	CHECK_NUMBER(route_table_init(&table, rcu, 7, 400), 0);
	for (unsigned round = 0; round < 40000; round++) {
		struct ferrite_route route = {.next_hop_vni = round};
		random_key(&route.key);
		route.next_hop.bytes[3] = (uint8_t)round;
		unsigned at = 0;
		while (at < model.count && memcmp(&model.routes[at].key, &route.key, sizeof route.key) != 0)
			at++;
		if (chance(5) < 3) {
			bool replace = chance(2) == 0;
			int expect = at < model.count ? (replace ? 0 : -EEXIST) : model.count == 400 ? -ENOSPC : 0;
			CHECK_NUMBER(route_put(&table, &route, replace), expect);
			if (expect == 0) {
				model.routes[at] = route;
				model.count += at == model.count;
			}
		} else {
			CHECK_NUMBER(route_remove(&table, &route.key, false), at < model.count ? 0 : -ENOENT);
			if (at < model.count)
				model.routes[at] = model.routes[--model.count];
		}
		uint8_t address[16] = {0};
		for (unsigned i = 0; i < 16; i++)
			address[i] = chance(4) == 0 ? 0x80 : 0;
		uint32_t number = 1 + chance(3);
		const struct vni *vni = vni_find(&table, number);
		for (uint8_t family = 4; family <= 6; family = (uint8_t)(family + 2)) {
			const struct ferrite_route *wanted = model_lookup(&model, number, family, address);
			const struct route_entry *found = vni == NULL ? NULL :
				family == 4 ? route_lookup4(&table, vni, address) : route_lookup6(&table, vni, address);
			CHECK((wanted == NULL) == (found == NULL));
			if (wanted != NULL && found != NULL)
				CHECK_NUMBER(found->next_hop_vni, wanted->next_hop_vni);
		}
		if (check_failures > 5)
			break;
	}
	seen = 0;
	route_each(&table, 0, in_order, NULL);
	CHECK_NUMBER(seen, model.count);
	unsigned cleared = route_clear(&table, 1) + route_clear(&table, 2) + route_clear(&table, 3);
	CHECK_NUMBER(cleared, model.count);
	CHECK_NUMBER(table.count, 0);
	vni_sweep(&table);
	CHECK_NUMBER(table.vnis, 0);
	CHECK(vni_find(&table, 1) == NULL);
	route_table_free(&table);
	free(rcu);
}

static void host_bits_of_a_route_are_masked(void)
{
	static struct route_table table;
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, 4096);
	(void)rte_rcu_qsbr_init(rcu, 1);
	CHECK_NUMBER(route_table_init(&table, rcu, 7, 16), 0);
	struct ferrite_route route = {.key = {.vni = 5, .family = 4, .length = 8, .prefix = {10, 1, 2, 3}}};
	CHECK_NUMBER(route_put(&table, &route, false), 0);
	route.key.prefix[3] = 9;
	CHECK_NUMBER(route_put(&table, &route, false), -EEXIST);
	CHECK(route_lookup4(&table, vni_find(&table, 5), (const uint8_t[]){10, 200, 1, 1}) != NULL);
	route.key.length = 33;
	CHECK_NUMBER(route_put(&table, &route, false), -EINVAL);
	route_table_free(&table);
	free(rcu);
}

static void a_table_takes_as_many_routes_as_it_says(void)
{
	static struct route_table table;
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, 4096);
	(void)rte_rcu_qsbr_init(rcu, 1);
	CHECK_NUMBER(route_table_init(&table, rcu, 7, FERRITE_MAX_ROUTES), 0);
	struct ferrite_route route = {.key = {.vni = 5, .family = 4, .length = 32}};
	unsigned refused = 0;
	for (uint32_t i = 0; i < FERRITE_MAX_ROUTES; i++) {
		uint32_t address = __builtin_bswap32(i + (10u << 24));
		memcpy(route.key.prefix, &address, 4);
		refused += route_put(&table, &route, false) != 0;
	}
	CHECK_NUMBER(refused, 0);
	route.key.prefix[0] = 200;
	CHECK_NUMBER(route_put(&table, &route, false), -ENOSPC);
	route_table_free(&table);
	free(rcu);
}

static void make_flow(struct flow_entry *entry, uint32_t number, bool wide, uint32_t epoch)
{
	*entry = (struct flow_entry){.context = flow_context(1, wide ? 6 : 4, 17), .ports = number, .epoch = epoch};
	memcpy(entry->addresses + (wide ? 20 : 4), &number, 4);
	memcpy(entry->target, &number, 4);
}

static const struct flow_entry *find(struct flow_table *table, const struct flow_entry *key, bool wide, uint32_t epoch)
{
	uint64_t hash = wide ? flow_hash6(1, key->context, key->ports, key->addresses) :
			       flow_hash4(1, key->context, key->ports, key->addresses);
	return flow_find(table, hash, key->context, key->ports, key->addresses, wide, epoch);
}

static void insert(struct flow_table *table, const struct flow_entry *key, bool wide)
{
	flow_insert(table, wide ? flow_hash6(1, key->context, key->ports, key->addresses) :
				  flow_hash4(1, key->context, key->ports, key->addresses), key);
}

static void a_flow_is_found_until_its_epoch_passes(void)
{
	struct flow_table table;
	struct flow_entry entry;
	CHECK_NUMBER(flow_table_init(&table, 4096, 1), 0);
	for (uint32_t i = 0; i < 2000; i++) {
		make_flow(&entry, i, i % 2 == 0, 9);
		CHECK(find(&table, &entry, i % 2 == 0, 9) == NULL);
		insert(&table, &entry, i % 2 == 0);
	}
	for (uint32_t i = 0; i < 2000; i++) {
		make_flow(&entry, i, i % 2 == 0, 9);
		const struct flow_entry *found = find(&table, &entry, i % 2 == 0, 9);
		CHECK(found != NULL && raw32(found->target) == i);
		CHECK(find(&table, &entry, i % 2 == 0, 10) == NULL);
	}
	CHECK_NUMBER(flow_count(&table), 2000);
	make_flow(&entry, 5, false, 10);
	insert(&table, &entry, false);
	CHECK_NUMBER(flow_count(&table), 2000); /* renewed, not doubled */
	CHECK(find(&table, &entry, false, 10) != NULL);
	flow_table_free(&table);
}

static void a_full_table_loses_what_was_not_used_for_longest(void)
{
	struct flow_table table;
	struct flow_entry entry;
	CHECK_NUMBER(flow_table_init(&table, 64, 1), 0);
	make_flow(&entry, 1000000, false, 1);
	insert(&table, &entry, false);
	for (uint32_t i = 0; i < 5000; i++) {
		struct flow_entry other;
		table.now++;
		CHECK(find(&table, &entry, false, 1) != NULL); /* used every second: stays */
		make_flow(&other, i, false, 1);
		insert(&table, &other, false);
		CHECK(find(&table, &other, false, 1) != NULL);
	}
	CHECK(table.evicted > 4000);
	flow_table_free(&table);
}

int main(void)
{
	RUN(a_checksum_is_that_of_the_slow_sum_at_any_length_and_split);
	RUN(routes_answer_as_a_linear_model_does);
	RUN(host_bits_of_a_route_are_masked);
	RUN(a_table_takes_as_many_routes_as_it_says);
	RUN(a_flow_is_found_until_its_epoch_passes);
	RUN(a_full_table_loses_what_was_not_used_for_longest);
	return CHECK_RESULT();
}
