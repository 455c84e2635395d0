#include "stage/events.h"

#include <stdlib.h>

#include "stage/plan.h"
#include "table/memory.h"

static struct ferrite_flow_event *claim(struct ferrite_engine *engine, struct event_ring **ring)
{
	*ring = __atomic_load_n(&engine->events, __ATOMIC_ACQUIRE);
	if (*ring == NULL)
		return NULL;
	if ((*ring)->head - __atomic_load_n(&(*ring)->tail, __ATOMIC_ACQUIRE) == FERRITE_FLOW_EVENTS) {
		(*ring)->lost++;
		return NULL;
	}
	return &(*ring)->events[(*ring)->head % FERRITE_FLOW_EVENTS];
}

static void publish(struct event_ring *ring)
{
	__atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
}

static void fill_tuples(struct ferrite_flow_event *event, const struct tuple *first, const struct tuple *now)
{
	event->family = first->family;
	event->protocol = first->protocol;
	event->ports[0] = __builtin_bswap16((uint16_t)first->ports);
	event->ports[1] = __builtin_bswap16((uint16_t)(first->ports >> 16));
	memcpy(event->addresses, first->addresses, 32);
	event->translated = memcmp(first->addresses, now->addresses, 32) != 0 || first->ports != now->ports;
	if (!event->translated)
		return;
	event->translated_ports[0] = __builtin_bswap16((uint16_t)now->ports);
	event->translated_ports[1] = __builtin_bswap16((uint16_t)(now->ports >> 16));
	memcpy(event->translated_addresses, now->addresses, 32);
}

static void fill(struct ferrite_engine *engine, struct ferrite_flow_event *event, const struct flow_entry *original,
		 unsigned reason)
{
	const struct flow_entry *reply = flow_peer(&engine->flows, original);
	struct tuple first, now;
	bool balanced = original->owner >= OWNER_BALANCER;
	*event = (struct ferrite_flow_event){
		.time_ms = engine->now_ms, .reason = (uint8_t)reason, .interface = balanced ? 0 : original->owner,
		.balancer = (original->bits & FLOW_BALANCED) != 0 ? original->balancer : 0, .rule = original->rule,
		.from_vm = flow_kind(original->context) == FLOW_FROM_VM, .began_ms = engine->now_ms - (uint32_t)((uint32_t)engine->now_ms - original->began),
		.packets = {flow_packets(original), reply != NULL ? flow_packets(reply) : 0},
		.bytes = {original->bytes, reply != NULL ? reply->bytes : 0},
	};
	const struct balancer *balancer = balanced ? engine->balancers[original->owner - OWNER_BALANCER] : NULL;
	if (balanced)
		event->vni = balancer != NULL ? balancer->vni : 0;
	else if (engine->interfaces[original->owner].vni != NULL)
		event->vni = engine->interfaces[original->owner].vni->number;
	flow_tuple(original, &first);
	now = first;
	if (reply != NULL) {
		flow_tuple(reply, &now);
		tuple_flip(&now, &now);
	}
	fill_tuples(event, &first, &now);
}

void event_describe(struct ferrite_engine *engine, const struct flow_entry *original, struct ferrite_flow_event *event)
{
	fill(engine, event, original, FERRITE_FLOW_BEGUN);
}

void event_begun(struct ferrite_engine *engine, const struct flow_entry *original)
{
	struct event_ring *ring;
	struct ferrite_flow_event *event = claim(engine, &ring);
	if (event == NULL)
		return;
	fill(engine, event, original, FERRITE_FLOW_BEGUN);
	publish(ring);
}

void event_ended(void *context, struct flow_entry *original, unsigned reason)
{
	struct ferrite_engine *engine = context;
	struct event_ring *ring;
	nat_unmap(engine->nats, original->mapping);
	struct ferrite_flow_event *event = reason == FERRITE_FLOW_BEGUN ? NULL : claim(engine, &ring);
	if (event == NULL)
		return;
	fill(engine, event, original, reason);
	publish(ring);
}

void event_refused(struct ferrite_engine *engine, const struct plan *plan)
{
	struct event_ring *ring;
	struct ferrite_flow_event *event = engine->trace != NULL && !engine->trace->keep ? NULL : claim(engine, &ring);
	const struct interface *interface = plan->sender != NULL ? plan->sender : plan->receiver;
	if (event == NULL || interface == NULL)
		return;
	*event = (struct ferrite_flow_event){
		.time_ms = engine->now_ms, .began_ms = engine->now_ms, .reason = FERRITE_FLOW_REFUSED,
		.interface = interface->index, .vni = interface->vni->number, .rule = plan->rule,
		.balancer = (plan->bits & FLOW_BALANCED) != 0 ? plan->balancer : 0, .from_vm = plan->sender != NULL,
		.packets = {1}, .bytes = {plan->first.ip_length},
	};
	fill_tuples(event, &plan->first, &plan->now);
	publish(ring);
}

unsigned ferrite_flow_events(struct ferrite_engine *engine, struct ferrite_flow_event *events, unsigned limit)
{
	struct event_ring *ring = engine->events;
	if (ring == NULL) {
		ring = table_memory(sizeof *ring, 0);
		__atomic_store_n(&engine->events, ring, __ATOMIC_RELEASE);
		return 0;
	}
	uint32_t count = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) - ring->tail;
	count = count < limit ? count : limit;
	for (uint32_t i = 0; i < count; i++)
		events[i] = ring->events[(ring->tail + i) % FERRITE_FLOW_EVENTS];
	__atomic_store_n(&ring->tail, ring->tail + count, __ATOMIC_RELEASE);
	return count;
}
