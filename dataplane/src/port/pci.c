/* A DPDK device as access port and as uplink. */
#include "port/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/coalesce.h"

/* --- sending --- */

static void flush(struct port *port)
{
	struct pci *pci = (struct pci *)port;
	uint64_t bytes[PCI_QUEUE];
	unsigned count = pci->queued, sent = 0;
	for (unsigned i = 0; i < count; i++)
		bytes[i] = pci->queue[i]->pkt_len; /* a buffer that was sent is the device's */
	while (sent < count) {
		uint16_t ready = rte_eth_tx_prepare(pci->id, 0, pci->queue + sent, (uint16_t)(count - sent));
		uint16_t took = rte_eth_tx_burst(pci->id, 0, pci->queue + sent, ready);
		for (unsigned i = sent; i < sent + took; i++)
			port->counters.tx_bytes += bytes[i];
		port->counters.tx_packets += took;
		sent += took;
		if (took < ready) {
			port->counters.tx_drops += count - sent;
			rte_pktmbuf_free_bulk(pci->queue + sent, count - sent);
			break;
		}
		if (sent < count) { /* this one the device does not take */
			port->counters.tx_errors++;
			rte_pktmbuf_free(pci->queue[sent++]);
		}
	}
	pci->queued = 0;
}

static void enqueue(struct pci *pci, struct rte_mbuf *frame)
{
	if (pci->queued == PCI_QUEUE)
		flush(&pci->port);
	pci->queue[pci->queued++] = frame;
}

/* Behind what the chain has. False: no memory. */
static bool append(struct pci *pci, struct rte_mbuf *head, const void *from, size_t length)
{
	const uint8_t *at = from;
	while (length > 0) {
		struct rte_mbuf *last = rte_pktmbuf_lastseg(head);
		uint16_t room = rte_pktmbuf_tailroom(last);
		if (room == 0) {
			struct rte_mbuf *more = rte_pktmbuf_alloc(pci->pool);
			if (more == NULL || rte_pktmbuf_chain(head, more) < 0) {
				rte_pktmbuf_free(more);
				return false;
			}
			continue;
		}
		uint16_t part = length < room ? (uint16_t)length : room;
		memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), at, part);
		last->data_len = (uint16_t)(last->data_len + part);
		head->pkt_len += part;
		at += part;
		length -= part;
	}
	return true;
}

/* The piece that was filled last becomes a frame of its own. */
static void send_piece(struct pci *pci)
{
	const struct segment *piece = &pci->piece;
	struct rte_mbuf *frame = rte_pktmbuf_alloc(pci->pool);
	uint8_t header[ETHERNET_LENGTH];
	bool good = frame != NULL;
	pci->open = false;
	if (good && pci->port.uplink) {
		underlay_header(&pci->underlay, header, pci->next_mac);
		good = append(pci, frame, header, sizeof header);
	}
	good = good && append(pci, frame, piece->head, piece->head_length);
	for (unsigned i = 0; good && i < piece->slice_count; i++)
		good = append(pci, frame, piece->slices[i].iov_base, piece->slices[i].iov_len);
	if (good && (frame->nb_segs == 1 || (pci->capabilities & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0)) {
		enqueue(pci, frame);
		return;
	}
	pci->port.counters.tx_errors++;
	rte_pktmbuf_free(frame);
}

static struct segment *next_piece(void *context)
{
	struct pci *pci = context;
	if (pci->open)
		send_piece(pci);
	pci->open = true;
	return &pci->piece;
}

/* What the device cannot do is done here, into buffers of its own pool. */
static void send_in_software(struct pci *pci, struct rte_mbuf *buffer, uint32_t limit)
{
	pci->open = false;
	if (!segment_packet(buffer, limit, next_piece, pci))
		pci->port.counters.tx_errors++;
	else if (pci->open)
		send_piece(pci);
	rte_pktmbuf_free(buffer);
}

static bool is_short(const struct rte_mbuf *buffer, uint32_t limit)
{
	return buffer->pkt_len <= limit || packet_of(buffer)->offload.gso != GSO_NONE;
}

static void access_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct pci *pci = (struct pci *)port;
	uint32_t limit = port->mtu + ETHERNET_LENGTH;
	for (unsigned i = 0; i < count; i++) {
		burst[i]->ol_flags = 0;
		if (is_short(burst[i], limit) && pci_offload(burst[i], pci->capabilities))
			enqueue(pci, burst[i]);
		else
			send_in_software(pci, burst[i], limit);
	}
	flush(port);
}

static void link_packet(struct port *port, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	struct pci *pci = (struct pci *)port;
	struct packet *packet = packet_of(buffer);
	bool fits = is_short(buffer, port->mtu);
	uint8_t *header = fits ? (uint8_t *)rte_pktmbuf_prepend(buffer, ETHERNET_LENGTH) : NULL;
	memcpy(pci->next_mac, mac, 6);
	if (header == NULL) {
		send_in_software(pci, buffer, port->mtu);
		return;
	}
	underlay_header(&pci->underlay, header, mac);
	packet->ip_offset = (uint16_t)(packet->ip_offset + ETHERNET_LENGTH);
	buffer->ol_flags = 0;
	if (pci_offload(buffer, pci->capabilities)) {
		enqueue(pci, buffer);
		return;
	}
	packet->ip_offset = (uint16_t)(packet->ip_offset - ETHERNET_LENGTH);
	(void)rte_pktmbuf_adj(buffer, ETHERNET_LENGTH);
	send_in_software(pci, buffer, port->mtu);
}

