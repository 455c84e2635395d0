/* What the parts of the wire share: its state, sending (wire_out.c) and receiving (wire_in.c).
 *
 * Bounds: PEERS peers out, PEERS in, 4 MB a ring, resident as far as used; WIRE_HOLD packets wait for one peer and
 * WIRE_HOLD_ALL for all of them.
 */
#ifndef FERRITE_PORT_WIRE_H
#define FERRITE_PORT_WIRE_H

#include <sys/un.h>

#include "port/port.h"
#include "port/wire_ring.h"

enum {
	PEERS = 256,
	WIRE_GREETING = 32,  /* packets that wait for a first connection */
	WIRE_HOLD = 128,     /* packets that wait for room in a ring */
	WIRE_HOLD_ALL = 192, /* super-packets: a third of the big buffers */
	WIRE_WAIT_MS = 20,   /* for room: so long without any, then they are dropped */
	WIRE_PAUSE_US = 50,  /* a processor that both sides share goes to the reader */
	RETRY_MS = 50,
	HANDSHAKE_MS = 2000,
	WIRE_MAGIC = 0x31657246, /* "Fre1" */
	SOURCE_LISTENER = 0,
	SOURCE_BELL = 1,
	SOURCE_IN = 1 << 16,
	SOURCE_OUT = 2 << 16,
};

struct hello {
	uint32_t magic;
	uint32_t bytes; /* of the ring's data */
	uint8_t prefix[8];
};

enum out_state { OUT_FREE, OUT_DOWN, OUT_GREETING, OUT_READY };

/* Cardinality: one per /64 that was sent to. */
struct wire_out {
	enum out_state state;
	uint8_t prefix[8];
	int connection;
	int bell;
	bool written;
	bool waiting;         /* in the list of those with packets that wait for room */
	bool stuck;           /* it made no room in time: nothing waits for it until it does */
	struct wire_ring ring;
	uint64_t deadline_ms; /* of the greeting, or of the next try */
	uint64_t patience_ms; /* of those that wait for room */
	uint64_t used_ms;
	unsigned held_first, held_count;
	struct rte_mbuf *held[WIRE_HOLD]; /* in a circle from `held_first` */
};

/* Cardinality: one per peer that sends to us. */
struct wire_in {
	int connection; /* -1: free */
	bool ready;
	uint64_t deadline_ms;
	struct wire_ring ring;
};

struct wire {
	struct port port;
	char directory[80];
	char path[108];
	int listener, bell;
	unsigned in_high, in_next;
	struct wire_out *last;
	unsigned held_all;               /* packets that wait for room, of all peers */
	unsigned waiting_count;
	struct wire_out *waiting[PEERS]; /* peers with such packets */
	uint64_t connects, peers_lost, garbage, no_peer;
	uint64_t waited, full;           /* packets that waited for room; that found none in time */
	struct wire_in in[PEERS];
	struct wire_out out[PEERS];
};

/* wire.c */
int wire_path(const struct wire *wire, const uint8_t prefix[8], struct sockaddr_un *address);
void wire_watch(struct wire *wire, int fd, uint32_t source, bool on);
bool wire_same_user(int connection);

/* wire_out.c */
void wire_transmit(struct port *port, struct rte_mbuf **burst, unsigned count);
void wire_out_event(struct wire *wire, struct wire_out *out);
void wire_out_down(struct wire *wire, struct wire_out *out);
/* Tries again what waits for room. True: something still waits. */
bool wire_out_retry(struct wire *wire);

/* wire_in.c */
void wire_in_close(struct wire *wire, struct wire_in *in);
void wire_accept(struct wire *wire);
void wire_in_event(struct wire *wire, struct wire_in *in);
unsigned wire_receive(struct port *port, struct rte_mbuf **burst, unsigned limit);

#endif
