/* An existing netdev, through a packet socket.
 *
 * As access port it carries a VM's frames with their offloads (the socket speaks virtio-net headers). As uplink it
 * carries the outer packets: it finds the next MAC (port/link.h), and because no kernel device can segment a TCP
 * packet inside IP in IPv6 that it did not make, it cuts and checksums in software (port/segment.h) and sends with one
 * sendmmsg for up to BATCH packets. What it receives in one burst it joins again (port/coalesce.h).
 */
#include "port/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/coalesce.h"
#include "port/link.h"
#include "port/segment.h"
#include "port/spec.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { BATCH = 64, BUFFER_BYTES = 8 << 20 };

/* One packet to send: its link header, its piece, its vector. */
struct outgoing {
	struct segment piece;
	uint8_t link[VNET_LENGTH + ETHERNET_LENGTH];
	struct iovec parts[2 + SEGMENT_SLICES];
};

struct eth {
	struct port port;
	struct link_table table;
	uint64_t unresolved, foreign;
	/* Receive: buffers that wait to be filled. */
	struct rte_mbuf *small[BURST], *big[BURST];
	struct mmsghdr in[BURST];
	struct iovec in_parts[BURST][3];
	struct vnet_header in_vnet[BURST];
	/* Transmit. */
	unsigned queued;
	uint64_t queued_bytes;
	uint8_t next_mac[6];
	struct mmsghdr out[BATCH];
	struct outgoing outgoing[BATCH];
};

static unsigned refill(struct eth *eth, unsigned limit)
{
	unsigned ready = 0;
	for (; ready < limit; ready++) {
		if (eth->small[ready] == NULL)
			eth->small[ready] = rte_pktmbuf_alloc(buffers.small);
		if (eth->big[ready] == NULL)
			eth->big[ready] = rte_pktmbuf_alloc(buffers.big);
		if (eth->small[ready] == NULL || eth->big[ready] == NULL) {
			eth->port.counters.rx_no_memory++;
			break;
		}
		struct iovec *parts = eth->in_parts[ready];
		parts[0] = (struct iovec){&eth->in_vnet[ready], VNET_LENGTH};
		parts[1] = (struct iovec){packet_data(eth->small[ready]), SMALL_ROOM};
		parts[2] = (struct iovec){packet_data(eth->big[ready]), BIG_ROOM};
		eth->in[ready].msg_hdr = (struct msghdr){.msg_iov = parts, .msg_iovlen = 3};
	}
	return ready;
}

/* The filled buffer of a slot with its length set; the slot is to be refilled. */
static struct rte_mbuf *take_slot(struct eth *eth, unsigned slot, uint32_t length)
{
	struct rte_mbuf *buffer = eth->small[slot];
	eth->small[slot] = NULL;
	buffer->pkt_len = length;
	buffer->data_len = (uint16_t)(length < SMALL_ROOM ? length : SMALL_ROOM);
	if (length > SMALL_ROOM) {
		eth->big[slot]->data_len = (uint16_t)(length - SMALL_ROOM);
		buffer->next = eth->big[slot];
		buffer->nb_segs = 2;
		eth->big[slot] = NULL;
	}
	return buffer;
}

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

/* Finishes the piece that was filled last: its vector, behind vnet and link header. */
static void close_piece(struct eth *eth)
{
	struct outgoing *out = &eth->outgoing[eth->queued];
	unsigned count = 0;
	memset(out->link, 0, VNET_LENGTH);
	memcpy(out->link + VNET_LENGTH, eth->next_mac, 6);
	memcpy(out->link + VNET_LENGTH + 6, eth->table.mac, 6);
	store16(out->link + VNET_LENGTH + 12, ETHERTYPE_IPV6);
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
	if (pieces->eth->queued == BATCH)
		flush(pieces->eth);
	pieces->open = true;
	return &pieces->eth->outgoing[pieces->eth->queued].piece;
}

/* Queues a packet's pieces; slices point into `buffer`, which must live until `flush`. */
static void queue_packet(struct eth *eth, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	struct pieces pieces = {.eth = eth};
	memcpy(eth->next_mac, mac, 6);
	if (segment_packet(buffer, eth->port.mtu, next_piece, &pieces)) {
		if (pieces.open)
			close_piece(eth);
	} else {
		eth->port.counters.tx_errors++;
	}
}

