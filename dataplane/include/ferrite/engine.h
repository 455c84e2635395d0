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
	FERRITE_MAX_ENDPOINTS = 1 << 16,  /* VIPs, NATs, prefixes, load balancers and edges together */
	FERRITE_MAX_HOPS = 32,
	FERRITE_MAX_RULES = 4096,         /* of one interface */
	FERRITE_MAX_BALANCER_PORTS = 64,
	FERRITE_MAX_TARGETS = 1024,       /* of one load balancer */
	FERRITE_MAX_NEIGHBOR_NATS = 1 << 17,
	FERRITE_PXE_TEXT = 64,
	FERRITE_MAX_UPLINKS = 2,
	FERRITE_MAX_EDGES = 64,
};

typedef struct { uint8_t bytes[4]; } ferrite_ipv4;   /* network order; all zero: none */
typedef struct { uint8_t bytes[16]; } ferrite_ipv6;  /* network order; all zero: none */
typedef struct { uint8_t bytes[6]; } ferrite_mac;

struct ferrite_engine;
struct ferrite_inheritance;

struct ferrite_engine_config {
	const char *name;              /* of the host, for logs and the wire directory */
	ferrite_ipv6 underlay_prefix;  /* upper 64 bits are used */
	const char *uplink;            /* one uplink, as `uplinks` say it */
	uint16_t mtu;                  /* of interfaces, as DHCP and RA tell it */
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	bool start_worker;             /* false: the caller drives ferrite_engine_poll (tests, bench) */
	/* What follows may be zero: the default that docs/packet-path.md says. */
	uint32_t flow_capacity;        /* entries, two a flow; default 2^20 */
	uint32_t flow_timeout_seconds; /* T; default 30 */
	uint32_t flow_limit;           /* flows of one interface; default half the table */
	uint32_t flow_rate;            /* new flows a second of one interface; default none */
	bool has_seed;                 /* false: random */
	uint32_t seed;                 /* of every choice by hash */
	uint64_t (*clock_ms)(void);    /* NULL: the monotonic clock; tests bring their own */
	unsigned workers;              /* default 1 */
	/* One or two, each as port/spec.h reads it: "[NAME=]KIND:DEVICE[,mac=][,gateway=][,peer=][,weight=]" with KIND
	 * wire, eth, vtap, ring or pci, or "none". Count 0: `uplink` alone. */
	const char *uplinks[FERRITE_MAX_UPLINKS];
	unsigned uplink_count;
	/* See ferrite/handover.h. */
	bool keep_tables;              /* flows and NAT mappings lie where a successor can have them */
	struct ferrite_inheritance *inheritance; /* NULL: there is no predecessor */
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
	char pxe_server[FERRITE_PXE_TEXT]; /* text of an address; empty: none */
	char pxe_file[FERRITE_PXE_TEXT];
	uint64_t total_rate, public_rate;  /* Mbit/s; 0: no limit */
	bool spoof_check_off;
	uint32_t flow_limit, flow_rate;    /* 0: that of the engine */
};

/* Adds an interface, its /32 and /128 in its VNI's routes, and starts delivery. -EEXIST: the underlay address is
 * taken; -ENOSPC: no index free; -EADDRINUSE: the primary address is routed in this VNI already. */
int ferrite_interface_add(struct ferrite_engine *engine, const struct ferrite_interface_config *config,
			  uint32_t *index, ferrite_ipv6 *underlay);
/* Stops delivery at once, removes its local routes and flows; the index is reused with another generation. */
int ferrite_interface_remove(struct ferrite_engine *engine, uint32_t index);

/* In-place changes, each whole: what is not said again stays as it was made. Flows are kept where they may be. */
struct ferrite_interface_settings {
	uint64_t total_rate, public_rate;
	bool spoof_check_off;
	uint32_t flow_limit, flow_rate;
	char hostname[FERRITE_HOSTNAME_TEXT];
	char pxe_server[FERRITE_PXE_TEXT];
	char pxe_file[FERRITE_PXE_TEXT];
};
int ferrite_interface_update(struct ferrite_engine *engine, uint32_t index,
			     const struct ferrite_interface_settings *settings);

