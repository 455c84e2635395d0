#include "observe/record_ring.h"

#include <string.h>
#include <sys/mman.h>

/* Before each record: its length; GAP: nothing up to the end of the ring. */
enum { HEAD = 8, ALIGN = 8 };
#define GAP UINT32_MAX

static uint64_t whole(uint32_t length)
{
	return HEAD + (((uint64_t)length + ALIGN - 1) & ~(uint64_t)(ALIGN - 1));
}

bool record_ring_open(struct record_ring *ring, uint64_t size)
{
	*ring = (struct record_ring){.size = size, .free_until = size};
	/* Pages come as they are used, not by the worker's first touch of a hot heap. */
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ring->bytes = bytes == MAP_FAILED ? NULL : bytes;
	return ring->bytes != NULL;
}

void record_ring_close(struct record_ring *ring)
{
	if (ring->bytes != NULL)
		(void)munmap(ring->bytes, ring->size);
	ring->bytes = NULL;
}

static bool has_room(struct record_ring *ring, uint64_t bytes)
{
	if (ring->head + bytes > ring->free_until)
		ring->free_until = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) + ring->size;
	return ring->head + bytes <= ring->free_until;
}

uint8_t *record_ring_reserve(struct record_ring *ring, uint32_t length)
{
	uint64_t at = ring->head & (ring->size - 1), bytes = whole(length);
	if (at + bytes > ring->size) {
		/* Both the gap and the record, or nothing: a gap alone would cost room at every try. */
		if (bytes > ring->size || !has_room(ring, ring->size - at + bytes))
			return NULL;
		memcpy(ring->bytes + at, &(uint32_t){GAP}, 4);
		__atomic_store_n(&ring->head, ring->head + ring->size - at, __ATOMIC_RELEASE);
		at = 0;
	} else if (!has_room(ring, bytes)) {
		return NULL;
	}
	return ring->bytes + at + HEAD;
}

void record_ring_publish(struct record_ring *ring, uint32_t length)
{
	memcpy(ring->bytes + (ring->head & (ring->size - 1)), &length, 4);
	__atomic_store_n(&ring->head, ring->head + whole(length), __ATOMIC_RELEASE);
}

const uint8_t *record_ring_read(struct record_ring *ring, uint32_t *length)
{
	__atomic_store_n(&ring->tail, ring->next, __ATOMIC_RELEASE);
	while (ring->next != __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE)) {
		uint64_t at = ring->next & (ring->size - 1);
		memcpy(length, ring->bytes + at, 4);
		if (*length == GAP) {
			ring->next += ring->size - at;
			continue;
		}
		ring->next += whole(*length);
		return ring->bytes + at + HEAD;
	}
	return NULL;
}