static void send_frame(struct eth *eth, const uint8_t *frame, uint32_t length)
{
	struct vnet_header vnet = {0};
	struct iovec parts[] = {{&vnet, VNET_LENGTH}, {(void *)(uintptr_t)frame, length}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (sendmsg(eth->port.fd, &message, MSG_DONTWAIT) < 0)
		eth->port.counters.tx_errors++;
}

static void uplink_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct eth *eth = (struct eth *)port;
	struct rte_mbuf *done[PORT_PENDING];
	unsigned done_count = 0;
	uint64_t now = port->engine->now_ms;
	uint8_t frame[LINK_FRAME];
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *destination = packet_data(burst[i]) + 24;
		struct link_entry *entry = link_find(&eth->table, destination, now);
		if (entry == NULL) {
			eth->unresolved++;
			port_drop(port, burst[i]);
			continue;
		}
		entry->used_ms = now;
		uint32_t length = link_solicit(&eth->table, entry, now, frame);
		if (length > 0)
			send_frame(eth, frame, length);
		if (entry->known) {
			queue_packet(eth, burst[i], entry->mac);
			done[done_count++] = burst[i];
		} else if (entry->held_count < LINK_HOLD) {
			entry->held[entry->held_count++] = burst[i];
		} else {
			eth->unresolved++;
			port_drop(port, burst[i]);
		}
	}
	flush(eth);
	rte_pktmbuf_free_bulk(done, done_count);
}

static void control_frame(struct eth *eth, const struct rte_mbuf *buffer)
{
	uint8_t answer[LINK_FRAME];
	struct link_entry *resolved;
	uint32_t length = link_input(&eth->table, packet_data(buffer), buffer->data_len, eth->port.engine->now_ms, answer,
				     &resolved);
	if (length > 0)
		send_frame(eth, answer, length);
	if (resolved == NULL || resolved->held_count == 0)
		return;
	for (unsigned i = 0; i < resolved->held_count; i++)
		queue_packet(eth, resolved->held[i], resolved->mac);
	flush(eth);
	rte_pktmbuf_free_bulk(resolved->held, resolved->held_count);
	resolved->held_count = 0;
}

/* Keeps an overlay packet for our /64, without its link header; anything else ends here. */
static bool accept_outer(struct eth *eth, struct rte_mbuf *buffer, const struct vnet_header *vnet)
{
	const uint8_t *data = packet_data(buffer);
	struct packet *packet = packet_of(buffer);
	const uint32_t head = ETHERNET_LENGTH + IPV6_LENGTH;
	if (buffer->data_len < head || load16(data + 12) != ETHERTYPE_IPV6)
		return false;
	uint8_t next_header = data[ETHERNET_LENGTH + 6];
	if (next_header == PROTOCOL_ICMPV6) {
		control_frame(eth, buffer);
		return false;
	}
	if ((next_header != PROTOCOL_IPV4 && next_header != PROTOCOL_IPV6) ||
	    raw64(data + ETHERNET_LENGTH + 24) != raw64(eth->port.engine->prefix)) {
		eth->foreign++;
		return false;
	}
	if (!offload_read(&packet->offload, vnet, head, buffer->pkt_len)) {
		eth->port.counters.rx_errors++;
		return false;
	}
	(void)rte_pktmbuf_adj(buffer, ETHERNET_LENGTH);
	packet->ip_offset = IPV6_LENGTH;
	return true;
}

static unsigned eth_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct eth *eth = (struct eth *)port;
	unsigned ready = refill(eth, limit < BURST ? limit : BURST), count = 0;
	int got = ready == 0 ? 0 : recvmmsg(port->fd, eth->in, ready, MSG_DONTWAIT, NULL);
	for (int i = 0; i < got; i++) {
		uint32_t length = eth->in[i].msg_len > VNET_LENGTH ? eth->in[i].msg_len - VNET_LENGTH : 0;
		if (length < ETHERNET_LENGTH || length > PACKET_LIMIT || (eth->in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
			port->counters.rx_errors++;
			continue;
		}
		struct rte_mbuf *buffer = take_slot(eth, (unsigned)i, length);
		struct packet *packet = packet_of(buffer);
		port->counters.rx_bytes += length;
		port->counters.rx_packets++;
		packet_no_offload(packet);
		packet->ip_offset = ETHERNET_LENGTH;
		bool good = port->uplink ? accept_outer(eth, buffer, &eth->in_vnet[i]) :
					   offload_read(&packet->offload, &eth->in_vnet[i], ETHERNET_LENGTH, length);
		if (good)
			burst[count++] = buffer;
		else
			rte_pktmbuf_free(buffer);
	}
	return port->uplink && count > 1 ? coalesce(burst, count) : count;
}

static void access_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct vnet_header vnet;
		struct iovec parts[PORT_PARTS + 1] = {{&vnet, VNET_LENGTH}};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
		offload_write(&packet_of(burst[i])->offload, &vnet, packet_of(burst[i])->ip_offset);
		for (struct rte_mbuf *at = burst[i]; at != NULL && message.msg_iovlen <= PORT_PARTS; at = at->next)
			parts[message.msg_iovlen++] = (struct iovec){packet_data(at), at->data_len};
		if (burst[i]->nb_segs > PORT_PARTS || sendmsg(port->fd, &message, MSG_DONTWAIT) < 0) {
			port->counters.tx_drops++;
			continue;
		}
		port->counters.tx_packets++;
		port->counters.tx_bytes += burst[i]->pkt_len;
	}
	rte_pktmbuf_free_bulk(burst, count);
}

