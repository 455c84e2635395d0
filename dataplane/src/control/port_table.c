#include "port_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint32_t text_hash(const struct control_port_table *table, const char *text)
{
	return control_hash(table->seed, text, strlen(text));
}

static bool name_equal(const void *table, uint32_t record, const void *name)
{
	return strcmp(((const struct control_port_table *)table)->ports[record].name, name) == 0;
}

static bool device_equal(const void *table, uint32_t record, const void *device)
{
	return strcmp(((const struct control_port_table *)table)->ports[record].device, device) == 0;
}

bool control_port_table_open(struct control_port_table *table, uint64_t seed)
{
	*table = (struct control_port_table){.seed = seed};
	table->ports = calloc(CONTROL_MAX_PORTS, sizeof *table->ports);
	return table->ports != NULL;
}

void control_port_table_close(struct control_port_table *table)
{
	free(table->ports);
	control_index_free(&table->by_name);
	control_index_free(&table->by_device);
	*table = (struct control_port_table){0};
}

struct control_port *control_port_find(const struct control_port_table *table, const char *name)
{
	uint32_t hash = text_hash(table, name);
	uint32_t at = control_index_find(&table->by_name, hash, name_equal, table, name);

	if (at == CONTROL_INDEX_NONE)
		at = control_index_find(&table->by_device, hash, device_equal, table, name);
	return at == CONTROL_INDEX_NONE ? NULL : &table->ports[at];
}

struct control_port *control_port_reserve(struct control_port_table *table)
{
	uint32_t at = table->first_free;

	/* Low numbers first: the order of ports is the order in which interfaces are listed. */
	while (at < table->used && table->ports[at].handle != 0)
		++at;
	table->first_free = at;
	if (at == CONTROL_MAX_PORTS || !control_index_reserve(&table->by_name, table->by_name.count + 1) ||
	    !control_index_reserve(&table->by_device, table->by_device.count + 1))
		return NULL;
	return &table->ports[at];
}

void control_port_insert(struct control_port_table *table, struct control_port *port)
{
	uint32_t at = (uint32_t)(port - table->ports);

	assert(port->handle != 0);
	control_index_insert(&table->by_name, text_hash(table, port->name), at);
	control_index_insert(&table->by_device, text_hash(table, port->device), at);
	if (at == table->used)
		table->used++;
}

void control_port_erase(struct control_port_table *table, struct control_port *port)
{
	uint32_t at = (uint32_t)(port - table->ports);

	control_index_remove(&table->by_name, text_hash(table, port->name), at);
	control_index_remove(&table->by_device, text_hash(table, port->device), at);
	*port = (struct control_port){0};
	if (at < table->first_free)
		table->first_free = at;
	while (table->used > 0 && table->ports[table->used - 1].handle == 0)
		table->used--;
}

bool control_port_on_demand(const char *device)
{
	static const char *const kinds[] = {"vtap:", "ring:", "vhost:"};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
		size_t length = strlen(kinds[i]);

		if (strncmp(device, kinds[i], length) == 0 && device[length] != 0)
			return true;
	}
	return false;
}
