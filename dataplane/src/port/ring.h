/* Both ends of an in-process port, for packet tests and the bench.
 *
 * A ring has a name and two ends. The first engine port that opens it gets one end, the second the other; a test takes
 * an end by name instead and plays the other side. Packets are mbufs of the process's pools.
 */
#ifndef FERRITE_PORT_RING_H
#define FERRITE_PORT_RING_H

#include "port/port.h"

struct ring_end;

/* The end that nobody has yet. NULL: both are taken. Give it back with `ring_leave`. */
struct ring_end *ring_join(const char *name);
void ring_leave(struct ring_end *end);
/* Test side. False: the ring is full. `offload` may be NULL. */
bool ring_put(struct ring_end *end, const void *data, uint32_t length, const struct offload *offload);
/* The length of the oldest packet, copied out; 0: none. `packet` (may be NULL) gets its metadata. */
uint32_t ring_take(struct ring_end *end, void *data, uint32_t limit, struct packet *packet);
/* Cuts the ring, as a cable: its link is down and what is sent into it is lost. Or mends it. */
void ring_cut(struct ring_end *end, bool cut);

#endif
