/* Addresses of this host that stand for something else: (VNI, address) to the endpoint of a VIP or load balancer.
 *
 * Guarded by the engine's decide lock on both sides: only first packets look here. Capacity FERRITE_MAX_ENDPOINTS entries
 * of 32 bytes and 64 KB of heads.
 */
#ifndef FERRITE_TABLE_SERVICE_ADDRESS_H
#define FERRITE_TABLE_SERVICE_ADDRESS_H

#include <stdbool.h>

#include "ferrite/engine.h"
#include "packet/headers.h"
#include "packet/mix.h"

enum { SERVICE_ADDRESS_HEADS = 16384 };

struct service_address {
	uint8_t address[16]; /* IPv4: the first 4 */
	uint32_t vni;
	uint32_t endpoint;   /* place */
	uint32_t next;
	uint8_t family;
};

struct service_address_table {
	struct service_address *entries; /* from 1 */
	uint32_t *heads;
	uint32_t free_first, used_high, count;
};

int service_address_init(struct service_address_table *table);
void service_address_free(struct service_address_table *table);
/* -EEXIST: it stands for something; -ENOSPC. */
int service_address_add(struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address,
			uint32_t endpoint);
void service_address_remove(struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address);
/* Its endpoint's place; 0: none. */
uint32_t service_address_find(const struct service_address_table *table, uint32_t vni, uint8_t family, const uint8_t *address);

#endif
