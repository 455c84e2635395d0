#include "handover_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "handover.h"
#include "log.h"

enum {
	MAGIC = 0x6f486546,
	PROTOCOL = 1,
	HELLO_MS = 1000,
	READY_MS = 120000, /* a million routes are restored in it */
	TAKEN_MS = 2000,
	SEND_MS = 1000,
	MAX_DESCRIPTORS = 4,
	MAX_PEERS = 1040,
};

enum type { HELLO = 1, REFUSED, SNAPSHOT, DEVICE, FORGET, READY, WIRE, SWITCH, TAKEN };
enum { WANTS_ALL = 0, WANTS_TO_FOLLOW = 1 };

/* One message; both sides are of one machine. */
struct message {
	uint32_t magic, protocol, type, flags;
	uint64_t length, layout;
	char text[FERRITE_DEVICE_TEXT];
	struct ferrite_wire_peer peer;
};

struct descriptors {
	int count;
	int all[MAX_DESCRIPTORS];
};

static bool send_message(int connection, struct message *message, const int *descriptors, int count)
{
	union { char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))]; struct cmsghdr align; } control = {0};
	struct iovec part = {message, sizeof *message};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	message->magic = MAGIC;
	message->protocol = PROTOCOL;
	if (count > 0) {
		struct cmsghdr *rights;

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		memcpy(CMSG_DATA(rights), descriptors, (size_t)count * sizeof(int));
	}
	return sendmsg(connection, &header, MSG_NOSIGNAL) == (ssize_t)sizeof *message;
}

static void close_all(struct descriptors *descriptors)
{
	for (int i = 0; i < descriptors->count; ++i)
		if (descriptors->all[i] >= 0)
			close(descriptors->all[i]);
	descriptors->count = 0;
}

/* 1: one, 0: none in time, -1: the end, or what is no message. */
static int receive(int connection, struct message *message, struct descriptors *descriptors, int timeout_ms)
{
	union { char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec part = {message, sizeof *message};
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct pollfd waits = {.fd = connection, .events = POLLIN};
	ssize_t got;
	int ready;

	descriptors->count = 0;
	do
		ready = poll(&waits, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready;
	got = recvmsg(connection, &header, MSG_CMSG_CLOEXEC);
	for (struct cmsghdr *at = got > 0 ? CMSG_FIRSTHDR(&header) : NULL; at != NULL; at = CMSG_NXTHDR(&header, at)) {
		size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count && descriptors->count < MAX_DESCRIPTORS; ++i)
			memcpy(&descriptors->all[descriptors->count++], CMSG_DATA(at) + i * sizeof(int), sizeof(int));
	}
	if (got == (ssize_t)sizeof *message && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
	    message->magic == MAGIC && message->protocol == PROTOCOL &&
	    memchr(message->text, 0, sizeof message->text) != NULL)
		return 1;
	close_all(descriptors);
	return -1;
}

static int fail(char error[HANDOVER_ERROR_TEXT], const char *what, const char *why)
{
	snprintf(error, HANDOVER_ERROR_TEXT, "%s: %.120s", what, why);
	return -1;
}

void handover_told_init(struct handover_told *told)
{
	memset(told, 0, sizeof *told);
	told->inheritance.tables = told->lock = -1;
	told->inheritance.devices = told->devices;
}

static void forget_devices(struct handover_told *told)
{
	for (unsigned i = 0; i < told->inheritance.device_count; ++i)
		if (told->devices[i].descriptor >= 0)
			close(told->devices[i].descriptor);
	told->inheritance.device_count = 0;
}

void handover_told_free(struct handover_told *told)
{
	forget_devices(told);
	if (told->inheritance.tables >= 0)
		close(told->inheritance.tables);
	free(told->state);
	told->state = NULL;
	told->inheritance.tables = -1;
}

static bool address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(address->sun_path, sizeof address->sun_path, "%s", path) < (int)sizeof address->sun_path;
}

