/* The parts of the control layer, for its own files only. */
#ifndef FERRITE_CONTROL_STATE_H
#define FERRITE_CONTROL_STATE_H

#include "control.h"
#include "hash_index.h"
#include "key_table.h"
#include "nat_table.h"
#include "port_table.h"
#include "route_table.h"

struct control_balancer_record {
	struct control_balancer public;
	uint32_t index; /* in the engine */
	uint32_t target_capacity;
};

struct control_balancer_table {
	struct control_balancer_record **slots; /* NULL: free */
	uint32_t capacity, used, first_free;
	struct control_index by_id;
	struct control_key_table by_address; /* (VNI, address) */
};

struct control_edge_record;

struct control {
	struct ferrite_engine *engine;
	struct control_config config;
	uint64_t seed;
	char uuid[CONTROL_UUID_TEXT];
	bool initialized;
	uint64_t digest;
	uint32_t routes; /* non-local */
	uint32_t endpoints; /* of FERRITE_MAX_ENDPOINTS */
	uint32_t vips, nats, neighbor_nats, rules, targets;
	uint32_t last_tag, last_restored_tag; /* of a rule; no two of any interface have one */
	uint32_t prefixes[2]; /* load balancer prefixes, alias prefixes */
	unsigned uplink_count;
	char uplinks[FERRITE_MAX_UPLINKS][CONTROL_DEVICE_NAME];
	struct control_route_table route_table;
	struct control_port_table ports;
	/* Of interfaces by id; the record number is that of the port. */
	struct control_index by_id;
	struct control_key_table underlays; /* addresses of interfaces and endpoints; the value says nothing */
	struct control_key_table vip_owners; /* (VNI, address) to the port of the interface */
	struct control_nat_table nat_table;
	struct control_balancer_table balancers;
	struct control_edge_record *edges[FERRITE_MAX_EDGES];
	unsigned edge_count;
	const struct control_capture_ops *capture_ops;
	void *capture_context;
	bool capturing;
	struct control_capture capture;
	void (*port_closed)(void *context, const char *device); /* NULL: nobody watches */
	void *port_context;
};

/* NULL where there is none. */
struct control_interface_record *control_interface_record_find(const struct control *control, const char *id);

/* Removes the non-local routes of a VNI here and in the engine. */
void control_routes_clear(struct control *control, uint32_t vni);
/* Counts one user of a VNI out; with the last go its routes and neighbour NATs. */
void control_vni_leave(struct control *control, uint32_t vni);
void control_neighbor_nats_clear(struct control *control, uint32_t vni, bool every_vni);

/* Ports that live as long as who asked for them; one of the start is not closed. */
enum control_status control_port_open_on_demand(struct control *control, const char *device, struct control_port **opened);
void control_port_close_on_demand(struct control *control, struct control_port *port);

/* An endpoint in the making: whether its underlay address is free and there is room for it, here and in the engine. */
bool control_endpoint_reserve(struct control *control, const ferrite_ipv6 *preferred);
void control_endpoint_add(struct control *control, const ferrite_ipv6 *underlay);
void control_endpoint_remove(struct control *control, const ferrite_ipv6 *underlay);
bool control_underlay_taken(const struct control *control, const ferrite_ipv6 *address);

/* What goes with an interface; it is still in the engine. */
void control_prefixes_remove(struct control *control, struct control_interface_record *record);
void control_vip_remove(struct control *control, struct control_interface_record *record);
void control_nat_remove(struct control *control, struct control_interface_record *record);
void control_firewall_forget(struct control *control, struct control_interface_record *record);
/* A predecessor's, with its tags; the rules become the record's own, or are freed. OUT_OF_MEMORY, ALREADY_EXISTS (an id twice). */
enum control_status control_firewall_restore(struct control *control, struct control_interface_record *record,
					     const struct control_firewall_record *firewall);
/* The defaults that every interface begins with, where the engine's are others. */
void control_firewall_begin(struct control *control, struct control_interface_record *record);

void control_balancers_close(struct control *control);

#endif
