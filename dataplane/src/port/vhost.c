/* A VM's vhost-user socket: its two virtqueues, found and mapped by rte_vhost, walked by the worker.
 *
 * rte_vhost speaks the protocol on a thread of its own and connects again and again while nobody answers
 * (`vhost:PATH`: QEMU listens; `vhost:PATH,server=on`: we do). What it says of a guest can change with any message:
 * memory is unmapped, rings move, descriptors are closed. So the worker sees a guest only through a `session`, a copy
 * that is made whole after a message and taken away before the next one; taking away waits until the worker is out of
 * it. Messages are rare: the start and the end of a guest's driver, migration.
 *
 * A guest that breaks its ring is served no more until its driver starts anew (the next message tries); one that
 * goes away leaves the port without a session. Packets to it are dropped then, as to a TAP that is down. Neither
 * concerns another port.
 *
 * The worker sleeps on kicks: while packets come the guest is asked not to kick, and asked to again when the ring was
 * found empty. What a guest's driver does not offload (a boot ROM, another system) is done here in software.
 *
 * Trusted is the process at the socket as far as the memory that it shares goes: when it shrinks the file behind it,
 * an access ends this process (QEMU seals its memfd against that). Not trusted is the guest.
 *
 * Cardinality: rte_vhost's 1024 sockets (RTE_MAX_VHOST_DEVICE); in server mode, which costs a descriptor more in its
 * event set, half of it.
 */
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_vhost.h>

#include "engine/state.h"
#include "packet/headers.h"
#include "port/segment.h"
#include "port/vhost_ring.h"

#ifndef VIRTIO_F_RING_PACKED
#define VIRTIO_F_RING_PACKED 34
#endif

enum {
	TO_GUEST,
	FROM_GUEST,
	/* An access frame looks to port/segment.h like a packet with an outer header when this much precedes it. */
	FAKE_OUTER = IPV6_LENGTH - ETHERNET_LENGTH,
};

#define BIT(n) (1ULL << (n))

/* Not offered: rings that are not walked here, several queue pairs, UDP segmentation. */
static const uint64_t refused_features = BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_HOST_UFO) |
					 BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_F_IOMMU_PLATFORM) |
					 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

/* What the worker may know of a guest. Immutable but for the rings' places. */
struct session {
	struct guest_memory memory;
	struct vhost_ring rings[2];
	uint64_t features;
	int kick, call[2];
};

struct vhost {
	struct port port;
	char path[sizeof ((struct sockaddr_un *)0)->sun_path];
	int bell;                 /* in the port's event set, with the kick of the guest */
	struct session *session;  /* published by rte_vhost's thread; NULL: no guest */
	struct rte_mbuf *small;   /* worker: ready for the next packet */
	/* rte_vhost's callbacks. */
	int device;               /* its number; -1: nobody is connected */
	bool running, enabled[2];
	uint64_t connects, lost, broken, no_guest, software;
};