int handover_listen(const char *path, char error[HANDOVER_ERROR_TEXT])
{
	struct sockaddr_un address;
	struct stat found;
	mode_t before;
	int probe, listener, failed;

	if (!address_of(path, &address))
		return fail(error, path, "is too long");
	if (lstat(path, &found) == 0) {
		bool alive;

		if (!S_ISSOCK(found.st_mode))
			return fail(error, path, "is there and is no socket");
		probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		alive = probe >= 0 && connect(probe, (struct sockaddr *)&address, sizeof address) == 0;
		if (probe >= 0)
			close(probe);
		if (alive)
			return fail(error, path, "another dataplane listens there");
		(void)unlink(path);
	}
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	before = umask(0177);
	failed = listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0;
	umask(before);
	if (!failed)
		return listener;
	fail(error, path, strerror(errno));
	if (listener >= 0)
		close(listener);
	return -1;
}

bool handover_peer_is_ours(int connection)
{
	struct ucred peer;
	socklen_t length = sizeof peer;

	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

/* --- Successor. */

int handover_connect(const char *path, bool follow, char error[HANDOVER_ERROR_TEXT])
{
	struct message hello = {.type = HELLO, .flags = follow ? WANTS_TO_FOLLOW : WANTS_ALL};
	struct sockaddr_un address;
	int connection;

	if (!address_of(path, &address))
		return fail(error, path, "is too long");
	connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connection >= 0 && connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
	    handover_peer_is_ours(connection) && send_message(connection, &hello, NULL, 0))
		return connection;
	fail(error, path, strerror(errno));
	if (connection >= 0)
		close(connection);
	return -1;
}

