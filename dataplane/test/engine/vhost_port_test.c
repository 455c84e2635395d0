/* A vhost port and its worker, against a hypervisor that this test plays: it speaks vhost-user at the socket, shares
 * memory with two virtqueues in it, and asks by ARP for the gateway, which the dataplane answers by itself. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/check.h"
#include "vhost_world.h"
#include "world.h"

enum {
	SET_FEATURES = 2, GET_FEATURES = 1, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10, GET_VRING_BASE = 11, SET_VRING_KICK = 12, SET_VRING_CALL = 13,
	RING = 256, ROOMS = 64,
};

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct { uint32_t index, value; } state;
		struct { uint32_t index, flags; uint64_t desc, used, avail, log; } address;
		struct { uint32_t count, padding; struct { uint64_t guest, size, user, offset; } region; } memory;
	} body;
} __attribute__((packed));

/* Cardinality: one per socket. Queue 0 lies in the first half of the memory, queue 1 in the second. */
struct hypervisor {
	char path[64];
	int socket, file, kick[2], call[2];
	uint8_t *memory;
	struct guest queues[2];
	uint8_t mac[6];
	uint8_t ip[4];
	uint32_t port, index;
	uint16_t seen;
};

static struct ferrite_engine *engine;
static char folder[32] = "/tmp/ferrite-vhost-XXXXXX";

/* Waits for what the worker or rte_vhost's thread do in their own time. */
#define EVENTUALLY(condition)                                                            \
	do {                                                                             \
		for (int turn_ = 0; turn_ < 500 && !(condition); turn_++)                \
			usleep(10000);                                                   \
		CHECK(condition);                                                        \
	} while (0)

static void tell(struct hypervisor *vm, struct message *message, int fd)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
	struct iovec part = {message, 12 + message->size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	message->flags = 1;
	if (fd >= 0) {
		header.msg_control = &control;
		header.msg_controllen = sizeof control;
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &fd, sizeof(int));
	}
	CHECK_NUMBER(sendmsg(vm->socket, &header, MSG_NOSIGNAL), 12 + message->size);
}

static void tell_number(struct hypervisor *vm, uint32_t request, uint64_t number, int fd)
{
	struct message message = {.request = request, .size = 8, .body.number = number};
	tell(vm, &message, fd);
}

static uint64_t ask(struct hypervisor *vm, uint32_t request, uint64_t number, uint32_t size)
{
	struct message message = {.request = request, .size = size, .body.number = number};
	tell(vm, &message, -1);
	CHECK_NUMBER(recv(vm->socket, &message, sizeof message, 0), 20);
	return message.body.number;
}

static void connect_to(struct hypervisor *vm)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 5};
	memcpy(address.sun_path, vm->path, strlen(vm->path) + 1);
	vm->socket = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)setsockopt(vm->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	CHECK_NUMBER(connect(vm->socket, (struct sockaddr *)&address, sizeof address), 0);
}

/* As a driver that starts: empty rings, and buffers to be filled. */
static void begin_rings(struct hypervisor *vm)
{
	for (unsigned i = 0; i < 2; i++) {
		struct guest *queue = &vm->queues[i];
		queue->memory = vm->memory + i * GUEST_BYTES;
		guest_begin(queue, RING, 12);
		for (unsigned n = 0; i == 0 && n < ROOMS; n++)
			(void)guest_room(queue, 2000, 1);
		uint64_t base = (uint64_t)(uintptr_t)queue->memory;
		struct message number = {.request = SET_VRING_NUM, .size = 8, .body.state = {i, RING}};
		struct message start = {.request = SET_VRING_BASE, .size = 8, .body.state = {i, 0}};
		struct message address = {
			.request = SET_VRING_ADDR, .size = 40,
			.body.address = {.index = i, .desc = base, .avail = base + GUEST_AVAIL, .used = base + GUEST_USED},
		};
		tell(vm, &number, -1);
		tell(vm, &start, -1);
		tell(vm, &address, -1);
		tell_number(vm, SET_VRING_CALL, i, vm->call[i]);
		tell_number(vm, SET_VRING_KICK, i, vm->kick[i]);
	}
	vm->seen = 0;
}

