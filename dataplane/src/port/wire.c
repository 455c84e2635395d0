/* The wire: an uplink of shared memory between the dataplanes of one machine.
 *
 * A directory holds one unix socket per underlay /64. Who wants to send to a /64 connects to its socket and says who it
 * is; the owner answers with a ring to write into and an eventfd to wake it. A connection is one direction: its end,
 * whichever side died, ends exactly that ring. The next packet (or the tick) connects again, at most every RETRY_MS.
 * Packets that wait for a first connection are kept, HOLD of them, so that a ping's first packet is not lost.
 *
 * Bounds: PEERS peers out, PEERS in, 4 MB a ring, resident as far as used.
 */
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/wire_ring.h"

enum {
	PEERS = 256,
	HOLD = 32,
	RETRY_MS = 50,
	HANDSHAKE_MS = 2000,
	WIRE_MAGIC = 0x31657246, /* "Fre1" */
	SOURCE_LISTENER = 0,
	SOURCE_BELL = 1,
	SOURCE_IN = 1 << 16,
	SOURCE_OUT = 2 << 16,
};

struct hello {
	uint32_t magic;
	uint32_t bytes; /* of the ring's data */
	uint8_t prefix[8];
};

enum out_state { OUT_FREE, OUT_DOWN, OUT_GREETING, OUT_READY };

/* Cardinality: one per /64 that was sent to. */
struct wire_out {
	enum out_state state;
	uint8_t prefix[8];
	int connection;
	int bell;
	bool written;
	struct wire_ring ring;
	uint64_t deadline_ms; /* of the greeting, or of the next try */
	uint64_t used_ms;
	unsigned held_count;
	struct rte_mbuf *held[HOLD];
};

/* Cardinality: one per peer that sends to us. */
struct wire_in {
	int connection; /* -1: free */
	bool ready;
	uint64_t deadline_ms;
	struct wire_ring ring;
};

struct wire {
	struct port port;
	char directory[80];
	char path[108];
	int listener, bell;
	unsigned in_high, in_next;
	struct wire_out *last;
	uint64_t connects, peers_lost, garbage, no_peer, full;
	struct wire_in in[PEERS];
	struct wire_out out[PEERS];
};

static int path_of(const struct wire *wire, const uint8_t prefix[8], struct sockaddr_un *address)
{
	char name[24];
	for (unsigned i = 0; i < 8; i++)
		(void)snprintf(name + 2 * i, 3, "%02x", prefix[i]);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s.sock", wire->directory, name);
	return length > 0 && (size_t)length < sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

static void watch(struct wire *wire, int fd, uint32_t source, bool on)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = source};
	(void)epoll_ctl(wire->port.fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
}

static bool same_user(int connection)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
		(peer.uid == geteuid() || peer.uid == 0);
}

/* --- sending --- */

static void out_drop_held(struct wire *wire, struct wire_out *out)
{
	for (unsigned i = 0; i < out->held_count; i++)
		port_drop(&wire->port, out->held[i]);
	out->held_count = 0;
}

static void out_down(struct wire *wire, struct wire_out *out)
{
	if (out->connection >= 0)
		close(out->connection);
	if (out->bell >= 0)
		close(out->bell);
	wire_ring_free(&out->ring);
	out->connection = out->bell = -1;
	out->written = false;
	out->state = OUT_DOWN;
	out->deadline_ms = wire->port.engine->now_ms + RETRY_MS;
	out_drop_held(wire, out);
}

static void out_connect(struct wire *wire, struct wire_out *out)
{
	struct sockaddr_un address;
	out->state = OUT_DOWN;
	out->deadline_ms = wire->port.engine->now_ms + RETRY_MS;
	if (path_of(wire, out->prefix, &address) < 0)
		return;
	int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return;
	struct hello hello = {.magic = WIRE_MAGIC, .bytes = WIRE_BYTES};
	memcpy(hello.prefix, wire->port.engine->prefix, 8);
	if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0 || !same_user(connection) ||
	    send(connection, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) {
		close(connection);
		return;
	}
	wire->connects++;
	out->connection = connection;
	out->state = OUT_GREETING;
	out->deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS;
	watch(wire, connection, SOURCE_OUT + (uint32_t)(out - wire->out), true);
}

