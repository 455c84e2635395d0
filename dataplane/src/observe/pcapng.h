/* Blocks of a pcapng file (draft-ietf-opsawg-pcapng), as bytes.
 *
 * Pure: each function writes one block at `out` and answers its length, or 0 where `room` is too little. Byte order is
 * that of the machine, as the format has it; times are nanoseconds of the Unix epoch.
 */
#ifndef FERRITE_OBSERVE_PCAPNG_H
#define FERRITE_OBSERVE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/observe.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	PCAPNG_ETHERNET = 1, /* link types */
	PCAPNG_IPV6 = 229,
	PCAPNG_TEXT = 256,   /* the longest text that a block takes; more is cut */
	PCAPNG_OVERHEAD = 128, /* of a packet block, at most */
};

/* The head of a file: who wrote it. */
size_t pcapng_section(uint8_t *out, size_t room, const char *application);
/* An interface; they are numbered from 0 in the order of their blocks. `description` may be empty. */
size_t pcapng_interface(uint8_t *out, size_t room, uint16_t link_type, uint32_t snap_length, const char *name,
			const char *description, const char *filter);
/* A packet of interface number `packet->point`. */
size_t pcapng_packet(uint8_t *out, size_t room, const struct ferrite_captured *packet);
/* What became of the packets of an interface, at the end. */
size_t pcapng_statistics(uint8_t *out, size_t room, uint32_t interface, uint64_t began_ns, uint64_t ended_ns,
			 const struct ferrite_capture_count *count);

#ifdef __cplusplus
}
#endif
#endif
