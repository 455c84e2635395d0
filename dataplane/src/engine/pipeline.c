/* Run to completion over a burst, in passes, so that what a packet will need is on its way while others are looked at.
 *
 * VM: (1) classify and fetch the flow bucket, (2) fetch the entry, (3) fetch where it leads, or what the first packet of a
 * flow needs, (4) act, or decide. Passes of their own do better than one pass that does each step for another packet.
 * Uplink: (0) fetch the endpoint that the outer destination names and its interface, (1) decap and fetch the bucket, (2) to
 * (4) as above.
 */
#include "stage/act.h"
#include "stage/classify.h"
#include "stage/decap.h"
#include "stage/decide.h"
#include "stage/edge.h"

/* The packet may be acted on as the entry says, without a look at anything else. */
static inline bool usual(const struct ferrite_engine *engine, const struct flow_entry *entry, const struct packet *packet,
			 uint32_t base)
{
	if (packet->protocol == PROTOCOL_TCP) {
		uint8_t flags = flow_flags(packet->tcp_flags);
		if (__builtin_expect(((flags & ~entry->shown) | (flags & TCP_SYN)) != 0, 0))
			return false;
	}
	return engine->flows.now - entry->last <= engine->flows.limits[entry->state] &&
		entry->epoch == epoch_of(engine, base, entry);
}

/* The flow of a packet, where its entry was fetched from. */
static inline struct flow_entry *found(const struct ferrite_engine *engine, const struct rte_mbuf *buffer,
				       struct flow_entry *candidate)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	bool wide = packet->family == 6;
	ip += wide ? 8 : 12;
	if (__builtin_expect(candidate != NULL && flow_equal(candidate, packet->context, packet->ports, ip, wide), 1))
		return candidate;
	return flow_find(&engine->flows, packet->hash, packet->context, packet->ports, ip, wide);
}

/* The entry that the packet probably has, on its way. */
static inline struct flow_entry *fetch_entry(const struct ferrite_engine *engine, const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	struct flow_entry *entry = flow_candidate(&engine->flows, packet->hash);
	flow_prefetch(entry, packet->family == 6);
	return entry;
}

/* Where the entry would send it: its route or the interface, which few flows share with the one before. Only a guess
 * that costs nothing when it is wrong. */
static inline void fetch_way(const struct ferrite_engine *engine, const struct flow_entry *entry)
{
	if (entry->action == FLOW_ROUTE) {
		rte_prefetch0(&engine->routes.entries[raw32(entry->target)]);
	} else if (entry->action == FLOW_DELIVER) {
		const char *target = (const char *)&engine->interfaces[raw32(entry->target)];
		rte_prefetch0(target);
		rte_prefetch0(target + 64);
	}
}

enum { AHEAD = 8 }; /* packets */

/* What every look at a packet begins with, and where an outer header will stand. */
static inline void fetch_packet(const struct rte_mbuf *buffer, int outer)
{
	rte_prefetch0(packet_data(buffer));
	rte_prefetch0(packet_data(buffer) + (outer != 0 ? -outer : 64)); /* behind an outer header another line begins */
	rte_prefetch0(packet_of(buffer));
}

/* The key that the other direction of a VM's flow will probably have, if a packet of it is its first. */
static uint64_t reply_hash(const struct ferrite_engine *engine, const struct interface *interface, const struct rte_mbuf *buffer)
{
	struct tuple tuple, back;
	struct flow_key key;
	unsigned kind = FLOW_FROM_INTERFACE;
	uint32_t index = interface->index;
	packet_tuple(buffer, &tuple);
	tuple_flip(&tuple, &back);
	if (tuple.family == 4 && interface->has_nat) {
		kind = FLOW_FROM_NAT;
		index = interface->nat.address;
		memcpy(back.addresses + 4, interface->nat.ip, 4);
		uint32_t port = __builtin_bswap16(nat_guess(engine->nats, &interface->nat, &tuple, engine->seed));
		back.ports = (back.ports & 0xffff) | port << 16;
	}
	flow_key_of(&key, engine->flows.seed, flow_context(kind, index, back.family, back.protocol), &back);
	return key.hash;
}

/* First packets of flows of a VM, by all appearances: what deciding them will look for is on its way before the first of
 * them is decided. Only guesses. Under the decide lock, as it reads what they read. */
static __attribute__((noinline)) void fetch_first(struct ferrite_engine *engine, const struct interface *interface,
						  struct rte_mbuf **burst, const uint8_t *first, unsigned count)
{
	const struct flow_table *flows = &engine->flows;
	uint64_t hashes[BURST];
	rte_spinlock_lock(&engine->decide_lock);
	for (unsigned i = 0; i < count; i++) {
		const struct rte_mbuf *buffer = burst[first[i]];
		const struct packet *packet = packet_of(buffer);
		hashes[i] = reply_hash(engine, interface, buffer);
		rte_prefetch0(&flows->buckets[flow_primary(flows, hashes[i])]);
		rte_prefetch0(&flows->buckets[flow_secondary(flows, hashes[i])]);
		if (packet->family == 4)
			route_fetch4(&engine->routes, interface->vni, packet_data(buffer) + packet->ip_offset + 16);
	}
	rte_spinlock_unlock(&engine->decide_lock);
	for (unsigned i = 0; i < count; i++)
		flow_prefetch(flow_candidate(flows, hashes[i]), true);
}

