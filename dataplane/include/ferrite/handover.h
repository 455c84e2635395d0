/* One engine takes the place of another on the same machine, with its flows and its devices.
 *
 * The flow table and the NAT mappings lie in memory with a descriptor (`keep_tables`), and so does a ledger: what else
 * the worker knows, written when it stops. A successor starts with the memory, the seeds that are in it and the
 * descriptors of the devices (`inheritance`); the control layer restores what it was told, each thing at the index that
 * flows know it by; and from the moment that the predecessor's worker has stopped the successor adopts the ledger and
 * begins. Until ferrite_handover_adopt it writes nothing that the predecessor reads, so that this one can resume.
 *
 * Flows that were taken over are decided anew by their next packet: routes lie elsewhere here.
 */
#ifndef FERRITE_HANDOVER_H
#define FERRITE_HANDOVER_H

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A descriptor that holds a device: "vtap:NAME" or "eth:NAME". */
struct ferrite_handed {
	char device[FERRITE_DEVICE_TEXT];
	int descriptor; /* -1: taken */
};

struct ferrite_inheritance {
	int tables;      /* -1: none. The engine takes a copy of the descriptor */
	uint64_t layout; /* of the tables; flows are taken over only where it is ours */
	struct ferrite_handed *devices; /* what is opened is taken from here; the rest is the caller's to close */
	unsigned device_count;
};

/* The slow part of a start, which touches no device. ferrite_engine_start does it when nobody has. */
int ferrite_engine_prepare(char error[FERRITE_ERROR_TEXT]);
/* Starts the worker of an engine that was started without. */
int ferrite_engine_begin(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT]);

/* Another number after a change that the control layer's digest may not show. */
uint64_t ferrite_handover_change(const struct ferrite_engine *engine);
/* The memory of the tables: -1: they are in nobody else's reach. */
int ferrite_handover_tables(const struct ferrite_engine *engine);
/* What the tables look like: the same number, the same look. */
uint64_t ferrite_handover_layout(const struct ferrite_engine *engine);
/* The engine works on the tables of its predecessor. */
bool ferrite_handover_inherits(const struct ferrite_engine *engine);
/* Devices whose descriptors can be handed over; how many, at most `limit`. The descriptors stay the engine's. */
unsigned ferrite_handover_devices(const struct ferrite_engine *engine, struct ferrite_handed *devices, unsigned limit);
/* A device that cannot be handed over, or NULL. */
const char *ferrite_handover_obstacle(const struct ferrite_engine *engine);

/* A peer of the wire, or (kind FERRITE_WIRE_SOCKET) what the wire itself has: listener and bell. */
enum { FERRITE_WIRE_SOCKET = 1, FERRITE_WIRE_IN = 2, FERRITE_WIRE_OUT = 3, FERRITE_WIRE_DESCRIPTORS = 3 };
struct ferrite_wire_peer {
	uint8_t kind;
	uint8_t uplink;  /* which */
	uint8_t ready;   /* the greeting is done */
	uint8_t count;   /* of descriptors */
	uint8_t prefix[8];
	int descriptors[FERRITE_WIRE_DESCRIPTORS];
};

/* The predecessor. Stops the worker and writes the ledger. */
void ferrite_handover_stop(struct ferrite_engine *engine);
/* Goes on as if nothing was: nobody adopted anything. */
/* Keeps what a successor must know before it restores: after every change of configuration. */
void ferrite_handover_note(struct ferrite_engine *engine);
int ferrite_handover_resume(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT]);
/* After the stop: what the wire has. The descriptors stay the engine's. */
unsigned ferrite_handover_wire(const struct ferrite_engine *engine, struct ferrite_wire_peer *peers, unsigned limit);

/* The successor, before its worker begins. Takes the descriptors, also where it fails. */
int ferrite_handover_wire_take(struct ferrite_engine *engine, const struct ferrite_wire_peer *peer);
/* An uplink of kind wire that was handed nothing listens for itself. */
int ferrite_handover_wire_listen(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT]);
/* Takes over what stands in the tables. `after_crash`: there is no ledger, and every flow is looked at before it is believed. Flows
 * that live on. */
uint64_t ferrite_handover_adopt(struct ferrite_engine *engine, bool after_crash, uint64_t *refused);

/* The next interface, prefix, VIP, NAT or load balancer gets exactly these, whatever its preferred address says. `index`: of
 * an interface or load balancer, else 0; `group`: of a NAT's address. */
struct ferrite_identity {
	uint32_t place, index, group;
	ferrite_ipv6 underlay;
};
/* What has this underlay address. -ENOENT. */
int ferrite_identity_of(const struct ferrite_engine *engine, const ferrite_ipv6 *underlay, struct ferrite_identity *identity);
/* -EINVAL: out of bounds, or taken. */
int ferrite_identity_next(struct ferrite_engine *engine, const struct ferrite_identity *identity);
/* Nothing more is restored. */
void ferrite_identity_done(struct ferrite_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
