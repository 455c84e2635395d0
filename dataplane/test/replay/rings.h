/* The far ends of a world's rings: what plays VMs and the underlay, and the clock that only moves when told to. */
#ifndef FERRITE_REPLAY_RINGS_H
#define FERRITE_REPLAY_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RINGS_PORTS = 32, RINGS_NAME = 64 };

/* Of a config; starts anew with `rings_clock_reset`. */
uint64_t rings_clock_ms(void);
void rings_clock_reset(void);

/* Takes the far end of ring `ring` and calls it `name`; "" is the uplink. False: taken, or too many. */
bool rings_join(const char *name, const char *ring);
void rings_leave(void);
/* One packet in, and all that it causes. `partial`: its TCP or UDP checksum is left to whoever receives it, as a guest
 * with checksum offload does; `segment` > 0: a TCP packet to be cut into pieces of that much data, too, as one with
 * segmentation offload does. False: there is no such port. */
bool rings_send(struct ferrite_engine *engine, const char *name, const void *data, uint32_t length, bool partial,
		uint16_t segment);
/* Time passes, in steps in which the engine does what it does from time to time. */
void rings_advance(struct ferrite_engine *engine, uint64_t milliseconds);
/* Lets the engine see what the control layer changed. */
void rings_settle(struct ferrite_engine *engine);
/* What waits at every far end, the oldest first, by port in the order of joining; checksums are complete. A packet
 * whose marks of segmentation are not its own ends the process. */
void rings_drain(void (*visit)(void *context, const char *name, const uint8_t *data, size_t length), void *context);

#ifdef __cplusplus
}
#endif
#endif
