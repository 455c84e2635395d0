/* The wire: an uplink of shared memory between the dataplanes of one machine.
 *
 * A directory holds one unix socket per underlay /64. Who wants to send to a /64 connects to its socket and says who it
 * is; the owner answers with a ring to write into and an eventfd to wake it. A connection is one direction: its end,
 * whichever side died, ends exactly that ring. The next packet (or the tick) connects again, at most every RETRY_MS.
 * Packets that wait for a first connection are kept, WIRE_GREETING of them, so that a ping's first packet is not lost.
 *
 * This file: the socket, the events and the port; wire_out.c sends, wire_in.c receives.
 */
#include "port/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/state.h"

int wire_path(const struct wire *wire, const uint8_t prefix[8], struct sockaddr_un *address)
{
	char name[24];
	for (unsigned i = 0; i < 8; i++)
		(void)snprintf(name + 2 * i, 3, "%02x", prefix[i]);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s.sock", wire->directory, name);
	return length > 0 && (size_t)length < sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

void wire_watch(struct wire *wire, int fd, uint32_t source, bool on)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = source};
	(void)epoll_ctl(wire->port.fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
}

bool wire_same_user(int connection)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
		(peer.uid == geteuid() || peer.uid == 0);
}

static bool wire_sleep(struct port *port, bool asleep)
{
	struct wire *wire = (struct wire *)port;
	bool work = false;
	if (asleep && wire_out_retry(wire)) {
		/* Only until the reader had its turn. */
		(void)nanosleep(&(struct timespec){.tv_nsec = WIRE_PAUSE_US * 1000}, NULL);
		work = true;
	}
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
			wire_accept(wire);
		else if (source == SOURCE_BELL)
			(void)!read(wire->bell, &value, sizeof value);
		else if ((source & SOURCE_IN) != 0 && wire->in[at].connection >= 0)
			wire_in_event(wire, &wire->in[at]);
		else if ((source & SOURCE_OUT) != 0 && wire->out[at].connection >= 0)
			wire_out_event(wire, &wire->out[at]);
	}
}

static void wire_tick(struct port *port, uint64_t now_ms)
{
	struct wire *wire = (struct wire *)port;
	for (unsigned i = 0; i < wire->in_high; i++)
		if (wire->in[i].connection >= 0 && !wire->in[i].ready && now_ms > wire->in[i].deadline_ms)
			wire_in_close(wire, &wire->in[i]);
	for (unsigned i = 0; i < PEERS; i++)
		if (wire->out[i].state == OUT_GREETING && now_ms > wire->out[i].deadline_ms)
			wire_out_down(wire, &wire->out[i]);
}

static void wire_close(struct port *port)
{
	struct wire *wire = (struct wire *)port;
	if (wire->listener >= 0)
		(void)unlink(wire->path);
	for (unsigned i = 0; i < PEERS; i++) {
		wire_in_close(wire, &wire->in[i]);
		if (wire->out[i].state != OUT_FREE)
			wire_out_down(wire, &wire->out[i]);
	}
	if (wire->listener >= 0)
		close(wire->listener);
	if (wire->bell >= 0)
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
	visit(context, "wire.waited", wire->waited);
	visit(context, "wire.full", wire->full);
}

static const struct port_ops wire_ops = {
	.receive = wire_receive, .transmit = wire_transmit, .event = wire_event, .sleep = wire_sleep,
	.tick = wire_tick, .close = wire_close, .counters = wire_counters,
};

/* Handover: the sockets and rings go to another process as they are, and peers notice nothing. A greeting that is under way
 * goes along; what waits for room in a ring is lost. */

bool wire_is(const struct port *port)
{
	return port->ops == &wire_ops;
}

unsigned wire_hand_over(struct port *port, struct ferrite_wire_peer *peers, unsigned limit)
{
	struct wire *wire = (struct wire *)port;
	unsigned count = 0;
	(void)wire_out_retry(wire);
	if (limit == 0)
		return 0;
	peers[count++] = (struct ferrite_wire_peer){
		.kind = FERRITE_WIRE_SOCKET, .count = 2, .descriptors = {wire->listener, wire->bell},
	};
	for (unsigned i = 0; i < wire->in_high && count < limit; i++) {
		const struct wire_in *in = &wire->in[i];
		if (in->connection >= 0 && (!in->ready || in->ring.kept > 0))
			peers[count++] = (struct ferrite_wire_peer){
				.kind = FERRITE_WIRE_IN, .ready = in->ready, .count = in->ready ? 2 : 1,
				.descriptors = {in->connection, in->ring.kept - 1},
			};
	}
	for (unsigned i = 0; i < PEERS && count < limit; i++) {
		const struct wire_out *out = &wire->out[i];
		bool ready = out->state == OUT_READY && out->ring.kept > 0;
		if (out->connection < 0 || (!ready && out->state != OUT_GREETING))
			continue;
		peers[count] = (struct ferrite_wire_peer){
			.kind = FERRITE_WIRE_OUT, .ready = ready, .count = ready ? 3 : 1,
			.descriptors = {out->connection, out->ring.kept - 1, out->bell},
		};
		memcpy(peers[count++].prefix, out->prefix, 8);
	}
	return count;
}

