/* A flow is decided anew, after something changed that could decide it otherwise.
 *
 * The same for both directions, and for the first packet of the reply direction: firewall over the original packet's
 * tuple, translation, target, then the way of the direction that the packet has. What the flow chose when it began
 * (translation, port, target) it keeps as long as that may be; only the route is looked up as if it were new.
 */
#include "stage/edge.h"
#include "stage/plan.h"

/* The packet of the original direction as it came, and as it leaves. */
static void tuples_of(const struct ferrite_engine *engine, const struct flow_entry *original, struct tuple *first,
		      struct tuple *now)
{
	const struct flow_entry *reply = flow_peer(&engine->flows, original);
	flow_tuple(original, first);
	if (first->icmp != ICMP_NONE) {
		first->icmp_type = original->shown;
		first->icmp_code = original->icmp_code;
	}
	*now = *first;
	if (reply != NULL) {
		flow_tuple(reply, now);
		tuple_flip(now, now);
		now->icmp_type = first->icmp_type;
		now->icmp_code = first->icmp_code;
	}
}

static const struct interface *receiver_of(const struct ferrite_engine *engine, const struct flow_entry *original)
{
	const struct flow_entry *reply = flow_peer(&engine->flows, original);
	return reply != NULL && flow_kind(reply->context) == FLOW_FROM_VM ? &engine->interfaces[flow_index(reply->context)] : NULL;
}

static const struct interface *sender_of(const struct ferrite_engine *engine, const struct flow_entry *original)
{
	return flow_kind(original->context) == FLOW_FROM_VM ? &engine->interfaces[flow_index(original->context)] : NULL;
}

/* As firewall_passes, but no hit of a rule. */
static bool still_passes(struct ferrite_engine *engine, const struct interface *interface, const struct tuple *tuple, bool egress)
{
	if (interface == NULL || interface->firewall == NULL)
		return true;
	struct firewall_verdict verdict = firewall_check(interface->firewall, tuple, egress);
	STEP(engine, .stage = FERRITE_STEP_FIREWALL, .decision = verdict.accept, .egress = egress, .interface = interface->index,
	     .reference = verdict.rule >= 0 ? interface->tags[verdict.rule] : 0);
	return verdict.accept;
}

/* The translation that it began with. */
static bool translation_stands(const struct flow_entry *original, const struct interface *sender,
			       const struct interface *receiver, const struct tuple *now)
{
	if ((original->bits & FLOW_BY_NAT) != 0) {
		uint32_t port = __builtin_bswap16(original->translate == FLOW_TO4 ? original->rewrite.source_port :
											 (uint16_t)now->ports);
		return sender->has_nat && raw32(sender->nat.ip) == raw32(original->rewrite.source) &&
			port >= sender->nat.min && port < sender->nat.max;
	}
	if ((original->bits & FLOW_BY_VIP) != 0 && (!sender->has_vip || raw32(sender->vip) != raw32(now->addresses)))
		return false;
	if ((original->bits & FLOW_TO_VIP) != 0)
		return receiver != NULL && receiver->has_vip && raw32(receiver->vip) == raw32(original->addresses + 4) &&
			raw32(receiver->ipv4) == raw32(now->addresses + 4);
	return true;
}

static bool target_stands(const struct balancer *balancer, const struct flow_entry *original)
{
	return balancer->set != NULL && balancer_has(balancer->set, original->hop);
}

static enum counter set_deliver(struct flow_entry *entry, uint32_t interface)
{
	entry->action = FLOW_DELIVER;
	memcpy(entry->target, &interface, sizeof interface);
	return NO_DROP;
}

/* Whether the other end of a VM's flow by a route is no longer where it was: on this host, or out of it. */
static bool has_moved(struct ferrite_engine *engine, const struct flow_entry *original, const struct interface *sender,
		      const struct interface *receiver, const struct tuple *first)
{
	struct way way;
	uint32_t there = 0;
	if (sender == NULL || original->translate == FLOW_SERVE || (original->bits & (FLOW_TO_VIP | FLOW_BALANCED)) != 0)
		return false;
	way_to(engine, sender, first, first->family, first->addresses + (first->family == 4 ? 4 : 16), &way);
	if (way.kind == WAY_NONE)
		return receiver != NULL;
	if (way.kind == WAY_LOCAL)
		there = way.interface;
	else if (way.kind == WAY_NEAR && way.endpoint != 0 &&
		 engine->endpoints.places[way.endpoint].kind != ENDPOINT_BALANCER && !endpoint_is_edge(engine, way.endpoint))
		there = engine->endpoints.places[way.endpoint].owner;
	return there != (receiver != NULL ? receiver->index : 0);
}

static bool is_public(const struct ferrite_engine *engine, const struct way *way)
{
	bool out = way->kind == WAY_FAR || (way->kind == WAY_NEAR && endpoint_is_edge(engine, way->endpoint));
	return out && way->length == 0;
}

