#include "port/link.h"

#include <stddef.h>

#include "packet/checksum.h"

enum { SOLICITATION = 135, ADVERTISEMENT = 136, OPTION_SOURCE = 1, OPTION_TARGET = 2 };

struct link_entry *link_find(struct link_table *table, const uint8_t destination[16], uint64_t now_ms)
{
	const uint8_t *target = table->has_gateway ? table->gateway : destination;
	struct link_entry *spare = NULL;
	unsigned start = table->has_gateway ? 0 : (destination[7] ^ destination[5] * 7u) % LINK_ENTRIES;
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		struct link_entry *entry = &table->entries[(start + i) % LINK_ENTRIES];
		if (entry->used && raw64(entry->key) == raw64(target)) {
			if (!entry->known)
				memcpy(entry->target, target, 16);
			return entry;
		}
		if (!entry->used) {
			spare = entry;
			break;
		}
		if (entry->held_count == 0 && now_ms - entry->used_ms > LINK_REFRESH_MS &&
		    (spare == NULL || entry->used_ms < spare->used_ms))
			spare = entry;
	}
	if (spare == NULL)
		return NULL;
	memset(spare, 0, sizeof *spare);
	spare->used = true;
	memcpy(spare->key, target, 8);
	memcpy(spare->target, target, 16);
	return spare;
}

/* Ethernet, IPv6 and checksum around an ICMPv6 message of 32 bytes that is in place. */
static uint32_t finish(const struct link_table *table, uint8_t *frame, const uint8_t mac[6], const uint8_t source[16],
		       const uint8_t destination[16])
{
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(frame + ETHERNET_LENGTH);
	uint8_t *message = frame + ETHERNET_LENGTH + IPV6_LENGTH;
	memcpy(frame, mac, 6);
	memcpy(frame + 6, table->mac, 6);
	store16(frame + 12, ETHERTYPE_IPV6);
	*ip = (struct ipv6_header){.next_header = PROTOCOL_ICMPV6, .hop_limit = 255};
	ip->version_class_label[0] = 0x60;
	store16(ip->payload_length, 32);
	memcpy(ip->source, source, 16);
	memcpy(ip->destination, destination, 16);
	message[25] = 1; /* one option of eight bytes with our MAC */
	memcpy(message + 26, table->mac, 6);
	checksum_put(message + 2, checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, 32), message, 32));
	return LINK_FRAME;
}

uint32_t link_solicit(struct link_table *table, struct link_entry *entry, uint64_t now_ms, uint8_t frame[LINK_FRAME])
{
	if (now_ms < entry->next_ms)
		return 0;
	if (entry->tries >= LINK_TRIES)
		entry->known = false;
	entry->tries++;
	entry->next_ms = now_ms + LINK_RETRY_MS;
	uint8_t *message = frame + ETHERNET_LENGTH + IPV6_LENGTH;
	uint8_t multicast[16] = {0xff, 0x02, [11] = 1, [12] = 0xff}, mac[6] = {0x33, 0x33, 0xff};
	memcpy(multicast + 13, entry->target + 13, 3);
	memcpy(mac + 3, entry->target + 13, 3);
	/* The link-local address that belongs to the MAC: a router can answer it without a route to our prefix. */
	uint8_t source[16] = {0xfe, 0x80, [8] = table->mac[0] ^ 2, table->mac[1], table->mac[2], 0xff, 0xfe,
			      table->mac[3], table->mac[4], table->mac[5]};
	memset(message, 0, 32);
	message[0] = SOLICITATION;
	memcpy(message + 8, entry->target, 16);
	message[24] = OPTION_SOURCE;
	return finish(table, frame, mac, source, multicast);
}

/* The link-layer address in the options; NULL: none. */
static const uint8_t *option_mac(const uint8_t *at, const uint8_t *end, uint8_t wanted)
{
	while (end - at >= 8 && at[1] != 0 && end - at >= at[1] * 8) {
		if (at[0] == wanted)
			return at + 2;
		at += at[1] * 8;
	}
	return NULL;
}

static struct link_entry *learn(struct link_table *table, const uint8_t address[16], const uint8_t mac[6],
				uint64_t now_ms)
{
	if ((mac[0] & 1) != 0)
		return NULL;
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		struct link_entry *entry = &table->entries[i];
		if (!entry->used || raw64(entry->key) != raw64(address) ||
		    (table->has_gateway && !equal16(table->gateway, address)))
			continue;
		memcpy(entry->mac, mac, 6);
		entry->known = true;
		entry->tries = 0;
		entry->next_ms = now_ms + LINK_REFRESH_MS;
		return entry;
	}
	return NULL;
}

uint32_t link_input(struct link_table *table, const uint8_t *frame, uint32_t length, uint64_t now_ms,
		    uint8_t answer[LINK_FRAME], struct link_entry **resolved)
{
	*resolved = NULL;
	if (length < ETHERNET_LENGTH + IPV6_LENGTH + 24)
		return 0;
	const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(frame + ETHERNET_LENGTH);
	const uint8_t *message = frame + ETHERNET_LENGTH + IPV6_LENGTH;
	uint32_t payload = load16(ip->payload_length);
	if (ip->version_class_label[0] >> 4 != 6 || ip->next_header != PROTOCOL_ICMPV6 || ip->hop_limit != 255 ||
	    payload < 24 || length < ETHERNET_LENGTH + IPV6_LENGTH + payload || message[1] != 0)
		return 0;
	/* Without a checksum that fits anybody's damaged frame could redirect a prefix. */
	if (checksum_fold(checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, payload), message, payload)) != 0xffff)
		return 0;
	const uint8_t *options = message + 24, *end = message + payload;
	if (message[0] == ADVERTISEMENT) {
		const uint8_t *mac = option_mac(options, end, OPTION_TARGET);
		*resolved = learn(table, message + 8, mac != NULL ? mac : frame + 6, now_ms);
		return 0;
	}
	if (message[0] != SOLICITATION || raw64(message + 8) != raw64(table->prefix) || zero16(ip->source))
		return 0;
	const uint8_t *mac = option_mac(options, end, OPTION_SOURCE);
	mac = mac != NULL ? mac : frame + 6;
	uint8_t *reply = answer + ETHERNET_LENGTH + IPV6_LENGTH;
	memset(reply, 0, 32);
	reply[0] = ADVERTISEMENT;
	reply[4] = 0x60; /* solicited, override */
	memcpy(reply + 8, message + 8, 16);
	reply[24] = OPTION_TARGET;
	return finish(table, answer, mac, message + 8, ip->source);
}
