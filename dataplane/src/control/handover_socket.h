/* What predecessor and successor say to each other on the handover socket.
 *
 *   successor               predecessor
 *   HELLO               ->                 what it wants: to take over, or to follow
 *                       <-  SNAPSHOT       its state and its tables, as descriptors
 *                       <-  DEVICE ...     one each, then one without a name
 *   READY               ->                 everything stands but what the worker knows
 *                                          the worker stops
 *                       <-  WIRE ...       sockets and rings of the wire
 *                       <-  SWITCH
 *   TAKEN               ->                 and begins. The predecessor exits
 *
 * From SNAPSHOT on the predecessor changes nothing: calls wait. Whatever fails before TAKEN leaves the predecessor as it
 * was; what has to be decided between the two is decided by whether TAKEN was sent before the predecessor gave up, which
 * closes the socket for it. A follower gets a SNAPSHOT with its devices at once and after every change, and FORGET when a
 * device is closed: its descriptor would keep a TAP alive.
 */
#ifndef FERRITE_CONTROL_HANDOVER_SOCKET_H
#define FERRITE_CONTROL_HANDOVER_SOCKET_H

#include "control.h"
#include "ferrite/handover.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HANDOVER_ERROR_TEXT = 256, HANDOVER_DEVICES = 4200, HANDOVER_MAX_BYTES = 1 << 30 };

/* What a successor was told. */
struct handover_told {
	uint8_t *state;
	size_t length;
	struct ferrite_inheritance inheritance;
	struct ferrite_handed devices[HANDOVER_DEVICES];
	int lock; /* of the active one; -1: none */
};

void handover_told_init(struct handover_told *told);
/* Closes and frees what nobody took. */
void handover_told_free(struct handover_told *told);

/* A listening socket of mode 0600; -1. A stale one is replaced. */
int handover_listen(const char *path, char error[HANDOVER_ERROR_TEXT]);
/* Whether the peer is of our user, or root. */
bool handover_peer_is_ours(int connection);

/* --- Successor. */

/* Connects and says hello; -1. */
int handover_connect(const char *path, bool follow, char error[HANDOVER_ERROR_TEXT]);
/* A snapshot with its devices, in `told`, of which what was told before is let go. 1: there is one, 0: nothing within `timeout_ms`
 * (or a device was forgotten), -1: the predecessor is gone or refuses. */
int handover_hear(int connection, struct handover_told *told, int timeout_ms, char error[HANDOVER_ERROR_TEXT]);
/* READY to TAKEN; the engine is then ours, and `flows` in it. False: the predecessor goes on, and this process must end without
 * cleaning up. */
bool handover_switch(int connection, struct ferrite_engine *engine, uint64_t *flows, char error[HANDOVER_ERROR_TEXT]);
/* Until the predecessor is gone. */
void handover_wait_end(int connection, int timeout_ms);

/* --- Predecessor, on the control thread. */

/* Reads HELLO. -1: nobody of ours; else whether it wants to follow. */
int handover_greet(int connection);
/* All of it. True: the successor has it, and this process must end at once. False: everything is as it was. */
bool handover_give(struct control *control, struct ferrite_engine *engine, int connection, int lock);
/* SNAPSHOT and devices to a follower, at most waiting for a second. False: it is gone. */
bool handover_tell(struct control *control, struct ferrite_engine *engine, int connection);
/* A device was closed. */
void handover_forget(int connection, const char *device);
/* Another number after any change. */
uint64_t handover_change(const struct control *control, const struct ferrite_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
