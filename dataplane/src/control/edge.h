/* Edges: ways out of the overlay by a port of this host, known by name. Part of the control layer (control.h).
 *
 * At most FERRITE_MAX_EDGES. A port is an interface's or an edge's, never both.
 */
#ifndef FERRITE_CONTROL_EDGE_H
#define FERRITE_CONTROL_EDGE_H

#include "control.h"

#ifdef __cplusplus
extern "C" {
#endif

struct control_edge_spec {
	char name[CONTROL_ID_TEXT];
	uint32_t vni;
	char device[CONTROL_DEVICE_NAME]; /* name of a port, or KIND:DEVICE made for this edge */
	ferrite_ipv4 ipv4, gateway4;      /* outside; zero: none */
	ferrite_ipv6 ipv6, gateway6;
	uint8_t length4, length6;         /* of the prefixes on the link; 32 and 128: none */
	ferrite_mac gateway_mac;          /* zero: gateways are asked for it */
	ferrite_ipv6 preferred;
};

struct control_edge {
	struct control_edge_spec spec;
	ferrite_ipv6 underlay;
	struct ferrite_port_info port;
};

/* NOT_FOUND (device), ALREADY_EXISTS (device in use; or an edge of this name with another VNI, device or underlay
 * address), VNF_INSERT, VNI_INIT4, PORT_START. What is outside changes in place. */
enum control_status control_edge_ensure(struct control *control, const struct control_edge_spec *wanted,
					ferrite_ipv6 *underlay);
/* NOT_FOUND. With the last use of a VNI go its routes and neighbour NATs. */
enum control_status control_edge_delete(struct control *control, const char *name);
/* By name. */
void control_edge_each(const struct control *control,
		       void (*visit)(void *context, const struct control_edge *edge), void *context);
void control_edges_close(struct control *control);

#ifdef __cplusplus
}
#endif
#endif
