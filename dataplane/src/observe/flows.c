/* The flows that are there, for whoever asks: the worker copies a piece of its table at a time, between two bursts, so that
 * what is told of a flow is of one moment. */
#include <errno.h>
#include <stdlib.h>

#include "engine/state.h"
#include "ferrite/observe.h"
#include "stage/events.h"

enum { PIECE_BUCKETS = 512, PIECE_FLOWS = PIECE_BUCKETS * 8 };

struct piece {
	const struct ferrite_flow_query *query;
	uint32_t at;   /* first bucket */
	unsigned count;
	struct ferrite_flow flows[PIECE_FLOWS];
};

static bool delivers(const struct flow_entry *entry, uint32_t interface)
{
	return entry != NULL && entry->action == FLOW_DELIVER && raw32(entry->target) == interface;
}

static bool starts_with(const uint8_t *address, const uint8_t *prefix, unsigned length)
{
	uint8_t rest = (uint8_t)(0xff00 >> length % 8);
	return memcmp(address, prefix, length / 8) == 0 &&
		((address[length / 8] ^ prefix[length / 8]) & rest) == 0;
}

static bool has_address(const uint8_t *addresses, unsigned family, const struct ferrite_flow_query *query)
{
	uint8_t padded[2][17] = {0};
	size_t size = family == 4 ? 4 : 16;
	uint8_t prefix[17] = {0};
	memcpy(padded[0], addresses, size);
	memcpy(padded[1], addresses + size, size);
	memcpy(prefix, query->prefix, 16);
	return query->family == family && (starts_with(padded[0], prefix, query->length) ||
					   starts_with(padded[1], prefix, query->length));
}

static bool is_wanted(const struct ferrite_flow_query *query, const struct ferrite_flow_event *flow)
{
	if (query->protocol != 0 && query->protocol != flow->protocol)
		return false;
	if (query->port != 0 && query->port != flow->ports[0] && query->port != flow->ports[1])
		return false;
	return query->family == 0 || has_address(flow->addresses, flow->family, query) ||
		(flow->translated && (has_address(flow->translated_addresses, 4, query) ||
				      has_address(flow->translated_addresses, 6, query)));
}

static void look(struct ferrite_engine *engine, struct piece *piece, const struct flow_entry *original)
{
	struct ferrite_flow *flow = &piece->flows[piece->count];
	const struct flow_entry *reply = flow_peer(&engine->flows, original);
	uint32_t interface = piece->query->interface, idle = engine->flows.now - original->last;
	if ((original->bits & FLOW_REPLY) != 0 || !flow_live(&engine->flows, original))
		return;
	if (interface != 0 && original->owner != interface && !delivers(original, interface) && !delivers(reply, interface))
		return;
	event_describe(engine, original, &flow->about);
	if (!is_wanted(piece->query, &flow->about))
		return;
	if (reply != NULL && engine->flows.now - reply->last < idle)
		idle = engine->flows.now - reply->last;
	flow->about.time_ms -= idle;
	flow->established = original->state == FLOW_ESTABLISHED;
	piece->count++;
}

static bool copy_piece(struct ferrite_engine *engine, void *argument)
{
	struct piece *piece = argument;
	rte_spinlock_lock(&engine->decide_lock);
	for (uint32_t at = piece->at; at < piece->at + PIECE_BUCKETS && at <= engine->flows.mask; at++)
		for (unsigned slot = 0; slot < 8; slot++)
			if (engine->flows.buckets[at].tags[slot] != 0)
				look(engine, piece, &engine->flows.entries[(size_t)at * 8 + slot]);
	rte_spinlock_unlock(&engine->decide_lock);
	return true;
}

int ferrite_flow_each(struct ferrite_engine *engine, const struct ferrite_flow_query *query,
		      bool (*visit)(void *context, const struct ferrite_flow *flow), void *context)
{
	struct piece *piece = malloc(sizeof *piece);
	if (piece == NULL)
		return -ENOMEM;
	for (uint32_t at = 0; at <= engine->flows.mask && flow_count(&engine->flows) > 0; at += PIECE_BUCKETS) {
		piece->query = query;
		piece->at = at;
		piece->count = 0;
		engine_run(engine, copy_piece, piece);
		for (unsigned i = 0; i < piece->count; i++)
			if (!visit(context, &piece->flows[i])) {
				free(piece);
				return 0;
			}
	}
	free(piece);
	return 0;
}
