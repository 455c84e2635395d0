/* An existing netdev as uplink.
 *
 * No kernel device can segment a TCP packet inside IP in IPv6 that it did not make: it cuts and checksums in software
 * (port/segment.h) and sends with one sendmmsg for up to ETH_BATCH packets. What it receives in one burst it joins
 * again (port/coalesce.h). The next MAC is the link layer's matter (port/underlay.h).
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "engine/state.h"
#include "port/coalesce.h"
#include "port/eth.h"

static void flush(struct eth *eth)
{
	struct port_counters *counters = &eth->port.counters;
	unsigned done = 0;
	while (done < eth->queued) {
		int sent = sendmmsg(eth->port.fd, eth->out + done, eth->queued - done, MSG_DONTWAIT);
		if (sent <= 0) {
			/* The first of the rest failed: full queues drop it all, anything else only that one. */
			bool full = errno == EAGAIN || errno == ENOBUFS || errno == ENETDOWN;
			unsigned lost = full ? eth->queued - done : 1;
			if (full)
				counters->tx_drops += lost;
			else
				counters->tx_errors += lost;
			done += lost;
			continue;
		}
		counters->tx_packets += (unsigned)sent;
		done += (unsigned)sent;
	}
	counters->tx_bytes += eth->queued_bytes;
	eth->queued = 0;
	eth->queued_bytes = 0;
}

/* Everything that is queued has left, so nothing points into its buffers any more. */
static void uplink_flush(struct port *port)
{
	struct eth *eth = (struct eth *)port;
	flush(eth);
	rte_pktmbuf_free_bulk(eth->done, eth->done_count);
	eth->done_count = 0;
}

/* Finishes the piece that was filled last: its vector, behind vnet and link header. */
static void close_piece(struct eth *eth)
{
	struct outgoing *out = &eth->outgoing[eth->queued];
	unsigned count = 0;
	memset(out->link, 0, VNET_LENGTH);
	underlay_header(&eth->underlay, out->link + VNET_LENGTH, eth->next_mac);
	out->parts[count++] = (struct iovec){out->link, sizeof out->link};
	if (out->piece.head_length > 0)
		out->parts[count++] = (struct iovec){out->piece.head, out->piece.head_length};
	for (unsigned i = 0; i < out->piece.slice_count; i++)
		out->parts[count++] = out->piece.slices[i];
	for (unsigned i = 1; i < count; i++)
		eth->queued_bytes += out->parts[i].iov_len;
	eth->out[eth->queued].msg_hdr = (struct msghdr){.msg_iov = out->parts, .msg_iovlen = count};
	eth->queued++;
}

struct pieces {
	struct eth *eth;
	bool open;
};

static struct segment *next_piece(void *context)
{
	struct pieces *pieces = context;
	if (pieces->open)
		close_piece(pieces->eth);
	if (pieces->eth->queued == ETH_BATCH)
		flush(pieces->eth);
	pieces->open = true;
	return &pieces->eth->outgoing[pieces->eth->queued].piece;
}

static void uplink_packet(struct port *port, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	struct eth *eth = (struct eth *)port;
	struct pieces pieces = {.eth = eth};
	if (eth->done_count == PORT_PENDING)
		uplink_flush(port);
	memcpy(eth->next_mac, mac, 6);
	if (segment_packet(buffer, port->mtu, next_piece, &pieces)) {
		if (pieces.open)
			close_piece(eth);
	} else {
		port->counters.tx_errors++;
	}
	eth->done[eth->done_count++] = buffer;
}

static void uplink_frame(struct port *port, const uint8_t *frame, uint32_t length)
{
	struct vnet_header vnet = {0};
	struct iovec parts[] = {{&vnet, VNET_LENGTH}, {(void *)(uintptr_t)frame, length}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (sendmsg(port->fd, &message, MSG_DONTWAIT) < 0)
		port->counters.tx_errors++;
}

static const struct underlay_ops link_ops = {.frame = uplink_frame, .packet = uplink_packet, .flush = uplink_flush};

static void uplink_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	underlay_transmit(&((struct eth *)port)->underlay, burst, count);
}

static bool accept_outer(struct eth *eth, struct rte_mbuf *buffer, const struct vnet_header *vnet)
{
	return underlay_accept(&eth->underlay, buffer, vnet);
}

static unsigned uplink_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	unsigned count = eth_read((struct eth *)port, burst, limit, accept_outer);
	return count > 1 ? coalesce(burst, count) : count;
}

static void uplink_tick(struct port *port, uint64_t now_ms)
{
	underlay_tick(&((struct eth *)port)->underlay, now_ms);
}

static void uplink_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			    void *context)
{
	const struct eth *eth = (const struct eth *)port;
	visit(context, "eth.unresolved", eth->underlay.unresolved);
	visit(context, "eth.foreign", eth->underlay.foreign);
}

static struct underlay *uplink_underlay(struct port *port)
{
	return &((struct eth *)port)->underlay;
}

static const struct port_ops uplink_ops = {
	.receive = uplink_receive, .transmit = uplink_transmit, .tick = uplink_tick, .link = eth_link, .close = eth_close,
	.counters = uplink_counters, .underlay = uplink_underlay, .handed = "eth",
};

int eth_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	struct eth *eth;
	int status = eth_open(engine, spec->device, &uplink_ops, ETH_P_IPV6, PACKET_MR_ALLMULTI, &eth, error);
	if (status < 0)
		return status;
	/* It resolves by itself: the kernel's neighbours of the device are not asked. */
	underlay_init(&eth->underlay, &eth->port, &link_ops, spec, eth->mac, 0);
	*port = &eth->port;
	return 0;
}
