/* What the two sides of an eth port share: its packet socket and how it receives. */
#ifndef FERRITE_PORT_ETH_H
#define FERRITE_PORT_ETH_H

#include <sys/socket.h>

#include "port/segment.h"
#include "port/underlay.h"

enum { ETH_BATCH = 64, ETH_BUFFER_BYTES = 8 << 20 };

/* One packet to send: its link header, its piece, its vector. */
struct outgoing {
	struct segment piece;
	uint8_t link[VNET_LENGTH + 14];
	struct iovec parts[2 + SEGMENT_SLICES];
};

struct eth {
	struct port port;
	uint8_t mac[6];
	int device;                  /* its index */
	/* Receive: buffers that wait to be filled. */
	struct rte_mbuf *small[BURST], *big[BURST];
	struct mmsghdr in[BURST];
	struct iovec in_parts[BURST][3];
	struct vnet_header in_vnet[BURST];
	/* Uplink. */
	struct underlay underlay;
	unsigned queued;
	uint64_t queued_bytes;
	uint8_t next_mac[6];
	struct mmsghdr out[ETH_BATCH];
	struct outgoing outgoing[ETH_BATCH];
	unsigned done_count;
	struct rte_mbuf *done[PORT_PENDING]; /* queued: freed when they were sent */
};

/* `protocol` and `membership` of the socket. */
int eth_open(struct ferrite_engine *engine, const char *name, const struct port_ops *ops, int protocol, int membership,
	     struct eth **result, char *error);
/* Reads a burst. `accept`: what to make of a frame; false: it ends here. */
unsigned eth_read(struct eth *eth, struct rte_mbuf **burst, unsigned limit,
		  bool (*accept)(struct eth *eth, struct rte_mbuf *buffer, const struct vnet_header *vnet));
bool eth_link(struct port *port);
void eth_close(struct port *port);

#endif
