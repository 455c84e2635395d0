/* Neighbours of an eth uplink: which MAC leads to which underlay /64, by IPv6 neighbour discovery.
 *
 * Pure but for the time it is told: frames in, frames out. One entry per /64, or a single one with a gateway. An entry
 * is confirmed every LINK_REFRESH_MS while it is used; after LINK_TRIES unanswered solicitations it is resolved anew.
 * Whoever asks for an address of our own /64 is answered.
 */
#ifndef FERRITE_PORT_LINK_H
#define FERRITE_PORT_LINK_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LINK_ENTRIES = 256,
	LINK_HOLD = 16,
	LINK_REFRESH_MS = 30000,
	LINK_RETRY_MS = 1000,
	LINK_TRIES = 3,
	LINK_FRAME = 86, /* Ethernet, IPv6, a solicitation or advertisement with one option */
};

struct rte_mbuf;

struct link_entry {
	bool used, known;
	uint8_t key[8];
	uint8_t target[16];
	uint8_t mac[6];
	unsigned tries;
	uint64_t next_ms;  /* no solicitation before it */
	uint64_t used_ms;
	unsigned held_count;
	struct rte_mbuf *held[LINK_HOLD]; /* packets that wait; the owner sends or frees them */
};

struct link_table {
	uint8_t prefix[8];
	uint8_t mac[6];
	bool has_gateway;
	uint8_t gateway[16];
	struct link_entry entries[LINK_ENTRIES];
};

/* The entry for an outer destination, made when missing; NULL: all entries are busy. */
struct link_entry *link_find(struct link_table *table, const uint8_t destination[16], uint64_t now_ms);
/* Writes a solicitation when one is due; its length, or 0. */
uint32_t link_solicit(struct link_table *table, struct link_entry *entry, uint64_t now_ms, uint8_t frame[LINK_FRAME]);
/* Reads a frame that is no overlay packet. A length: `answer` is to be sent. `resolved`: an entry became known. */
uint32_t link_input(struct link_table *table, const uint8_t *frame, uint32_t length, uint64_t now_ms,
		    uint8_t answer[LINK_FRAME], struct link_entry **resolved);

#endif