/* Who has which socket: rte_vhost calls back by path or by number. */
static struct {
	pthread_mutex_t lock;
	struct vhost *ports[RTE_MAX_VHOST_DEVICE];
	struct vhost *devices[RTE_MAX_VHOST_DEVICE];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- the worker --- */

static struct session *session_of(struct vhost *vhost)
{
	return __atomic_load_n(&vhost->session, __ATOMIC_ACQUIRE);
}

static void ring_bell(int fd)
{
	uint64_t one = 1;
	(void)!write(fd, &one, sizeof one);
}

static void show(struct session *session, unsigned number)
{
	if (vhost_ring_publish(&session->rings[number]) && session->call[number] >= 0)
		ring_bell(session->call[number]);
}

static unsigned take_burst(struct vhost *vhost, struct vhost_ring *ring, struct rte_mbuf **burst, unsigned limit)
{
	struct port_counters *counters = &vhost->port.counters;
	unsigned count = 0;
	bool was_broken = ring->broken;
	for (unsigned tries = 0; tries < limit; tries++) {
		if (vhost->small == NULL)
			vhost->small = rte_pktmbuf_alloc(buffers.small);
		if (vhost->small == NULL) {
			counters->rx_no_memory++;
			break;
		}
		enum vhost_result result = vhost_ring_take(ring, vhost->small);
		if (result == VHOST_EMPTY || result == VHOST_BROKEN)
			break;
		if (result == VHOST_OK) {
			counters->rx_bytes += vhost->small->pkt_len;
			burst[count++] = vhost->small;
			vhost->small = NULL;
		} else if (result == VHOST_BAD) {
			counters->rx_errors++;
		} else {
			counters->rx_no_memory++;
		}
	}
	counters->rx_packets += count;
	vhost->broken += ring->broken && !was_broken;
	return count;
}

static unsigned vhost_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct vhost *vhost = (struct vhost *)port;
	struct session *session = session_of(vhost);
	if (session == NULL)
		return 0;
	struct vhost_ring *ring = &session->rings[FROM_GUEST];
	unsigned count = take_burst(vhost, ring, burst, limit);
	show(session, FROM_GUEST);
	if (count > 0) {
		(void)vhost_ring_listen(ring, false);
		return count;
	}
	/* None, so the worker will look no more before it is told. What came just now, or was left behind bad
	 * packets, is not kicked for again: tell it ourselves. */
	if (vhost_ring_listen(ring, true))
		ring_bell(vhost->bell);
	return 0;
}

static void vhost_event(struct port *port)
{
	struct vhost *vhost = (struct vhost *)port;
	struct session *session = session_of(vhost);
	uint64_t value;
	(void)!read(vhost->bell, &value, sizeof value);
	if (session != NULL)
		(void)!read(session->kick, &value, sizeof value);
}

static bool give(struct vhost *vhost, struct session *session, const struct vnet_header *vnet,
		 const struct iovec *parts, unsigned count)
{
	struct vhost_ring *ring = &session->rings[TO_GUEST];
	struct port_counters *counters = &vhost->port.counters;
	bool was_broken = ring->broken;
	switch (vhost_ring_give(ring, vnet, parts, count)) {
	case VHOST_OK:
		counters->tx_packets++;
		for (unsigned i = 0; i < count; i++)
			counters->tx_bytes += parts[i].iov_len;
		return true;
	case VHOST_BROKEN:
		vhost->broken += !was_broken;
		counters->tx_drops++;
		return false;
	case VHOST_BAD:
		counters->tx_errors++;
		return false;
	default:
		counters->tx_drops++;
		return false;
	}
}

struct pieces {
	struct vhost *vhost;
	struct session *session;
	struct segment piece;
	bool open;
};

static void give_piece(struct pieces *pieces)
{
	struct vnet_header none = {0};
	struct segment *piece = &pieces->piece;
	struct iovec parts[1 + SEGMENT_SLICES];
	unsigned count = 0;
	if (piece->head_length > 0)
		parts[count++] = (struct iovec){piece->head, piece->head_length};
	for (unsigned i = 0; i < piece->slice_count; i++)
		parts[count++] = piece->slices[i];
	parts[0].iov_base = (uint8_t *)parts[0].iov_base + FAKE_OUTER;
	parts[0].iov_len -= FAKE_OUTER;
	(void)give(pieces->vhost, pieces->session, &none, parts, count);
}

static struct segment *next_piece(void *context)
{
	struct pieces *pieces = context;
	if (pieces->open)
		give_piece(pieces);
	pieces->open = true;
	return &pieces->piece;
}

