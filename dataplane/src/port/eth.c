/* An existing netdev, through a packet socket: the socket, receiving, and the access port.
 *
 * As access port it carries a VM's frames with their offloads (the socket speaks virtio-net headers). As uplink
 * (port/eth_uplink.c) it carries the outer packets.
 */
#include "port/eth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/state.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

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

unsigned eth_read(struct eth *eth, struct rte_mbuf **burst, unsigned limit,
		  bool (*accept)(struct eth *eth, struct rte_mbuf *buffer, const struct vnet_header *vnet))
{
	struct port *port = &eth->port;
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
		if (accept(eth, buffer, &eth->in_vnet[i]))
			burst[count++] = buffer;
		else
			rte_pktmbuf_free(buffer);
	}
	return count;
}

static bool accept_frame(struct eth *eth, struct rte_mbuf *buffer, const struct vnet_header *vnet)
{
	return offload_read(&packet_of(buffer)->offload, vnet, ETHERNET_LENGTH, buffer->pkt_len);
}

static unsigned access_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	return eth_read((struct eth *)port, burst, limit, accept_frame);
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

/* Up and with a carrier, as the kernel says it: without a lock, so a busy kernel does not stop the worker. */
bool eth_link(struct port *port)
{
	struct ifreq request = {0};
	memcpy(request.ifr_name, port->device, IFNAMSIZ - 1);
	return ioctl(port->fd, SIOCGIFFLAGS, &request) == 0 &&
		(request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

void eth_close(struct port *port)
{
	struct eth *eth = (struct eth *)port;
	for (unsigned i = 0; i < BURST; i++) {
		rte_pktmbuf_free(eth->small[i]);
		rte_pktmbuf_free(eth->big[i]);
	}
	if (port->uplink)
		underlay_free(&eth->underlay);
	close(port->fd);
	free(eth);
}

static const struct port_ops access_ops = {
	.receive = access_receive, .transmit = access_transmit, .close = eth_close,
	.handed = "eth",
};

static int open_socket(struct eth *eth, const char *name, int protocol, int membership, char *error)
{
	struct ifreq request = {0};
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol)};
	int one = 1, bytes = ETH_BUFFER_BYTES;
	if (name[0] == 0 || strlen(name) >= IFNAMSIZ)
		return port_error(error, EINVAL, "eth: \"%s\" is no interface name", name);
	/* Protocol 0: nothing is received before the socket is bound to its device. */
	int fd = handover_take(eth->port.engine, "eth", name);
	bool ready = fd >= 0; /* a predecessor's, bound and set as we would */
	if (!ready)
		fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return port_error(error, errno, "eth: packet socket: %s", strerror(errno));
	eth->port.fd = fd;
	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return port_error(error, errno, "eth: there is no device %s", name);
	address.sll_ifindex = eth->device = request.ifr_ifindex;
	struct packet_mreq member = {.mr_ifindex = request.ifr_ifindex, .mr_type = (uint16_t)membership};
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return port_error(error, errno, "eth: %s has no MAC: %s", name, strerror(errno));
	memcpy(eth->mac, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &request) < 0 || request.ifr_mtu < 1280)
		return port_error(error, EINVAL, "eth: the MTU of %s is below 1280", name);
	eth->port.mtu = (uint32_t)request.ifr_mtu;
	if (ready)
		return 0;
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

int eth_open(struct ferrite_engine *engine, const char *name, const struct port_ops *ops, int protocol, int membership,
	     struct eth **result, char *error)
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
	int status = eth_open(engine, rest, &access_ops, ETH_P_ALL, PACKET_MR_PROMISC, &eth, error);
	if (status < 0)
		return status;
	eth->port.caps = PORT_GSO | PORT_CHECKSUM;
	*port = &eth->port;
	return 0;
}