static int take_in(struct wire *wire, const struct ferrite_wire_peer *peer)
{
	unsigned i = 0;
	while (i < PEERS && wire->in[i].connection >= 0)
		i++;
	if (i == PEERS || (peer->ready && wire_ring_adopt(&wire->in[i].ring, peer->descriptors[1], true) < 0))
		return -EPROTO;
	wire->in[i].connection = peer->descriptors[0];
	wire->in[i].ready = peer->ready;
	wire->in[i].deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS;
	if (i >= wire->in_high)
		wire->in_high = i + 1;
	wire_watch(wire, wire->in[i].connection, SOURCE_IN + i, true);
	return 0;
}

static int take_out(struct wire *wire, const struct ferrite_wire_peer *peer)
{
	/* Where it would be looked for. */
	unsigned start = (unsigned)(mix(raw64(peer->prefix), 0) % PEERS), i = 0;
	while (i < PEERS && wire->out[(start + i) % PEERS].state != OUT_FREE)
		i++;
	struct wire_out *out = &wire->out[(start + i) % PEERS];
	if (i == PEERS || (peer->ready && wire_ring_adopt(&out->ring, peer->descriptors[1], false) < 0))
		return -EPROTO;
	memcpy(out->prefix, peer->prefix, 8);
	out->connection = peer->descriptors[0];
	out->bell = peer->ready ? peer->descriptors[2] : -1;
	out->state = peer->ready ? OUT_READY : OUT_GREETING;
	out->deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS;
	out->used_ms = wire->port.engine->now_ms;
	wire_watch(wire, out->connection, SOURCE_OUT + (uint32_t)(out - wire->out), true);
	return 0;
}

int wire_take_over(struct port *port, const struct ferrite_wire_peer *peer)
{
	struct wire *wire = (struct wire *)port;
	static const uint8_t counts[4][2] = {{0, 0}, {2, 2}, {1, 2}, {1, 3}};
	int status = -EPROTO;
	if (peer->kind <= FERRITE_WIRE_OUT && peer->ready <= 1 && peer->kind > 0 &&
	    peer->count == counts[peer->kind][peer->ready]) {
		if (peer->kind == FERRITE_WIRE_SOCKET && wire->listener < 0) {
			close(wire->bell);
			wire->listener = peer->descriptors[0];
			wire->bell = peer->descriptors[1];
			wire_watch(wire, wire->listener, SOURCE_LISTENER, true);
			wire_watch(wire, wire->bell, SOURCE_BELL, true);
			status = 0;
		} else if (peer->kind != FERRITE_WIRE_SOCKET) {
			status = peer->kind == FERRITE_WIRE_IN ? take_in(wire, peer) : take_out(wire, peer);
		}
	}
	/* A ring is mapped and kept by a descriptor of its own. */
	for (unsigned i = 0; i < peer->count && i < FERRITE_WIRE_DESCRIPTORS; i++)
		if (status < 0 || (peer->kind != FERRITE_WIRE_SOCKET && i == 1))
			close(peer->descriptors[i]);
	return status;
}

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

int wire_listen(struct port *port, char *error)
{
	struct wire *wire = (struct wire *)port;
	struct sockaddr_un address;
	if (wire->listener >= 0)
		return 0;
	int status = wire_path(wire, port->engine->prefix, &address);
	if (status == 0)
		status = listen_at(wire, &address, error);
	if (status < 0) {
		if (wire->listener >= 0)
			close(wire->listener);
		wire->listener = -1;
		return status;
	}
	wire_watch(wire, wire->listener, SOURCE_LISTENER, true);
	wire_watch(wire, wire->bell, SOURCE_BELL, true);
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
	if (strlen(rest) >= sizeof wire->directory || wire_path(wire, engine->prefix, &address) < 0)
		status = port_error(error, ENAMETOOLONG, "wire: the path %s is too long (at most 79 characters)", rest);
	else if (wire->port.fd < 0 || wire->bell < 0)
		status = port_error(error, errno, "wire: %s", strerror(errno));
	else if (mkdir(rest, 0700) < 0 && errno != EEXIST)
		status = port_error(error, errno, "wire: cannot make directory %s: %s", rest, strerror(errno));
	else if (!engine->handover.heir) /* who takes over gets it, or listens later */
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
	if (wire->listener >= 0) {
		wire_watch(wire, wire->listener, SOURCE_LISTENER, true);
		wire_watch(wire, wire->bell, SOURCE_BELL, true);
	}
	*port = &wire->port;
	return 0;
}
