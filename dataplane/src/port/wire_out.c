/* The wire's sending side: finds or makes the connection to a /64 and writes into the ring that it gave.
 *
 * A reader that shares the processor with us cannot empty its ring while we fill it. What finds a ring full waits, a
 * bounded number of packets for WIRE_WAIT_MS since the last one that found room; a peer that let that pass is stuck,
 * and nothing waits for it until its ring has room again.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/wire.h"

static struct rte_mbuf *take_held(struct wire_out *out)
{
	struct rte_mbuf *buffer = out->held[out->held_first];
	out->held_first = (out->held_first + 1) % WIRE_HOLD;
	out->held_count--;
	return buffer;
}

static void put_held(struct wire_out *out, struct rte_mbuf *buffer)
{
	out->held[(out->held_first + out->held_count++) % WIRE_HOLD] = buffer;
}

static void put_back(struct wire_out *out, struct rte_mbuf *buffer)
{
	out->held_first = (out->held_first + WIRE_HOLD - 1) % WIRE_HOLD;
	out->held[out->held_first] = buffer;
	out->held_count++;
}

static void wait_no_more(struct wire *wire, struct wire_out *out)
{
	unsigned i = 0;
	if (!out->waiting)
		return;
	while (wire->waiting[i] != out)
		i++;
	wire->waiting[i] = wire->waiting[--wire->waiting_count];
	out->waiting = false;
}

static void out_drop_held(struct wire *wire, struct wire_out *out)
{
	if (out->waiting)
		wire->held_all -= out->held_count;
	wait_no_more(wire, out);
	while (out->held_count > 0)
		port_drop(&wire->port, take_held(out));
}

void wire_out_down(struct wire *wire, struct wire_out *out)
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
	if (wire_path(wire, out->prefix, &address) < 0)
		return;
	int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return;
	struct hello hello = {.magic = WIRE_MAGIC, .bytes = WIRE_BYTES};
	memcpy(hello.prefix, wire->port.engine->prefix, 8);
	if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0 || !wire_same_user(connection) ||
	    send(connection, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) {
		close(connection);
		return;
	}
	wire->connects++;
	out->connection = connection;
	out->state = OUT_GREETING;
	out->deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS;
	wire_watch(wire, connection, SOURCE_OUT + (uint32_t)(out - wire->out), true);
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

/* Into the ring; WIRE_FULL: the buffer is still the caller's. */
static enum wire_status out_put(struct wire *wire, struct wire_out *out, struct rte_mbuf *buffer)
{
	uint32_t length = buffer->pkt_len;
	enum wire_status status = wire_ring_write(&out->ring, buffer);
	if (status == WIRE_FULL)
		return status;
	if (status == WIRE_OK) {
		out->written = true;
		out->stuck = false;
		wire->port.counters.tx_packets++;
		wire->port.counters.tx_bytes += length;
		rte_pktmbuf_free(buffer);
	} else {
		wire->garbage++;
		port_drop(&wire->port, buffer);
		wire_out_down(wire, out);
	}
	return status;
}

static void out_write(struct wire *wire, struct wire_out *out, struct rte_mbuf *buffer)
{
	if (out->held_count == 0 && out_put(wire, out, buffer) != WIRE_FULL)
		return;
	if (out->stuck || out->held_count == WIRE_HOLD || wire->held_all == WIRE_HOLD_ALL) {
		wire->full++;
		port_drop(&wire->port, buffer);
		return;
	}
	if (!out->waiting) {
		out->waiting = true;
		wire->waiting[wire->waiting_count++] = out;
		out->patience_ms = wire->port.engine->now_ms + WIRE_WAIT_MS;
	}
	wire->held_all++;
	wire->waited++;
	put_held(out, buffer);
}

static void out_publish(struct wire *wire, struct wire_out *out)
{
	uint64_t one = 1;
	out->written = false;
	if (out->state == OUT_READY && wire_ring_publish(&out->ring))
		(void)!write(out->bell, &one, sizeof one);
}

/* What waits, as far as there is room. */
static void out_retry(struct wire *wire, struct wire_out *out)
{
	uint64_t now = wire->port.engine->now_ms;
	while (out->held_count > 0) {
		struct rte_mbuf *oldest = take_held(out);
		wire->held_all--;
		enum wire_status status = out_put(wire, out, oldest);
		if (status == WIRE_BROKEN)
			return; /* and what stood behind it is gone too */
		if (status == WIRE_FULL) {
			put_back(out, oldest);
			wire->held_all++;
			break;
		}
		out->patience_ms = now + WIRE_WAIT_MS;
	}
	if (out->written)
		out_publish(wire, out);
	if (out->held_count == 0) {
		wait_no_more(wire, out);
	} else if (now >= out->patience_ms) {
		out->stuck = true;
		wire->full += out->held_count;
		out_drop_held(wire, out);
	}
}

bool wire_out_retry(struct wire *wire)
{
	for (unsigned i = wire->waiting_count; i-- > 0;)
		out_retry(wire, wire->waiting[i]);
	return wire->held_all > 0;
}

/* The owner's answer: a ring and a bell. */
void wire_out_event(struct wire *wire, struct wire_out *out)
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
		wire_out_down(wire, out);
		return;
	}
	close(fds[0]); /* mapped */
	out->bell = fds[1];
	(void)fcntl(out->bell, F_SETFL, O_NONBLOCK);
	out->state = OUT_READY;
	/* An empty ring has room for what waits for a greeting. */
	while (out->held_count > 0 && out->state == OUT_READY) {
		struct rte_mbuf *buffer = take_held(out);
		if (out_put(wire, out, buffer) == WIRE_FULL)
			port_drop(&wire->port, buffer);
	}
	out_publish(wire, out);
}

void wire_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
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
		} else if (out->state == OUT_GREETING && out->held_count < WIRE_GREETING) {
			put_held(out, burst[i]);
		} else {
			wire->no_peer++;
			port_drop(port, burst[i]);
		}
	}
	for (unsigned i = 0; i < used_count; i++)
		out_publish(wire, used[i]);
}