struct ferrite_hop { ferrite_ipv6 address; uint32_t vni; uint16_t weight; /* 1 to 256 */ };

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
	unsigned hop_count;     /* 0 or 1: `next_hop` is all; more: `hops`, sorted by address, replaces it */
	const struct ferrite_hop *hops;
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

/* Prefixes of an interface. `routed`: an alias prefix, with a local route in its VNI; else a load balancer prefix.
 * `key.vni` is ignored. -EEXIST: routed already (alias), or there already; -EADDRINUSE: the underlay address is taken;
 * -ENOSPC: no endpoint free; -EINVAL: length, or an underlay address outside the host's prefix. */
int ferrite_prefix_add(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
		       bool routed, const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay);
int ferrite_prefix_remove(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
			  bool routed);

/* One VIP an interface. -EADDRINUSE: the underlay address; -EEXIST: it has one, or another interface of the VNI has it. */
int ferrite_vip_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 vip, const ferrite_ipv6 *preferred,
		    ferrite_ipv6 *underlay);
int ferrite_vip_remove(struct ferrite_engine *engine, uint32_t interface);

/* One NAT an interface, ports [min, max). Overlap is the control layer's to refuse; -EEXIST: it has one. `update`
 * changes the range in place; flows whose port is still in it stay. */
int ferrite_nat_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 ip, uint32_t min, uint32_t max,
		    const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay);
int ferrite_nat_update(struct ferrite_engine *engine, uint32_t interface, uint32_t min, uint32_t max);
int ferrite_nat_remove(struct ferrite_engine *engine, uint32_t interface);
/* Mappings in use, by protocol TCP, UDP, ICMP. */
void ferrite_nat_usage(struct ferrite_engine *engine, uint32_t interface, uint32_t used[3]);

struct ferrite_neighbor_nat {
	ferrite_ipv4 ip;
	uint32_t vni;
	uint32_t min, max; /* [min, max) */
	ferrite_ipv6 underlay;
};
/* -EEXIST: overlaps another of this VNI and address; -ENOSPC. */
int ferrite_neighbor_nat_add(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry);
/* -ENOENT unless exactly this (address, VNI, min, max). */
int ferrite_neighbor_nat_remove(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry);

struct ferrite_balancer_port { uint8_t protocol; uint16_t first, last; };
struct ferrite_balancer_config {
	uint32_t vni;
	uint8_t family;
	uint8_t address[16];
	unsigned port_count;
	struct ferrite_balancer_port ports[FERRITE_MAX_BALANCER_PORTS];
	ferrite_ipv6 preferred_underlay;
};
/* -EADDRINUSE: the underlay address; -EEXIST: (VNI, address) is a balancer or VIP; -ENOSPC. */
int ferrite_balancer_add(struct ferrite_engine *engine, const struct ferrite_balancer_config *config, uint32_t *index,
			 ferrite_ipv6 *underlay);
int ferrite_balancer_remove(struct ferrite_engine *engine, uint32_t index);
/* In place: ports. */
int ferrite_balancer_ports(struct ferrite_engine *engine, uint32_t index, const struct ferrite_balancer_port *ports,
			   unsigned count);
/* The whole set, sorted by address. -ENOSPC: more than FERRITE_MAX_TARGETS. */
int ferrite_balancer_targets(struct ferrite_engine *engine, uint32_t index, const ferrite_ipv6 *targets,
			     unsigned count);

enum ferrite_firewall_default { FERRITE_ACCEPT, FERRITE_DROP, FERRITE_RULES };

