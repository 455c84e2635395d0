/* Everything that the control layer knows, as bytes: what one process tells the one that takes its place.
 *
 * A header (magic, version, length, hash), then records: kind (1), length (4, little endian), fields. A reader takes fields
 * that a record lacks for zero and leaves out what stands behind those that it knows, so that neighbouring versions
 * understand each other; a kind that it does not know refuses the whole. The hash finds damage, it proves nothing: who may
 * hand over is decided by the socket's mode and the peer's user.
 */
#ifndef FERRITE_CONTROL_HANDOVER_H
#define FERRITE_CONTROL_HANDOVER_H

#include "control.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CONTROL_HANDOVER_VERSION = 1, CONTROL_HANDOVER_HEADER = 24, CONTROL_HANDOVER_ERROR = 160 };

/* Bytes to be freed by the caller; NULL: no memory. */
uint8_t *control_handover_save(const struct control *control, size_t *length);
/* Writes the header of what stands behind it. */
void control_handover_seal(uint8_t *bytes, size_t length);
/* Into a control layer that has its options and ports and nothing else. False with one line in `error`: then it is to be
 * thrown away. */
bool control_handover_restore(struct control *control, const uint8_t *bytes, size_t length,
			      char error[CONTROL_HANDOVER_ERROR]);

/* Told of each port that is closed, by its device "KIND:NAME". */
void control_watch_ports(struct control *control, void (*closed)(void *context, const char *device), void *context);

#ifdef __cplusplus
}
#endif
#endif