static struct wire_out *out_of(struct wire *wire, const uint8_t prefix[8])
{
	if (wire->last != NULL && raw64(wire->last->prefix) == raw64(prefix))
		return wire->last;
	struct wire_out *spare = NULL;
	unsigned start = (unsigned)(mix(raw64(prefix), 0) % PEERS);
	for (unsigned i = 0; i < PEERS; i++) {
		struct wire_out *out = &wire->out[(start + i) % PEERS];
		if (out->state != OUT_FREE && raw64(out->prefix) == raw64(prefix)) {
			wire->last = out;
			return out;
		}
		if (out->state == OUT_FREE) {
			spare = out; /* entries are never freed, only taken over: the chain ends here */
			break;
		}
		if (out->state == OUT_DOWN && (spare == NULL || out->used_ms < spare->used_ms))
			spare = out;
	}
	if (spare == NULL)
		return NULL;
	if (spare->state != OUT_FREE)
		out_drop_held(wire, spare);
	memset(spare, 0, sizeof *spare);
	memcpy(spare->prefix, prefix, 8);
	spare->connection = spare->bell = -1;
	spare->state = OUT_DOWN;
	wire->last = spare;
	return spare;
}

static void out_write(struct wire *wire, struct wire_out *out, struct rte_mbuf *buffer)
{
	uint32_t length = buffer->pkt_len;
	switch (wire_ring_write(&out->ring, buffer)) {
	case WIRE_OK:
		out->written = true;
		wire->port.counters.tx_packets++;
		wire->port.counters.tx_bytes += length;
		rte_pktmbuf_free(buffer);
		return;
	case WIRE_FULL:
		wire->full++;
		break;
	case WIRE_BROKEN:
		wire->garbage++;
		out_down(wire, out);
		break;
	}
	port_drop(&wire->port, buffer);
}

static void out_publish(struct wire *wire, struct wire_out *out)
{
	uint64_t one = 1;
	out->written = false;
	if (out->state == OUT_READY && wire_ring_publish(&out->ring))
		(void)!write(out->bell, &one, sizeof one);
}

/* The owner's answer: a ring and a bell. */
static void out_event(struct wire *wire, struct wire_out *out)
{
	union { char bytes[CMSG_SPACE(8 * sizeof(int))]; struct cmsghdr align; } control;
	struct hello hello;
	struct iovec part = {&hello, sizeof hello};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	int fds[8], count = 0;
	ssize_t got = recvmsg(out->connection, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (struct cmsghdr *at = got > 0 ? CMSG_FIRSTHDR(&message) : NULL; at != NULL;
	     at = CMSG_NXTHDR(&message, at)) {
		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		size_t bytes = at->cmsg_len - CMSG_LEN(0);
		for (size_t i = 0; i < bytes / sizeof(int) && count < 8; i++)
			memcpy(&fds[count++], CMSG_DATA(at) + i * sizeof(int), sizeof(int));
	}
	bool good = out->state == OUT_GREETING && got == sizeof hello && count == 2 && hello.magic == WIRE_MAGIC &&
		hello.bytes == WIRE_BYTES && wire_ring_map(&out->ring, fds[0]) == 0;
	for (int i = good ? 2 : 0; i < count; i++)
		close(fds[i]);
	if (!good) {
		if (got > 0)
			wire->garbage++;
		wire->peers_lost += out->state == OUT_READY;
		out_down(wire, out);
		return;
	}
	close(fds[0]); /* mapped */
	out->bell = fds[1];
	(void)fcntl(out->bell, F_SETFL, O_NONBLOCK);
	out->state = OUT_READY;
	unsigned held = out->held_count;
	out->held_count = 0;
	for (unsigned i = 0; i < held; i++) {
		if (out->state == OUT_READY)
			out_write(wire, out, out->held[i]);
		else
			port_drop(&wire->port, out->held[i]);
	}
	out_publish(wire, out);
}

static void wire_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct wire *wire = (struct wire *)port;
	struct wire_out *used[PORT_PENDING];
	unsigned used_count = 0;
	uint64_t now = port->engine->now_ms;
	for (unsigned i = 0; i < count; i++) {
		const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(burst[i]);
		struct wire_out *out = out_of(wire, outer->destination);
		if (out == NULL) {
			wire->no_peer++;
			port_drop(port, burst[i]);
			continue;
		}
		out->used_ms = now;
		if (out->state == OUT_DOWN && now >= out->deadline_ms)
			out_connect(wire, out);
		if (out->state == OUT_READY) {
			if (!out->written && used_count < PORT_PENDING)
				used[used_count++] = out;
			out_write(wire, out, burst[i]);
		} else if (out->state == OUT_GREETING && out->held_count < HOLD) {
			out->held[out->held_count++] = burst[i];
		} else {
			wire->no_peer++;
			port_drop(port, burst[i]);
		}
	}
	for (unsigned i = 0; i < used_count; i++)
		out_publish(wire, used[i]);
}