/* What nobody answers for is not kept for ever. */
static void uplink_tick(struct port *port, uint64_t now_ms)
{
	struct eth *eth = (struct eth *)port;
	uint8_t frame[LINK_FRAME];
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		struct link_entry *entry = &eth->table.entries[i];
		if (!entry->used || entry->held_count == 0)
			continue;
		if (entry->tries >= LINK_TRIES && now_ms >= entry->next_ms) {
			eth->unresolved += entry->held_count;
			for (unsigned j = 0; j < entry->held_count; j++)
				port_drop(port, entry->held[j]);
			entry->held_count = 0;
			entry->tries = 0;
			continue;
		}
		uint32_t length = link_solicit(&eth->table, entry, now_ms, frame);
		if (length > 0)
			send_frame(eth, frame, length);
	}
}

static void eth_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			 void *context)
{
	const struct eth *eth = (const struct eth *)port;
	if (!port->uplink)
		return;
	visit(context, "eth.unresolved", eth->unresolved);
	visit(context, "eth.foreign", eth->foreign);
}

static void eth_close(struct port *port)
{
	struct eth *eth = (struct eth *)port;
	for (unsigned i = 0; i < BURST; i++) {
		rte_pktmbuf_free(eth->small[i]);
		rte_pktmbuf_free(eth->big[i]);
	}
	for (unsigned i = 0; i < LINK_ENTRIES; i++)
		rte_pktmbuf_free_bulk(eth->table.entries[i].held, eth->table.entries[i].held_count);
	close(port->fd);
	free(eth);
}

static const struct port_ops access_ops = {
	.receive = eth_receive, .transmit = access_transmit, .close = eth_close, .counters = eth_counters,
};

static const struct port_ops uplink_ops = {
	.receive = eth_receive, .transmit = uplink_transmit, .tick = uplink_tick, .close = eth_close,
	.counters = eth_counters,
};

static int open_socket(struct eth *eth, const char *name, int protocol, int membership, char *error)
{
	struct ifreq request = {0};
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol)};
	int one = 1, bytes = BUFFER_BYTES;
	if (name[0] == 0 || strlen(name) >= IFNAMSIZ)
		return port_error(error, EINVAL, "eth: \"%s\" is no interface name", name);
	/* Protocol 0: nothing is received before the socket is bound to its device. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return port_error(error, errno, "eth: packet socket: %s", strerror(errno));
	eth->port.fd = fd;
	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return port_error(error, errno, "eth: there is no device %s", name);
	address.sll_ifindex = request.ifr_ifindex;
	struct packet_mreq member = {.mr_ifindex = request.ifr_ifindex, .mr_type = (uint16_t)membership};
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return port_error(error, errno, "eth: %s has no MAC: %s", name, strerror(errno));
	memcpy(eth->table.mac, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &request) < 0 || request.ifr_mtu < 1280)
		return port_error(error, EINVAL, "eth: the MTU of %s is below 1280", name);
	eth->port.mtu = (uint32_t)request.ifr_mtu;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0)
		return port_error(error, errno, "eth: %s without virtio-net headers: %s", name, strerror(errno));
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	(void)setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof member);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return port_error(error, errno, "eth: cannot bind to %s: %s", name, strerror(errno));
	return 0;
}

static int open_eth(struct ferrite_engine *engine, const char *name, const struct port_ops *ops, int protocol,
		    int membership, struct eth **result, char *error)
{
	struct eth *eth = calloc(1, sizeof *eth);
	if (eth == NULL)
		return -ENOMEM;
	eth->port.ops = ops;
	eth->port.engine = engine;
	eth->port.fd = -1;
	(void)snprintf(eth->port.device, sizeof eth->port.device, "%s", name);
	int status = open_socket(eth, name, protocol, membership, error);
	if (status < 0) {
		if (eth->port.fd >= 0)
			close(eth->port.fd);
		free(eth);
		return status;
	}
	*result = eth;
	return 0;
}

int eth_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct eth *eth;
	int status = open_eth(engine, rest, &access_ops, ETH_P_ALL, PACKET_MR_PROMISC, &eth, error);
	if (status < 0)
		return status;
	eth->port.caps = PORT_GSO | PORT_CHECKSUM;
	*port = &eth->port;
	return 0;
}

int eth_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	struct eth *eth;
	int status = open_eth(engine, spec->device, &uplink_ops, ETH_P_IPV6, PACKET_MR_ALLMULTI, &eth, error);
	if (status < 0)
		return status;
	memcpy(eth->table.prefix, engine->prefix, 8);
	eth->table.has_gateway = spec->has_gateway;
	memcpy(eth->table.gateway, spec->gateway, 16);
	*port = &eth->port;
	return 0;
}
