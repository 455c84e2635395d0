/* The shared-memory wire: peers that come, go and lie. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "port/wire_ring.h"
#include "control/check.h"
#include "world.h"

static uint8_t sent[FRAME_ROOM], got[FRAME_ROOM];
static char directory[64], uplink[80];

/* Polls until a packet arrives at the VM or half a second passed (a peer connects again after 50 ms). */
static uint32_t take(struct vm *vm, struct ferrite_engine *one, struct ferrite_engine *other)
{
	struct timespec start, now;
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		world_poll(one, other);
		uint32_t length = ring_take(vm->end, got, sizeof got, NULL);
		if (length > 0)
			return length;
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 500);
	return 0;
}

/* Sends until one arrives; false: none did. */
static bool reaches(struct vm *from, struct vm *to, struct ferrite_engine *one, struct ferrite_engine *other)
{
	for (unsigned i = 0; i < 20; i++) {
		uint32_t length = frame_udp4(sent, from, to->ipv4, 100, (uint8_t)i);
		CHECK(ring_put(from->end, sent, length, NULL));
		if (take(to, one, other) > 0)
			return true;
	}
	return false;
}

static void the_first_packet_waits_for_the_connection(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500), *host2 = world_engine(2, uplink, 1500);
	struct vm vm1, vm2;
	world_vm(&vm1, host1, 1, 200, 1);
	world_vm(&vm2, host2, 2, 200, 2);
	world_route(host1, 200, &vm2);
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 100, 1);
	for (unsigned i = 0; i < 10; i++)
		CHECK(ring_put(vm1.end, sent, length, NULL));
	for (unsigned i = 0; i < 10; i++)
		CHECK_NUMBER(take(&vm2, host1, host2), length);
	/* A super-packet with its offload, many times around the ring. */
	struct offload offload = {.needs_checksum = 1, .gso = GSO_TCP4, .gso_size = 1448, .header_length = 52,
				  .checksum_start = 20, .checksum_offset = 16};
	struct packet packet;
	length = frame_udp4(sent, &vm1, vm2.ipv4, 63000, 3);
	for (unsigned i = 0; i < 200; i++) {
		CHECK(ring_put(vm1.end, sent, length, &offload));
		world_poll(host1, host2);
		CHECK_NUMBER(ring_take(vm2.end, got, sizeof got, &packet), length);
		CHECK(memcmp(got + 14, sent + 14, length - 14) == 0);
		CHECK(memcmp(&packet.offload, &offload, sizeof offload) == 0);
	}
	world_vm_leave(&vm1);
	world_vm_leave(&vm2);
	ferrite_engine_stop(host1);
	ferrite_engine_stop(host2);
}

static void a_peer_that_was_away_is_reached_again(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500);
	struct vm vm1, vm2;
	world_vm(&vm1, host1, 1, 200, 1);
	for (unsigned round = 0; round < 3; round++) {
		struct ferrite_engine *host2 = world_engine(2, uplink, 1500);
		world_vm(&vm2, host2, 2, 200, 2);
		world_route(host1, 200, &vm2);
		CHECK(reaches(&vm1, &vm2, host1, host2));
		world_vm_leave(&vm2);
		ferrite_engine_stop(host2);
		uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 100, 1);
		for (unsigned i = 0; i < 40; i++) /* nobody there */
			CHECK(ring_put(vm1.end, sent, length, NULL));
		world_poll(host1, NULL);
	}
	CHECK(world_counter(host1, "wire.peers_lost") >= 2);
	world_vm_leave(&vm1);
	ferrite_engine_stop(host1);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
}

static uint64_t in_use(void)
{
	return rte_mempool_in_use_count(buffers.small);
}

