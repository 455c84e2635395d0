/* The control layer: names, ids, reference counts, status codes and the order of checks, above the engine.
 *
 * One per process, called from one thread. It owns what the engine does not know: ports by name, interfaces by
 * id, which VNIs are in use, which prefixes are taken, and the digest over all of it. A call either does all
 * that it says or nothing; memory is reserved before the engine is touched, so nothing has to be undone but a port
 * that was opened for the interface that failed.
 *
 * Inputs are checked for form by the caller (src/grpc/): ids and devices are non-empty C strings, prefixes carry
 * a family of 4 or 6. What a name or a number means is decided here.
 */
#ifndef FERRITE_CONTROL_H
#define FERRITE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	CONTROL_ID_TEXT = 64,     /* 1 to 63 bytes and NUL */
	CONTROL_DEVICE_NAME = 64, /* likewise */
	CONTROL_UUID_TEXT = 37,
	CONTROL_VNI_LIMIT = 1 << 24, /* VNIs are 1 to 16777215: 0 means all, and no more fit the wire formats */
	CONTROL_MAX_VNIS = 1 << 16,  /* in use at once: with an interface or a load balancer */
	CONTROL_MAX_PORTS = FERRITE_MAX_INTERFACES, /* those of the start and those on demand together */
	CONTROL_PXE_FILE = 31,
};

struct control;

/* NULL: no memory. The engine stays the caller's and must outlive it. */
struct control *control_create(struct ferrite_engine *engine);
/* Removes every interface and closes every port. */
void control_destroy(struct control *control);

struct control_config {
	ferrite_ipv6 underlay_prefix; /* /64, in which preferred underlay addresses must lie */
	/* Of interfaces whose defaults nobody put; false: those of docs/packet-path.md for dpdkironcore.v1. */
	bool has_firewall_defaults;
	enum ferrite_firewall_default ingress, egress;
};

/* Before the first interface. */
void control_configure(struct control *control, const struct control_config *config);
const ferrite_ipv6 *control_underlay_prefix(const struct control *control);

/* Says that a name is an uplink's: CreateInterface answers ALREADY_EXISTS to it. False: the name is taken, or there
 * are FERRITE_MAX_UPLINKS. */
bool control_uplink_add(struct control *control, const char *name);

/* A port that is there from the start under a name. `device`: KIND:DEVICE. `mac`: NULL for a derived one. */
int control_port_add(struct control *control, const char *name, const char *device, const ferrite_mac *mac,
		     char error[FERRITE_ERROR_TEXT]);

struct control_state {
	char uuid[CONTROL_UUID_TEXT]; /* upper-case UUIDv4, new with every process */
	bool initialized;
	uint64_t digest; /* see ferrite.dataplane.v1.GetStateResponse */
	uint32_t interfaces;
	uint32_t routes; /* non-local */
};

void control_read_state(const struct control *control, struct control_state *state);
bool control_initialized(const struct control *control);
/* Marks it initialized and takes every VNI back to the routes of its interfaces and their alias prefixes; neighbour
 * NATs go, everything else stays. */
void control_initialize(struct control *control);

struct control_interface_spec {
	char id[CONTROL_ID_TEXT];
	uint32_t vni;
	ferrite_ipv4 ipv4; /* zero: none */
	ferrite_ipv6 ipv6;
	char device[CONTROL_DEVICE_NAME]; /* name of a port, or KIND:DEVICE made for this interface */
	char hostname[FERRITE_HOSTNAME_TEXT];
	ferrite_ipv6 preferred_underlay; /* zero: generate */
	/* What can change in place. */
	uint64_t total_rate, public_rate; /* Mbit/s; 0: no limit */
	char pxe_server[FERRITE_PXE_TEXT]; /* canonical text of an address; empty: none */
	char pxe_file[FERRITE_PXE_TEXT];
	bool spoof_check_off;
	uint32_t flow_limit, flow_rate; /* 0: that of the engine */
	bool rates_refused; /* the caller knows a rule that they break; answered in its turn */
};

struct control_interface {
	struct control_interface_spec spec;
	ferrite_ipv6 underlay;
	struct ferrite_port_info port;
};

/* NOT_FOUND, ALREADY_EXISTS (device), VNF_INSERT, VM_HANDLE (id), VNI_INIT4 (VNI out of range), ROUTE_EXISTS, PORT_METER
 * (a rate above 2^32 - 1, or the public above the total), PORT_START; the first that holds, in this order. */
enum control_status control_interface_create(struct control *control, const struct control_interface_spec *spec,
					     const struct control_interface **made);
/* As create, but of an interface that is there what can change in place does; other differences are ALREADY_EXISTS. */
enum control_status control_interface_ensure(struct control *control, const struct control_interface_spec *spec,
					     const struct control_interface **made);
/* NOT_FOUND. Its prefixes, VIP, NAT and firewall go with it, and with the last use of a VNI its routes and neighbour
 * NATs; a port made on demand is closed. */
enum control_status control_interface_delete(struct control *control, const char *id);
/* NULL where there is none; valid until the next call that changes something. */
const struct control_interface *control_interface_find(const struct control *control, const char *id);
/* In the order of ports. */
void control_interface_each(const struct control *control,
			    void (*visit)(void *context, const struct control_interface *interface), void *context);

struct control_route {
	struct ferrite_route_key key; /* host bits may be set */
	ferrite_ipv6 next_hop;
	uint32_t next_hop_vni;
	unsigned hop_count; /* 0 or 1: `next_hop` is all */
	const struct ferrite_hop *hops; /* sorted by address, none twice; `next_hop` is then the first */
};

/* NO_VNI, ROUTE_EXISTS (unless `replace`, then only for a local one), ROUTE_INSERT (length, table full). */
enum control_status control_route_put(struct control *control, const struct control_route *route, bool replace);
/* NO_VNI, ROUTE_NOT_FOUND, ROUTE_BAD_PORT (local). */
enum control_status control_route_delete(struct control *control, const struct ferrite_route_key *key);
/* NO_VNI unless `vni` is 0, which means all. Ordered by VNI, family, prefix, length; local ones left out. */
enum control_status control_route_each(const struct control *control, uint32_t vni,
				       void (*visit)(void *context, const struct control_route *route),
				       void *context);

bool control_vni_in_use(const struct control *control, uint32_t vni);
/* Removes the non-local routes of a VNI; one that is not in use has none. */
void control_vni_reset(struct control *control, uint32_t vni);

#ifdef __cplusplus
}
#endif

#include "service.h"

#endif
