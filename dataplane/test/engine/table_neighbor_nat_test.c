/* Neighbour ranges against a list, and while another thread looks them up. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "control/check.h"
#include "table/neighbor_nat.h"

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static struct neighbor_nat_table table;
static struct rte_rcu_qsbr *rcu;

static void begin(uint32_t capacity)
{
	size_t size = rte_rcu_qsbr_get_memsize(1);
	rcu = aligned_alloc(64, (size + 63) / 64 * 64);
	CHECK_NUMBER(rte_rcu_qsbr_init(rcu, 1), 0);
	CHECK_NUMBER(neighbor_nat_init(&table, rcu, 7, capacity), 0);
}

static void end(void)
{
	neighbor_nat_free(&table);
	free(rcu);
}

static struct ferrite_neighbor_nat entry_of(uint32_t vni, uint32_t ip, uint32_t min, uint32_t max, uint32_t mark)
{
	struct ferrite_neighbor_nat entry = {.vni = vni, .min = min, .max = max};
	store32(entry.ip.bytes, ip);
	store32(entry.underlay.bytes + 12, mark);
	return entry;
}

static uint32_t mark_at(uint32_t vni, uint32_t ip, uint16_t port)
{
	uint8_t bytes[4];
	store32(bytes, ip);
	const uint8_t *underlay = neighbor_nat_find(&table, vni, bytes, port);
	return underlay == NULL ? 0 : load32(underlay + 12);
}

static void a_range_is_found_from_its_first_port_to_the_one_before_its_end(void)
{
	begin(100);
	struct ferrite_neighbor_nat low = entry_of(1, 9, 0, 1, 5), high = entry_of(1, 9, 65000, 65536, 6);
	CHECK_NUMBER(neighbor_nat_add(&table, &high), 0);
	CHECK_NUMBER(neighbor_nat_add(&table, &low), 0);
	CHECK_NUMBER(mark_at(1, 9, 0), 5);
	CHECK_NUMBER(mark_at(1, 9, 1), 0);
	CHECK_NUMBER(mark_at(1, 9, 64999), 0);
	CHECK_NUMBER(mark_at(1, 9, 65000), 6);
	CHECK_NUMBER(mark_at(1, 9, 65535), 6);
	CHECK_NUMBER(mark_at(2, 9, 65535), 0);
	CHECK_NUMBER(mark_at(1, 8, 65535), 0);
	end();
}

static void ranges_that_are_none_or_overlap_are_refused(void)
{
	begin(3);
	struct { uint32_t vni, min, max; int result; } cases[] = {
		{1, 100, 200, 0}, {1, 5, 5, -EINVAL}, {1, 6, 5, -EINVAL}, {1, 65000, 65537, -EINVAL},
		{1, 100, 200, -EEXIST}, {1, 199, 300, -EEXIST}, {1, 50, 101, -EEXIST}, {1, 120, 130, -EEXIST},
		{1, 50, 300, -EEXIST}, {2, 100, 200, 0}, {1, 200, 201, 0}, {1, 99, 100, -ENOSPC}, {1, 99, 101, -EEXIST},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ferrite_neighbor_nat entry = entry_of(cases[i].vni, 9, cases[i].min, cases[i].max, 1);
		CHECK_NUMBER(neighbor_nat_add(&table, &entry), cases[i].result);
	}
	end();
}

static void only_exactly_what_was_added_is_removed(void)
{
	begin(100);
	struct ferrite_neighbor_nat entry = entry_of(1, 9, 100, 200, 1);
	CHECK_NUMBER(neighbor_nat_add(&table, &entry), 0);
	struct ferrite_neighbor_nat others[] = {
		entry_of(1, 9, 100, 199, 1), entry_of(1, 9, 101, 200, 1), entry_of(2, 9, 100, 200, 1),
		entry_of(1, 8, 100, 200, 1), entry_of(1, 9, 100, 201, 1), entry_of(1, 9, 200, 300, 1),
	};
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
		CHECK_NUMBER(neighbor_nat_remove(&table, &others[i]), -ENOENT);
	CHECK_NUMBER(mark_at(1, 9, 150), 1);
	CHECK_NUMBER(neighbor_nat_remove(&table, &entry), 0);
	CHECK_NUMBER(mark_at(1, 9, 150), 0);
	CHECK_NUMBER(neighbor_nat_remove(&table, &entry), -ENOENT);
	CHECK_NUMBER(neighbor_nat_add(&table, &entry), 0);
	end();
}

static bool count_one(void *context, const struct ferrite_neighbor_nat *entry)
{
	++*(unsigned *)context;
	return true;
}

static void any_history_answers_as_a_list_does(void)
{
	enum { LIMIT = 300 };
	static struct ferrite_neighbor_nat list[LIMIT];
	unsigned count = 0;
	begin(LIMIT);
	for (unsigned round = 0; round < 60000 && check_failures < 10; round++) {
		uint32_t min = chance(2000), max = min + 1 + chance(chance(10) == 0 ? 500 : 5);
		struct ferrite_neighbor_nat entry = entry_of(1 + chance(2), 9 + chance(3), min, max, round + 1);
		if (chance(5) < 3) {
			int wanted = 0;
			for (unsigned i = 0; i < count; i++)
				if (list[i].vni == entry.vni && raw32(list[i].ip.bytes) == raw32(entry.ip.bytes) &&
				    list[i].min < max && min < list[i].max)
					wanted = -EEXIST;
			wanted = wanted == 0 && count == LIMIT ? -ENOSPC : wanted;
			CHECK_NUMBER(neighbor_nat_add(&table, &entry), wanted);
			if (wanted == 0)
				list[count++] = entry;
		} else if (count > 0) {
			unsigned at = chance(count);
			CHECK_NUMBER(neighbor_nat_remove(&table, &list[at]), 0);
			list[at] = list[--count];
		}
		uint32_t vni = 1 + chance(2), ip = 9 + chance(3), port = chance(2600), wanted = 0;
		for (unsigned i = 0; i < count; i++)
			if (list[i].vni == vni && load32(list[i].ip.bytes) == ip && port >= list[i].min &&
			    port < list[i].max)
				wanted = load32(list[i].underlay.bytes + 12);
		CHECK_NUMBER(mark_at(vni, ip, (uint16_t)port), wanted);
	}
	unsigned each = 0;
	neighbor_nat_each(&table, count_one, &each);
	CHECK_NUMBER(each, count);
	end();
}

static void as_many_ranges_as_the_table_holds_are_found_again(void)
{
	begin(FERRITE_MAX_NEIGHBOR_NATS);
	/* Half of them on addresses of their own, half on 64 addresses. */
	for (uint32_t i = 0; i < FERRITE_MAX_NEIGHBOR_NATS; i++) {
		uint32_t half = FERRITE_MAX_NEIGHBOR_NATS / 2;
		struct ferrite_neighbor_nat entry = i < half ? entry_of(5, 1000 + i, 1024, 2048, i + 1) :
			entry_of(5, (i - half) % 64, (i - half) / 64 * 60, (i - half) / 64 * 60 + 60, i + 1);
		CHECK_NUMBER(neighbor_nat_add(&table, &entry), 0);
	}
	struct ferrite_neighbor_nat more = entry_of(6, 1, 1, 2, 1);
	CHECK_NUMBER(neighbor_nat_add(&table, &more), -ENOSPC);
	for (uint32_t i = 0; i < FERRITE_MAX_NEIGHBOR_NATS / 2; i++) {
		CHECK_NUMBER(mark_at(5, 1000 + i, 1500), i + 1);
		CHECK_NUMBER(mark_at(5, i % 64, (uint16_t)(i / 64 * 60 + 59)), FERRITE_MAX_NEIGHBOR_NATS / 2 + i + 1);
	}
	end();
}