/* A reader that does not get its turn: what finds its ring full waits and arrives in order. True: none was lost. */
static bool full_ring_loses_nothing(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500), *host2 = world_engine(2, uplink, 1500);
	struct vm vm1, vm2;
	unsigned number = 0, next = 0;
	world_vm(&vm1, host1, 1, 200, 1);
	world_vm(&vm2, host2, 2, 200, 2);
	world_route(host1, 200, &vm2);
	CHECK(reaches(&vm1, &vm2, host1, host2));
	while (world_counter(host1, "wire.waited") < 20 && number < 90) {
		uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 60000, (uint8_t)number++);
		CHECK(ring_put(vm1.end, sent, length, NULL));
		(void)ferrite_engine_poll(host1);
	}
	for (unsigned i = 0; i < 100 && next < number; i++) {
		(void)ferrite_engine_poll(host2);
		(void)ferrite_engine_poll(host1);
		while (ring_take(vm2.end, got, sizeof got, NULL) > 0)
			CHECK_NUMBER(got[42], (uint8_t)next++);
	}
	bool all = next == number && world_counter(host1, "wire.waited") == 20 && world_counter(host1, "wire.full") == 0 &&
		world_counter(host1, "uplink.tx_drops") == 0;
	world_vm_leave(&vm1);
	world_vm_leave(&vm2);
	ferrite_engine_stop(host1);
	ferrite_engine_stop(host2);
	CHECK_NUMBER(in_use(), 0);
	return all;
}

static void a_full_ring_is_waited_for(void)
{
	bool good = false;
	for (unsigned i = 0; i < 10 && !good; i++) /* on a busy machine we are the ones who get no turn in time */
		good = full_ring_loses_nothing();
	CHECK(good);
}

/* A reader that has stopped: what waits for it goes after a while, nothing more waits, and it is reached again. */
static void a_stuck_reader_is_not_waited_for(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500), *host2 = world_engine(2, uplink, 1500);
	struct vm vm1, vm2;
	uint64_t waited;
	world_vm(&vm1, host1, 1, 200, 1);
	world_vm(&vm2, host2, 2, 200, 2);
	world_route(host1, 200, &vm2);
	CHECK(reaches(&vm1, &vm2, host1, host2));
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 60000, 1);
	for (unsigned i = 0; i < 400; i++) {
		CHECK(ring_put(vm1.end, sent, length, NULL));
		(void)ferrite_engine_poll(host1);
		CHECK(rte_mempool_in_use_count(buffers.big) < 200);
	}
	(void)usleep(40000);
	world_poll(host1, NULL);
	CHECK_NUMBER(in_use(), 0);
	waited = world_counter(host1, "wire.waited");
	CHECK(waited > 0 && world_counter(host1, "wire.full") >= waited);
	for (unsigned i = 0; i < 10; i++)
		CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, NULL);
	CHECK_NUMBER(world_counter(host1, "wire.waited"), waited);
	CHECK_NUMBER(in_use(), 0);
	world_poll(host2, NULL);
	while (ring_take(vm2.end, got, sizeof got, NULL) > 0)
		continue;
	CHECK(reaches(&vm1, &vm2, host1, host2));
	/* And one that leaves while packets wait for it. */
	for (unsigned i = 0; i < 75; i++) {
		CHECK(ring_put(vm1.end, sent, length, NULL));
		(void)ferrite_engine_poll(host1);
	}
	world_vm_leave(&vm2);
	ferrite_engine_stop(host2);
	world_poll(host1, NULL);
	CHECK_NUMBER(in_use(), 0);
	world_vm_leave(&vm1);
	ferrite_engine_stop(host1);
}

static void two_dataplanes_cannot_have_one_prefix(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500), *second;
	struct ferrite_engine_config config = {.uplink = uplink, .mtu = 1500};
	memcpy(config.underlay_prefix.bytes, host1->prefix, 8);
	CHECK_NUMBER(ferrite_engine_start(&config, &second, error), -EADDRINUSE);
	CHECK(strstr(error, "another dataplane") != NULL);
	ferrite_engine_stop(host1);
}

