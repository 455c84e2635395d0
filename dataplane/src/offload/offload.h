/* Flows that a device forwards by itself.
 *
 * The engine decides a flow in software, and a device that can may then do the same to its packets without us: match
 * one direction of it, take off or put on headers, rewrite addresses and ports, send it out of another device, count it
 * and say when it was idle. What a device does not say it can, and what it refuses, stays in software and is counted:
 * nothing depends on it. Only whole TCP and UDP packets are ever offloaded; of TCP no segment with SYN, FIN or RST, so
 * that the end of a connection is seen.
 *
 * A driver is a table of functions: rte_flow (offload/rte_driver.c) and none (offload/null_driver.c).
 *
 * Cardinality: one `struct offloader` per engine, one handle per offloaded direction. Control thread.
 */
#ifndef FERRITE_OFFLOAD_OFFLOAD_H
#define FERRITE_OFFLOAD_OFFLOAD_H

#include "packet/translate.h"

enum {
	OFFLOAD_FORWARD = 1,  /* matches a flow of TCP or UDP and sends it out of another device */
	OFFLOAD_ENCAP = 2,
	OFFLOAD_DECAP = 4,
	OFFLOAD_ADDRESS = 8,  /* rewrites IPv4 addresses */
	OFFLOAD_PORT = 16,    /* rewrites ports */
	OFFLOAD_AGE = 32,     /* says when a flow was idle */
	OFFLOAD_IPV6 = 64,    /* inner IPv6 */

	OFFLOAD_OUTER = 54,   /* bytes of Ethernet and outer IPv6 */
	OFFLOAD_DEVICES = 32,
};

/* One direction of a flow, as it was decided. */
struct offload_flow {
	uint16_t in, out;         /* DPDK's numbers of the devices */
	bool tunnelled;           /* comes with an outer header to `underlay`, which is taken off */
	bool encapsulate;         /* leaves with `header` whole; else with its first 14 bytes */
	uint8_t underlay[16];
	uint8_t header[OFFLOAD_OUTER];
	struct tuple tuple;       /* of the inner packet, as it comes */
	struct rewrite rewrite;
	uint32_t idle_seconds;    /* without a packet; 0: is not told */
	void *context;            /* told when it was idle */
};

struct offload_usage {
	uint64_t packets, bytes;
};

struct offload_handle;

struct offload_driver {
	const char *name;
	/* OFFLOAD_* of a device. */
	uint32_t (*capabilities)(uint16_t device);
	/* -ENOTSUP: it cannot do this one; another negative errno: it cannot now. */
	int (*add)(const struct offload_flow *flow, struct offload_handle **handle);
	int (*remove)(struct offload_handle *handle);
	int (*query)(struct offload_handle *handle, struct offload_usage *usage);
	/* Contexts of flows of a device that were idle since the last question; how many. */
	unsigned (*aged)(uint16_t device, void **contexts, unsigned limit);
};

extern const struct offload_driver offload_rte, offload_null;

struct offloader {
	const struct offload_driver *driver;
	uint32_t capabilities[OFFLOAD_DEVICES];
	uint8_t asked[OFFLOAD_DEVICES];
	uint64_t added, removed, aged;
	uint64_t unsupported; /* stayed in software: the device cannot */
	uint64_t failed;      /* stayed in software: the device would not now */
};

/* `driver` NULL: none. */
void offload_init(struct offloader *offloader, const struct offload_driver *driver);
/* What a flow asks of its device. 0: it cannot be offloaded at all. */
uint32_t offload_needs(const struct offload_flow *flow);
/* 0: the device forwards it. Negative: software does, as before. */
int offload_add(struct offloader *offloader, const struct offload_flow *flow, struct offload_handle **handle);
void offload_remove(struct offloader *offloader, struct offload_handle *handle);
int offload_query(struct offloader *offloader, struct offload_handle *handle, struct offload_usage *usage);
unsigned offload_aged(struct offloader *offloader, uint16_t device, void **contexts, unsigned limit);
void offload_counters_each(const struct offloader *offloader,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context);

#endif