static inline void forward_vm(struct ferrite_engine *engine, struct port *port, struct interface *interface,
			      struct rte_mbuf *buffer, struct flow_entry *candidate, uint32_t base, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	struct flow_entry *entry = NULL;
	if (__builtin_expect(packet->plain, 1))
		entry = found(engine, buffer, candidate);
	if (__builtin_expect(entry == NULL || !usual(engine, entry, packet, base), 0)) {
		decide_vm(engine, port, interface, buffer);
		return;
	}
	if (__builtin_expect(interface->metered, 0) && !rate_take(&interface->total, engine->now_ms, packet->ip_length)) {
		DROP(engine, drop_meter_total, buffer);
		return;
	}
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 1, .reference = flow_place(&engine->flows, flow_original(&engine->flows, entry)));
	flow_renew(&engine->flows, entry, packet);
	act(engine, interface, buffer, entry, tally);
}

static inline void forward_underlay(struct ferrite_engine *engine, struct rte_mbuf *buffer,
				    struct flow_entry *candidate, struct tally *tally)
{
	const struct packet *packet = packet_of(buffer);
	struct flow_entry *entry = NULL;
	if (__builtin_expect(packet->plain, 1))
		entry = found(engine, buffer, candidate);
	if (__builtin_expect(entry == NULL || !usual(engine, entry, packet, 0), 0)) {
		if (flow_kind(packet->context) == FLOW_FROM_EDGE) /* which makes no flows */
			edge_overlay(engine, buffer, tally);
		else
			decide_underlay(engine, buffer);
		return;
	}
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 1, .reference = flow_place(&engine->flows, flow_original(&engine->flows, entry)));
	flow_renew(&engine->flows, entry, packet);
	act(engine, NULL, buffer, entry, tally);
}

/* What one endpoint handed on to another, which may hand it on. */
static inline void near(struct ferrite_engine *engine, struct tally *tally)
{
	while (__builtin_expect(engine->near_count > 0, 0)) {
		struct rte_mbuf *buffer = engine->near[--engine->near_count];
		const struct packet *packet = packet_of(buffer);
		classify_key(engine, buffer, flow_kind(packet->context), flow_index(packet->context));
		forward_underlay(engine, buffer, NULL, tally);
	}
}

/* A port of an edge, or of nobody. */
static void without_interface(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count,
			      struct tally *tally)
{
	struct edge *edge = __atomic_load_n(&port->edge, __ATOMIC_ACQUIRE);
	if (edge == NULL) {
		COUNT(engine, drop_no_interface, count);
		rte_pktmbuf_free_bulk(burst, count);
		return;
	}
	edge_outside(engine, edge, burst, count, tally);
	near(engine, tally);
	tally_add(engine, tally);
}

void pipeline_access(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct interface *interface = __atomic_load_n(&port->interface, __ATOMIC_ACQUIRE);
	COUNT(engine, stage_classify, count);
	struct tally tally = {0};
	if (interface == NULL) {
		without_interface(engine, port, burst, count, &tally);
		return;
	}
	struct flow_entry *entries[BURST];
	uint8_t first[BURST];
	unsigned first_count = 0;
	for (unsigned i = 0; i < count && i < AHEAD; i++)
		fetch_packet(burst[i], IPV6_LENGTH - ETHERNET_LENGTH);
	for (unsigned i = 0; i < count; i++) {
		if (i + AHEAD < count)
			fetch_packet(burst[i + AHEAD], IPV6_LENGTH - ETHERNET_LENGTH);
		classify(engine, interface, burst[i]);
		rte_prefetch0(&engine->flows.buckets[flow_primary(&engine->flows, packet_of(burst[i])->hash)]);
	}
	for (unsigned i = 0; i < count; i++)
		entries[i] = fetch_entry(engine, burst[i]);
	uint32_t base = epoch_of_vm(interface);
	for (unsigned i = 0; i < count; i++) {
		fetch_way(engine, entries[i]);
		if (__builtin_expect(entries[i]->ports != packet_of(burst[i])->ports && packet_of(burst[i])->plain, 0))
			first[first_count++] = (uint8_t)i;
	}
	if (__builtin_expect(first_count > 0, 0))
		fetch_first(engine, interface, burst, first, first_count);
	for (unsigned i = 0; i < count; i++)
		forward_vm(engine, port, interface, burst[i], entries[i], base, &tally);
	near(engine, &tally);
	tally_add(engine, &tally);
}

void pipeline_uplink(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct tally tally = {0};
	struct flow_entry *entries[BURST];
	unsigned kept = 0;
	COUNT(engine, stage_decap, count);
	for (unsigned i = 0; i < count && i < AHEAD; i++)
		fetch_packet(burst[i], 0);
	for (unsigned i = 0; i < count; i++) {
		if (i + AHEAD < count)
			fetch_packet(burst[i + AHEAD], 0);
		decap_fetch(engine, burst[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *buffer = burst[i];
		if (!decap(engine, buffer))
			continue;
		rte_prefetch0(&engine->flows.buckets[flow_primary(&engine->flows, packet_of(buffer)->hash)]);
		burst[kept++] = buffer;
	}
	for (unsigned i = 0; i < kept; i++)
		entries[i] = fetch_entry(engine, burst[i]);
	for (unsigned i = 0; i < kept; i++)
		fetch_way(engine, entries[i]);
	for (unsigned i = 0; i < kept; i++)
		forward_underlay(engine, burst[i], entries[i], &tally);
	near(engine, &tally);
	tally_add(engine, &tally);
}

void pipeline_flush(struct ferrite_engine *engine)
{
	for (unsigned i = 0; i < engine->dirty_count; i++) {
		struct port *port = engine->dirty[i];
		observe(engine, port, port->pending, port->pending_count, true);
		port->ops->transmit(port, port->pending, port->pending_count);
		port->pending_count = 0;
		port->dirty = false;
	}
	engine->dirty_count = 0;
}