/* The decision of this direction. NO_DROP, or why there is none now. */
static enum counter complete(struct ferrite_engine *engine, struct flow_entry *entry, const struct flow_entry *original,
			     const struct interface *sender, const struct interface *receiver, const struct tuple *first)
{
	const struct interface *other = entry == original ? receiver : sender, *from = entry == original ? sender : receiver;
	struct tuple sent, leaves;
	struct way way;
	if (entry == original && (original->translate == FLOW_SERVE || (original->bits & FLOW_BALANCED) != 0))
		return NO_DROP; /* as it began */
	if (other != NULL)
		return set_deliver(entry, other->index);
	if (from == NULL)
		return COUNTER_drop_interface_gone;
	flow_tuple(entry, &sent);
	leaves = *first;
	if (entry != original)
		tuple_flip(first, &leaves);
	way_to(engine, from, &sent, leaves.family, leaves.addresses + (leaves.family == 4 ? 4 : 16), &way);
	entry->source = from->endpoint;
	entry->bits = (uint8_t)((entry->bits & ~FLOW_PUBLIC) | (is_public(engine, &way) ? FLOW_PUBLIC : 0));
	switch (way.kind) {
	case WAY_LOCAL: /* whoever began it has come to this host */
		return set_deliver(entry, way.interface);
	case WAY_NEAR:
		if (way.endpoint == 0)
			return COUNTER_drop_route_miss;
		entry->action = FLOW_NEAR;
		flow_aim(entry, engine->endpoints.places[way.endpoint].underlay);
		return NO_DROP;
	case WAY_FAR:
		entry->action = way.action;
		flow_aim(entry, way.target);
		return engine->uplinks.count > 0 ? NO_DROP : COUNTER_drop_no_uplink;
	default:
		return COUNTER_drop_route_miss;
	}
}

static unsigned over(struct ferrite_engine *engine, struct flow_entry *original, unsigned why, unsigned result)
{
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 4, .reference = flow_place(&engine->flows, original));
	flow_end(&engine->flows, flow_place(&engine->flows, original), why);
	return result;
}

unsigned refresh(struct ferrite_engine *engine, struct flow_entry *entry, bool error, enum counter *reason)
{
	struct flow_entry *original = flow_original(&engine->flows, entry), *peer = flow_peer(&engine->flows, entry);
	const struct interface *sender = sender_of(engine, original), *receiver = receiver_of(engine, original);
	struct tuple first, now;
	bool from_vm = flow_kind(entry->context) == FLOW_FROM_VM;
	/* Before anything is read: what is decided below belongs to these or to newer ones. */
	uint32_t base = from_vm ? epoch_of_vm(&engine->interfaces[flow_index(entry->context)]) : 0;
	COUNT(engine, stage_flow_refresh, 1);
	tuples_of(engine, original, &first, &now);
	*reason = COUNTER_drop_firewall_egress;
	if (!still_passes(engine, sender, &first, true))
		return over(engine, original, FERRITE_FLOW_DENIED, REFRESH_DROP);
	*reason = COUNTER_drop_firewall_ingress;
	if (!still_passes(engine, receiver, &now, false))
		return over(engine, original, FERRITE_FLOW_DENIED, REFRESH_DROP);
	*reason = COUNTER_drop_flow_ended;
	if (!translation_stands(original, sender, receiver, &now))
		return over(engine, original, FERRITE_FLOW_TRANSLATION_GONE, REFRESH_DROP);
	if ((original->bits & FLOW_BALANCED) != 0) {
		const struct balancer *balancer = engine->balancers[original->balancer];
		if (balancer == NULL)
			return over(engine, original, FERRITE_FLOW_TARGET_GONE, REFRESH_GONE);
		*reason = COUNTER_drop_balancer_port;
		if (!error && !balancer_serves(balancer, &first))
			return REFRESH_DROP;
		if (!target_stands(balancer, original))
			return over(engine, original, FERRITE_FLOW_TARGET_GONE, REFRESH_ANSWER);
	}
	if (from_vm && has_moved(engine, original, sender, receiver, &first))
		return over(engine, original, FERRITE_FLOW_TRANSLATION_GONE, REFRESH_GONE);
	*reason = complete(engine, entry, original, sender, receiver, &first);
	if (*reason != NO_DROP)
		return REFRESH_DROP;
	/* What an error may pass, others may not; and it is no packet of its direction. */
	if (!error || ((original->bits & FLOW_BALANCED) == 0 && flow_packets(entry) > 0))
		entry->epoch = epoch_of(engine, base, entry);
	/* Packets in both directions: others than TCP live longer from now on. */
	if (!error && entry != original && flow_packets(entry) == 0 && peer != NULL && (uint8_t)entry->context != PROTOCOL_TCP)
		entry->state = peer->state = FLOW_BOTH;
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 2, .reference = flow_place(&engine->flows, original));
	return REFRESH_FRESH;
}
