/* What the two sides of a TAP port share: the device, reading and writing it. */
#ifndef FERRITE_PORT_VTAP_H
#define FERRITE_PORT_VTAP_H

#include <sys/uio.h>

#include "port/port.h"

struct vtap {
	struct port port;
	struct rte_mbuf *small; /* ready for the next read */
	struct rte_mbuf *big;
	bool dead;
	uint64_t retry_ms;
};

/* Makes or takes over the device and allocates `size` bytes, which begin with a struct vtap. `mtu`: of the device. */
int vtap_make(struct ferrite_engine *engine, const char *name, size_t size, const struct port_ops *ops, uint32_t mtu,
	      struct vtap **result, char *error);
/* The next frame and what the kernel says of it; NULL: none now. */
struct rte_mbuf *vtap_read(struct vtap *vtap, struct vnet_header *vnet);
/* One frame; counts it. `bytes` of it count. */
bool vtap_write(struct vtap *vtap, const struct iovec *parts, int count, uint32_t bytes);
/* Whether the kernel's side is up, in whatever namespace it is. */
bool vtap_link(struct port *port);
/* Makes a device that died anew. */
void vtap_tick(struct port *port, uint64_t now_ms);
void vtap_close(struct port *port);

#endif