/* Addresses beyond the family are zero; ranges are inclusive; icmp -1: any. */
struct ferrite_rule {
	bool egress, accept;
	uint8_t family;   /* 4 or 6; 0: any, then both lengths are 0 */
	uint8_t protocol; /* 0: any; ICMP (1) means ICMPv6 in IPv6 */
	uint8_t source_length, destination_length;
	uint8_t source[16], destination[16];
	uint16_t source_first, source_last, destination_first, destination_last;
	int16_t icmp_type, icmp_code;
	uint32_t tag;     /* of the control layer: names the counters of the rule */
};
/* All rules of an interface, in the order in which they are tried; replaces what was there. -ENOSPC. */
int ferrite_firewall_set(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_rule *rules,
			 unsigned count, enum ferrite_firewall_default ingress, enum ferrite_firewall_default egress);
/* Packets that began a flow or were refused by the rule with this tag. */
uint64_t ferrite_firewall_hits(struct ferrite_engine *engine, uint32_t interface, uint32_t tag);

/* A way out of the overlay: docs/packet-path.md, "Edge". The port carries plain IP in Ethernet. */
struct ferrite_edge_config {
	uint32_t port, vni;
	ferrite_ipv4 ipv4, gateway4; /* its own addresses outside, and its gateways there; zero: none */
	ferrite_ipv6 ipv6, gateway6;
	uint8_t length4, length6;    /* of the prefixes that are on the link; 32 and 128: nobody but the gateway */
	ferrite_mac gateway_mac;     /* of both gateways; zero: they are asked */
	ferrite_ipv6 preferred_underlay;
};
/* -EBUSY: the port is in use; -EADDRINUSE: the underlay address is; -ENOSPC; -EINVAL. */
int ferrite_edge_add(struct ferrite_engine *engine, const struct ferrite_edge_config *config, uint32_t *index,
		     ferrite_ipv6 *underlay);
/* In place: what is outside. Port, VNI and underlay address stay, and are not read; neighbours are asked anew. */
int ferrite_edge_update(struct ferrite_engine *engine, uint32_t index, const struct ferrite_edge_config *config);
int ferrite_edge_remove(struct ferrite_engine *engine, uint32_t index);

struct ferrite_virtual_service {
	uint8_t protocol;
	ferrite_ipv4 ip;
	uint16_t port;
	ferrite_ipv6 target;
	uint16_t target_port;
};
/* At most 256, before the first interface. */
int ferrite_virtual_service_add(struct ferrite_engine *engine, const struct ferrite_virtual_service *service);

/* Counters of one interface by name: "rx_packets", "rx_bytes" (from the VM), "tx_packets", "tx_bytes" (to it), "flows" (charged to
 * it) and "drop.REASON" for every reason. -ENOENT. */
int ferrite_interface_counters(struct ferrite_engine *engine, uint32_t interface,
			       void (*visit)(void *context, const char *name, uint64_t value), void *context);

/* Beginnings and ends of flows. The engine keeps the last FERRITE_FLOW_EVENTS that nobody took; what does not fit is
 * counted as "flows.events_lost". Off until the first call of ferrite_flow_events. */