/* --- receiving --- */

static void in_close(struct wire *wire, struct wire_in *in)
{
	if (in->connection < 0)
		return;
	close(in->connection);
	wire_ring_free(&in->ring);
	in->connection = -1;
	in->ready = false;
	while (wire->in_high > 0 && wire->in[wire->in_high - 1].connection < 0)
		wire->in_high--;
}

static void accept_peer(struct wire *wire)
{
	int connection = accept4(wire->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (connection < 0)
		return;
	unsigned i = 0;
	while (i < PEERS && wire->in[i].connection >= 0)
		i++;
	if (i == PEERS || !same_user(connection)) {
		close(connection);
		return;
	}
	wire->in[i] = (struct wire_in){
		.connection = connection, .deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS,
	};
	if (i >= wire->in_high)
		wire->in_high = i + 1;
	watch(wire, connection, SOURCE_IN + i, true);
}

/* A peer's hello; anything after it, or its end, ends the connection. */
static void in_event(struct wire *wire, struct wire_in *in)
{
	struct hello hello;
	ssize_t got = recv(in->connection, &hello, sizeof hello, MSG_DONTWAIT | MSG_TRUNC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	int memory = -1;
	if (in->ready || got != sizeof hello || hello.magic != WIRE_MAGIC || hello.bytes != WIRE_BYTES ||
	    wire_ring_make(&in->ring, &memory) < 0) {
		wire->garbage += got > 0;
		wire->peers_lost += in->ready;
		in_close(wire, in);
		return;
	}
	memcpy(hello.prefix, wire->port.engine->prefix, 8);
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = {0};
	struct iovec part = {&hello, sizeof hello};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	int fds[2] = {memory, wire->bell};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(rights), fds, sizeof fds);
	ssize_t sent = sendmsg(in->connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(memory);
	if (sent != sizeof hello) {
		in_close(wire, in);
		return;
	}
	in->ready = true;
}

static unsigned wire_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct wire *wire = (struct wire *)port;
	unsigned total = 0, high = wire->in_high;
	for (unsigned i = 0; i < high && total < limit; i++) {
		struct wire_in *in = &wire->in[(wire->in_next + i) % high];
		unsigned count = 0;
		if (!in->ready)
			continue;
		bool good = wire_ring_read(&in->ring, burst + total, limit - total, &count, &port->counters);
		total += count;
		if (!good) {
			wire->garbage++;
			in_close(wire, in);
			break;
		}
	}
	wire->in_next++;
	port->counters.rx_packets += total;
	return total;
}

static bool wire_sleep(struct port *port, bool asleep)
{
	struct wire *wire = (struct wire *)port;
	bool work = false;
	for (unsigned i = 0; i < wire->in_high; i++)
		if (wire->in[i].ready)
			work |= wire_ring_sleep(&wire->in[i].ring, asleep);
	return work;
}

static void wire_event(struct port *port)
{
	struct wire *wire = (struct wire *)port;
	struct epoll_event events[32];
	int count = epoll_wait(port->fd, events, 32, 0);
	for (int i = 0; i < count; i++) {
		uint32_t source = events[i].data.u32, at = source & 0xffff;
		uint64_t value;
		if (source == SOURCE_LISTENER)
			accept_peer(wire);
		else if (source == SOURCE_BELL)
			(void)!read(wire->bell, &value, sizeof value);
		else if ((source & SOURCE_IN) != 0 && wire->in[at].connection >= 0)
			in_event(wire, &wire->in[at]);
		else if ((source & SOURCE_OUT) != 0 && wire->out[at].connection >= 0)
			out_event(wire, &wire->out[at]);
	}
}

static void wire_tick(struct port *port, uint64_t now_ms)
{
	struct wire *wire = (struct wire *)port;
	for (unsigned i = 0; i < wire->in_high; i++)
		if (wire->in[i].connection >= 0 && !wire->in[i].ready && now_ms > wire->in[i].deadline_ms)
			in_close(wire, &wire->in[i]);
	for (unsigned i = 0; i < PEERS; i++)
		if (wire->out[i].state == OUT_GREETING && now_ms > wire->out[i].deadline_ms)
			out_down(wire, &wire->out[i]);
}

static void wire_close(struct port *port)
{
	struct wire *wire = (struct wire *)port;
	(void)unlink(wire->path);
	for (unsigned i = 0; i < PEERS; i++) {
		in_close(wire, &wire->in[i]);
		if (wire->out[i].state != OUT_FREE)
			out_down(wire, &wire->out[i]);
	}
	close(wire->listener);
	close(wire->bell);
	close(port->fd);
	free(wire);
}

static void wire_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			  void *context)
{
	const struct wire *wire = (const struct wire *)port;
	visit(context, "wire.connects", wire->connects);
	visit(context, "wire.peers_lost", wire->peers_lost);
	visit(context, "wire.garbage", wire->garbage);
	visit(context, "wire.no_peer", wire->no_peer);
	visit(context, "wire.full", wire->full);
}