/* For a guest without the offload: segments and checksums as if its frame header were the end of an outer header. */
static void give_plain(struct vhost *vhost, struct session *session, struct rte_mbuf *buffer)
{
	struct pieces pieces = {.vhost = vhost, .session = session};
	struct packet *packet = packet_of(buffer);
	vhost->software++;
	uint8_t *outer = (uint8_t *)rte_pktmbuf_prepend(buffer, FAKE_OUTER);
	if (outer == NULL || packet->ip_offset != ETHERNET_LENGTH) {
		vhost->port.counters.tx_errors++;
		return;
	}
	memset(outer, 0, FAKE_OUTER);
	outer[0] = 0x60;
	outer[6] = outer[IPV6_LENGTH] >> 4 == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
	packet->ip_offset = IPV6_LENGTH;
	if (!segment_packet(buffer, UINT16_MAX + IPV6_LENGTH, next_piece, &pieces))
		vhost->port.counters.tx_errors++;
	else if (pieces.open)
		give_piece(&pieces);
}

/* Whether the guest's driver takes the packet as it is. */
static bool takes(const struct session *session, const struct offload *offload)
{
	uint64_t needed = 0;
	if (offload->needs_checksum)
		needed |= BIT(VIRTIO_NET_F_GUEST_CSUM);
	if ((offload->gso & ~GSO_ECN) == GSO_TCP4)
		needed |= BIT(VIRTIO_NET_F_GUEST_TSO4);
	if ((offload->gso & ~GSO_ECN) == GSO_TCP6)
		needed |= BIT(VIRTIO_NET_F_GUEST_TSO6);
	if ((offload->gso & GSO_ECN) != 0)
		needed |= BIT(VIRTIO_NET_F_GUEST_ECN);
	return (session->features & needed) == needed;
}

static void give_packet(struct vhost *vhost, struct session *session, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	struct vnet_header vnet;
	struct iovec parts[PORT_PARTS];
	unsigned count = 0;
	if (!takes(session, &packet->offload)) {
		give_plain(vhost, session, buffer);
		return;
	}
	if (buffer->nb_segs > PORT_PARTS) {
		vhost->port.counters.tx_errors++;
		return;
	}
	offload_write(&packet->offload, &vnet, packet->ip_offset);
	for (struct rte_mbuf *at = buffer; at != NULL; at = at->next)
		parts[count++] = (struct iovec){packet_data(at), at->data_len};
	(void)give(vhost, session, &vnet, parts, count);
}

static void vhost_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct vhost *vhost = (struct vhost *)port;
	struct session *session = session_of(vhost);
	if (session == NULL) {
		vhost->no_guest += count;
		port->counters.tx_drops += count;
		rte_pktmbuf_free_bulk(burst, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		give_packet(vhost, session, burst[i]);
	show(session, TO_GUEST);
	rte_pktmbuf_free_bulk(burst, count);
}

static void vhost_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			   void *context)
{
	const struct vhost *vhost = (const struct vhost *)port;
	const struct { const char *name; const uint64_t *value; } list[] = {
		{"connects", &vhost->connects}, {"lost", &vhost->lost}, {"broken", &vhost->broken},
		{"no_guest", &vhost->no_guest}, {"software", &vhost->software},
	};
	char name[FERRITE_DEVICE_TEXT + 32];
	for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
		(void)snprintf(name, sizeof name, "port.%s.vhost_%s", port->device, list[i].name);
		visit(context, name, __atomic_load_n(list[i].value, __ATOMIC_RELAXED));
	}
}

/* --- rte_vhost's thread --- */

static void watch_kick(struct vhost *vhost, const struct session *session, bool on)
{
	struct epoll_event event = {.events = EPOLLIN};
	(void)epoll_ctl(vhost->port.fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, session->kick, &event);
}

/* Returns when the worker can't see the guest any more. rte_vhost gets to know how far the rings were walked. */
static void withdraw(struct vhost *vhost)
{
	struct session *session = vhost->session;
	if (session == NULL)
		return;
	__atomic_store_n(&vhost->session, NULL, __ATOMIC_RELEASE);
	engine_quiesce(vhost->port.engine);
	watch_kick(vhost, session, false);
	for (uint16_t i = 0; i < 2; i++)
		(void)rte_vhost_set_vring_base(vhost->device, i, session->rings[i].next, session->rings[i].filled);
	free(session);
}

