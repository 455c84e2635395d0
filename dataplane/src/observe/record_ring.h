/* A ring of records of any length, from one writer to one reader, that never waits.
 *
 * A record lies in one piece and begins at a multiple of 8. The writer asks for room, fills it and publishes it; where
 * there is none it goes on without. What it wrote is seen by the reader in order.
 */
#ifndef FERRITE_OBSERVE_RECORD_RING_H
#define FERRITE_OBSERVE_RECORD_RING_H

#include <stdbool.h>
#include <stdint.h>

struct record_ring {
	uint8_t *bytes;
	uint64_t size;  /* power of two */
	/* Writer. */
	uint64_t head __attribute__((aligned(64)));
	uint64_t free_until; /* as the reader was last seen, and one round on */
	/* Reader. */
	uint64_t tail __attribute__((aligned(64)));
	uint64_t next;       /* behind the record that is being read */
};

/* `size`: a power of two from 64. False: no memory. */
bool record_ring_open(struct record_ring *ring, uint64_t size);
void record_ring_close(struct record_ring *ring);

/* Writer. NULL: no room. Nothing is published before `publish`, and only what was reserved last. */
uint8_t *record_ring_reserve(struct record_ring *ring, uint32_t length);
void record_ring_publish(struct record_ring *ring, uint32_t length);

/* Reader. The oldest record, valid until the next call, which gives its room back. NULL: none. */
const uint8_t *record_ring_read(struct record_ring *ring, uint32_t *length);

#endif