enum { FERRITE_FLOW_EVENTS = 1 << 14 };
enum ferrite_flow_end {
	FERRITE_FLOW_BEGUN,      /* not an end: the first packet passed */
	FERRITE_FLOW_EXPIRED,
	FERRITE_FLOW_CLOSED,     /* expired after a FIN or RST, or a new SYN took its place */
	FERRITE_FLOW_DENIED,     /* by a rule that came later */
	FERRITE_FLOW_TRANSLATION_GONE,
	FERRITE_FLOW_TARGET_GONE,
	FERRITE_FLOW_EVICTED,
	FERRITE_FLOW_INTERFACE_GONE,
	FERRITE_FLOW_REFUSED,    /* no flow: the firewall refused its first packet */
};
struct ferrite_flow_event {
	uint64_t time_ms;        /* of the engine's clock */
	uint32_t interface;      /* that it is charged to; 0: a load balancer's */
	uint32_t balancer;       /* 0: none */
	uint32_t vni;
	uint8_t reason;          /* enum ferrite_flow_end */
	uint8_t family, protocol;
	bool from_vm;            /* its first packet came from a VM of this host */
	bool translated;
	uint16_t ports[2];       /* source, destination of the first packet; host order */
	uint16_t translated_ports[2];
	uint8_t addresses[32];   /* v4: source [0..3], destination [4..7] */
	uint8_t translated_addresses[32]; /* IPv4 in the form of `addresses`; zero unless `translated` */
	uint32_t rule;           /* tag; 0: no rule decided it */
	uint64_t packets[2], bytes[2]; /* original, reply */
	uint64_t began_ms;
};
/* Takes up to `limit`; how many. */
unsigned ferrite_flow_events(struct ferrite_engine *engine, struct ferrite_flow_event *events, unsigned limit);

/* What one packet would meet: it runs through the same code as any, and what it would emit is given back instead. */
enum ferrite_trace_stage {
	FERRITE_STEP_ARRIVE,     /* from the VM of `interface` (decision 0), or at an endpoint (decision: type of the address) */
	FERRITE_STEP_FLOW,       /* decision 0: no flow, 1: live, 2: decided anew, 3: begun, 4: ended. Of 1 to 3 `interface`: whose;
	                          * `reference`: tag of the rule that let it pass; of 1 and 2 `address` and `port`: as its originator
	                          * appears, where it is translated */
	FERRITE_STEP_SERVICE,    /* the gateway answers; decision: stage counter's number */
	FERRITE_STEP_FIREWALL,   /* decision 1: accepted; direction in `egress`; `reference`: tag, 0: the default */
	FERRITE_STEP_ROUTE,      /* decision 0: none, 1: local, 2: remote; `prefix`, `address` the next hop */
	FERRITE_STEP_NAT,        /* decision 1: VIP, 2: NAT, 3: NAT64, 4: neighbour NAT, 5: virtual service; `address` (IPv4 in the
	                          * first 4 bytes) and `port` that the source gets */
	FERRITE_STEP_BALANCER,   /* `reference`: its index, `address`: the target */
	FERRITE_STEP_ANSWER,     /* decision: 1 echo, 2 reset, 3 ICMP */
	FERRITE_STEP_DROP,       /* `name`: the counter */
	FERRITE_STEP_SEND,       /* decision 1: to the VM of `interface`, 2: by the uplink */
};
struct ferrite_trace_step {
	uint8_t stage;
	uint8_t decision;
	bool egress;
	uint16_t port;
	uint32_t interface;
	uint32_t reference;
	ferrite_ipv6 address;
	struct ferrite_route_key prefix;
	const char *name;
};
enum { FERRITE_TRACE_STEPS = 48, FERRITE_TRACE_BYTES = 9216 };
struct ferrite_trace_result {
	unsigned step_count;
	struct ferrite_trace_step steps[FERRITE_TRACE_STEPS];
	uint32_t length;         /* of the emitted frame or outer packet; 0: none */
	uint32_t interface;      /* that gets it; 0: the uplink */
	uint8_t bytes[FERRITE_TRACE_BYTES]; /* cut where longer */
};
/* `port` 0: from the uplink (an outer IPv6 packet), else a frame of the VM there. `keep` false: a question, after which flows,
 * counters and limits are as before. -ENOENT: no such port; -EINVAL: length. */
int ferrite_trace_packet(struct ferrite_engine *engine, uint32_t port, const uint8_t *bytes, uint32_t length, bool keep,
			 struct ferrite_trace_result *result);

/* Counters by name, as "stage.encap.packets", "drop.route_miss", "port.ftap-1.rx_packets"; any order. */
void ferrite_counters_each(struct ferrite_engine *engine,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context);

#ifdef __cplusplus
}
#endif
#endif
