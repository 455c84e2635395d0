/* The packet engine as its control layer sees it.
 *
 * One engine per process. All calls come from one control thread; workers read the same tables lock-free and
 * memory is freed by RCU. The engine knows ports, interfaces by index, VNIs as numbers and routes; names, ids,
 * reference counts, status codes and the order of checks belong to the control layer (src/control/).
 *
 * Functions that can fail return 0 or a negative errno, and where `error` is given, one line for people in it.
 */
#ifndef FERRITE_ENGINE_H
#define FERRITE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	FERRITE_ERROR_TEXT = 256,
	FERRITE_DEVICE_TEXT = 128,
	FERRITE_HOSTNAME_TEXT = 64,
	FERRITE_MAX_DNS = 8,
	FERRITE_MAX_INTERFACES = 16384, /* index 1 to 16383; 0 is none */
	FERRITE_MAX_ROUTES = 1 << 20,
};

typedef struct { uint8_t bytes[4]; } ferrite_ipv4;   /* network order; all zero: none */
typedef struct { uint8_t bytes[16]; } ferrite_ipv6;  /* network order; all zero: none */
typedef struct { uint8_t bytes[6]; } ferrite_mac;

struct ferrite_engine;

struct ferrite_engine_config {
	const char *name;              /* of the host, for logs and the wire directory */
	ferrite_ipv6 underlay_prefix;  /* upper 64 bits are used */
	const char *uplink;            /* "wire:DIRECTORY", "eth:DEVICE[,gateway=IPV6]", "ring:NAME" or "none" */
	uint16_t mtu;                  /* of interfaces, as DHCP and RA tell it */
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	bool start_worker;             /* false: the caller drives ferrite_engine_poll (tests, bench) */
};

/* Starts EAL, pools, tables, the uplink and, where asked, the worker thread. */
int ferrite_engine_start(const struct ferrite_engine_config *config, struct ferrite_engine **engine,
			 char error[FERRITE_ERROR_TEXT]);
/* Stops the worker, closes every port and removes what it made. */
void ferrite_engine_stop(struct ferrite_engine *engine);
/* One turn of the worker loop; the number of packets that it moved. */
unsigned ferrite_engine_poll(struct ferrite_engine *engine);

struct ferrite_port_info {
	char device[FERRITE_DEVICE_TEXT]; /* kernel name of a TAP, ring name, socket path */
	ferrite_mac mac;                  /* of the gateway, as the VM sees it */
};

/* Opens a port "KIND:DEVICE" (vtap:, eth:, ring:). A TAP that is there already is taken over. `mac`: NULL for
 * one derived from the device name. `port`: handle from 1. */
int ferrite_port_open(struct ferrite_engine *engine, const char *device, const ferrite_mac *mac,
		      uint32_t *port, char error[FERRITE_ERROR_TEXT]);
int ferrite_port_info(struct ferrite_engine *engine, uint32_t port, struct ferrite_port_info *info);
/* Closes it; packets in flight are dropped. Fails with -EBUSY while an interface uses it. */
int ferrite_port_close(struct ferrite_engine *engine, uint32_t port);

struct ferrite_interface_config {
	uint32_t port;
	uint32_t vni;
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;
	ferrite_ipv6 preferred_underlay; /* zero: generate (index and generation in the low bits) */
	char hostname[FERRITE_HOSTNAME_TEXT];
};

/* Adds an interface, its /32 and /128 in its VNI's routes, and starts delivery. -EEXIST: the underlay address is
 * taken; -ENOSPC: no index free; -EADDRINUSE: the primary address is routed in this VNI already. */
int ferrite_interface_add(struct ferrite_engine *engine, const struct ferrite_interface_config *config,
			  uint32_t *index, ferrite_ipv6 *underlay);
/* Stops delivery at once, removes its local routes and flows; the index is reused with another generation. */
int ferrite_interface_remove(struct ferrite_engine *engine, uint32_t index);

struct ferrite_route_key {
	uint32_t vni;
	uint8_t family; /* 4 or 6 */
	uint8_t length;
	uint8_t prefix[16]; /* network order, the first 4 for family 4; host bits are masked by the engine */
};

struct ferrite_route {
	struct ferrite_route_key key;
	bool local;             /* made by an interface: not listed, not removable by routes calls */
	uint32_t interface;     /* of a local route */
	ferrite_ipv6 next_hop;  /* underlay address */
	uint32_t next_hop_vni;
};

/* -EEXIST: there is one and `replace` is false, or it is local; -ENOSPC: table full; -EINVAL: length. */
int ferrite_route_put(struct ferrite_engine *engine, const struct ferrite_route *route, bool replace);
/* -ENOENT; -EPERM: local. */
int ferrite_route_remove(struct ferrite_engine *engine, const struct ferrite_route_key *key);
/* Removes all non-local routes of a VNI; how many. Flows that used them are decided anew. */
unsigned ferrite_route_clear(struct ferrite_engine *engine, uint32_t vni);
/* Calls back for each route of a VNI (0: all), ordered by VNI, family, prefix, length. Return false to stop. */
void ferrite_route_each(struct ferrite_engine *engine, uint32_t vni,
			bool (*visit)(void *context, const struct ferrite_route *route), void *context);

/* Counters by name, as "stage.encap.packets", "drop.route_miss", "port.ftap-1.rx_packets"; any order. */
void ferrite_counters_each(struct ferrite_engine *engine,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context);

#ifdef __cplusplus
}
#endif
#endif
