#include "packet/translate.h"

#include "packet/checksum.h"

/* The field of a packet's checksum from the start of its L4; 0: none that addresses or ports change. */
static uint32_t checksum_field(const struct tuple *tuple)
{
	return tuple->protocol == PROTOCOL_TCP ? 16 : tuple->protocol == PROTOCOL_UDP ? 6 : 0;
}

static inline void apply(void *field, uint32_t delta)
{
	uint16_t now;
	memcpy(&now, field, sizeof now);
	now = (uint16_t)~checksum_fold((uint64_t)(uint16_t)~now + delta);
	memcpy(field, &now, sizeof now);
}

/* What becomes of the sum of 16-bit words: old ones out, new ones in; not folded. */
static inline uint32_t delta16(uint16_t old, uint16_t new)
{
	return (uint32_t)(uint16_t)~old + new;
}

static inline uint32_t replace32(uint8_t *at, const uint8_t value[4])
{
	uint32_t old = raw32(at), new = raw32(value);
	memcpy(at, &new, sizeof new);
	return delta16((uint16_t)old, (uint16_t)new) + delta16((uint16_t)(old >> 16), (uint16_t)(new >> 16));
}

static inline uint32_t replace16(uint8_t *at, uint16_t value)
{
	uint16_t old;
	memcpy(&old, at, sizeof old);
	memcpy(at, &value, sizeof value);
	return delta16(old, value);
}

static inline uint32_t replace_addresses(uint8_t *ip, const struct rewrite *rewrite)
{
	uint32_t delta = 0;
	if ((rewrite->set & REWRITE_SOURCE_ADDRESS) != 0)
		delta += replace32(ip + 12, rewrite->source);
	if ((rewrite->set & REWRITE_DESTINATION_ADDRESS) != 0)
		delta += replace32(ip + 16, rewrite->destination);
	if (delta != 0)
		apply(ip + 10, delta);
	return delta;
}

static inline uint32_t replace_ports(uint8_t *l4, const struct tuple *tuple, const struct rewrite *rewrite)
{
	bool source = (rewrite->set & REWRITE_SOURCE_PORT) != 0;
	bool destination = (rewrite->set & REWRITE_DESTINATION_PORT) != 0;
	uint32_t delta = 0;
	if (tuple->icmp == ICMP_ECHO)
		return source ? replace16(l4 + 4, rewrite->source_port) :
			destination ? replace16(l4 + 4, rewrite->destination_port) : 0;
	if (source)
		delta += replace16(l4, rewrite->source_port);
	if (destination)
		delta += replace16(l4 + 2, rewrite->destination_port);
	return delta;
}

/* L4 of which `have` bytes are there. `addresses`: what changed in the pseudo header. */
static inline void translate_l4(uint8_t *l4, uint32_t have, const struct tuple *tuple, const struct rewrite *rewrite,
				uint32_t addresses, bool partial)
{
	if (tuple->icmp == ICMP_ECHO) {
		uint32_t ports = replace_ports(l4, tuple, rewrite);
		if (!partial && ports != 0)
			apply(l4 + 2, ports);
		return;
	}
	uint32_t field = checksum_field(tuple);
	if (field == 0)
		return;
	uint32_t delta = addresses + replace_ports(l4, tuple, rewrite);
	if (field + 2 > have)
		return;
	uint16_t now;
	memcpy(&now, l4 + field, sizeof now);
	if (partial) { /* the pseudo header's sum as it is, which ports are no part of */
		now = checksum_fold((uint64_t)now + addresses);
	} else if (field == 6) {
		if (now == 0 || delta == 0)
			return;
		now = (uint16_t)~checksum_fold((uint64_t)(uint16_t)~now + delta);
		now = now == 0 ? 0xffff : now;
	} else {
		now = delta == 0 ? now : (uint16_t)~checksum_fold((uint64_t)(uint16_t)~now + delta);
	}
	memcpy(l4 + field, &now, sizeof now);
}

void translate4(uint8_t *ip, const struct tuple *tuple, const struct rewrite *rewrite, const struct offload *offload)
{
	uint32_t addresses = replace_addresses(ip, rewrite);
	if (tuple->fragment != FRAGMENT_LATER)
		translate_l4(ip + tuple->l4_offset, (uint32_t)tuple->ip_length - tuple->l4_offset, tuple, rewrite,
			     addresses, offload->needs_checksum != 0);
}

bool translate4_error(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple,
		      const struct rewrite *outer, const struct rewrite *quoted)
{
	return false;
}
