/* What leaves by a DPDK device: marked for the device where it can, cut and summed here where it cannot. */
#include "engine/state.h"
#include "port/pci.h"

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

void pci_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
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

const struct underlay_ops pci_link_ops = {.frame = link_frame, .packet = link_packet, .flush = flush};