/* A fake peer that follows the protocol up to the ring. Its descriptors in `fds`. */
static int fake_peer(struct ferrite_engine *host, const char *socket_name, struct wire_ring *ring, int fds[2])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint8_t hello[16] = {0x46, 0x72, 0x65, 0x31};
	uint32_t bytes = WIRE_BYTES;
	memcpy(hello + 4, &bytes, 4);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, socket_name);
	int peer = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	CHECK_NUMBER(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
	CHECK_NUMBER(send(peer, hello, sizeof hello, 0), sizeof hello);
	world_poll(host, NULL);
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec part = {hello, sizeof hello};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof control};
	CHECK_NUMBER(recvmsg(peer, &message, MSG_DONTWAIT), sizeof hello);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	CHECK(rights != NULL);
	if (rights == NULL)
		return -1;
	memcpy(fds, CMSG_DATA(rights), 2 * sizeof(int));
	CHECK_NUMBER(wire_ring_map(ring, fds[0]), 0);
	return peer;
}

static bool closed(int peer)
{
	char byte;
	return recv(peer, &byte, 1, MSG_DONTWAIT) == 0;
}

static void a_lying_peer_loses_its_ring_and_harms_nobody(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500);
	srandom(7);
	for (unsigned round = 0; round < 60; round++) {
		struct wire_ring ring;
		int fds[2], peer = fake_peer(host1, "fd00000f00010000.sock", &ring, fds);
		if (peer < 0)
			break;
		bool must_close = true;
		if (round < 3) { /* a head that cannot be */
			ring.shared->head = round == 0 ? 1 : round == 1 ? WIRE_BYTES + 64ull : UINT64_MAX & ~63ull;
		} else if (round < 6) { /* a length beyond the head, too long, too short */
			struct wire_record record = {.length = round == 3 ? 1000 : round == 4 ? UINT32_MAX : 3};
			memcpy(ring.data, &record, sizeof record);
			ring.shared->head = 64;
		} else { /* noise, and a new head now and then */
			for (unsigned i = 0; i < WIRE_BYTES / 4; i += 1 + (unsigned)random() % 9)
				((uint32_t *)(void *)ring.data)[i] = (uint32_t)random() % (round % 2 == 0 ? 200 : 70000);
			ring.shared->head = ((uint64_t)random() % WIRE_BYTES) & ~63ull;
			ring.shared->tail = (uint64_t)random();
			must_close = false; /* it may happen to be well-formed */
		}
		world_poll(host1, NULL);
		ring.shared->head ^= 0x40;
		world_poll(host1, NULL);
		CHECK(!must_close || closed(peer));
		wire_ring_free(&ring);
		close(peer);
		close(fds[0]);
		close(fds[1]);
		world_poll(host1, NULL);
	}
	CHECK(world_counter(host1, "wire.garbage") >= 6);
	CHECK(world_counter(host1, "drop.outer_malformed") > 0);
	ferrite_engine_stop(host1);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.big), 0);
}

static void a_wrong_greeting_is_refused(void)
{
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500);
	for (unsigned round = 0; round < 300; round++) { /* more than there are places */
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		uint8_t hello[16] = {(uint8_t)round, 1, 2, 3};
		(void)snprintf(address.sun_path, sizeof address.sun_path, "%s/fd00000f00010000.sock", directory);
		int peer = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		CHECK_NUMBER(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
		CHECK(send(peer, hello, 1 + round % 16, 0) > 0);
		world_poll(host1, NULL);
		CHECK(closed(peer));
		close(peer);
	}
	ferrite_engine_stop(host1);
}

static void a_ring_that_could_shrink_is_not_mapped(void)
{
	struct wire_ring ring;
	int unsealed = memfd_create("fe-test", 0);
	CHECK_NUMBER(ftruncate(unsealed, WIRE_HEAD_BYTES + WIRE_BYTES), 0);
	CHECK_NUMBER(wire_ring_map(&ring, unsealed), -EPROTO);
	close(unsealed);
}

static void a_reader_that_lies_about_its_tail_is_left(void)
{
	struct wire_ring reader, writer;
	int memory;
	CHECK_NUMBER(wire_ring_make(&reader, &memory), 0);
	CHECK_NUMBER(wire_ring_map(&writer, memory), 0);
	close(memory);
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	CHECK(packet_copy_in(buffer, sent, 60000));
	packet_of(buffer)->ip_offset = 40;
	packet_no_offload(packet_of(buffer));
	unsigned written = 0;
	enum wire_status status;
	while ((status = wire_ring_write(&writer, buffer)) == WIRE_OK)
		written++;
	CHECK(status == WIRE_FULL && written == 69);
	reader.shared->tail = writer.position + 64;
	CHECK(wire_ring_write(&writer, buffer) == WIRE_BROKEN);
	rte_pktmbuf_free(buffer);
	wire_ring_free(&reader);
	wire_ring_free(&writer);
}

