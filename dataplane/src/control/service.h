/* What stands around interfaces: prefixes, VIPs, NATs, load balancers, firewalls, capture. Part of control.h.
 *
 * Every kind has a `create` that refuses what is there, as dpdkironcore.v1 has it, and an `ensure` that makes or
 * changes in place, as ferrite.dataplane.v1 has it. Codes are named in the order in which they are checked.
 */
#ifndef FERRITE_CONTROL_SERVICE_H
#define FERRITE_CONTROL_SERVICE_H

#ifdef __cplusplus
extern "C" {
#endif

/* Of either family, so that the wrong one can be told after what comes before it. */
struct control_address {
	uint8_t family; /* 4 or 6 */
	uint8_t bytes[16];
};

/* --- Prefixes: alias prefixes (`routed`) and load balancer prefixes. */

struct control_prefix {
	const char *interface;        /* id */
	struct ferrite_route_key key; /* as it was asked for: host bits may be set */
	bool routed;
	ferrite_ipv6 preferred; /* zero: generate */
	ferrite_ipv6 underlay;
};

/* NO_VM; routed: ROUTE_EXISTS, ROUTE_INSERT; else ALREADY_EXISTS; VNF_INSERT. Of `wanted` the underlay is not read. */
enum control_status control_prefix_create(struct control *control, const struct control_prefix *wanted,
					  ferrite_ipv6 *underlay);
enum control_status control_prefix_ensure(struct control *control, const struct control_prefix *wanted,
					  ferrite_ipv6 *underlay);
/* NO_VM; routed: ROUTE_NOT_FOUND, ROUTE_BAD_PORT (not of this interface); NOT_FOUND. */
enum control_status control_prefix_delete(struct control *control, const char *interface,
					  const struct ferrite_route_key *key, bool routed);
/* NO_VM. Of one interface, in the order in which they were made; `interface` NULL: of all, in the order of ports. */
enum control_status control_prefix_each(const struct control *control, const char *interface, bool routed,
					void (*visit)(void *context, const struct control_prefix *prefix),
					void *context);

/* --- VIPs: at most one an interface, and one of an address and VNI. */

struct control_vip {
	const char *interface;
	ferrite_ipv4 ip;
	ferrite_ipv6 preferred;
	ferrite_ipv6 underlay;
};

/* NO_VM, BAD_IPVER, VNF_INSERT, SNAT_EXISTS (it has one), DNAT_EXISTS (the VNI has it), SNAT_CREATE. */
enum control_status control_vip_create(struct control *control, const char *interface,
				       const struct control_address *ip, const ferrite_ipv6 *preferred,
				       ferrite_ipv6 *underlay);
enum control_status control_vip_ensure(struct control *control, const char *interface,
				       const struct control_address *ip, const ferrite_ipv6 *preferred,
				       ferrite_ipv6 *underlay);
/* NO_VM, SNAT_NO_DATA. */
enum control_status control_vip_get(const struct control *control, const char *interface, struct control_vip *vip);
enum control_status control_vip_delete(struct control *control, const char *interface);
void control_vip_each(const struct control *control, void (*visit)(void *context, const struct control_vip *vip),
		      void *context);

/* --- NAT: at most one an interface. */

struct control_nat {
	const char *interface;
	uint32_t vni; /* of the interface */
	ferrite_ipv4 primary; /* of the interface */
	ferrite_ipv4 ip;
	uint32_t min, max; /* [min, max) */
	ferrite_ipv6 preferred;
	ferrite_ipv6 underlay;
};

struct control_nat_spec {
	const char *interface;
	struct control_address ip;
	uint32_t min, max;
	ferrite_ipv6 preferred;
};

/* NO_VM, BAD_IPVER, VNF_INSERT, SNAT_EXISTS (it has one), ALREADY_EXISTS (another has some of the ports), SNAT_CREATE. */
enum control_status control_nat_create(struct control *control, const struct control_nat_spec *wanted,
				       ferrite_ipv6 *underlay);
enum control_status control_nat_ensure(struct control *control, const struct control_nat_spec *wanted,
				       ferrite_ipv6 *underlay);
/* NO_VM, SNAT_NO_DATA. */
enum control_status control_nat_get(const struct control *control, const char *interface, struct control_nat *nat);
enum control_status control_nat_delete(struct control *control, const char *interface);
void control_nat_each(const struct control *control, void (*visit)(void *context, const struct control_nat *nat),
		      void *context);

/* --- Neighbour NATs: ranges of other hosts. */

/* ALREADY_EXISTS (some of the ports are taken), DNAT_CREATE (table full). */
enum control_status control_neighbor_nat_create(struct control *control, const struct ferrite_neighbor_nat *wanted);
enum control_status control_neighbor_nat_ensure(struct control *control, const struct ferrite_neighbor_nat *wanted);
/* NOT_FOUND unless exactly this (address, VNI, range). */
enum control_status control_neighbor_nat_delete(struct control *control, const struct ferrite_neighbor_nat *wanted);
void control_neighbor_nat_each(const struct control *control,
			       void (*visit)(void *context, const struct ferrite_neighbor_nat *entry), void *context);

/* --- Load balancers. */

struct control_balancer_spec {
	char id[CONTROL_ID_TEXT];
	uint32_t vni;
	struct control_address address;
	unsigned port_count;
	struct ferrite_balancer_port ports[FERRITE_MAX_BALANCER_PORTS];
	ferrite_ipv6 preferred;
};

struct control_balancer {
	struct control_balancer_spec spec;
	ferrite_ipv6 underlay;
	uint32_t target_count;
	ferrite_ipv6 *targets; /* sorted */
};

/* VNF_INSERT, ALREADY_EXISTS ((VNI, address) or the id), OUT_OF_MEMORY (table full), VNI_INIT4. */
enum control_status control_balancer_create(struct control *control, const struct control_balancer_spec *wanted,
					    ferrite_ipv6 *underlay);
/* With all its targets, in any order; also BACKIP_ADD (too many). */
enum control_status control_balancer_ensure(struct control *control, const struct control_balancer_spec *wanted,
					    const ferrite_ipv6 *targets, unsigned count, ferrite_ipv6 *underlay);
/* NOT_FOUND. With the last use of a VNI go its routes. */
enum control_status control_balancer_delete(struct control *control, const char *id);
/* NULL where there is none; valid until the next call that changes something. */
const struct control_balancer *control_balancer_find(const struct control *control, const char *id);
void control_balancer_each(const struct control *control,
			   void (*visit)(void *context, const struct control_balancer *balancer), void *context);
/* BAD_IPVER, NO_LB, ALREADY_EXISTS, BACKIP_ADD (table full). */
enum control_status control_target_create(struct control *control, const char *balancer,
					  const struct control_address *target);
/* BAD_IPVER, NO_LB, NOT_FOUND, BACKIP_DEL. */
enum control_status control_target_delete(struct control *control, const char *balancer,
					  const struct control_address *target);

/* --- Firewalls. */

struct control_rule_prefix {
	uint8_t family; /* 4 or 6; 0: every address, then the length is 0 */
	uint8_t length;
	uint8_t bytes[16]; /* host bits may be set */
};

struct control_rule_ports {
	bool any;
	uint16_t first, last;
};

struct control_rule {
	char id[CONTROL_ID_TEXT];
	bool egress, accept;
	uint16_t priority;
	struct control_rule_prefix source, destination; /* of two families: matches nothing, unless one is a /0 */
	uint8_t protocol; /* 0: any */
	struct control_rule_ports source_ports, destination_ports;
	int16_t icmp_type, icmp_code; /* -1: any */
	uint32_t tag; /* names its counters in the engine; not read when it is created */
};

struct control_firewall {
	const char *interface;
	enum ferrite_firewall_default ingress, egress; /* as they are in effect */
	unsigned rule_count;
	const struct control_rule *rules; /* by age */
};

/* NO_VM, ALREADY_EXISTS, OUT_OF_MEMORY (too many). */
enum control_status control_rule_create(struct control *control, const char *interface,
					const struct control_rule *wanted);
/* NO_VM, NOT_FOUND. */
enum control_status control_rule_get(const struct control *control, const char *interface, const char *id,
				     struct control_rule *rule);
enum control_status control_rule_delete(struct control *control, const char *interface, const char *id);
/* NO_VM. */
enum control_status control_firewall_get(const struct control *control, const char *interface,
					 struct control_firewall *firewall);
/* All at once: NO_VM, ALREADY_EXISTS (an id twice), OUT_OF_MEMORY. */
enum control_status control_firewall_put(struct control *control, const struct control_firewall *wanted);
/* NO_VM, NOT_FOUND (nobody put one, and there is no rule). */
enum control_status control_firewall_delete(struct control *control, const char *interface);
/* Those of interfaces with rules, or whose defaults somebody put; in the order of ports. */
void control_firewall_each(const struct control *control,
			   void (*visit)(void *context, const struct control_firewall *firewall), void *context);
/* Packets that began a flow or were refused by a rule; 0 where there is none. */
uint64_t control_rule_hits(const struct control *control, const char *interface, const char *id);

/* --- Capture of what ports carry. Nothing is captured before somebody installs what does it. */

enum { CONTROL_CAPTURE_INTERFACES = 16 };

struct control_capture_interface {
	bool uplink;
	uint32_t uplink_index;          /* of an uplink */
	char device[CONTROL_DEVICE_NAME]; /* else: name or device of a port */
	uint32_t port;                  /* handle in the engine, found by control_capture_start */
};

struct control_capture {
	ferrite_ipv6 sink;
	uint16_t source_port, destination_port;
	unsigned interface_count;
	struct control_capture_interface interfaces[CONTROL_CAPTURE_INTERFACES];
};

struct control_capture_ops {
	/* 0 or a negative errno; then nothing is captured. */
	int (*start)(void *context, const struct control_capture *capture);
	void (*stop)(void *context);
};

/* NULL: take it away. */
void control_capture_install(struct control *control, const struct control_capture_ops *ops, void *context);
/* NOT_ACTIVE (nothing installed), ALREADY_ACTIVE, LIMIT_REACHED, NOT_FOUND (a port), RTE_RULE_ADD (it did not start). */
enum control_status control_capture_start(struct control *control, const struct control_capture *wanted);
/* NOT_ACTIVE. */
enum control_status control_capture_stop(struct control *control, unsigned *interfaces);
/* NULL: nothing is captured. */
const struct control_capture *control_capture_status(const struct control *control);

/* --- How full the tables are. */

struct control_table_use {
	const char *name;
	uint64_t used, capacity;
};

enum { CONTROL_TABLES = 13 };
void control_tables(const struct control *control, struct control_table_use uses[CONTROL_TABLES]);

#ifdef __cplusplus
}
#endif
#endif
