/* Ports by name and by device, and which interface uses which.
 *
 * A port of the start has a name and stays; one on demand has its device ("vtap:ftap-1f2e") as its name and lives
 * as long as the interface that asked for it. One table per dataplane, a record per port.
 */
#ifndef FERRITE_CONTROL_PORT_TABLE_H
#define FERRITE_CONTROL_PORT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "hash_index.h"

struct control_prefix_record {
	struct control_prefix public; /* its key has the VNI of the interface */
};

/* The rules of an interface, and who said its defaults. */
struct control_firewall_record {
	bool stated; /* the defaults are somebody's word: `ingress` and `egress` */
	enum ferrite_firewall_default ingress, egress;
	struct control_rule *rules; /* by age */
	uint32_t count, capacity;
	uint32_t last_tag; /* that a rule of it was given */
};

struct control_interface_record {
	struct control_interface public;
	uint32_t index; /* in the engine */
	uint32_t port;  /* record number in the port table */
	struct control_prefix_record *prefixes; /* by age */
	uint32_t prefix_count, prefix_capacity;
	bool has_vip, has_nat;
	struct control_vip vip;
	struct control_nat nat;
	struct control_firewall_record firewall;
};

struct control_port {
	char name[CONTROL_DEVICE_NAME];
	char device[FERRITE_DEVICE_TEXT];
	uint32_t handle; /* in the engine; 0: this record is free */
	bool on_demand;
	struct control_interface_record *interface;
	bool edge; /* it is an edge's */
};

struct control_port_table {
	uint64_t seed;
	struct control_port *ports; /* CONTROL_MAX_PORTS */
	uint32_t used;
	uint32_t first_free; /* no record below it is free */
	struct control_index by_name;
	struct control_index by_device;
};

bool control_port_table_open(struct control_port_table *table, uint64_t seed);
void control_port_table_close(struct control_port_table *table);
/* By name, else by device. NULL where there is none. */
struct control_port *control_port_find(const struct control_port_table *table, const char *name);
/* A free record with room in the index, not yet in it. NULL: no memory, or CONTROL_MAX_PORTS are there. */
struct control_port *control_port_reserve(struct control_port_table *table);
/* Puts a reserved and filled record into the index. */
void control_port_insert(struct control_port_table *table, struct control_port *port);
void control_port_erase(struct control_port_table *table, struct control_port *port);

/* Whether CreateInterface may make such a port: a TAP, a vhost-user socket or an in-process ring. A device of the host is taken only
 * where its operator says so at the start. */
bool control_port_on_demand(const char *device);

#endif