static bool map_memory(int device, struct guest_memory *memory)
{
	struct rte_vhost_memory *table = NULL;
	if (rte_vhost_get_mem_table(device, &table) < 0 || table == NULL)
		return false;
	bool fits = table->nregions > 0 && table->nregions <= GUEST_REGIONS;
	for (unsigned i = 0; fits && i < table->nregions; i++)
		memory->regions[memory->count++] = (struct guest_region){
			.guest = table->regions[i].guest_phys_addr, .size = table->regions[i].size,
			.host = (uint8_t *)(uintptr_t)table->regions[i].host_user_addr,
		};
	free(table);
	return fits;
}

static void log_write(int device, uint64_t address, uint64_t length)
{
	rte_vhost_log_write(device, address, length);
}

static void log_used(int device, uint16_t ring, uint64_t offset, uint64_t length)
{
	rte_vhost_log_used_vring(device, ring, offset, length);
}

static bool map_ring(struct session *session, int device, uint16_t number)
{
	struct vhost_ring *ring = &session->rings[number];
	struct rte_vhost_vring about;
	uint64_t features = session->features;
	bool modern = (features & BIT(VIRTIO_F_VERSION_1)) != 0, merge = (features & BIT(VIRTIO_NET_F_MRG_RXBUF)) != 0;
	if (rte_vhost_get_vhost_vring(device, number, &about) < 0 || about.kickfd < 0)
		return false;
	*ring = (struct vhost_ring){
		.desc = about.desc, .avail = about.avail, .used = about.used, .memory = &session->memory,
		.number = number, .size = about.size, .header = modern || merge ? 12 : 10, .mergeable = merge,
		.indirect = (features & BIT(VIRTIO_RING_F_INDIRECT_DESC)) != 0,
		.event_index = (features & BIT(VIRTIO_RING_F_EVENT_IDX)) != 0,
	};
	if (!vhost_ring_sane(ring) || rte_vhost_get_vring_base(device, number, &ring->next, &ring->filled) < 0)
		return false;
	ring->published = ring->filled;
	session->call[number] = about.callfd;
	if (number == FROM_GUEST)
		session->kick = about.kickfd;
	/* The worker must wait for neither. */
	(void)fcntl(about.kickfd, F_SETFL, O_NONBLOCK);
	if (about.callfd >= 0)
		(void)fcntl(about.callfd, F_SETFL, O_NONBLOCK);
	return true;
}

/* Shows the guest to the worker, if it is all there. */
static void publish(struct vhost *vhost)
{
	if (vhost->session != NULL || !vhost->running || !vhost->enabled[0] || !vhost->enabled[1])
		return;
	struct session *session = calloc(1, sizeof *session);
	if (session == NULL)
		return;
	session->memory.device = vhost->device;
	if (rte_vhost_get_negotiated_features(vhost->device, &session->features) < 0 ||
	    !map_memory(vhost->device, &session->memory) || !map_ring(session, vhost->device, TO_GUEST) ||
	    !map_ring(session, vhost->device, FROM_GUEST)) {
		free(session);
		return;
	}
	if (RTE_VHOST_NEED_LOG(session->features)) {
		session->memory.wrote = log_write;
		session->memory.wrote_used = log_used;
	}
	/* We never wait for the guest's empty buffers. */
	(void)vhost_ring_listen(&session->rings[TO_GUEST], false);
	(void)vhost_ring_listen(&session->rings[FROM_GUEST], true);
	watch_kick(vhost, session, true);
	__atomic_store_n(&vhost->session, session, __ATOMIC_RELEASE);
	ring_bell(vhost->bell); /* it may have kicked before */
}

static struct vhost *port_of(int device)
{
	if (device < 0 || device >= RTE_MAX_VHOST_DEVICE)
		return NULL;
	(void)pthread_mutex_lock(&registry.lock);
	struct vhost *vhost = registry.devices[device];
	(void)pthread_mutex_unlock(&registry.lock);
	return vhost;
}

