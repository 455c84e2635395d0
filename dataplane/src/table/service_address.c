#include "table/service_address.h"

#include <errno.h>
#include <stdlib.h>

#include "table/memory.h"

static const size_t bytes = (FERRITE_MAX_ENDPOINTS + 1) * sizeof(struct service_address);

int service_address_init(struct service_address_table *table)
{
	memset(table, 0, sizeof *table);
	table->entries = table_memory(bytes, 0);
	table->heads = calloc(SERVICE_ADDRESS_HEADS, sizeof *table->heads);
	if (table->entries != NULL && table->heads != NULL)
		return 0;
	service_address_free(table);
	return -ENOMEM;
}

void service_address_free(struct service_address_table *table)
{
	table_free(table->entries, bytes, 0);
	free(table->heads);
	memset(table, 0, sizeof *table);
}

static void widen(uint8_t wide[16], uint8_t family, const uint8_t *address)
{
	memset(wide, 0, 16);
	memcpy(wide, address, family == 4 ? 4 : 16);
}

/* Where the number of its entry stands; or of the end of its chain. */
static uint32_t *link_of(const struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address)
{
	uint8_t wide[16];
	widen(wide, family, address);
	uint32_t *at = &table->heads[mix(raw64(wide) ^ vni, raw64(wide + 8) ^ family) & (SERVICE_ADDRESS_HEADS - 1)];
	for (; *at != 0; at = &table->entries[*at].next) {
		const struct service_address *entry = &table->entries[*at];
		if (entry->vni == vni && entry->family == family && equal16(entry->address, wide))
			break;
	}
	return at;
}

int service_address_add(struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address,
			uint32_t endpoint)
{
	uint32_t *at = link_of(table, vni, family, address), index = table->free_first;
	if (*at != 0)
		return -EEXIST;
	if (index != 0)
		table->free_first = table->entries[index].next;
	else if (table->used_high < FERRITE_MAX_ENDPOINTS)
		index = ++table->used_high;
	else
		return -ENOSPC;
	struct service_address *entry = &table->entries[index];
	*entry = (struct service_address){.vni = vni, .family = family, .endpoint = endpoint};
	widen(entry->address, family, address);
	*at = index;
	table->count++;
	return 0;
}

void service_address_remove(struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address)
{
	uint32_t *at = link_of(table, vni, family, address), index = *at;
	if (index == 0)
		return;
	*at = table->entries[index].next;
	table->entries[index].next = table->free_first;
	table->free_first = index;
	table->count--;
}

uint32_t service_address_find(const struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address)
{
	if (table->count == 0)
		return 0;
	uint32_t index = *link_of(table, vni, family, address);
	return index == 0 ? 0 : table->entries[index].endpoint;
}
