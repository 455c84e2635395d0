/* A control layer above the fake engine, with ports port0 to port3, and short ways to say what tests say. */
#ifndef FERRITE_TEST_WORLD_H
#define FERRITE_TEST_WORLD_H

#include <string.h>

#include "control/control.h"
#include "../fake_engine.h"

struct world {
	struct ferrite_engine *engine;
	struct control *control;
};

struct world world_open(void);
/* Checks that nothing of it is left in the engine. */
void world_close(struct world *world);

/* "10.0.0.1", "fd00::1"; NULL for none. */
struct control_interface_spec world_spec(const char *id, uint32_t vni, const char *ipv4, const char *ipv6,
					 const char *device);
enum control_status world_create(struct world *world, const char *id, uint32_t vni, const char *ipv4,
				 const char *ipv6, const char *device);
struct control_route world_route(uint32_t vni, const char *prefix, const char *next_hop);
enum control_status world_put(struct world *world, uint32_t vni, const char *prefix, bool replace);
enum control_status world_drop(struct world *world, uint32_t vni, const char *prefix);
/* How many routes a listing shows; -1: NO_VNI. */
int world_listed(struct world *world, uint32_t vni);
struct control_state world_state(struct world *world);

#endif
