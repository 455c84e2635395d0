/* The ports of fragmented packets. */
#include <stdlib.h>

#include "engine/packet_world.h"
#include "table/fragment.h"

static struct fragment_table table;

static struct tuple fragment(uint8_t kind, uint32_t id, uint32_t ports)
{
	struct tuple tuple = {.family = 4, .protocol = PROTOCOL_UDP, .fragment = kind, .fragment_id = id, .ports = ports,
			      .addresses = {10, 0, 0, 1, 10, 0, 0, 2}};
	return tuple;
}

static void remember(uint64_t context, uint32_t id, uint32_t owner, uint64_t now)
{
	struct tuple tuple = fragment(FRAGMENT_FIRST, id, id * 3 + 1);
	fragment_remember(&table, context, &tuple, owner, now);
}

static bool known(uint64_t context, uint32_t id, uint64_t now)
{
	struct tuple tuple = fragment(FRAGMENT_LATER, id, 0);
	bool found = fragment_find(&table, context, &tuple, now);
	CHECK_NUMBER(tuple.ports, found ? id * 3 + 1 : 0);
	return found;
}

static void begin(void)
{
	fragment_table_free(&table);
	CHECK_NUMBER(fragment_table_init(&table, 42), 0);
}

static void a_later_fragment_takes_the_ports_of_the_first(void)
{
	begin();
	CHECK(!known(1, 7, 0));
	remember(1, 7, 1, 0);
	CHECK(known(1, 7, 0));
	CHECK(!known(2, 7, 0)); /* from elsewhere */
	CHECK(!known(1, 8, 0));
	struct tuple other = fragment(FRAGMENT_LATER, 7, 0);
	other.protocol = PROTOCOL_TCP;
	CHECK(!fragment_find(&table, 1, &other, 0));
	other = fragment(FRAGMENT_LATER, 7, 0);
	other.addresses[7]++;
	CHECK(!fragment_find(&table, 1, &other, 0));
	other = fragment(FRAGMENT_LATER, 7, 0);
	other.family = 6;
	CHECK(!fragment_find(&table, 1, &other, 0));
	other = fragment(FRAGMENT_LATER, 9, 5); /* only a first one leaves anything */
	fragment_remember(&table, 1, &other, 1, 0);
	CHECK(!known(1, 9, 0));
}

static void ports_are_kept_for_thirty_seconds(void)
{
	begin();
	remember(1, 7, 1, 1000);
	CHECK(known(1, 7, 31000));
	CHECK(!known(1, 7, 31001));
	remember(1, 7, 1, 31001);
	CHECK(known(1, 7, 61001));
	CHECK_NUMBER(table.count, 1);
}

static void the_oldest_goes_when_the_table_is_full(void)
{
	begin();
	for (uint32_t i = 0; i < FRAGMENT_CAPACITY; i++)
		remember(1, i, i / 100, i);
	CHECK_NUMBER(table.count, FRAGMENT_CAPACITY);
	CHECK(known(1, 0, FRAGMENT_CAPACITY));
	remember(1, 1, 0, FRAGMENT_CAPACITY); /* again: the newest now */
	remember(1, FRAGMENT_CAPACITY, 99, FRAGMENT_CAPACITY);
	CHECK_NUMBER(table.count, FRAGMENT_CAPACITY);
	CHECK(!known(1, 0, FRAGMENT_CAPACITY));
	remember(1, FRAGMENT_CAPACITY + 1, 99, FRAGMENT_CAPACITY);
	CHECK(known(1, 1, FRAGMENT_CAPACITY));
	CHECK(!known(1, 2, FRAGMENT_CAPACITY));
	CHECK(known(1, 3, FRAGMENT_CAPACITY));
}

static void an_interface_has_at_most_256_and_takes_from_itself(void)
{
	begin();
	remember(1, 1000000, 2, 0);
	for (uint32_t i = 0; i < 1000; i++)
		remember(1, i, 1, i);
	CHECK_NUMBER(table.count, 257);
	CHECK(known(1, 1000000, 1000));
	CHECK(!known(1, 743, 1000));
	CHECK(known(1, 744, 1000));
}

static void what_an_interface_left_goes_with_it(void)
{
	begin();
	for (uint32_t i = 0; i < 200; i++)
		remember(1, i, i % 2, 0);
	fragment_forget(&table, 1);
	fragment_forget(&table, 77);
	CHECK_NUMBER(table.count, 100);
	for (uint32_t i = 0; i < 200; i++)
		CHECK(known(1, i, 0) == (i % 2 == 0));
	fragment_forget(&table, 0);
	CHECK_NUMBER(table.count, 0);
}

/* The same with a list that is searched from end to end. */
struct plain {
	uint32_t id, owner;
	uint64_t time;
};

static void it_does_what_a_plain_list_does(void)
{
	static struct plain list[FRAGMENT_CAPACITY + 1];
	uint32_t count = 0;
	uint64_t now = 0;
	begin();
	for (unsigned i = 0; i < 60000; i++) {
		uint32_t id = chance(6000), owner = chance(8) == 0 ? 0 : 1 + chance(40), own = 0, at = 0;
		now += chance(12);
		bool found = false;
		for (uint32_t j = 0; j < count; j++)
			found = found || (list[j].id == id && now - list[j].time <= 30000);
		CHECK(known(1, id, now) == found);
		remember(1, id, owner, now);
		for (uint32_t j = 0; j < count; j++)
			own += list[j].owner == owner && list[j].id != id;
		bool full = count == FRAGMENT_CAPACITY, gone = false;
		for (uint32_t j = 0; j < count; j++)
			full = full && list[j].id != id;
		full = full && own < FRAGMENT_OWNED;
		for (uint32_t j = 0; j < count; j++) {
			bool same = list[j].id == id, oldest = !gone && !same && own >= FRAGMENT_OWNED && list[j].owner == owner;
			gone = gone || oldest;
			if (!same && !oldest && !(full && j == 0))
				list[at++] = list[j];
		}
		list[at++] = (struct plain){id, owner, now};
		count = at;
		CHECK_NUMBER(table.count, count);
	}
}

int main(void)
{
	packet_seed(5);
	RUN(a_later_fragment_takes_the_ports_of_the_first);
	RUN(ports_are_kept_for_thirty_seconds);
	RUN(the_oldest_goes_when_the_table_is_full);
	RUN(an_interface_has_at_most_256_and_takes_from_itself);
	RUN(what_an_interface_left_goes_with_it);
	RUN(it_does_what_a_plain_list_does);
	fragment_table_free(&table);
	return CHECK_RESULT();
}
