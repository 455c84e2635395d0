/* A TAP with the virtio-net header: the device, reading and writing it.
 *
 * The descriptor stays valid when the device is moved to another namespace. When the device dies (its namespace was
 * deleted) the descriptor turns to EBADFD; the port then rests, and the tick tries to make the device anew.
 */
#include "port/vtap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/state.h"

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
	struct ifreq mine = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	int fd = handover_take(port->engine, "vtap", port->device);
	if (fd >= 0) { /* a predecessor's, made and set as we would */
		if (ioctl(fd, SIOCGIFHWADDR, &mine) == 0)
			memcpy(port->guest_mac, mine.ifr_hwaddr.sa_data, 6);
		port->fd = fd;
		return 0;
	}
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return port_error(error, errno, "cannot open /dev/net/tun: %s", strerror(errno));
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	memcpy(request.ifr_name, port->device, strlen(port->device) + 1);
	int made = ioctl(fd, TUNSETIFF, &request);
	/* One of this name that was just closed lives until a standby has let go of it, too. */
	for (unsigned i = 0; made < 0 && errno == EBUSY && error != NULL && port->engine->handover.ledger != NULL && i < 50; i++) {
		(void)usleep(1000);
		made = ioctl(fd, TUNSETIFF, &request);
	}
	if (made < 0) {
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

struct rte_mbuf *vtap_read(struct vtap *vtap, struct vnet_header *vnet)
{
	struct port *port = &vtap->port;
	while (!vtap->dead) {
		if (vtap->small == NULL)
			vtap->small = rte_pktmbuf_alloc(buffers.small);
		if (vtap->big == NULL)
			vtap->big = rte_pktmbuf_alloc(buffers.big);
		if (vtap->small == NULL || vtap->big == NULL) {
			port->counters.rx_no_memory++;
			break;
		}
		struct iovec parts[] = {
			{vnet, VNET_LENGTH}, {packet_data(vtap->small), SMALL_ROOM}, {packet_data(vtap->big), BIG_ROOM},
		};
		ssize_t got = readv(port->fd, parts, 3);
		if (got < 0) {
			if (errno == EBADFD)
				rest(vtap);
			break;
		}
		uint32_t length = got > VNET_LENGTH ? (uint32_t)got - VNET_LENGTH : 0;
		if (length < ETHERNET_LENGTH || length > PACKET_LIMIT) {
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
		packet_no_offload(packet_of(buffer));
		packet_of(buffer)->ip_offset = ETHERNET_LENGTH;
		return buffer;
	}
	return NULL;
}

bool vtap_write(struct vtap *vtap, const struct iovec *parts, int count, uint32_t bytes)
{
	struct port *port = &vtap->port;
	if (vtap->dead) {
		port->counters.tx_drops++;
		return false;
	}
	if (writev(port->fd, parts, count) < 0) {
		int code = errno;
		if (code == EBADFD)
			rest(vtap);
		if (code == EAGAIN || code == EIO || code == EBADFD) /* EIO: the device is down */
			port->counters.tx_drops++;
		else
			port->counters.tx_errors++;
		return false;
	}
	port->counters.tx_packets++;
	port->counters.tx_bytes += bytes;
	return true;
}

bool vtap_link(struct port *port)
{
	const struct vtap *vtap = (const struct vtap *)port;
	/* A TAP takes frames while its device is up, wherever that is. */
	struct pollfd writable = {.fd = port->fd, .events = POLLOUT};
	if (vtap->dead || poll(&writable, 1, 0) != 1 || (writable.revents & POLLOUT) == 0)
		return false;
	/* Its carrier only where it can be seen. */
	struct ifreq request = {0};
	memcpy(request.ifr_name, port->device, IFNAMSIZ - 1);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool seen = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
	if (fd >= 0)
		close(fd);
	return !seen || (request.ifr_flags & IFF_RUNNING) != 0;
}

void vtap_tick(struct port *port, uint64_t now_ms)
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

void vtap_close(struct port *port)
{
	struct vtap *vtap = (struct vtap *)port;
	rte_pktmbuf_free(vtap->small);
	rte_pktmbuf_free(vtap->big);
	close(port->fd);
	free(vtap);
}

int vtap_make(struct ferrite_engine *engine, const char *name, size_t size, const struct port_ops *ops, uint32_t mtu,
	      struct vtap **result, char *error)
{
	if (name[0] == 0 || strlen(name) >= IFNAMSIZ || strpbrk(name, "/ %") != NULL)
		return port_error(error, EINVAL, "vtap: \"%s\" is no interface name (1 to 15 characters)", name);
	struct vtap *vtap = calloc(1, size);
	if (vtap == NULL)
		return -ENOMEM;
	vtap->port.ops = ops;
	vtap->port.engine = engine;
	vtap->port.mtu = mtu;
	(void)snprintf(vtap->port.device, sizeof vtap->port.device, "%s", name);
	int status = make_device(vtap, error);
	if (status < 0) {
		free(vtap);
		return status;
	}
	*result = vtap;
	return 0;
}
