#include "port/outside.h"

#include <stddef.h>

#include "packet/checksum.h"
#include "packet/mix.h"

enum { SOLICITATION = 135, ADVERTISEMENT = 136, OPTION_SOURCE = 1, OPTION_TARGET = 2, MESSAGE = 32 };

static void widen(uint8_t wide[16], uint8_t family, const uint8_t *address)
{
	memset(wide, 0, 16);
	memcpy(wide, address, family == 4 ? 4 : 16);
}

static struct outside_neighbour *place_of(struct outside_table *table, uint8_t family, const uint8_t wide[16], unsigned i)
{
	uint32_t start = (uint32_t)mix(raw64(wide) ^ family, raw64(wide + 8));
	return &table->entries[(start + i) % OUTSIDE_NEIGHBOURS];
}

struct outside_neighbour *outside_known(struct outside_table *table, uint8_t family, const uint8_t *address)
{
	uint8_t wide[16];
	widen(wide, family, address);
	for (unsigned i = 0; i < OUTSIDE_PLACES; i++) {
		struct outside_neighbour *entry = place_of(table, family, wide, i);
		if (entry->family == family && equal16(entry->address, wide))
			return entry;
	}
	return NULL;
}

/* Better to be given to somebody else. */
static bool staler(const struct outside_neighbour *one, const struct outside_neighbour *other)
{
	if (other == NULL || one->family == 0)
		return other == NULL || other->family != 0;
	return other->family != 0 && one->used_ms < other->used_ms;
}

struct outside_neighbour *outside_find(struct outside_table *table, uint8_t family, const uint8_t *address, uint64_t now_ms)
{
	struct outside_neighbour *entry = outside_known(table, family, address);
	uint8_t wide[16];
	if (entry != NULL) {
		entry->used_ms = now_ms;
		return entry;
	}
	widen(wide, family, address);
	for (unsigned i = 0; i < OUTSIDE_PLACES; i++) {
		struct outside_neighbour *candidate = place_of(table, family, wide, i);
		if (candidate->held_count == 0 && !candidate->fixed && staler(candidate, entry))
			entry = candidate;
	}
	if (entry == NULL)
		return NULL;
	*entry = (struct outside_neighbour){.family = family, .used_ms = now_ms};
	memcpy(entry->address, wide, 16);
	return entry;
}

bool outside_learn(struct outside_neighbour *neighbour, const uint8_t mac[6], uint64_t now_ms)
{
	if ((mac[0] & 1) != 0 || neighbour->fixed)
		return false;
	memcpy(neighbour->mac, mac, 6);
	neighbour->known = true;
	neighbour->tries = 0;
	neighbour->next_ms = now_ms + OUTSIDE_REFRESH_MS;
	return true;
}

static void put_ethernet(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], uint16_t type)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	store16(frame + 12, type);
}

static uint32_t put_arp(uint8_t *frame, const uint8_t to[6], uint16_t operation, const uint8_t mac[6], const uint8_t sender[4],
			const uint8_t target_mac[6], const uint8_t target[4])
{
	struct arp_message arp = {.hardware = {0, 1}, .protocol = {8, 0}, .hardware_length = 6, .protocol_length = 4};
	store16(arp.operation, operation);
	memcpy(arp.sender_mac, mac, 6);
	memcpy(arp.sender, sender, 4);
	memcpy(arp.target_mac, target_mac, 6);
	memcpy(arp.target, target, 4);
	put_ethernet(frame, to, mac, ETHERTYPE_ARP);
	memcpy(frame + ETHERNET_LENGTH, &arp, sizeof arp);
	return OUTSIDE_ARP_FRAME;
}

/* A solicitation or advertisement about `target` with our MAC as its option. */
static uint32_t put_nd(uint8_t *frame, const uint8_t to[6], const uint8_t mac[6], const uint8_t source[16],
		       const uint8_t destination[16], uint8_t type, uint32_t flags, const uint8_t target[16])
{
	struct ipv6_header ip = {.version_class_label = {0x60}, .next_header = PROTOCOL_ICMPV6, .hop_limit = 255};
	uint8_t message[MESSAGE] = {[0] = type, [24] = type == SOLICITATION ? OPTION_SOURCE : OPTION_TARGET, [25] = 1};
	store16(ip.payload_length, MESSAGE);
	memcpy(ip.source, source, 16);
	memcpy(ip.destination, destination, 16);
	store32(message + 4, flags);
	memcpy(message + 8, target, 16);
	memcpy(message + 26, mac, 6);
	checksum_put(message + 2, checksum_add(checksum_pseudo6(&ip, PROTOCOL_ICMPV6, MESSAGE), message, MESSAGE));
	put_ethernet(frame, to, mac, ETHERTYPE_IPV6);
	memcpy(frame + ETHERNET_LENGTH, &ip, sizeof ip);
	memcpy(frame + ETHERNET_LENGTH + IPV6_LENGTH, message, MESSAGE);
	return OUTSIDE_ND_FRAME;
}

