/* The one program that runs in a test VM and at its peers: what busybox has no word for. Static, no library.
 *
 *   agent lease6 DEVICE            a DHCPv6 lease (solicit, advertise, request, reply); prints the address
 *   agent sink ADDRESS PORT        takes one connection's bytes to its end; prints bytes, milliseconds, sum
 *   agent pour ADDRESS PORT BYTES  connects, sends that many; prints bytes, milliseconds, sum
 *   agent echo ADDRESS PORT        gives each connection its bytes back, until it is killed
 *   agent hold ADDRESS PORT COUNT  sends a line every 100 ms, waits for each to come back; prints how many did and
 *                                  the longest wait in milliseconds
 *
 * Bytes are a sequence that the place in the stream decides, so that a sum tells whether they arrived as sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, WHOLE = 2 << 20, STRIDE = 61 };
static uint8_t chunk[CHUNK];

static void stop(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int address_of(const char *text, const char *port, struct sockaddr_storage *address, socklen_t *length)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof *address);
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)atoi(port));
		*length = sizeof *v4;
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)atoi(port));
		*length = sizeof *v6;
	} else {
		fprintf(stderr, "%s is no address\n", text);
		exit(2);
	}
	return address->ss_family;
}

static int listener(const char *text, const char *port)
{
	struct sockaddr_storage address;
	socklen_t length;
	int one = 1, fd = socket(address_of(text, port, &address, &length), SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 8) < 0)
		stop("listen");
	return fd;
}

static int connected(const char *text, const char *port)
{
	struct sockaddr_storage address;
	socklen_t length;
	int family = address_of(text, port, &address, &length);
	for (int tries = 0; tries < 50; tries++) { /* the peer may not listen yet */
		int fd = socket(family, SOCK_STREAM, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, length) == 0)
			return fd;
		if (errno != ECONNREFUSED)
			break;
		close(fd);
		usleep(100000);
	}
	stop("connect");
	return -1;
}

/* Every byte of the first megabytes, then one of 61: an emulated processor would measure nothing but this. */
static uint32_t sum_of(uint32_t sum, uint64_t place, const uint8_t *data, size_t length)
{
	size_t i = 0;
	for (; i < length && place + i < WHOLE; i++)
		sum = (sum << 1 | sum >> 31) + data[i];
	while (i < length && (place + i) % STRIDE != 0)
		i++;
	for (; i < length; i += STRIDE)
		sum = (sum << 1 | sum >> 31) + data[i];
	return sum;
}

static void sink(const char *text, const char *port)
{
	int door = listener(text, port);
	printf("ready\n");
	fflush(stdout);
	int fd = accept(door, NULL, NULL);
	uint64_t bytes = 0, begin = now_ms();
	uint32_t sum = 0;
	ssize_t got;
	while ((got = recv(fd, chunk, CHUNK, 0)) > 0) {
		sum = sum_of(sum, bytes, chunk, (size_t)got);
		bytes += (uint64_t)got;
	}
	if (got < 0)
		stop("recv");
	printf("%llu %llu %08x\n", (unsigned long long)bytes, (unsigned long long)(now_ms() - begin), sum);
}

static void pour(const char *text, const char *port, uint64_t wanted)
{
	uint64_t bytes = 0, begin;
	uint32_t sum = 0;
	for (size_t i = 0; i < CHUNK; i++)
		chunk[i] = (uint8_t)(i * 7 + (i >> 8) + (i >> 16));
	int fd = connected(text, port);
	printf("ready\n");
	fflush(stdout);
	begin = now_ms();
	while (bytes < wanted) {
		size_t offset = bytes % CHUNK, part = CHUNK - offset;
		if (part > wanted - bytes)
			part = (size_t)(wanted - bytes);
		ssize_t sent = send(fd, chunk + offset, part, 0);
		if (sent <= 0)
			stop("send");
		sum = sum_of(sum, bytes, chunk + offset, (size_t)sent);
		bytes += (uint64_t)sent;
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, chunk, 1, 0) < 0) /* the peer's end: it has them all */
		stop("end");
	printf("%llu %llu %08x\n", (unsigned long long)bytes, (unsigned long long)(now_ms() - begin), sum);
}

static void echo(const char *text, const char *port)
{
	int door = listener(text, port);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int fd = accept(door, NULL, NULL);
		ssize_t got;
		if (fd < 0)
			continue;
		if (fork() == 0) {
			while ((got = recv(fd, chunk, CHUNK, 0)) > 0)
				for (ssize_t done = 0; done < got;) {
					ssize_t sent = send(fd, chunk + done, (size_t)(got - done), 0);
					if (sent <= 0)
						_exit(1);
					done += sent;
				}
			_exit(0);
		}
		close(fd);
	}
}

