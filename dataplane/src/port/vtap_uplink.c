/* A TAP as the underlay's link: the kernel's side of it is the fabric.
 *
 * Outer packets leave and come with their Ethernet header, whole: cut and with their checksums, as on a cable. The
 * link is point to point, so that nothing ever waits for a neighbour (port/underlay.h), and frames to any MAC are for us.
 */
#include "port/vtap.h"

#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/coalesce.h"
#include "port/segment.h"
#include "port/underlay.h"

struct vtap_uplink {
	struct vtap vtap;
	struct underlay underlay;
	uint8_t next_mac[6];
	bool open;
	struct segment piece;
};

/* Writes the piece that was filled last. */
static void write_piece(struct vtap_uplink *uplink)
{
	static const struct vnet_header none;
	uint8_t head[VNET_LENGTH + ETHERNET_LENGTH];
	struct segment *piece = &uplink->piece;
	struct iovec parts[2 + SEGMENT_SLICES] = {{head, sizeof head}};
	int count = 1;
	uint32_t bytes = ETHERNET_LENGTH;
	memcpy(head, &none, VNET_LENGTH);
	underlay_header(&uplink->underlay, head + VNET_LENGTH, uplink->next_mac);
	if (piece->head_length > 0)
		parts[count++] = (struct iovec){piece->head, piece->head_length};
	for (unsigned i = 0; i < piece->slice_count; i++)
		parts[count++] = piece->slices[i];
	for (int i = 1; i < count; i++)
		bytes += (uint32_t)parts[i].iov_len;
	(void)vtap_write(&uplink->vtap, parts, count, bytes);
	uplink->open = false;
}

static struct segment *next_piece(void *context)
{
	struct vtap_uplink *uplink = context;
	if (uplink->open)
		write_piece(uplink);
	uplink->open = true;
	return &uplink->piece;
}

static void link_packet(struct port *port, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	struct vtap_uplink *uplink = (struct vtap_uplink *)port;
	memcpy(uplink->next_mac, mac, 6);
	if (!segment_packet(buffer, port->mtu, next_piece, uplink))
		port->counters.tx_errors++;
	else if (uplink->open)
		write_piece(uplink);
	uplink->open = false;
	rte_pktmbuf_free(buffer);
}

static void link_frame(struct port *port, const uint8_t *frame, uint32_t length)
{
	static const struct vnet_header none;
	struct iovec parts[] = {{(void *)(uintptr_t)&none, VNET_LENGTH}, {(void *)(uintptr_t)frame, length}};
	(void)vtap_write((struct vtap *)port, parts, 2, length);
}

static void link_flush(struct port *port)
{
}

static const struct underlay_ops link_ops = {.frame = link_frame, .packet = link_packet, .flush = link_flush};

static void uplink_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	underlay_transmit(&((struct vtap_uplink *)port)->underlay, burst, count);
}

static unsigned uplink_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct vtap_uplink *uplink = (struct vtap_uplink *)port;
	struct vnet_header vnet;
	struct rte_mbuf *buffer;
	unsigned count = 0;
	for (unsigned i = 0; i < limit && (buffer = vtap_read(&uplink->vtap, &vnet)) != NULL; i++) {
		port->counters.rx_packets++;
		port->counters.rx_bytes += buffer->pkt_len;
		if (underlay_accept(&uplink->underlay, buffer, &vnet))
			burst[count++] = buffer;
		else
			rte_pktmbuf_free(buffer);
	}
	return count > 1 ? coalesce(burst, count) : count;
}

static void uplink_tick(struct port *port, uint64_t now_ms)
{
	vtap_tick(port, now_ms);
	underlay_tick(&((struct vtap_uplink *)port)->underlay, now_ms);
}

static void uplink_close(struct port *port)
{
	underlay_free(&((struct vtap_uplink *)port)->underlay);
	vtap_close(port);
}

static void uplink_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			    void *context)
{
	const struct vtap_uplink *uplink = (const struct vtap_uplink *)port;
	visit(context, "vtap.unresolved", uplink->underlay.unresolved);
	visit(context, "vtap.foreign", uplink->underlay.foreign);
}

static struct underlay *uplink_underlay(struct port *port)
{
	return &((struct vtap_uplink *)port)->underlay;
}

static const struct port_ops uplink_ops = {
	.receive = uplink_receive, .transmit = uplink_transmit, .tick = uplink_tick, .link = vtap_link,
	.close = uplink_close, .counters = uplink_counters,
	.underlay = uplink_underlay, .handed = "vtap",
};

/* The device works without anybody's help; who takes it down afterwards takes the link down. Its index. */
static int bring_up(struct port *port)
{
	struct ifreq request = {0};
	memcpy(request.ifr_name, port->device, IFNAMSIZ - 1);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), device = 0;
	if (fd < 0)
		return 0;
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &request);
	}
	/* A device that was there already may not take our MTU. */
	if (ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu >= 1280 && (uint32_t)request.ifr_mtu < port->mtu)
		port->mtu = (uint32_t)request.ifr_mtu;
	if (ioctl(fd, SIOCGIFINDEX, &request) == 0)
		device = request.ifr_ifindex;
	close(fd);
	return device;
}

int vtap_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	/* Ours when nothing is said: local, and the same each time for the same device. */
	uint64_t hash = 0;
	uint8_t mac[8];
	struct vtap *vtap;
	int status = vtap_make(engine, spec->device, sizeof(struct vtap_uplink), &uplink_ops,
			       (uint32_t)engine->mtu + IPV6_LENGTH, &vtap, error);
	if (status < 0)
		return status;
	for (const char *at = spec->device; *at != 0; at++)
		hash = mix(hash ^ (uint8_t)*at, 0x9e3779b97f4a7c15ULL);
	memcpy(mac, &hash, 6);
	mac[0] = 0x06;
	struct underlay *underlay = &((struct vtap_uplink *)vtap)->underlay;
	underlay_init(underlay, &vtap->port, &link_ops, spec, mac, bring_up(&vtap->port));
	underlay->point_to_point = true;
	*port = &vtap->port;
	return 0;
}