static const struct port_ops wire_ops = {
	.receive = wire_receive, .transmit = wire_transmit, .event = wire_event, .sleep = wire_sleep,
	.tick = wire_tick, .close = wire_close, .counters = wire_counters,
};

/* A socket that a killed predecessor left behind is replaced, one that answers is not. */
static int listen_at(struct wire *wire, const struct sockaddr_un *address, char *error)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;
	int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = probe >= 0 && connect(probe, generic, sizeof *address) == 0;
	if (probe >= 0)
		close(probe);
	if (alive)
		return port_error(error, EADDRINUSE, "wire: another dataplane has %s", address->sun_path);
	(void)unlink(address->sun_path);
	wire->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (wire->listener < 0 || bind(wire->listener, generic, sizeof *address) < 0 ||
	    chmod(address->sun_path, 0600) < 0 || listen(wire->listener, PEERS) < 0)
		return port_error(error, errno, "wire: cannot listen on %s: %s", address->sun_path, strerror(errno));
	return 0;
}

int wire_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct sockaddr_un address;
	struct wire *wire = calloc(1, sizeof *wire);
	if (wire == NULL)
		return -ENOMEM;
	wire->port.ops = &wire_ops;
	wire->port.engine = engine;
	wire->port.caps = PORT_GSO | PORT_CHECKSUM;
	wire->port.mtu = 65535;
	wire->listener = -1;
	for (unsigned i = 0; i < PEERS; i++)
		wire->in[i].connection = wire->out[i].connection = wire->out[i].bell = -1;
	(void)snprintf(wire->port.device, sizeof wire->port.device, "%s", rest);
	(void)snprintf(wire->directory, sizeof wire->directory, "%s", rest);
	wire->port.fd = epoll_create1(EPOLL_CLOEXEC);
	wire->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int status = 0;
	if (strlen(rest) >= sizeof wire->directory || path_of(wire, engine->prefix, &address) < 0)
		status = port_error(error, ENAMETOOLONG, "wire: the path %s is too long (at most 79 characters)", rest);
	else if (wire->port.fd < 0 || wire->bell < 0)
		status = port_error(error, errno, "wire: %s", strerror(errno));
	else if (mkdir(rest, 0700) < 0 && errno != EEXIST)
		status = port_error(error, errno, "wire: cannot make directory %s: %s", rest, strerror(errno));
	else
		status = listen_at(wire, &address, error);
	if (status < 0) {
		if (wire->listener >= 0)
			close(wire->listener);
		if (wire->bell >= 0)
			close(wire->bell);
		if (wire->port.fd >= 0)
			close(wire->port.fd);
		free(wire);
		return status;
	}
	memcpy(wire->path, address.sun_path, sizeof wire->path);
	watch(wire, wire->listener, SOURCE_LISTENER, true);
	watch(wire, wire->bell, SOURCE_BELL, true);
	*port = &wire->port;
	return 0;
}
