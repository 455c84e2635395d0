/* A TAP with the virtio-net header: a super-packet of the guest's kernel passes as one packet.
 *
 * The descriptor stays valid when the device is moved to another namespace. When the device dies (its namespace was
 * deleted) the descriptor turns to EBADFD; the port then rests, and the tick tries to make the device anew.
 */
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/state.h"

struct vtap {
	struct port port;
	struct rte_mbuf *small; /* ready for the next read */
	struct rte_mbuf *big;
	bool dead;
	uint64_t retry_ms;
};

static void set_mtu(const char *name, unsigned mtu)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	struct ifreq request = {.ifr_mtu = (int)mtu};
	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	(void)ioctl(fd, SIOCSIFMTU, &request); /* a moved device keeps its own */
	close(fd);
}

static int make_device(struct vtap *vtap, char *error)
{
	struct port *port = &vtap->port;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return port_error(error, errno, "cannot open /dev/net/tun: %s", strerror(errno));
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	memcpy(request.ifr_name, port->device, strlen(port->device) + 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		int code = errno;
		close(fd);
		return port_error(error, code, "cannot make TAP %s: %s", port->device, strerror(code));
	}
	int size = VNET_LENGTH;
	unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETOFFLOAD, offload) < 0) {
		int code = errno;
		close(fd);
		return port_error(error, code, "TAP %s lacks offloads: %s", port->device, strerror(code));
	}
	/* A device that is made anew keeps its MAC: what the guest's peers and the interface know of it stays true. */
	static const uint8_t none[6];
	struct ifreq hardware = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	memcpy(hardware.ifr_hwaddr.sa_data, port->guest_mac, 6);
	if (memcmp(port->guest_mac, none, 6) != 0)
		(void)ioctl(fd, SIOCSIFHWADDR, &hardware);
	if (ioctl(fd, SIOCGIFHWADDR, &hardware) == 0)
		memcpy(port->guest_mac, hardware.ifr_hwaddr.sa_data, 6);
	set_mtu(port->device, port->mtu);
	port->fd = fd;
	return 0;
}

static void rest(struct vtap *vtap)
{
	struct port *port = &vtap->port;
	if (vtap->dead)
		return;
	vtap->dead = true;
	engine_watch(port->engine, port, false);
}

static unsigned vtap_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct vtap *vtap = (struct vtap *)port;
	unsigned count = 0;
	if (vtap->dead)
		return 0;
	while (count < limit) {
		if (vtap->small == NULL)
			vtap->small = rte_pktmbuf_alloc(buffers.small);
		if (vtap->big == NULL)
			vtap->big = rte_pktmbuf_alloc(buffers.big);
		if (vtap->small == NULL || vtap->big == NULL) {
			port->counters.rx_no_memory++;
			break;
		}
		struct vnet_header vnet;
		struct iovec parts[] = {
			{&vnet, VNET_LENGTH}, {packet_data(vtap->small), SMALL_ROOM}, {packet_data(vtap->big), BIG_ROOM},
		};
		ssize_t got = readv(port->fd, parts, 3);
		if (got < 0) {
			if (errno == EBADFD)
				rest(vtap);
			break;
		}
		uint32_t length = got > VNET_LENGTH ? (uint32_t)got - VNET_LENGTH : 0;
		struct packet *packet = packet_of(vtap->small);
		if (length < ETHERNET_LENGTH || length > PACKET_LIMIT ||
		    !offload_read(&packet->offload, &vnet, ETHERNET_LENGTH, length)) {
			port->counters.rx_errors++;
			continue;
		}
		struct rte_mbuf *buffer = vtap->small;
		vtap->small = NULL;
		buffer->pkt_len = length;
		buffer->data_len = (uint16_t)(length < SMALL_ROOM ? length : SMALL_ROOM);
		if (length > SMALL_ROOM) {
			vtap->big->data_len = (uint16_t)(length - SMALL_ROOM);
			buffer->next = vtap->big;
			buffer->nb_segs = 2;
			vtap->big = NULL;
		}
		packet->ip_offset = ETHERNET_LENGTH;
		port->counters.rx_bytes += length;
		burst[count++] = buffer;
	}
	port->counters.rx_packets += count;
	return count;
}

static void vtap_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct vtap *vtap = (struct vtap *)port;
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *buffer = burst[i];
		struct vnet_header vnet;
		struct iovec parts[PORT_PARTS + 1] = {{&vnet, VNET_LENGTH}};
		int used = 1;
		offload_write(&packet_of(buffer)->offload, &vnet, packet_of(buffer)->ip_offset);
		for (struct rte_mbuf *at = buffer; at != NULL && used <= PORT_PARTS; at = at->next)
			parts[used++] = (struct iovec){packet_data(at), at->data_len};
		if (vtap->dead || buffer->nb_segs > PORT_PARTS) {
			port->counters.tx_drops++;
		} else if (writev(port->fd, parts, used) < 0) {
			int code = errno;
			if (code == EBADFD)
				rest(vtap);
			if (code == EAGAIN || code == EIO || code == EBADFD) /* EIO: the device is down */
				port->counters.tx_drops++;
			else
				port->counters.tx_errors++;
		} else {
			port->counters.tx_packets++;
			port->counters.tx_bytes += buffer->pkt_len;
		}
	}
	rte_pktmbuf_free_bulk(burst, count);
}

static void vtap_tick(struct port *port, uint64_t now_ms)
{
	struct vtap *vtap = (struct vtap *)port;
	if (!vtap->dead || now_ms < vtap->retry_ms)
		return;
	vtap->retry_ms = now_ms + 1000;
	int old = port->fd;
	if (make_device(vtap, NULL) < 0)
		return;
	close(old);
	vtap->dead = false;
	engine_watch(port->engine, port, true);
}

static void vtap_close(struct port *port)
{
	struct vtap *vtap = (struct vtap *)port;
	rte_pktmbuf_free(vtap->small);
	rte_pktmbuf_free(vtap->big);
	close(port->fd);
	free(vtap);
}

static const struct port_ops vtap_ops = {
	.receive = vtap_receive, .transmit = vtap_transmit, .tick = vtap_tick, .close = vtap_close,
};

int vtap_open(struct ferrite_engine *engine, const char *rest_of_name, struct port **port, char *error)
{
	if (rest_of_name[0] == 0 || strlen(rest_of_name) >= IFNAMSIZ || strpbrk(rest_of_name, "/ %") != NULL)
		return port_error(error, EINVAL, "vtap: \"%s\" is no interface name (1 to 15 characters)", rest_of_name);
	struct vtap *vtap = calloc(1, sizeof *vtap);
	if (vtap == NULL)
		return -ENOMEM;
	vtap->port.ops = &vtap_ops;
	vtap->port.engine = engine;
	vtap->port.caps = PORT_GSO | PORT_CHECKSUM;
	vtap->port.mtu = engine->mtu;
	(void)snprintf(vtap->port.device, sizeof vtap->port.device, "%s", rest_of_name);
	int status = make_device(vtap, error);
	if (status < 0) {
		free(vtap);
		return status;
	}
	*port = &vtap->port;
	return 0;
}

int vtap_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	return port_error(error, ENOTSUP, "vtap: not an uplink yet");
}
