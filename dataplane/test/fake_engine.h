/* A double of the packet engine for unit tests of the layer above: engine.h over plain arrays.
 *
 * It keeps what it is told and forwards nothing. A test can make the next call of a kind fail, and count what is
 * open, so that it sees that a rollback left nothing behind.
 */
#ifndef FERRITE_FAKE_ENGINE_H
#define FERRITE_FAKE_ENGINE_H

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum fake_call {
	FAKE_PORT_OPEN,
	FAKE_PORT_CLOSE,
	FAKE_INTERFACE_ADD,
	FAKE_INTERFACE_REMOVE,
	FAKE_INTERFACE_UPDATE,
	FAKE_ROUTE_PUT,
	FAKE_PREFIX_ADD,
	FAKE_VIP_ADD,
	FAKE_NAT_ADD,
	FAKE_NAT_UPDATE,
	FAKE_NEIGHBOR_NAT_ADD,
	FAKE_BALANCER_ADD,
	FAKE_BALANCER_PORTS,
	FAKE_BALANCER_TARGETS,
	FAKE_EDGE_ADD,
	FAKE_FIREWALL_SET,
	FAKE_CALLS
};

/* The next call of this kind answers `error` (negative errno) and does nothing. */
void fake_engine_fail_next(struct ferrite_engine *engine, enum fake_call call, int error);
unsigned fake_engine_ports(const struct ferrite_engine *engine);
unsigned fake_engine_interfaces(const struct ferrite_engine *engine);
/* Local ones too. */
unsigned fake_engine_routes(const struct ferrite_engine *engine);

/* Prefixes, VIPs, NATs and load balancers. */
unsigned fake_engine_endpoints(const struct ferrite_engine *engine);
unsigned fake_engine_neighbor_nats(const struct ferrite_engine *engine);
/* As they were set last for the interface of this index in the engine, from 1. */
struct fake_firewall {
	unsigned count;
	enum ferrite_firewall_default ingress, egress;
	struct ferrite_rule rules[FERRITE_MAX_RULES];
};
const struct fake_firewall *fake_engine_firewall(const struct ferrite_engine *engine, uint32_t interface);
/* Targets that the load balancer of this index has, from 1. */
unsigned fake_engine_targets(const struct ferrite_engine *engine, uint32_t balancer);
const struct ferrite_interface_settings *fake_engine_settings(const struct ferrite_engine *engine, uint32_t interface);

#ifdef __cplusplus
}
#endif
#endif
