/* The flow table: both directions, states and times, shares, and what goes when it is full. */
#include <stdlib.h>

#include "control/check.h"
#include "ferrite/engine.h"
#include "table/flow.h"

static unsigned ends[16], ended_all;

static void ended(void *context, struct flow_entry *original, unsigned reason)
{
	CHECK((original->bits & FLOW_REPLY) == 0);
	ends[reason]++;
	ended_all++;
}

static void key_of(struct flow_key *key, uint32_t number, bool wide, bool reply)
{
	struct tuple tuple = {.family = wide ? 6 : 4, .protocol = 6, .ports = number};
	memcpy(tuple.addresses + (wide ? 16 : 4), &number, 4);
	if (reply)
		tuple_flip(&tuple, &tuple);
	flow_key_of(key, 1, flow_context(reply ? FLOW_FROM_INTERFACE : FLOW_FROM_VM, 7, tuple.family, 6), &tuple);
}

static uint32_t begin(struct flow_table *table, uint32_t number, bool wide, uint32_t owner)
{
	struct flow_key original, reply;
	key_of(&original, number, wide, false);
	key_of(&reply, number, wide, true);
	return flow_begin(table, &original, &reply, owner);
}

static struct flow_entry *find(const struct flow_table *table, uint32_t number, bool wide, bool reply)
{
	struct flow_key key;
	key_of(&key, number, wide, reply);
	return flow_find_key(table, &key);
}

static void make(struct flow_table *table, uint32_t capacity)
{
	memset(ends, 0, sizeof ends);
	ended_all = 0;
	CHECK_NUMBER(flow_table_init(table, capacity, 100, 30, 1), 0);
	table->ended = ended;
	table->now = 1000;
}

static void a_flow_is_found_in_both_directions_until_it_ends(void)
{
	struct flow_table table;
	make(&table, 16384);
	for (uint32_t i = 0; i < 2000; i++) {
		bool wide = i % 2 == 0;
		CHECK(find(&table, i, wide, false) == NULL);
		CHECK(begin(&table, i, wide, 1) != FLOW_NONE);
	}
	for (uint32_t i = 0; i < 2000; i++) {
		struct flow_entry *original = find(&table, i, i % 2 == 0, false), *reply = find(&table, i, i % 2 == 0, true);
		CHECK(original != NULL && reply != NULL && flow_peer(&table, original) == reply);
		CHECK(flow_peer(&table, reply) == original && flow_original(&table, reply) == original);
	}
	CHECK_NUMBER(table.count, 2000);
	CHECK_NUMBER(table.owners[1], 2000);
	flow_end(&table, flow_place(&table, find(&table, 5, false, true)), FERRITE_FLOW_DENIED);
	CHECK(find(&table, 5, false, false) == NULL && find(&table, 5, false, true) == NULL);
	CHECK_NUMBER(table.count, 1999);
	CHECK_NUMBER(ends[FERRITE_FLOW_DENIED], 1);
	flow_table_free(&table);
}

static void a_flow_lives_as_long_as_its_state_says(void)
{
	struct flow_table table;
	make(&table, 1024);
	struct flow_entry *original = &table.entries[begin(&table, 1, false, 1)], *reply = flow_peer(&table, original);
	table.now += 30000;
	CHECK(flow_live(&table, original)); /* t - last <= limit */
	table.now++;
	CHECK(!flow_live(&table, original) && !flow_live(&table, reply));
	reply->last = table.now;
	CHECK(flow_live(&table, original)); /* of either direction */
	flow_show(&table, original, TCP_SYN);
	flow_show(&table, reply, TCP_SYN | TCP_ACK);
	CHECK_NUMBER(original->state, FLOW_BRIEF);
	flow_show(&table, original, TCP_ACK);
	CHECK(original->state == FLOW_ESTABLISHED && reply->state == FLOW_ESTABLISHED);
	table.now += 86400000;
	CHECK(flow_live(&table, reply));
	flow_show(&table, reply, TCP_FIN | TCP_ACK);
	CHECK(original->state == FLOW_BRIEF && (original->bits & FLOW_CLOSING) != 0 && !flow_live(&table, original));
	flow_sweep(&table, table.mask + 1);
	CHECK_NUMBER(table.count, 0);
	CHECK_NUMBER(ends[FERRITE_FLOW_CLOSED], 1);
	flow_table_free(&table);
}

static void one_direction_alone_is_established_by_an_ack_without_syn(void)
{
	struct flow_table table;
	struct flow_key key;
	make(&table, 1024);
	key_of(&key, 1, false, false);
	struct flow_entry *entry = &table.entries[flow_begin(&table, &key, NULL, 1)];
	flow_show(&table, entry, TCP_SYN);
	CHECK_NUMBER(entry->state, FLOW_BRIEF);
	flow_show(&table, entry, TCP_SYN | TCP_ACK);
	CHECK_NUMBER(entry->state, FLOW_BRIEF);
	flow_show(&table, entry, TCP_ACK);
	CHECK_NUMBER(entry->state, FLOW_ESTABLISHED);
	flow_table_free(&table);
}

static void a_full_table_takes_from_who_has_more_than_a_share(void)
{
	struct flow_table table;
	make(&table, 1024); /* 512 flows */
	for (uint32_t i = 0; i < 3000; i++) {
		table.now++;
		(void)begin(&table, i, false, 1);
	}
	CHECK(table.count > 400 && table.count <= 512);
	uint64_t refused = table.refused, before = table.owners[1];
	unsigned took = 0;
	for (uint32_t i = 0; i < 200; i++) /* another owner, below its share, gets its places */
		took += begin(&table, 10000 + i, false, 2) != FLOW_NONE;
	CHECK(took == 200 && table.refused == refused);
	CHECK(table.owners[1] < before && table.evicted > 150);
	CHECK_NUMBER(table.count, table.owners[1] + table.owners[2]);
	CHECK_NUMBER(table.owners_used, 2);
	flow_table_free(&table);
}

static void established_flows_go_last(void)
{
	struct flow_table table;
	make(&table, 16); /* two buckets: sixteen places, eight flows */
	for (uint32_t i = 0; i < 4; i++) {
		struct flow_entry *entry = &table.entries[begin(&table, i, false, 1)];
		flow_show(&table, entry, TCP_ACK);
		flow_show(&table, flow_peer(&table, entry), TCP_ACK);
	}
	table.now += 1000;
	for (uint32_t i = 10; i < 1000; i++) {
		table.now++;
		(void)begin(&table, i, false, 1);
	}
	for (uint32_t i = 0; i < 4; i++)
		CHECK(find(&table, i, false, false) != NULL);
	flow_table_free(&table);
}

static void a_sweep_ends_what_expired(void)
{
	struct flow_table table;
	make(&table, 4096);
	for (uint32_t i = 0; i < 500; i++)
		(void)begin(&table, i, false, 1 + i % 2);
	table.now += 31000;
	(void)begin(&table, 1000, false, 3);
	flow_sweep(&table, table.mask + 1);
	CHECK_NUMBER(table.count, 1);
	CHECK_NUMBER(ended_all, 500);
	CHECK_NUMBER(table.owners_used, 1);
	flow_table_free(&table);
}

int main(void)
{
	RUN(a_flow_is_found_in_both_directions_until_it_ends);
	RUN(a_flow_lives_as_long_as_its_state_says);
	RUN(one_direction_alone_is_established_by_an_ack_without_syn);
	RUN(a_full_table_takes_from_who_has_more_than_a_share);
	RUN(established_flows_go_last);
	RUN(a_sweep_ends_what_expired);
	return CHECK_RESULT();
}
