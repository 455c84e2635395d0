/* The pipeline, run to completion over a burst: three passes from a VM, two from the uplink.
 *
 * VM: (1) classify and fetch the flow bucket, (2) fetch the entry, (3) look it up and rewrite, or decide.
 * Uplink: (1) fetch the interface that the outer destination names, (2) decap.
 */
#include "stage/classify.h"
#include "stage/decap.h"
#include "stage/decide.h"
#include "stage/encap.h"

/* What one burst did, added to the engine's counters at its end. */
struct tally {
	unsigned encap, deliver;
};

static inline void forward(struct ferrite_engine *engine, struct port *port, struct interface *interface,
			   struct rte_mbuf *buffer, uint32_t epoch, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + ETHERNET_LENGTH;
	bool wide = packet->family == 6;
	const struct flow_entry *flow = NULL;
	if (__builtin_expect(packet->family != 0 && packet->to_gateway, 1))
		flow = flow_find(&engine->flows, packet->hash, packet->context, packet->ports,
				 wide ? ip + 8 : ip + 12, wide, epoch);
	if (__builtin_expect(flow == NULL, 0)) {
		decide(engine, port, interface, buffer);
		return;
	}
	if (maybe_too_big(engine, buffer) && too_big(engine, port, interface, buffer))
		return;
	if (flow->kind == FLOW_ENCAP) {
		tally->encap++;
		encap(engine, interface, buffer, flow->target);
		return;
	}
	const struct interface *target = &engine->interfaces[raw32(flow->target)];
	if (__builtin_expect(__atomic_load_n(&target->state, __ATOMIC_ACQUIRE) == 0, 0)) {
		DROP(engine, drop_interface_gone, buffer);
		return;
	}
	tally->deliver++;
	packet->ip_offset = ETHERNET_LENGTH;
	deliver(engine, target, buffer, packet->family);
}

void pipeline_access(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct interface *interface = __atomic_load_n(&port->interface, __ATOMIC_ACQUIRE);
	COUNT(engine, stage_classify, count);
	if (interface == NULL) {
		COUNT(engine, drop_no_interface, count);
		rte_pktmbuf_free_bulk(burst, count);
		return;
	}
	struct tally tally = {0};
	uint64_t seed = engine->flows.seed;
	uint32_t epoch = vni_epoch(interface->vni);
	for (unsigned i = 0; i < count && i < 4; i++) {
		rte_prefetch0(packet_data(burst[i]));
		rte_prefetch0(packet_of(burst[i]));
	}
	for (unsigned i = 0; i < count; i++) {
		if (i + 4 < count) {
			rte_prefetch0(packet_data(burst[i + 4]));
			rte_prefetch0(packet_of(burst[i + 4]));
		}
		classify(port, interface, seed, burst[i]);
		rte_prefetch0(&engine->flows.buckets[flow_primary(&engine->flows, packet_of(burst[i])->hash)]);
	}
	for (unsigned i = 0; i < count; i++)
		rte_prefetch0(flow_candidate(&engine->flows, packet_of(burst[i])->hash));
	for (unsigned i = 0; i < count; i++)
		forward(engine, port, interface, burst[i], epoch, &tally);
	COUNT(engine, stage_encap, tally.encap);
	COUNT(engine, stage_deliver, tally.deliver);
}

void pipeline_uplink(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count && i < 4; i++)
		rte_prefetch0(packet_data(burst[i]));
	for (unsigned i = 0; i < count; i++) {
		if (i + 4 < count)
			rte_prefetch0(packet_data(burst[i + 4]));
		const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(burst[i]);
		uint32_t index = burst[i]->data_len >= IPV6_LENGTH ? underlay_index(outer->destination) : 0;
		rte_prefetch0(&engine->interfaces[index < FERRITE_MAX_INTERFACES ? index : 0]);
		rte_prefetch0(packet_of(burst[i]));
	}
	unsigned delivered = 0;
	for (unsigned i = 0; i < count; i++)
		delivered += decap(engine, burst[i]);
	COUNT(engine, stage_decap, count);
	COUNT(engine, stage_deliver, delivered);
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
