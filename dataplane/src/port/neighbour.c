#include "port/neighbour.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

enum { READS = 16, ANSWER = 16384 };

int neighbour_socket(void)
{
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	/* The kernel then gives only the device's. */
	if (fd >= 0)
		(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
	return fd;
}

/* One neighbour message; `at` behind its header. */
static bool is_wanted(const uint8_t *at, size_t length, int device, const uint8_t *address, uint8_t mac[6])
{
	const uint16_t valid = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
	struct ndmsg about;
	bool same = address == NULL, has_mac = false;
	uint8_t found[6];
	if (length < sizeof about)
		return false;
	memcpy(&about, at, sizeof about);
	if (about.ndm_ifindex != device || about.ndm_family != AF_INET6 || (about.ndm_state & valid) == 0 ||
	    (address == NULL && (about.ndm_flags & NTF_ROUTER) == 0))
		return false;
	for (size_t offset = NLMSG_ALIGN(sizeof about); offset + sizeof(struct rtattr) <= length;) {
		struct rtattr attribute;
		memcpy(&attribute, at + offset, sizeof attribute);
		if (attribute.rta_len < sizeof attribute || attribute.rta_len > length - offset)
			return false;
		size_t size = attribute.rta_len - sizeof attribute;
		const uint8_t *value = at + offset + sizeof attribute;
		if (attribute.rta_type == NDA_DST && size == 16 && address != NULL)
			same = memcmp(value, address, 16) == 0;
		if (attribute.rta_type == NDA_LLADDR && size == 6 && (value[0] & 1) == 0) {
			memcpy(found, value, 6);
			has_mac = true;
		}
		offset += RTA_ALIGN(attribute.rta_len);
	}
	if (same && has_mac)
		memcpy(mac, found, 6);
	return same && has_mac;
}

bool neighbour_parse(const void *answers, size_t length, int device, const uint8_t *address, uint8_t mac[6], bool *done)
{
	const uint8_t *at = answers;
	*done = false;
	for (size_t offset = 0; offset + sizeof(struct nlmsghdr) <= length;) {
		struct nlmsghdr header;
		memcpy(&header, at + offset, sizeof header);
		if (header.nlmsg_len < sizeof header || header.nlmsg_len > length - offset)
			break;
		if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
			*done = true;
			return false;
		}
		if (header.nlmsg_type == RTM_NEWNEIGH &&
		    is_wanted(at + offset + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN, device, address, mac))
			return true;
		offset += NLMSG_ALIGN(header.nlmsg_len);
	}
	return false;
}

bool neighbour_find(int fd, int device, const uint8_t *address, uint8_t mac[6])
{
	struct { struct nlmsghdr header; struct ndmsg about; struct rtattr attribute; int32_t device; } question = {
		.header = {.nlmsg_len = sizeof question, .nlmsg_type = RTM_GETNEIGH,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.about = {.ndm_family = AF_INET6},
		.attribute = {.rta_len = sizeof(struct rtattr) + sizeof(int32_t), .rta_type = NDA_IFINDEX},
		.device = device,
	};
	static _Thread_local uint8_t answers[ANSWER];
	bool found = false, done = false;
	/* What is left of an answer that was too long would be taken for this one's. */
	for (unsigned i = 0; i < READS && recv(fd, answers, sizeof answers, MSG_DONTWAIT) > 0; i++)
		continue;
	if (send(fd, &question, sizeof question, MSG_DONTWAIT) < 0)
		return false;
	for (unsigned i = 0; i < READS && !done && !found; i++) {
		ssize_t got = recv(fd, answers, sizeof answers, MSG_DONTWAIT);
		if (got <= 0)
			break;
		found = neighbour_parse(answers, (size_t)got, device, address, mac, &done);
	}
	return found;
}