/* Sends until the worker of the other engine has delivered one of the frames more. */
static bool is_delivered(struct ferrite_engine *from, struct ferrite_engine *to, const struct vm *vm, const uint8_t address[4])
{
	uint64_t before = world_counter(to, "stage.deliver.packets");
	for (unsigned i = 0; i < 20000; i++) {
		if (world_counter(to, "stage.deliver.packets") > before)
			return true;
		uint32_t length = frame_udp4(sent, vm, address, 100, (uint8_t)i);
		(void)ring_put(vm->end, sent, length, NULL);
		(void)ferrite_engine_poll(from);
		(void)usleep(200);
	}
	return false;
}

static void interfaces_and_routes_change_under_traffic(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine *host1 = world_engine(1, uplink, 1500), *busy;
	struct ferrite_engine_config config = {.uplink = uplink, .mtu = 1500, .start_worker = true,
					       .underlay_prefix = {{0xfd, 0, 0, 0x0f, 0, 2}}};
	struct vm vm1;
	CHECK_NUMBER(ferrite_engine_start(&config, &busy, error), 0);
	world_vm(&vm1, host1, 1, 200, 1);
	for (unsigned round = 0; round < 400; round++) {
		struct vm vm2 = {.ipv4 = {10, 0, 0, 2}, .ipv6 = {0x20, 1, [15] = 2}};
		struct ferrite_interface_config interface = {.vni = 200 + round % 3};
		uint32_t index;
		memcpy(interface.ipv4.bytes, vm2.ipv4, 4);
		/* Nobody takes from this ring: it fills, and what it holds is freed when the port closes. */
		CHECK_NUMBER(ferrite_port_open(busy, "ring:busy", NULL, &interface.port, error), 0);
		CHECK_NUMBER(ferrite_interface_add(busy, &interface, &index, &vm2.underlay), 0);
		world_route(host1, 200, &vm2);
		struct ferrite_route route = {.key = {.vni = 200 + round % 5, .family = 4, .length = (uint8_t)(round % 33)}};
		(void)ferrite_route_put(busy, &route, true);
		for (unsigned i = 0; i < 64; i++) {
			uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 100, (uint8_t)i);
			CHECK(ring_put(vm1.end, sent, length, NULL));
			(void)ferrite_engine_poll(host1);
		}
		/* Mostly the interface goes while its packets are on their way, for the worker is a thread that runs when it
		 * likes; now and then it gets them. */
		if (round % 4 == 0)
			CHECK(is_delivered(host1, busy, &vm1, vm2.ipv4));
		CHECK_NUMBER(ferrite_interface_remove(busy, index), 0);
		CHECK_NUMBER(ferrite_port_close(busy, interface.port), 0);
		(void)ferrite_route_clear(busy, 200 + round % 5);
	}
	world_vm_leave(&vm1);
	ferrite_engine_stop(host1);
	ferrite_engine_stop(busy);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
}

int main(void)
{
	(void)snprintf(directory, sizeof directory, "/tmp/fe-eng-wire-test-%d", (int)getpid());
	(void)snprintf(uplink, sizeof uplink, "wire:%s", directory);
	RUN(the_first_packet_waits_for_the_connection);
	RUN(a_peer_that_was_away_is_reached_again);
	RUN(a_full_ring_is_waited_for);
	RUN(a_stuck_reader_is_not_waited_for);
	RUN(two_dataplanes_cannot_have_one_prefix);
	RUN(a_lying_peer_loses_its_ring_and_harms_nobody);
	RUN(a_wrong_greeting_is_refused);
	RUN(a_ring_that_could_shrink_is_not_mapped);
	RUN(a_reader_that_lies_about_its_tail_is_left);
	RUN(interfaces_and_routes_change_under_traffic);
	(void)rmdir(directory);
	return CHECK_RESULT();
}