static void greet(struct hypervisor *vm)
{
	const uint64_t wanted = 1ULL << 32 | 1ULL << 15 | 1ULL << 28 | 1ULL << 29; /* 1.0, mergeable, indirect, event index */
	connect_to(vm);
	CHECK_NUMBER(ask(vm, GET_FEATURES, 0, 0) & wanted, wanted);
	struct message owner = {.request = SET_OWNER};
	tell(vm, &owner, -1);
	tell_number(vm, SET_FEATURES, 1ULL << 32 | 1ULL << 15, -1);
	struct message memory = {
		.request = SET_MEM_TABLE, .size = 40,
		.body.memory = {.count = 1, .region = {GUEST_PHYSICAL, 2 * GUEST_BYTES, (uint64_t)(uintptr_t)vm->memory, 0}},
	};
	tell(vm, &memory, vm->file);
	begin_rings(vm);
}

static void begin_hypervisor(struct hypervisor *vm, unsigned number)
{
	char device[96], error[FERRITE_ERROR_TEXT] = "";
	struct ferrite_interface_config config = {.vni = 7, .ipv4 = {{10, 0, 0, (uint8_t)number}}};
	ferrite_ipv6 underlay;
	*vm = (struct hypervisor){.mac = {2, 0, 0, 0, 9, (uint8_t)number}, .ip = {10, 0, 0, (uint8_t)number}};
	(void)snprintf(vm->path, sizeof vm->path, "%s/%u", folder, number);
	(void)snprintf(device, sizeof device, "vhost:%s,server=on", vm->path);
	CHECK_NUMBER(ferrite_port_open(engine, device, NULL, &vm->port, error), 0);
	CHECK_TEXT(error, "");
	config.port = vm->port;
	CHECK_NUMBER(ferrite_interface_add(engine, &config, &vm->index, &underlay), 0);
	vm->file = memfd_create("guest", 0);
	CHECK_NUMBER(ftruncate(vm->file, 2 * GUEST_BYTES), 0);
	vm->memory = mmap(NULL, 2 * GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->file, 0);
	for (unsigned i = 0; i < 2; i++) {
		vm->kick[i] = eventfd(0, EFD_NONBLOCK);
		vm->call[i] = eventfd(0, EFD_NONBLOCK);
	}
}

static void end_hypervisor(struct hypervisor *vm)
{
	close(vm->socket);
	for (unsigned i = 0; i < 2; i++) {
		close(vm->kick[i]);
		close(vm->call[i]);
	}
	close(vm->file);
	(void)munmap(vm->memory, 2 * GUEST_BYTES);
	CHECK_NUMBER(ferrite_interface_remove(engine, vm->index), 0);
	CHECK_NUMBER(ferrite_port_close(engine, vm->port), 0);
	CHECK_NUMBER(access(vm->path, F_OK), -1);
}