/* The bytes of the state's descriptor. */
static bool read_state(struct handover_told *told, int descriptor, uint64_t length)
{
	size_t done = 0;

	if (length == 0 || length > HANDOVER_MAX_BYTES)
		return false;
	told->state = malloc(length);
	while (told->state != NULL && done < length) {
		ssize_t got = pread(descriptor, told->state + done, length - done, (off_t)done);

		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	told->length = length;
	return told->state != NULL;
}

static bool hear_snapshot(struct handover_told *told, const struct message *message, struct descriptors *descriptors)
{
	bool good = descriptors->count >= 1 && descriptors->count <= 2;

	handover_told_free(told);
	good = good && read_state(told, descriptors->all[0], message->length);
	if (good && descriptors->count == 2) {
		told->inheritance.tables = descriptors->all[1];
		descriptors->all[1] = -1;
	}
	told->inheritance.layout = message->layout;
	close_all(descriptors);
	return good;
}

static bool hear_device(struct handover_told *told, const struct message *message, struct descriptors *descriptors)
{
	unsigned count = told->inheritance.device_count;
	bool good = descriptors->count == 1 && count < HANDOVER_DEVICES;

	if (good && strcmp(message->text, "lock:") == 0) {
		if (told->lock >= 0)
			close(told->lock);
		told->lock = descriptors->all[0];
	} else if (good) {
		memcpy(told->devices[count].device, message->text, sizeof message->text);
		told->devices[count].descriptor = descriptors->all[0];
		told->inheritance.device_count++;
	} else {
		close_all(descriptors);
	}
	return good;
}

static void drop_device(struct handover_told *told, const char *device)
{
	for (unsigned i = 0; i < told->inheritance.device_count; ++i) {
		struct ferrite_handed *handed = &told->devices[i];

		if (handed->descriptor < 0 || strcmp(handed->device, device) != 0)
			continue;
		close(handed->descriptor);
		handed->descriptor = -1;
	}
}

int handover_hear(int connection, struct handover_told *told, int timeout_ms, char error[HANDOVER_ERROR_TEXT])
{
	struct descriptors descriptors;
	struct message message;
	int got = receive(connection, &message, &descriptors, timeout_ms);

	if (got < 0)
		return fail(error, "the predecessor", "has closed the connection, or speaks another protocol");
	if (got == 0)
		return 0;
	if (message.type == FORGET) {
		drop_device(told, message.text);
		close_all(&descriptors);
		return 0;
	}
	if (message.type == REFUSED) {
		close_all(&descriptors);
		return fail(error, "the predecessor refuses", message.text);
	}
	if (message.type != SNAPSHOT || !hear_snapshot(told, &message, &descriptors)) {
		close_all(&descriptors);
		return fail(error, "the predecessor", "sends no state");
	}
	for (;;) {
		if (receive(connection, &message, &descriptors, HELLO_MS) <= 0 || message.type != DEVICE)
			return fail(error, "the predecessor", "does not send its devices");
		if (message.text[0] == 0 && descriptors.count == 0)
			return 1;
		if (!hear_device(told, &message, &descriptors))
			return fail(error, "the predecessor", "sends a device without a descriptor");
	}
}

bool handover_switch(int connection, struct ferrite_engine *engine, uint64_t *flows, char error[HANDOVER_ERROR_TEXT])
{
	struct message message = {.type = READY};
	struct descriptors descriptors;
	uint64_t refused;

	if (!send_message(connection, &message, NULL, 0)) {
		fail(error, "the predecessor", "is gone");
		return false;
	}
	for (;;) {
		if (receive(connection, &message, &descriptors, HELLO_MS) <= 0) {
			fail(error, "the predecessor", "does not stop");
			return false;
		}
		if (message.type != WIRE)
			break;
		message.peer.count = (uint8_t)descriptors.count;
		for (int i = 0; i < FERRITE_WIRE_DESCRIPTORS; ++i)
			message.peer.descriptors[i] = i < descriptors.count ? descriptors.all[i] : -1;
		if (descriptors.count > FERRITE_WIRE_DESCRIPTORS)
			close_all(&descriptors);
		else
			(void)ferrite_handover_wire_take(engine, &message.peer);
	}
	close_all(&descriptors);
	if (message.type != SWITCH) {
		fail(error, "the predecessor", "does not hand over");
		return false;
	}
	*flows = ferrite_handover_adopt(engine, false, &refused);
	message = (struct message){.type = TAKEN};
	if (!send_message(connection, &message, NULL, 0)) {
		fail(error, "the predecessor", "went on, it waited too long");
		return false;
	}
	return true;
}

void handover_wait_end(int connection, int timeout_ms)
{
	struct descriptors descriptors;
	struct message message;

	if (receive(connection, &message, &descriptors, timeout_ms) == 1)
		close_all(&descriptors);
}

/* --- Predecessor. */

int handover_greet(int connection)
{
	struct descriptors descriptors;
	struct message message;
	int got = handover_peer_is_ours(connection) ? receive(connection, &message, &descriptors, HELLO_MS) : 0;

	if (got == 1)
		close_all(&descriptors);
	return got == 1 && message.type == HELLO ? message.flags == WANTS_TO_FOLLOW : -1;
}

static void set_patience(int connection)
{
	struct timeval patience = {.tv_sec = SEND_MS / 1000};

	(void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static int state_memory(const struct control *control, uint64_t *length)
{
	size_t bytes = 0, done = 0;
	uint8_t *state = control_handover_save(control, &bytes);
	int descriptor = state != NULL ? memfd_create("ferrite-state", MFD_CLOEXEC) : -1;

	while (descriptor >= 0 && done < bytes) {
		ssize_t put = write(descriptor, state + done, bytes - done);

		if (put <= 0) {
			close(descriptor);
			descriptor = -1;
			break;
		}
		done += (size_t)put;
	}
	free(state);
	*length = bytes;
	return descriptor;
}

static bool send_device(int connection, const char *name, int descriptor)
{
	struct message message = {.type = DEVICE};

	snprintf(message.text, sizeof message.text, "%.127s", name);
	return send_message(connection, &message, &descriptor, descriptor >= 0 ? 1 : 0);
}

static bool refuse(int connection, const char *why)
{
	struct message message = {.type = REFUSED};

	snprintf(message.text, sizeof message.text, "%.127s", why);
	(void)send_message(connection, &message, NULL, 0);
	return false;
}

static bool tell(struct control *control, struct ferrite_engine *engine, int connection, int lock)
{
	static struct ferrite_handed devices[HANDOVER_DEVICES];
	struct message message = {.type = SNAPSHOT, .layout = ferrite_handover_layout(engine)};
	const char *obstacle = ferrite_handover_obstacle(engine);
	int descriptors[2] = {-1, ferrite_handover_tables(engine)};
	unsigned count;
	bool sent;

	set_patience(connection);
	if (obstacle != NULL) {
		log_warn("a device cannot be handed over", "device=%s", obstacle);
		return refuse(connection, "it has a device that cannot be handed over");
	}
	ferrite_handover_note(engine);
	descriptors[0] = state_memory(control, &message.length);
	if (descriptors[0] < 0)
		return refuse(connection, "no memory for its state");
	sent = send_message(connection, &message, descriptors, descriptors[1] >= 0 ? 2 : 1);
	close(descriptors[0]);
	count = sent ? ferrite_handover_devices(engine, devices, HANDOVER_DEVICES) : 0;
	for (unsigned i = 0; sent && i < count; ++i)
		sent = send_device(connection, devices[i].device, devices[i].descriptor);
	if (sent && lock >= 0)
		sent = send_device(connection, "lock:", lock);
	return sent && send_device(connection, "", -1);
}

bool handover_tell(struct control *control, struct ferrite_engine *engine, int connection)
{
	return tell(control, engine, connection, -1);
}

static bool wait_for(int connection, enum type type, int timeout_ms)
{
	struct descriptors descriptors;
	struct message message;

	if (receive(connection, &message, &descriptors, timeout_ms) != 1)
		return false;
	close_all(&descriptors);
	return message.type == type;
}

static bool hand_wire(struct ferrite_engine *engine, int connection)
{
	static struct ferrite_wire_peer peers[MAX_PEERS];
	unsigned count = ferrite_handover_wire(engine, peers, MAX_PEERS);
	bool sent = true;

	for (unsigned i = 0; sent && i < count; ++i) {
		struct message message = {.type = WIRE, .peer = peers[i]};

		sent = send_message(connection, &message, peers[i].descriptors, peers[i].count);
	}
	return sent;
}

/* Whether TAKEN was sent after all: nothing can be sent any more once we look. */
static bool taken_at_last(int connection)
{
	(void)shutdown(connection, SHUT_RD);
	return wait_for(connection, TAKEN, 0);
}

bool handover_give(struct control *control, struct ferrite_engine *engine, int connection, int lock)
{
	struct message message = {.type = SWITCH};
	char error[FERRITE_ERROR_TEXT] = "";

	log_info("handing over", "%s", "");
	if (!tell(control, engine, connection, lock) || !wait_for(connection, READY, READY_MS)) {
		log_warn("handover failed", "goes_on=yes stage=prepare");
		return false;
	}
	ferrite_handover_stop(engine);
	if (hand_wire(engine, connection) && send_message(connection, &message, NULL, 0) &&
	    wait_for(connection, TAKEN, TAKEN_MS))
		return true;
	if (taken_at_last(connection))
		return true;
	if (ferrite_handover_resume(engine, error) != 0)
		log_error("the worker did not start again", "error=\"%s\"", error);
	log_warn("handover failed", "goes_on=yes stage=switch");
	return false;
}

void handover_forget(int connection, const char *device)
{
	struct message message = {.type = FORGET};

	snprintf(message.text, sizeof message.text, "%.127s", device);
	(void)send_message(connection, &message, NULL, 0);
}

uint64_t handover_change(const struct control *control, const struct ferrite_engine *engine)
{
	struct control_state state;

	control_read_state(control, &state);
	return state.digest * 0x9e3779b97f4a7c15ULL + ferrite_handover_change(engine) + state.initialized;
}
