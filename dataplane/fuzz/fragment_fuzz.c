/* The table of fragments under any order of calls: four bytes each (what, owner, two of the identification). */
#include "packet_fuzz.h"
#include "table/fragment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fragment_table table;
	uint64_t now = 0;
	must(fragment_table_init(&table, 7) == 0);
	for (; size >= 4; size -= 4, data += 4) {
		struct tuple tuple = {.family = 4, .protocol = 17, .fragment_id = load16(data + 2), .addresses = {1}};
		uint32_t before = table.count;
		if (data[0] % 8 == 7) {
			fragment_forget(&table, data[1]);
			must(table.count <= before && before - table.count <= FRAGMENT_OWNED);
		} else if (data[0] % 8 == 6) {
			now += (uint64_t)data[1] * 100;
		} else if (data[0] % 8 == 5) {
			(void)fragment_find(&table, 1, &tuple, now);
		} else { /* a run of them, to fill it */
			for (unsigned i = 0; i <= data[0]; i++) {
				tuple.fragment = FRAGMENT_FIRST;
				tuple.ports = tuple.fragment_id + 1;
				fragment_remember(&table, 1, &tuple, data[1], now);
				tuple.ports = 0;
				must(fragment_find(&table, 1, &tuple, now) && tuple.ports == tuple.fragment_id + 1);
				must(!fragment_find(&table, 2, &tuple, now));
				tuple.fragment_id++;
			}
		}
		must(table.count <= FRAGMENT_CAPACITY);
	}
	for (uint32_t owner = 0; owner < 256; owner++)
		fragment_forget(&table, owner);
	must(table.count == 0);
	fragment_table_free(&table);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	if (n >= 6)
		return 0;
	packet_seed(n + 1);
	size_t size = 4u << n;
	chance_bytes(data, (uint32_t)size);
	return size;
}