uint32_t outside_ask(struct outside_neighbour *neighbour, const struct outside_self *self, uint64_t now_ms,
		     uint8_t frame[OUTSIDE_FRAME])
{
	static const uint8_t nobody[6], everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	if (neighbour->fixed || now_ms < neighbour->next_ms)
		return 0;
	if (neighbour->family == 4 ? raw32(self->ipv4) == 0 : zero16(self->ipv6))
		return 0;
	if (neighbour->tries >= OUTSIDE_TRIES)
		neighbour->known = false;
	neighbour->tries++;
	neighbour->next_ms = now_ms + OUTSIDE_RETRY_MS;
	if (neighbour->family == 4)
		return put_arp(frame, everybody, 1, self->mac, self->ipv4, nobody, neighbour->address);
	uint8_t group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff}, mac[6] = {0x33, 0x33, 0xff};
	memcpy(group + 13, neighbour->address + 13, 3);
	memcpy(mac + 3, neighbour->address + 13, 3);
	return put_nd(frame, mac, self->mac, self->ipv6, group, SOLICITATION, 0, neighbour->address);
}

struct outside_message outside_read_arp(const uint8_t *frame, uint32_t length)
{
	const struct arp_message *arp = (const struct arp_message *)(const void *)(frame + ETHERNET_LENGTH);
	struct outside_message message = {.kind = OUTSIDE_NOTHING};
	if (length < ETHERNET_LENGTH + ARP_LENGTH || load16(arp->hardware) != 1 || load16(arp->protocol) != ETHERTYPE_IPV4 ||
	    arp->hardware_length != 6 || arp->protocol_length != 4)
		return message;
	message.kind = load16(arp->operation) == 1 ? OUTSIDE_REQUEST : OUTSIDE_REPLY;
	message.sender = arp->sender;
	message.target = arp->target;
	memcpy(message.mac, arp->sender_mac, 6);
	return message;
}

/* The link-layer address in the options; false: they are damaged. `mac` stays where there is none. */
static bool read_options(const uint8_t *at, const uint8_t *end, uint8_t wanted, uint8_t mac[6])
{
	while (at < end) {
		if (end - at < 8 || at[1] == 0 || end - at < at[1] * 8)
			return false;
		if (at[0] == wanted)
			memcpy(mac, at + 2, 6);
		at += at[1] * 8;
	}
	return true;
}

struct outside_message outside_read_nd(const uint8_t *frame, uint32_t length)
{
	const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(frame + ETHERNET_LENGTH);
	const uint8_t *at = frame + ETHERNET_LENGTH + IPV6_LENGTH;
	struct outside_message message = {.kind = OUTSIDE_NOTHING, .sender = ip->source};
	uint32_t size = length - ETHERNET_LENGTH - IPV6_LENGTH;
	if (length < ETHERNET_LENGTH + IPV6_LENGTH + 24 || ip->hop_limit != 255 || at[1] != 0 ||
	    (at[0] != SOLICITATION && at[0] != ADVERTISEMENT))
		return message;
	/* Without a checksum that fits anybody's damaged frame could redirect an address. */
	if (checksum_fold(checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, size), at, size)) != 0xffff)
		return message;
	memcpy(message.mac, frame + 6, 6);
	message.target = at + 8;
	if (read_options(at + 24, at + size, at[0] == SOLICITATION ? OPTION_SOURCE : OPTION_TARGET, message.mac))
		message.kind = at[0] == SOLICITATION ? OUTSIDE_SOLICITATION : OUTSIDE_ADVERTISEMENT;
	return message;
}

uint32_t outside_answer_arp(const struct outside_self *self, const struct outside_message *message, uint8_t answer[OUTSIDE_FRAME])
{
	return put_arp(answer, message->mac, 2, self->mac, message->target, message->mac, message->sender);
}

uint32_t outside_answer_nd(const struct outside_self *self, const struct outside_message *message, const uint8_t to[6],
			   bool proxy, uint8_t answer[OUTSIDE_FRAME])
{
	static const uint8_t nodes[16] = {0xff, 0x02, [15] = 1}, group[6] = {0x33, 0x33, 0, 0, 0, 1};
	bool probe = zero16(message->sender);
	/* Router, solicited, override; a proxy leaves room for the address's own owner (RFC 4861, 7.2.8). */
	uint32_t flags = 0x80000000u | (probe ? 0 : 0x40000000u) | (proxy ? 0 : 0x20000000u);
	return put_nd(answer, probe ? group : to, self->mac, message->target, probe ? nodes : message->sender, ADVERTISEMENT,
		      flags, message->target);
}
