/* What the engine's files and its ports know of a handover (ferrite/handover.h). */
#ifndef FERRITE_ENGINE_HANDOVER_H
#define FERRITE_ENGINE_HANDOVER_H

#include "ferrite/handover.h"
#include "table/memory.h"

struct underlay;

enum { LEDGER_VERSION = 1, LEDGER_COUNTERS = 128, LEDGER_PORT_COUNTERS = 16, LEDGER_NEIGHBOURS = 256 };

struct handover {
	struct table_region region;
	struct ledger *ledger;       /* in the region; NULL: there is none */
	struct ferrite_inheritance *inheritance; /* while the engine starts and restores */
	bool inherits;
	bool heir;                   /* devices come from a predecessor */
	struct ferrite_identity next;
	bool has_next;
};

/* Makes or maps the memory of flows and NAT mappings where the configuration says so. 1: done, 0: not asked for. The seeds
 * are the engine's, the flow table's and the NAT table's; a predecessor's take their place. */
struct ferrite_engine_config;
int handover_tables(struct ferrite_engine *engine, const struct ferrite_engine_config *config, uint32_t capacity,
		    uint32_t timeout, uint64_t seeds[3], char *error);
void handover_free(struct ferrite_engine *engine);
/* A predecessor's descriptor of a device, which is now the caller's; -1: there is none. */
int handover_take(struct ferrite_engine *engine, const char *kind, const char *name);
/* The address and index that what is made next is to have: the identity's, else as given. */
const ferrite_ipv6 *handover_underlay(const struct ferrite_engine *engine, const ferrite_ipv6 *preferred);

/* What a link layer has learned, without what waits in it (port/underlay.c). */
struct underlay_memory {
	uint32_t count;
	uint8_t heard, kernel_knows, spare[2];
	uint8_t heard_mac[6], kernel_mac[6];
	struct {
		uint8_t key[8], target[16], mac[6], known, spare;
	} entries[LEDGER_NEIGHBOURS];
};
void underlay_save(const struct underlay *underlay, struct underlay_memory *memory);
void underlay_load(struct underlay *underlay, const struct underlay_memory *memory);

/* port/wire.c */
struct port;
unsigned wire_hand_over(struct port *port, struct ferrite_wire_peer *peers, unsigned limit);
int wire_take_over(struct port *port, const struct ferrite_wire_peer *peer);
int wire_listen(struct port *port, char *error);
bool wire_is(const struct port *port);

#endif
