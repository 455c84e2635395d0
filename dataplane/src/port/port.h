/* A port: where packets come in and leave, with the offloads that a super-packet needs to stay one.
 *
 * Kinds: `vtap` (TAP of a VM or namespace), `eth` (an existing netdev), `wire` (shared memory between dataplanes of
 * one machine) and `ring` (in this process, for tests and the bench). Each has one descriptor that becomes readable
 * when there is work (a kind with several keeps its own epoll set behind it).
 *
 * Cardinality: one per device, made and closed by the control thread; all functions below `open` run on the worker,
 * except `close`, which runs when no worker can see the port any more.
 *
 * Two sides: an access port carries Ethernet frames; the uplink carries outer IPv6 packets without a link header,
 * which the port adds where its medium has one. `packet->offload` counts from `packet->ip_offset`, the inner header.
 */
#ifndef FERRITE_PORT_PORT_H
#define FERRITE_PORT_PORT_H

#include <stdbool.h>

#include "ferrite/engine.h"
#include "packet/buffer.h"

enum {
	FERRITE_MAX_PORTS = 4096,
	PORT_PENDING = 64,
	PORT_PARTS = 36, /* buffers of one packet that a port takes */

	PORT_GSO = 1,      /* takes super-packets as they are */
	PORT_CHECKSUM = 2, /* takes partial checksums as they are */
};

struct port;
struct underlay;

struct port_ops {
	/* Up to BURST packets. An access packet has `offload` counted from ip_offset = 14. */
	unsigned (*receive)(struct port *port, struct rte_mbuf **burst, unsigned limit);
	/* Takes all of them: sends or frees and counts. */
	void (*transmit)(struct port *port, struct rte_mbuf **burst, unsigned count);
	/* The descriptor is readable. NULL: nothing to do but receive. */
	void (*event)(struct port *port);
	/* Before the worker sleeps (true) and after (false). True from it: there is work, don't. NULL: nothing. */
	bool (*sleep)(struct port *port, bool asleep);
	/* Whether the link carries, asked at each tick. NULL: always. */
	bool (*link)(struct port *port);
	/* About every 100 ms. NULL: nothing. */
	void (*tick)(struct port *port, uint64_t now_ms);
	void (*close)(struct port *port);
	/* More counters than every port has. NULL: none. */
	void (*counters)(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			 void *context);
	/* The link layer of an uplink that has one. NULL: none. */
	struct underlay *(*underlay)(struct port *port);
	const char *handed;           /* kind of a port whose descriptor another process can go on with */
	bool stays;                   /* what it has cannot be another process's while it is ours */
};

struct port_counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_errors, rx_truncated, rx_no_memory, tx_drops, tx_errors;
};

struct port {
	const struct port_ops *ops;
	struct ferrite_engine *engine;
	int fd;                       /* to wait on; -1: none */
	uint32_t handle;
	uint32_t caps;
	bool uplink;
	bool active;                  /* worker: in its list of ports to poll */
	bool dirty;                   /* worker: has packets in `pending` */
	bool closing;                 /* control: to be dropped by the worker */
	uint32_t mtu;                 /* longest IP packet (uplink: inner packet + 40) that is sent unsegmented */
	struct interface *interface;  /* published by the control thread */
	struct edge *edge;            /* likewise: the port is an edge's, and no interface's */
	uint8_t mac[6];               /* of the gateway */
	uint8_t guest_mac[6];         /* zero: not known before its first frame */
	unsigned pending_count;
	struct rte_mbuf *pending[PORT_PENDING];
	struct port_counters counters;
	char device[FERRITE_DEVICE_TEXT];
};

struct port_spec;

/* Opens by kind. `rest` is what stands after "KIND:". */
int vtap_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);
int vhost_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);
int ring_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);
int eth_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);
int eth_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error);
int vtap_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error);
int pci_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);
int pci_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error);
int wire_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error);

/* "PREFIX.rx_packets" and so on; the worker may write meanwhile. */
void port_counters_each(const struct port_counters *counters, const char *prefix,
			void (*visit)(void *context, const char *name, uint64_t value), void *context);
void port_counters_add(struct port_counters *sum, const struct port_counters *counters);

/* Writes one line into `error` and returns -code. */
int port_error(char *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline void port_drop(struct port *port, struct rte_mbuf *buffer)
{
	port->counters.tx_drops++;
	rte_pktmbuf_free(buffer);
}

/* virtio-net's header as the kernel has it (10 bytes, host order). */
struct vnet_header {
	uint8_t flags; /* 1: needs checksum, 2: data valid */
	uint8_t gso_type;
	uint16_t header_length;
	uint16_t gso_size;
	uint16_t checksum_start;
	uint16_t checksum_offset;
};

enum { VNET_LENGTH = 10, VNET_NEEDS_CHECKSUM = 1 };

/* From the kernel's or a peer's claim to `offload`; `frame` bytes lie before the IP header, `length` is all. False:
 * the claim cannot be true of such a packet. */
bool offload_read(struct offload *offload, const struct vnet_header *vnet, uint32_t frame, uint32_t length);
void offload_write(const struct offload *offload, struct vnet_header *vnet, uint32_t frame);

#endif
