/* The wire's receiving side: greets peers, gives each a ring and reads them in turn. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/wire.h"

void wire_in_close(struct wire *wire, struct wire_in *in)
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

void wire_accept(struct wire *wire)
{
	int connection = accept4(wire->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (connection < 0)
		return;
	unsigned i = 0;
	while (i < PEERS && wire->in[i].connection >= 0)
		i++;
	if (i == PEERS || !wire_same_user(connection)) {
		close(connection);
		return;
	}
	wire->in[i] = (struct wire_in){
		.connection = connection, .deadline_ms = wire->port.engine->now_ms + HANDSHAKE_MS,
	};
	if (i >= wire->in_high)
		wire->in_high = i + 1;
	wire_watch(wire, connection, SOURCE_IN + i, true);
}

/* A peer's hello; anything after it, or its end, ends the connection. */
void wire_in_event(struct wire *wire, struct wire_in *in)
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
		wire_in_close(wire, in);
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
		wire_in_close(wire, in);
		return;
	}
	in->ready = true;
}

unsigned wire_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct wire *wire = (struct wire *)port;
	unsigned total = 0, high = wire->in_high;
	if (wire->held_all > 0)
		(void)wire_out_retry(wire); /* here, because this is called every turn */
	for (unsigned i = 0; i < high && total < limit; i++) {
		struct wire_in *in = &wire->in[(wire->in_next + i) % high];
		unsigned count = 0;
		if (!in->ready)
			continue;
		bool good = wire_ring_read(&in->ring, burst + total, limit - total, &count, &port->counters);
		total += count;
		if (!good) {
			wire->garbage++;
			wire_in_close(wire, in);
			break;
		}
	}
	wire->in_next++;
	port->counters.rx_packets += total;
	return total;
}
