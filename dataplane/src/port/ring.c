#include "port/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

enum { RINGS = 64, RING_DEPTH = 1024 };

struct ring_end {
	struct ring *ring;
	unsigned side;
};

struct ring {
	char name[64];
	unsigned users;
	bool taken[2];
	bool cut;
	struct ring_end ends[2];
	/* queue[n] is what side n receives. Each end is one thread's at a time, and the two may differ. */
	struct { struct rte_mbuf *slots[RING_DEPTH]; uint32_t head, tail; } queue[2];
};

struct ring_port {
	struct port port;
	struct ring_end *end;
};

static struct ring *rings[RINGS];

struct ring_end *ring_join(const char *name)
{
	struct ring **place = NULL;
	if (strlen(name) >= sizeof rings[0]->name)
		return NULL;
	for (unsigned i = 0; i < RINGS; i++) {
		if (rings[i] != NULL && strcmp(rings[i]->name, name) == 0) {
			place = &rings[i];
			break;
		}
		if (rings[i] == NULL && place == NULL)
			place = &rings[i];
	}
	if (place == NULL)
		return NULL;
	if (*place == NULL) {
		*place = calloc(1, sizeof **place);
		if (*place == NULL)
			return NULL;
		memcpy((*place)->name, name, strlen(name) + 1);
	}
	struct ring *ring = *place;
	for (unsigned side = 0; side < 2; side++) {
		if (ring->taken[side])
			continue;
		ring->taken[side] = true;
		ring->users++;
		ring->ends[side] = (struct ring_end){ring, side};
		return &ring->ends[side];
	}
	return NULL;
}

static struct rte_mbuf *pop(struct ring *ring, unsigned side)
{
	uint32_t tail = ring->queue[side].tail;
	if (__atomic_load_n(&ring->queue[side].head, __ATOMIC_ACQUIRE) == tail)
		return NULL;
	struct rte_mbuf *buffer = ring->queue[side].slots[tail % RING_DEPTH];
	__atomic_store_n(&ring->queue[side].tail, tail + 1, __ATOMIC_RELEASE);
	return buffer;
}

static bool push(struct ring *ring, unsigned side, struct rte_mbuf *buffer)
{
	uint32_t head = ring->queue[side].head;
	if (head - __atomic_load_n(&ring->queue[side].tail, __ATOMIC_ACQUIRE) == RING_DEPTH)
		return false;
	ring->queue[side].slots[head % RING_DEPTH] = buffer;
	__atomic_store_n(&ring->queue[side].head, head + 1, __ATOMIC_RELEASE);
	return true;
}

void ring_leave(struct ring_end *end)
{
	struct ring *ring = end->ring;
	struct rte_mbuf *buffer;
	while ((buffer = pop(ring, end->side)) != NULL)
		rte_pktmbuf_free(buffer);
	ring->taken[end->side] = false;
	if (--ring->users > 0)
		return;
	for (unsigned i = 0; i < RINGS; i++)
		if (rings[i] == ring)
			rings[i] = NULL;
	for (unsigned side = 0; side < 2; side++)
		while ((buffer = pop(ring, side)) != NULL)
			rte_pktmbuf_free(buffer);
	free(ring);
}

bool ring_put(struct ring_end *end, const void *data, uint32_t length, const struct offload *offload)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL)
		return false;
	bool whole = packet_copy_in(buffer, data, length);
	packet_of(buffer)->offload = offload != NULL ? *offload : (struct offload){0};
	if (whole && push(end->ring, end->side ^ 1, buffer))
		return true;
	rte_pktmbuf_free(buffer);
	return false;
}

uint32_t ring_take(struct ring_end *end, void *data, uint32_t limit, struct packet *packet)
{
	struct rte_mbuf *buffer = pop(end->ring, end->side);
	if (buffer == NULL)
		return 0;
	uint32_t length = packet_copy_out(buffer, data, limit);
	if (packet != NULL)
		*packet = *packet_of(buffer);
	rte_pktmbuf_free(buffer);
	return length;
}

void ring_cut(struct ring_end *end, bool cut)
{
	end->ring->cut = cut;
}

static bool ring_link(struct port *port)
{
	return !((struct ring_port *)port)->end->ring->cut;
}

static unsigned ring_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct ring_end *end = ((struct ring_port *)port)->end;
	unsigned count = 0;
	while (count < limit && (burst[count] = pop(end->ring, end->side)) != NULL) {
		packet_of(burst[count])->ip_offset = port->uplink ? IPV6_LENGTH : ETHERNET_LENGTH;
		port->counters.rx_bytes += burst[count]->pkt_len;
		count++;
	}
	port->counters.rx_packets += count;
	return count;
}

static void ring_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct ring_end *end = ((struct ring_port *)port)->end;
	for (unsigned i = 0; i < count; i++) {
		uint32_t length = burst[i]->pkt_len;
		if (end->ring->cut || !push(end->ring, end->side ^ 1, burst[i])) {
			port_drop(port, burst[i]);
			continue;
		}
		port->counters.tx_packets++;
		port->counters.tx_bytes += length;
	}
}

static void ring_close(struct port *port)
{
	ring_leave(((struct ring_port *)port)->end);
	free(port);
}

static const struct port_ops ring_ops = {
	.receive = ring_receive, .transmit = ring_transmit, .link = ring_link, .close = ring_close,
};

int ring_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct ring_port *made = calloc(1, sizeof *made);
	if (made == NULL)
		return -ENOMEM;
	made->end = ring_join(rest);
	if (made->end == NULL) {
		free(made);
		return port_error(error, EBUSY, "ring: both ends of \"%s\" are taken", rest);
	}
	made->port.ops = &ring_ops;
	made->port.engine = engine;
	made->port.fd = -1;
	made->port.caps = PORT_GSO | PORT_CHECKSUM;
	made->port.mtu = 65535;
	(void)snprintf(made->port.device, sizeof made->port.device, "%s", rest);
	*port = &made->port;
	return 0;
}