static void hold(const char *text, const char *port, unsigned count)
{
	int fd = connected(text, port);
	struct timeval limit = {.tv_sec = 60};
	uint64_t longest = 0;
	unsigned back = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	printf("ready\n");
	fflush(stdout);
	for (; back < count; back++) {
		char line[16], answer[16];
		size_t have = 0;
		uint64_t begin = now_ms();
		snprintf(line, sizeof line, "%015u", back);
		if (send(fd, line, sizeof line, 0) != sizeof line)
			stop("send");
		while (have < sizeof answer) {
			ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
			if (got <= 0)
				stop("recv");
			have += (size_t)got;
		}
		if (memcmp(line, answer, sizeof line) != 0)
			stop("other bytes came back");
		if (now_ms() - begin > longest)
			longest = now_ms() - begin;
		usleep(100000);
	}
	printf("%u %llu\n", back, (unsigned long long)longest);
}

/* Options 1 (client), 3 (IA_NA 7), 8 (elapsed). */
static size_t dhcp6_message(uint8_t *to, uint8_t type, const uint8_t mac[6], const uint8_t *server, size_t server_length)
{
	const uint8_t head[] = {type, 0x51, 0x52, 0x53, 0, 1, 0, 10, 0, 3, 0, 1};
	const uint8_t rest[] = {0, 8, 0, 2, 0, 0, 0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0};
	size_t at = sizeof head;
	memcpy(to, head, at);
	memcpy(to + at, mac, 6);
	at += 6;
	memcpy(to + at, rest, sizeof rest);
	at += sizeof rest;
	memcpy(to + at, server, server_length);
	return at + server_length;
}

/* An option's place with its four bytes of head. */
static const uint8_t *dhcp6_option(const uint8_t *at, const uint8_t *end, unsigned code)
{
	while (end - at >= 4 && end - at >= 4 + (at[2] << 8 | at[3])) {
		if ((unsigned)(at[0] << 8 | at[1]) == code)
			return at;
		at += 4 + (at[2] << 8 | at[3]);
	}
	return NULL;
}

static void lease6(const char *device)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(546)};
	struct sockaddr_in6 all = {.sin6_family = AF_INET6, .sin6_port = htons(547), .sin6_scope_id = if_nametoindex(device)};
	struct timeval limit = {.tv_sec = 1};
	struct ifreq request = {0};
	uint8_t message[512], answer[1024], server[128];
	size_t server_length = 0;
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	inet_pton(AF_INET6, "ff02::1:2", &all.sin6_addr);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", device);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		stop(device);
	for (int tries = 0; tries < 20; tries++) {
		size_t length = dhcp6_message(message, server_length == 0 ? 1 : 3, (uint8_t *)request.ifr_hwaddr.sa_data,
					      server, server_length);
		if (sendto(fd, message, length, 0, (struct sockaddr *)&all, sizeof all) < 0) {
			usleep(300000); /* the link-local address is tentative at first */
			continue;
		}
		ssize_t got = recv(fd, answer, sizeof answer, 0);
		if (got < 4 || memcmp(answer + 1, message + 1, 3) != 0)
			continue;
		const uint8_t *end = answer + got, *id = dhcp6_option(answer + 4, end, 2);
		const uint8_t *association = dhcp6_option(answer + 4, end, 3);
		if (answer[0] == 2 && id != NULL && 4u + id[3] <= sizeof server) {
			server_length = 4u + id[3];
			memcpy(server, id, server_length);
		} else if (answer[0] == 7 && association != NULL) {
			const uint8_t *address = dhcp6_option(association + 16, end, 5);
			char text[INET6_ADDRSTRLEN];
			if (address == NULL)
				continue;
			printf("%s\n", inet_ntop(AF_INET6, address + 4, text, sizeof text));
			return;
		}
	}
	fprintf(stderr, "no DHCPv6 lease\n");
	exit(1);
}

int main(int count, char **word)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	if (count == 3 && strcmp(word[1], "lease6") == 0)
		lease6(word[2]);
	else if (count == 4 && strcmp(word[1], "sink") == 0)
		sink(word[2], word[3]);
	else if (count == 5 && strcmp(word[1], "pour") == 0)
		pour(word[2], word[3], strtoull(word[4], NULL, 10));
	else if (count == 4 && strcmp(word[1], "echo") == 0)
		echo(word[2], word[3]);
	else if (count == 5 && strcmp(word[1], "hold") == 0)
		hold(word[2], word[3], (unsigned)atoi(word[4]));
	else
		return 2;
	return 0;
}