/* A worker looks up while control changes. Its own range is always there, whatever happens around it; with ASan a group
 * that is freed too early is an error. */
static bool stop;
static unsigned wrong, turns;

static void *worker(void *argument)
{
	(void)rte_rcu_qsbr_thread_register(rcu, 0);
	rte_rcu_qsbr_thread_online(rcu, 0);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		for (uint16_t i = 0; i < 64; i++) {
			wrong += mark_at(1, i % 4, 40000) != 77;
			uint32_t mark = mark_at(1, i % 4, i);
			wrong += mark != 0 && mark != 55;
		}
		rte_rcu_qsbr_quiescent(rcu, 0);
		__atomic_fetch_add(&turns, 1, __ATOMIC_RELEASE);
	}
	rte_rcu_qsbr_thread_offline(rcu, 0);
	(void)rte_rcu_qsbr_thread_unregister(rcu, 0);
	return NULL;
}

static void a_worker_sees_whole_tables_while_control_changes_them(void)
{
	begin(1000);
	for (uint32_t ip = 0; ip < 4; ip++) {
		struct ferrite_neighbor_nat entry = entry_of(1, ip, 40000, 40001, 77);
		CHECK_NUMBER(neighbor_nat_add(&table, &entry), 0);
	}
	pthread_t thread;
	CHECK_NUMBER(pthread_create(&thread, NULL, worker, NULL), 0);
	bool there[4][64] = {0};
	while (__atomic_load_n(&turns, __ATOMIC_ACQUIRE) == 0)
		;
	for (unsigned round = 0; round < 40000; round++) {
		uint32_t ip = chance(4), port = chance(64);
		struct ferrite_neighbor_nat entry = entry_of(1, ip, port, port + 1, 55);
		int result = there[ip][port] ? neighbor_nat_remove(&table, &entry) : neighbor_nat_add(&table, &entry);
		CHECK_NUMBER(result, 0);
		there[ip][port] = !there[ip][port];
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	CHECK_NUMBER(wrong, 0);
	CHECK(turns > 10);
	end();
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	RUN(a_range_is_found_from_its_first_port_to_the_one_before_its_end);
	RUN(ranges_that_are_none_or_overlap_are_refused);
	RUN(only_exactly_what_was_added_is_removed);
	RUN(any_history_answers_as_a_list_does);
	RUN(as_many_ranges_as_the_table_holds_are_found_again);
	RUN(a_worker_sees_whole_tables_while_control_changes_them);
	if (check_failures > 0)
		printf("seed: %s\n", argc > 1 ? argv[1] : "1");
	return CHECK_RESULT();
}