static void link_frame(struct port *port, const uint8_t *frame, uint32_t length)
{
	struct pci *pci = (struct pci *)port;
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(pci->pool);
	if (buffer == NULL || !append(pci, buffer, frame, length)) {
		port->counters.tx_errors++;
		rte_pktmbuf_free(buffer);
		return;
	}
	enqueue(pci, buffer);
	flush(port);
}

static const struct underlay_ops link_ops = {.frame = link_frame, .packet = link_packet, .flush = flush};

static void uplink_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	underlay_transmit(&((struct pci *)port)->underlay, burst, count);
}

/* --- receiving --- */

static unsigned receive(struct pci *pci, struct rte_mbuf **burst, unsigned limit)
{
	unsigned count = rte_eth_rx_burst(pci->id, 0, burst, (uint16_t)limit);
	for (unsigned i = 0; i < count; i++) {
		packet_no_offload(packet_of(burst[i]));
		packet_of(burst[i])->ip_offset = ETHERNET_LENGTH;
		pci->port.counters.rx_bytes += burst[i]->pkt_len;
	}
	pci->port.counters.rx_packets += count;
	return count;
}

static unsigned access_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	unsigned got = receive((struct pci *)port, burst, limit), count = 0;
	for (unsigned i = 0; i < got; i++) {
		if (burst[i]->data_len >= ETHERNET_LENGTH && burst[i]->pkt_len <= PACKET_LIMIT) {
			burst[count++] = burst[i];
			continue;
		}
		port->counters.rx_errors++;
		rte_pktmbuf_free(burst[i]);
	}
	return count;
}

static unsigned uplink_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct pci *pci = (struct pci *)port;
	unsigned got = receive(pci, burst, limit), count = 0;
	for (unsigned i = 0; i < got; i++) {
		if (underlay_accept(&pci->underlay, burst[i], NULL))
			burst[count++] = burst[i];
		else
			rte_pktmbuf_free(burst[i]);
	}
	return count > 1 ? coalesce(burst, count) : count;
}

/* Nothing tells us that a frame came, so the sleep is a short one. */
static bool nap(struct port *port, bool asleep)
{
	struct itimerspec once = {.it_value.tv_nsec = asleep ? PCI_WAKE_US * 1000 : 0};
	(void)timerfd_settime(port->fd, 0, &once, NULL);
	return false;
}

static void awake(struct port *port)
{
	uint64_t times;
	(void)!read(port->fd, &times, sizeof times);
}

static void uplink_tick(struct port *port, uint64_t now_ms)
{
	underlay_tick(&((struct pci *)port)->underlay, now_ms);
}

static void pci_close(struct port *port)
{
	struct pci *pci = (struct pci *)port;
	if (port->uplink)
		underlay_free(&pci->underlay);
	pci_stop(pci);
	free(pci);
}

static void pci_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			 void *context)
{
	const struct pci *pci = (const struct pci *)port;
	struct rte_eth_stats stats;
	if (rte_eth_stats_get(pci->id, &stats) == 0) {
		visit(context, "pci.missed", stats.imissed);
		visit(context, "pci.rx_errors", stats.ierrors);
		visit(context, "pci.tx_errors", stats.oerrors);
	}
	if (port->uplink) {
		visit(context, "pci.unresolved", pci->underlay.unresolved);
		visit(context, "pci.foreign", pci->underlay.foreign);
	}
}

static const struct port_ops access_ops = {
	.receive = access_receive, .transmit = access_transmit, .event = awake, .sleep = nap, .link = pci_link,
	.close = pci_close,
};

static const struct port_ops uplink_ops = {
	.receive = uplink_receive, .transmit = uplink_transmit, .event = awake, .sleep = nap, .tick = uplink_tick,
	.link = pci_link, .close = pci_close, .counters = pci_counters,
};

static struct pci *make(struct ferrite_engine *engine, const struct port_ops *ops)
{
	struct pci *pci = calloc(1, sizeof *pci);
	if (pci != NULL) {
		pci->port.ops = ops;
		pci->port.engine = engine;
	}
	return pci;
}

int pci_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct pci *pci = make(engine, &access_ops);
	int status = pci == NULL ? -ENOMEM : pci_start(pci, rest, NULL, engine->mtu, true, error);
	if (status < 0) {
		free(pci);
		return status;
	}
	*port = &pci->port;
	return 0;
}

int pci_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	struct pci *pci = make(engine, &uplink_ops);
	struct rte_ether_addr own = {0};
	int status = pci == NULL ? -ENOMEM : pci_start(pci, spec->device, spec->has_mac ? spec->mac : NULL,
						       (uint32_t)engine->mtu + IPV6_LENGTH, false, error);
	if (status < 0) {
		free(pci);
		return status;
	}
	(void)rte_eth_macaddr_get(pci->id, &own);
	underlay_init(&pci->underlay, &pci->port, &link_ops, spec, own.addr_bytes, (int)pci->kernel_device);
	pci->underlay.own_only = true;
	*port = &pci->port;
	return 0;
}