static enum rte_vhost_msg_result before_message(int device, void *message)
{
	struct vhost *vhost = port_of(device);
	if (vhost != NULL)
		withdraw(vhost);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static enum rte_vhost_msg_result after_message(int device, void *message)
{
	struct vhost *vhost = port_of(device);
	if (vhost != NULL)
		publish(vhost);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static const struct rte_vhost_user_extern_ops message_ops = {
	.pre_msg_handle = before_message, .post_msg_handle = after_message,
};

static int begin_connection(int device)
{
	char path[sizeof ((struct vhost *)0)->path + 1];
	struct vhost *found = NULL;
	if (device < 0 || device >= RTE_MAX_VHOST_DEVICE || rte_vhost_get_ifname(device, path, sizeof path) < 0)
		return -1;
	(void)pthread_mutex_lock(&registry.lock);
	for (unsigned i = 0; i < RTE_MAX_VHOST_DEVICE && found == NULL; i++)
		if (registry.ports[i] != NULL && strcmp(registry.ports[i]->path, path) == 0)
			found = registry.ports[i];
	if (found != NULL && found->device < 0) /* a second client of a socket on which we listen is refused */
		registry.devices[device] = found;
	else
		found = NULL;
	(void)pthread_mutex_unlock(&registry.lock);
	if (found == NULL)
		return -1;
	found->device = device;
	found->running = found->enabled[0] = found->enabled[1] = false;
	found->connects++;
	return rte_vhost_extern_callback_register(device, &message_ops, NULL);
}

static void end_connection(int device)
{
	struct vhost *vhost = port_of(device);
	if (vhost == NULL)
		return;
	withdraw(vhost);
	vhost->running = false;
	vhost->lost++;
	(void)pthread_mutex_lock(&registry.lock);
	registry.devices[device] = NULL;
	vhost->device = -1;
	(void)pthread_mutex_unlock(&registry.lock);
}

static int begin_device(int device)
{
	struct vhost *vhost = port_of(device);
	if (vhost == NULL)
		return -1;
	vhost->running = true;
	publish(vhost);
	return 0;
}

static void end_device(int device)
{
	struct vhost *vhost = port_of(device);
	if (vhost == NULL)
		return;
	withdraw(vhost);
	vhost->running = false;
}

static int ring_enabled(int device, uint16_t number, int enable)
{
	struct vhost *vhost = port_of(device);
	if (vhost == NULL || number > 1)
		return 0;
	if (enable == 0)
		withdraw(vhost);
	vhost->enabled[number] = enable != 0;
	if (enable != 0)
		publish(vhost);
	return 0;
}

static const struct rte_vhost_device_ops device_ops = {
	.new_connection = begin_connection, .destroy_connection = end_connection, .new_device = begin_device,
	.destroy_device = end_device, .vring_state_changed = ring_enabled,
};

/* --- the control thread --- */

static int register_port(struct vhost *vhost, char *error)
{
	unsigned place = RTE_MAX_VHOST_DEVICE;
	bool taken = false;
	(void)pthread_mutex_lock(&registry.lock);
	for (unsigned i = RTE_MAX_VHOST_DEVICE; i-- > 0;) {
		if (registry.ports[i] == NULL)
			place = i;
		else
			taken |= strcmp(registry.ports[i]->path, vhost->path) == 0;
	}
	if (place < RTE_MAX_VHOST_DEVICE && !taken)
		registry.ports[place] = vhost;
	(void)pthread_mutex_unlock(&registry.lock);
	if (taken)
		return port_error(error, EADDRINUSE, "vhost: %s is a port already", vhost->path);
	if (place == RTE_MAX_VHOST_DEVICE)
		return port_error(error, ENOSPC, "vhost: all %d ports are in use", RTE_MAX_VHOST_DEVICE);
	return 0;
}

static void forget_port(struct vhost *vhost)
{
	(void)pthread_mutex_lock(&registry.lock);
	for (unsigned i = 0; i < RTE_MAX_VHOST_DEVICE; i++)
		if (registry.ports[i] == vhost)
			registry.ports[i] = NULL;
	(void)pthread_mutex_unlock(&registry.lock);
}

static void free_port(struct vhost *vhost)
{
	forget_port(vhost);
	rte_pktmbuf_free(vhost->small);
	if (vhost->bell >= 0)
		close(vhost->bell);
	if (vhost->port.fd >= 0)
		close(vhost->port.fd);
	free(vhost);
}

static void vhost_close(struct port *port)
{
	struct vhost *vhost = (struct vhost *)port;
	(void)rte_vhost_driver_unregister(vhost->path); /* ends the connection, after which nobody calls back */
	free_port(vhost);
}

static const struct port_ops vhost_ops = {
	.receive = vhost_receive, .transmit = vhost_transmit, .event = vhost_event, .close = vhost_close,
	.counters = vhost_counters,
};

/* A socket that a killed predecessor left behind is removed; one that answers stays. */
static int clear_path(const char *path, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, path, strlen(path) + 1);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = probe >= 0 && connect(probe, (struct sockaddr *)&address, sizeof address) == 0;
	bool dead = !alive && errno == ECONNREFUSED;
	if (probe >= 0)
		close(probe);
	if (alive)
		return port_error(error, EADDRINUSE, "vhost: somebody listens on %s", path);
	if (dead)
		(void)unlink(path);
	return 0;
}

static int start_driver(struct vhost *vhost, bool server, char *error)
{
	/* A guest takes about ten descriptors of this process. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	int status = server ? clear_path(vhost->path, error) : 0;
	if (status < 0)
		return status;
	uint64_t flags = RTE_VHOST_USER_CLIENT;
	if (rte_vhost_driver_register(vhost->path, server ? 0 : flags) < 0)
		return port_error(error, ENOSPC, "vhost: no socket for %s", vhost->path);
	if (rte_vhost_driver_disable_features(vhost->path, refused_features) < 0 ||
	    rte_vhost_driver_callback_register(vhost->path, &device_ops) < 0 ||
	    rte_vhost_driver_start(vhost->path) < 0) {
		(void)rte_vhost_driver_unregister(vhost->path);
		return port_error(error, EIO, server ? "vhost: cannot listen on %s" : "vhost: cannot use %s",
				  vhost->path);
	}
	return 0;
}

int vhost_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	const char *comma = strchr(rest, ',');
	size_t length = comma != NULL ? (size_t)(comma - rest) : strlen(rest);
	bool server = comma != NULL && strcmp(comma, ",server=on") == 0;
	struct vhost *vhost = calloc(1, sizeof *vhost);
	if (vhost == NULL)
		return -ENOMEM;
	vhost->device = vhost->bell = vhost->port.fd = -1;
	int status = 0;
	if (rest[0] != '/' || length >= sizeof vhost->path || (comma != NULL && !server && strcmp(comma, ",server=off") != 0))
		status = port_error(error, EINVAL,
				    "vhost: \"%s\": say /PATH of a socket (at most %zu characters), then perhaps ,server=on",
				    rest, sizeof vhost->path - 1);
	if (status == 0) {
		vhost->port.ops = &vhost_ops;
		vhost->port.engine = engine;
		vhost->port.caps = PORT_GSO | PORT_CHECKSUM;
		vhost->port.mtu = engine->mtu;
		memcpy(vhost->path, rest, length);
		(void)snprintf(vhost->port.device, sizeof vhost->port.device, "%s", vhost->path);
		vhost->port.fd = epoll_create1(EPOLL_CLOEXEC);
		vhost->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		struct epoll_event event = {.events = EPOLLIN};
		if (vhost->port.fd < 0 || vhost->bell < 0 ||
		    epoll_ctl(vhost->port.fd, EPOLL_CTL_ADD, vhost->bell, &event) < 0)
			status = port_error(error, errno, "vhost: %s", strerror(errno));
		else
			status = register_port(vhost, error);
		if (status == 0)
			status = start_driver(vhost, server, error);
	}
	if (status < 0) {
		free_port(vhost);
		return status;
	}
	*port = &vhost->port;
	return 0;
}
