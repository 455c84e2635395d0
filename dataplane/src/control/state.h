/* The parts of the control layer, for its own files only. */
#ifndef FERRITE_CONTROL_STATE_H
#define FERRITE_CONTROL_STATE_H

#include "control.h"
#include "hash_index.h"
#include "port_table.h"
#include "route_table.h"

struct control {
	struct ferrite_engine *engine;
	uint64_t seed;
	char uuid[CONTROL_UUID_TEXT];
	bool initialized;
	uint64_t digest;
	uint32_t routes; /* non-local */
	struct control_route_table route_table;
	struct control_port_table ports;
	/* Of interfaces by id; the record number is that of the port. */
	struct control_index by_id;
};

/* Removes the non-local routes of a VNI here and in the engine. */
void control_routes_clear(struct control *control, uint32_t vni);

#endif
