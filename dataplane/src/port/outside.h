/* Neighbours on an edge's outside: which MAC an address there has, by ARP and IPv6 neighbour discovery.
 *
 * Pure but for the time it is told: frames in, frames out. Nothing runs by itself: a packet for a neighbour that is
 * unknown, or that was silent for OUTSIDE_REFRESH_MS, asks for it, at most once in OUTSIDE_RETRY_MS; after OUTSIDE_TRIES
 * questions without an answer it is unknown again. Meanwhile up to OUTSIDE_HOLD packets of it wait, each for
 * OUTSIDE_HOLD_MS at most, judged when the neighbour answers or the next packet comes.
 *
 * Cardinality: one table per edge, OUTSIDE_NEIGHBOURS entries of 232 bytes: 58 KB. Entries of hosts that nobody has asked
 * about lately make room. The owner sends or frees what waits: OUTSIDE_HELD of an edge together.
 */
#ifndef FERRITE_PORT_OUTSIDE_H
#define FERRITE_PORT_OUTSIDE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	OUTSIDE_NEIGHBOURS = 256,
	OUTSIDE_PLACES = 8,        /* that an address may have */
	OUTSIDE_HOLD = 16,
	OUTSIDE_HELD = 256,
	OUTSIDE_HOLD_MS = 3000,
	OUTSIDE_REFRESH_MS = 30000,
	OUTSIDE_RETRY_MS = 1000,
	OUTSIDE_TRIES = 3,
	OUTSIDE_ARP_FRAME = 42,
	OUTSIDE_ND_FRAME = 86,     /* Ethernet, IPv6, a solicitation or advertisement with one option */
	OUTSIDE_FRAME = OUTSIDE_ND_FRAME,
};

struct rte_mbuf;

struct outside_neighbour {
	uint8_t family;            /* 0: free */
	bool known;
	bool fixed;                /* said by the operator: never asked for */
	uint8_t mac[6];
	uint8_t address[16];       /* IPv4: the first 4, then zero */
	unsigned tries;
	uint64_t next_ms;          /* no question before it */
	uint64_t used_ms;
	unsigned held_count;
	struct rte_mbuf *held[OUTSIDE_HOLD];
	uint64_t held_ms[OUTSIDE_HOLD];
};

/* Whoever asks and answers. */
struct outside_self {
	uint8_t mac[6];
	uint8_t ipv4[4], ipv6[16]; /* zero: none */
};

struct outside_table {
	unsigned held;             /* of all entries */
	struct outside_neighbour entries[OUTSIDE_NEIGHBOURS];
};

/* The entry, made when missing; NULL: every place that it may have waits for somebody. `address`: 4 or 16 bytes. */
struct outside_neighbour *outside_find(struct outside_table *table, uint8_t family, const uint8_t *address, uint64_t now_ms);
/* The entry, if it is there. */
struct outside_neighbour *outside_known(struct outside_table *table, uint8_t family, const uint8_t *address);
/* Writes a question where one is due; its length, or 0. */
uint32_t outside_ask(struct outside_neighbour *neighbour, const struct outside_self *self, uint64_t now_ms,
		     uint8_t frame[OUTSIDE_FRAME]);
/* It has spoken. A group MAC is nobody's: false. */
bool outside_learn(struct outside_neighbour *neighbour, const uint8_t mac[6], uint64_t now_ms);

/* What an ARP message or one of neighbour discovery says, checked. */
enum outside_kind {
	OUTSIDE_NOTHING,           /* none of these, or damaged */
	OUTSIDE_REQUEST,           /* ARP request: `sender`, `mac`, `target` */
	OUTSIDE_REPLY,             /* any other ARP: `sender`, `mac` */
	OUTSIDE_SOLICITATION,      /* `target`, `sender` (zero: a probe) */
	OUTSIDE_ADVERTISEMENT,     /* `target`, `mac` */
};
struct outside_message {
	uint8_t kind;
	uint8_t mac[6];
	const uint8_t *sender, *target; /* in the frame */
};
struct outside_message outside_read_arp(const uint8_t *frame, uint32_t length);
/* `frame`: with an IPv6 header behind Ethernet that was checked and is ICMPv6; `length`: of the frame without padding. */
struct outside_message outside_read_nd(const uint8_t *frame, uint32_t length);

/* Answers that `target` is at our MAC, into `answer`; the length. `proxy`: it is somebody behind us. */
uint32_t outside_answer_arp(const struct outside_self *self, const struct outside_message *message, uint8_t answer[OUTSIDE_FRAME]);
uint32_t outside_answer_nd(const struct outside_self *self, const struct outside_message *message, const uint8_t to[6],
			   bool proxy, uint8_t answer[OUTSIDE_FRAME]);

#endif
