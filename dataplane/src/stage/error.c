/* ICMP errors about live flows: translated as the flow is, error and quoted packet alike. */
#include "packet/nat64.h"
#include "stage/plan.h"

static void swap_sides(const struct rewrite *rewrite, struct rewrite *quoted)
{
	*quoted = (struct rewrite){
		.set = (uint8_t)((rewrite->set & REWRITE_SOURCE_ADDRESS) << 1 | (rewrite->set & REWRITE_DESTINATION_ADDRESS) >> 1 |
				 (rewrite->set & REWRITE_SOURCE_PORT) << 1 | (rewrite->set & REWRITE_DESTINATION_PORT) >> 1),
		.source_port = rewrite->destination_port, .destination_port = rewrite->source_port,
	};
	memcpy(quoted->source, rewrite->destination, 4);
	memcpy(quoted->destination, rewrite->source, 4);
}

static bool rewrite_error(struct rte_mbuf *buffer, const struct flow_entry *entry, const struct tuple *tuple)
{
	struct rewrite outer = entry->rewrite, quoted;
	outer.set &= REWRITE_SOURCE_ADDRESS | REWRITE_DESTINATION_ADDRESS;
	if (raw32(tuple->addresses) != raw32(entry->addresses)) /* a router on the way: its own address stays */
		outer.set &= (uint8_t)~REWRITE_SOURCE_ADDRESS;
	swap_sides(&entry->rewrite, &quoted);
	return translate4_error(buffer, packet_of(buffer)->ip_offset, tuple, &outer, &quoted);
}

/* Sends the error where packets of the flow go. */
static void send_error(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer,
		       const struct flow_entry *entry, const struct tuple *tuple)
{
	struct flow_entry way = *entry;
	struct tally tally = {0};
	COUNT(engine, stage_icmp_error, 1);
	if (entry->translate == FLOW_REWRITE) {
		if (!rewrite_error(buffer, entry, tuple)) {
			DROP(engine, drop_malformed, buffer);
			return;
		}
		way.translate = 0;
	}
	if (entry->translate == FLOW_TO6) { /* `act` asks the peer of the entry that it is given */
		struct flow_entry *self = &engine->flows.entries[engine->flows.entries[entry->peer].peer];
		act(engine, from->vm, buffer, self, &tally);
	} else {
		act(engine, from->vm, buffer, &way, &tally);
	}
	tally_add(engine, &tally);
}

bool icmp_error(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer, struct tuple *tuple,
		uint16_t *quoted_port)
{
	const struct packet *packet = packet_of(buffer);
	struct tuple quoted;
	struct flow_key key;
	enum counter reason;
	uint32_t start = (uint32_t)packet->l4_offset + ICMP_LENGTH;
	*quoted_port = 0;
	if (buffer->data_len <= start || tuple->fragment != FRAGMENT_WHOLE ||
	    parse_quoted(packet_data(buffer) + start, buffer->data_len - start, &quoted) != PARSE_OK ||
	    quoted.family != tuple->family || quoted.fragment == FRAGMENT_LATER)
		return false;
	*quoted_port = __builtin_bswap16((uint16_t)quoted.ports);
	tuple_flip(&quoted, &quoted);
	flow_key_of(&key, engine->flows.seed, flow_context(from->kind, from->index, quoted.family, quoted.protocol), &quoted);
	struct flow_entry *entry = flow_find_key(&engine->flows, &key);
	if (entry == NULL || !flow_live(&engine->flows, entry))
		return false;
	uint32_t base = from->vm != NULL ? epoch_of_vm(from->vm) : 0;
	bool fresh = entry->epoch == epoch_of(engine, base, entry);
	unsigned result = fresh ? REFRESH_FRESH : refresh(engine, entry, true, &reason);
	if (result == REFRESH_GONE)
		return false;
	if (result == REFRESH_FRESH)
		send_error(engine, from, buffer, entry, tuple);
	else
		drop(engine, result == REFRESH_ANSWER ? COUNTER_drop_flow_ended : reason, buffer);
	return true;
}