/* Offers one packet; `address` 0: the right one. */
static void offer(struct hypervisor *vm, const uint8_t *frame, uint32_t length, uint64_t address)
{
	struct guest *queue = &vm->queues[1];
	uint8_t *place = queue->memory + GUEST_DATA;
	uint64_t one = 1;
	memset(place, 0, 12);
	memcpy(place + 12, frame, length);
	queue->pieces[0] = (struct vring_desc){
		.addr = address != 0 ? address : GUEST_PHYSICAL + GUEST_BYTES + GUEST_DATA, .len = 12 + length};
	(void)guest_offer(queue, 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((queue->used->flags & VRING_USED_F_NO_NOTIFY) == 0)
		(void)!write(vm->kick[1], &one, sizeof one);
}

static uint16_t used_of(struct hypervisor *vm, unsigned queue)
{
	return __atomic_load_n(&vm->queues[queue].used->idx, __ATOMIC_ACQUIRE);
}

/* Asks who has the gateway's address; the answer is in the next buffer of the guest, and an interrupt said so. */
static bool answered(struct hypervisor *vm)
{
	uint8_t frame[42] = {255, 255, 255, 255, 255, 255, [12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
	struct pollfd interrupt = {.fd = vm->call[0], .events = POLLIN};
	uint64_t value;
	memcpy(frame + 6, vm->mac, 6);
	memcpy(frame + 22, vm->mac, 6);
	memcpy(frame + 28, vm->ip, 4);
	memcpy(frame + 38, (const uint8_t[]){169, 254, 0, 1}, 4);
	offer(vm, frame, sizeof frame, 0);
	if (poll(&interrupt, 1, 5000) != 1 || read(vm->call[0], &value, sizeof value) != sizeof value)
		return false;
	if (used_of(vm, 0) != (uint16_t)(vm->seen + 1))
		return false;
	struct guest *queue = &vm->queues[0];
	const struct vring_used_elem *used = &queue->used->ring[vm->seen++ % RING];
	const uint8_t *got = queue->memory + (queue->desc[used->id].addr - GUEST_PHYSICAL);
	queue->free = 0;
	guest_available(queue, (uint16_t)used->id);
	return used->len >= 12 + 42 && got[10] == 1 && memcmp(got + 12, vm->mac, 6) == 0 && got[12 + 21] == 2;
}

static uint64_t counter(struct hypervisor *vm, const char *what)
{
	char name[128];
	(void)snprintf(name, sizeof name, "port.%s.%s", vm->path, what);
	return world_counter(engine, name);
}

static struct hypervisor one, two;

static void a_guest_is_served_when_its_driver_has_started(void)
{
	begin_hypervisor(&one, 1);
	begin_hypervisor(&two, 2);
	greet(&one);
	greet(&two);
	for (unsigned i = 0; i < 300; i++) {
		bool good = answered(&one) && answered(&two);
		CHECK(good);
		if (!good)
			break;
		usleep(8000); /* a gateway answers 100 a second, and 100 at once */
	}
	usleep(400000); /* the worker sleeps: the kick wakes it */
	CHECK(answered(&one));
	CHECK_NUMBER(counter(&one, "rx_packets"), 301);
	CHECK_NUMBER(counter(&one, "tx_packets"), 301);
}

static void a_second_client_of_a_socket_is_refused(void)
{
	struct hypervisor other = one;
	uint8_t byte;
	connect_to(&other);
	CHECK_NUMBER(recv(other.socket, &byte, 1, 0), 0);
	close(other.socket);
	CHECK(answered(&one));
}

static void a_guest_that_breaks_its_ring_is_alone_until_it_starts_anew(void)
{
	const uint8_t frame[60] = {0};
	offer(&one, frame, sizeof frame, 0x100);
	EVENTUALLY(counter(&one, "vhost_broken") == 1);
	uint16_t before = used_of(&one, 1);
	offer(&one, frame, sizeof frame, 0);
	CHECK(answered(&two));
	CHECK_NUMBER(used_of(&one, 1), before);
	for (uint32_t i = 0; i < 2; i++)
		(void)ask(&one, GET_VRING_BASE, i, 8);
	begin_rings(&one);
	EVENTUALLY(one.queues[1].used->flags == 0);
	CHECK(answered(&one));
}

static void a_stopped_ring_says_how_far_it_was_walked(void)
{
	uint16_t from = used_of(&two, 1), to = used_of(&two, 0);
	CHECK(from > 0 && to > 0);
	CHECK_NUMBER(ask(&two, GET_VRING_BASE, 0, 8) >> 32, to);
	CHECK_NUMBER(ask(&two, GET_VRING_BASE, 1, 8) >> 32, from);
	begin_rings(&two);
	EVENTUALLY(answered(&two));
}

static void a_guest_that_goes_away_may_come_back(void)
{
	close(one.socket);
	EVENTUALLY(counter(&one, "vhost_lost") == 1);
	CHECK(answered(&two));
	greet(&one);
	CHECK(answered(&one));
	CHECK_NUMBER(counter(&one, "vhost_connects"), 2);
}

static void garbage_at_a_socket_ends_that_connection_only(void)
{
	struct message wrong[] = {
		{.request = 200, .size = 8},
		{.request = SET_MEM_TABLE, .size = 40, .body.memory = {.count = 1000}},
		{.request = SET_VRING_NUM, .size = 8, .body.state = {255, 65535}},
		{.request = SET_VRING_ADDR, .size = 40, .body.address = {.index = 0, .desc = 1, .used = 2, .avail = 3}},
		{.request = SET_FEATURES, .size = 8, .body.number = UINT64_MAX},
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint64_t lost = counter(&one, "vhost_lost");
		tell(&one, &wrong[i], -1);
		(void)shutdown(one.socket, SHUT_WR);
		EVENTUALLY(counter(&one, "vhost_lost") == lost + 1);
		close(one.socket);
		CHECK(answered(&two));
		greet(&one);
		CHECK(answered(&one));
	}
}

static void a_thousand_sockets_wait_for_their_guests(void)
{
	uint32_t ports[1024];
	char device[96], error[FERRITE_ERROR_TEXT];
	unsigned count = 0;
	int status = 0;
	while (count < 1024) {
		(void)snprintf(device, sizeof device, "vhost:%s/many-%u", folder, count);
		status = ferrite_port_open(engine, device, NULL, &ports[count], error);
		if (status < 0)
			break;
		count++;
	}
	CHECK_NUMBER(count, 1022); /* and the two with guests */
	CHECK_NUMBER(status, -ENOSPC);
	CHECK(answered(&one));
	CHECK(answered(&two));
	while (count > 0)
		CHECK_NUMBER(ferrite_port_close(engine, ports[--count]), 0);
	CHECK(answered(&one));
}

static void a_socket_that_somebody_has_is_refused(void)
{
	char device[96], error[FERRITE_ERROR_TEXT];
	uint32_t port;
	(void)snprintf(device, sizeof device, "vhost:%s,server=on", one.path);
	CHECK_NUMBER(ferrite_port_open(engine, device, NULL, &port, error), -EADDRINUSE);
	CHECK_NUMBER(ferrite_port_open(engine, "vhost:relative", NULL, &port, error), -EINVAL);
	CHECK_NUMBER(ferrite_port_open(engine, "vhost:/tmp/x,server=perhaps", NULL, &port, error), -EINVAL);
	CHECK(answered(&one));
}

int main(void)
{
	char error[FERRITE_ERROR_TEXT] = "";
	struct ferrite_engine_config config = {
		.name = "test", .uplink = "none", .mtu = 1500, .underlay_prefix = {{0xfd, 15}}, .start_worker = true,
		.flow_capacity = 4096,
	};
	CHECK(mkdtemp(folder) != NULL);
	if (ferrite_engine_start(&config, &engine, error) < 0) {
		(void)fprintf(stderr, "%s\n", error);
		return 1;
	}
	RUN(a_guest_is_served_when_its_driver_has_started);
	RUN(a_second_client_of_a_socket_is_refused);
	RUN(a_guest_that_breaks_its_ring_is_alone_until_it_starts_anew);
	RUN(a_stopped_ring_says_how_far_it_was_walked);
	RUN(a_guest_that_goes_away_may_come_back);
	RUN(garbage_at_a_socket_ends_that_connection_only);
	RUN(a_socket_that_somebody_has_is_refused);
	RUN(a_thousand_sockets_wait_for_their_guests);
	end_hypervisor(&one);
	end_hypervisor(&two);
	ferrite_engine_stop(engine);
	CHECK_NUMBER(rmdir(folder), 0);
	return CHECK_RESULT();
}
