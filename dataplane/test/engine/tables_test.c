/* Tables and checksums against slow and obvious models. */
#include <stdlib.h>

#include <errno.h>

#include "control/check.h"
#include "packet/checksum.h"
#include "table/endpoint.h"
#include "table/route.h"
#include "table/service_address.h"

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

static void a_service_address_is_found_until_it_goes(void)
{
	struct service_address_table table;
	uint8_t address[16] = {10};
	CHECK_NUMBER(service_address_init(&table), 0);
	for (uint32_t i = 0; i < 5000; i++) {
		store32(address + 4, i);
		CHECK_NUMBER(service_address_add(&table, i % 7 + 1, 6, address, i + 1), 0);
	}
	store32(address + 4, 70);
	CHECK_NUMBER(service_address_add(&table, 1, 6, address, 9), -EEXIST);
	CHECK_NUMBER(service_address_find(&table, 1, 6, address), 71);
	CHECK_NUMBER(service_address_find(&table, 2, 6, address), 0);
	CHECK_NUMBER(service_address_find(&table, 1, 4, address), 0);
	service_address_remove(&table, 1, 6, address);
	CHECK_NUMBER(service_address_find(&table, 1, 6, address), 0);
	CHECK_NUMBER(table.count, 4999);
	service_address_free(&table);
}

static void an_underlay_address_finds_its_endpoint_and_no_later_one(void)
{
	struct endpoint_table table;
	const uint8_t prefix[8] = {0xfd, 0, 0, 0x0f, 0, 1};
	ferrite_ipv6 chosen = {{0xfd, 0, 0, 0x0f, 0, 1, 0, 0, 0xd0, 2, 0x80, 1, 2, 3, 4, 5}}, foreign = {{0x20}};
	uint8_t first[16];
	int code;
	CHECK_NUMBER(endpoint_table_init(&table, prefix, 1), 0);
	uint32_t place = endpoint_take(&table, ENDPOINT_VIP, 0, NULL, &code);
	CHECK(place != 0);
	memcpy(first, table.places[place].underlay, 16);
	CHECK(first[8] == 0xd0 && first[9] == ENDPOINT_VIP && first[10] == 0 && underlay_index(first) != 0);
	CHECK_NUMBER(endpoint_find(&table, first), 0); /* not published */
	endpoint_publish(&table, place, ENDPOINT_VIP);
	CHECK_NUMBER(endpoint_find(&table, first), place);
	endpoint_withdraw(&table, place);
	CHECK_NUMBER(endpoint_find(&table, first), 0);
	endpoint_give(&table, place);
	table.hints[ENDPOINT_VIP] = underlay_index(first) - 1; /* the same index again */
	place = endpoint_take(&table, ENDPOINT_VIP, 0, NULL, &code);
	endpoint_publish(&table, place, ENDPOINT_VIP);
	CHECK_NUMBER(underlay_index(table.places[place].underlay), underlay_index(first));
	CHECK_NUMBER(endpoint_find(&table, first), 0); /* another generation */
	uint32_t other = endpoint_take(&table, ENDPOINT_NAT, 0, &chosen, &code);
	endpoint_publish(&table, other, ENDPOINT_NAT);
	CHECK_NUMBER(endpoint_find(&table, chosen.bytes), other);
	CHECK(endpoint_take(&table, ENDPOINT_NAT, 0, &chosen, &code) == 0 && code == -EEXIST);
	CHECK(endpoint_take(&table, ENDPOINT_NAT, 0, &foreign, &code) == 0 && code == -EINVAL);
	memcpy(foreign.bytes, first, 16);
	CHECK(endpoint_take(&table, ENDPOINT_NAT, 0, &foreign, &code) == 0 && code == -EINVAL); /* a VIP's */
	endpoint_withdraw(&table, other);
	CHECK_NUMBER(endpoint_find(&table, chosen.bytes), 0);
	endpoint_table_free(&table);
}

static void a_replaced_next_hop_is_seen_without_a_new_epoch(void)
{
	static struct route_table table;
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(1) + 127) & ~(size_t)127);
	struct ferrite_hop hops[3] = {{.address = {{0xfe, 1}}, .weight = 1}, {.address = {{0xfe, 2}}, .weight = 2},
				      {.address = {{0xfe, 3}}, .weight = 1}};
	struct ferrite_route route = {.key = {.vni = 5, .family = 4, .length = 8, .prefix = {10}}, .next_hop = {{0xfe, 9}}};
	uint8_t hop[16];
	(void)rte_rcu_qsbr_init(rcu, 1);
	CHECK_NUMBER(route_table_init(&table, rcu, 7, 1000), 0);
	CHECK_NUMBER(route_put(&table, &route, false), 0);
	const struct route_entry *entry = route_find(&table, &route.key);
	uint32_t epoch = vni_epoch(vni_find(&table, 5));
	route.next_hop.bytes[1] = 8;
	CHECK_NUMBER(route_put(&table, &route, true), 0);
	CHECK(route_find(&table, &route.key) == entry);
	route_hop(entry, hop);
	CHECK_NUMBER(hop[1], 8);
	CHECK_NUMBER(vni_epoch(vni_find(&table, 5)), epoch);
	route.hop_count = 3;
	route.hops = hops;
	CHECK_NUMBER(route_put(&table, &route, true), 0);
	CHECK(vni_epoch(vni_find(&table, 5)) != epoch);
	entry = route_find(&table, &route.key);
	CHECK(entry->several && route_hops_of(entry)->count == 3);
	unsigned shares[3] = {0};
	for (uint32_t i = 0; i < 1021; i++)
		shares[balancer_choose(route_hops_of(entry)->set, i)]++;
	CHECK(shares[1] > 480 && shares[1] < 540 && shares[0] > 230 && shares[2] > 230);
	route.hop_count = 1;
	CHECK_NUMBER(route_put(&table, &route, true), 0);
	CHECK(!route_find(&table, &route.key)->several);
	route_table_free(&table);
	free(rcu);
}

int main(void)
{
	RUN(a_checksum_is_that_of_the_slow_sum_at_any_length_and_split);
	RUN(routes_answer_as_a_linear_model_does);
	RUN(host_bits_of_a_route_are_masked);
	RUN(a_table_takes_as_many_routes_as_it_says);
	RUN(a_service_address_is_found_until_it_goes);
	RUN(an_underlay_address_finds_its_endpoint_and_no_later_one);
	RUN(a_replaced_next_hop_is_seen_without_a_new_epoch);
	return CHECK_RESULT();
}
