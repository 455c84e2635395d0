#include "stage/plan.h"

#include "packet/murmur.h"
#include "stage/edge.h"

static const uint8_t NAT64_PREFIX[12] = {0, 0x64, 0xff, 0x9b};

bool interface_owns(const struct ferrite_engine *engine, const struct interface *interface, uint8_t family,
		    const uint8_t *address)
{
	if (family == 4 ? interface->has4 && raw32(interface->ipv4) == raw32(address) :
			  interface->has6 && equal16(interface->ipv6, address))
		return true;
	for (uint32_t at = __atomic_load_n(&interface->prefixes, __ATOMIC_ACQUIRE); at != 0;
	     at = __atomic_load_n(&engine->endpoints.prefixes[at].next, __ATOMIC_ACQUIRE))
		if (prefix_holds(&engine->endpoints.prefixes[at], family, address))
			return true;
	return false;
}

bool endpoint_takes(const struct ferrite_engine *engine, const struct endpoint *endpoint, uint32_t place, uint8_t family,
		    const uint8_t *destination)
{
	const struct interface *interface;
	const struct balancer *balancer;
	switch (endpoint->kind) {
	case ENDPOINT_INTERFACE:
		interface = &engine->interfaces[endpoint->owner];
		return family == 4 ? interface->has4 && raw32(interface->ipv4) == raw32(destination) :
				     interface->has6 && equal16(interface->ipv6, destination);
	case ENDPOINT_ALIAS_PREFIX:
	case ENDPOINT_BALANCER_PREFIX:
		return prefix_holds(&engine->endpoints.prefixes[place], family, destination);
	case ENDPOINT_VIP:
		interface = &engine->interfaces[endpoint->owner];
		return family == 4 && __atomic_load_n(&interface->has_vip, __ATOMIC_RELAXED) && interface->has4 && raw32(interface->vip) == raw32(destination);
	case ENDPOINT_NAT:
		return family == 4 && raw32(engine->nat_groups[endpoint->detail].ip) == raw32(destination);
	case ENDPOINT_BALANCER:
		balancer = __atomic_load_n(&engine->balancers[endpoint->owner], __ATOMIC_ACQUIRE);
		return balancer != NULL && balancer->family == family &&
			memcmp(balancer->address, destination, family == 4 ? 4 : 16) == 0;
	case ENDPOINT_EDGE:
		return true; /* whatever is outside */
	default:
		return false;
	}
}

const struct virtual_service *service_find(const struct ferrite_engine *engine, const struct tuple *tuple)
{
	if (engine->service_count == 0 || tuple->family != 4)
		return NULL;
	for (unsigned i = 0; i < engine->service_count; i++) {
		const struct ferrite_virtual_service *about = &engine->services[i].about;
		if (about->protocol == tuple->protocol && raw32(about->ip.bytes) == raw32(tuple->addresses + 4) &&
		    __builtin_bswap16((uint16_t)(tuple->ports >> 16)) == about->port)
			return &engine->services[i];
	}
	return NULL;
}

static void step_route(struct ferrite_engine *engine, const struct route_entry *entry, const struct way *way)
{
	struct ferrite_trace_step step = {.stage = FERRITE_STEP_ROUTE, .decision = way->kind == WAY_NONE ? 0 : way->kind == WAY_LOCAL ? 1 : 2};
	if (entry != NULL) {
		step.prefix = (struct ferrite_route_key){.vni = entry->vni, .family = entry->family, .length = entry->length};
		memcpy(step.prefix.prefix, entry->prefix, 16);
		step.interface = way->interface;
		if (way->kind != WAY_LOCAL && !entry->several)
			route_hop(entry, step.address.bytes);
		else if (way->kind == WAY_FAR)
			memcpy(step.address.bytes, way->target, 16);
	}
	trace_step(engine, &step);
}

void way_to(struct ferrite_engine *engine, const struct interface *from, const struct tuple *tuple, uint8_t family,
	    const uint8_t *destination, struct way *way)
{
	const struct route_entry *found = family == 6 ? route_lookup6(&engine->routes, from->vni, destination) :
							route_lookup4(&engine->routes, from->vni, destination);
	*way = (struct way){.kind = WAY_NONE};
	if (found != NULL) {
		const struct route_hops *hops = route_hops_of(found);
		uint8_t hop[16];
		way->family = found->family;
		way->length = found->length;
		if (hops != NULL)
			memcpy(hop, hops->hops[balancer_choose(hops->set, choice_hash(tuple, engine->seed))].address.bytes, 16);
		else
			route_hop(found, hop);
		if (found->local) {
			way->kind = WAY_LOCAL;
			way->interface = found->interface;
		} else if (raw64(hop) == raw64(engine->prefix)) {
			way->kind = WAY_NEAR; /* no need to leave the host */
			way->endpoint = endpoint_find(&engine->endpoints, hop);
		} else {
			uint32_t index = (uint32_t)(found - engine->routes.entries);
			way->kind = WAY_FAR;
			way->action = hops != NULL ? FLOW_HOP : FLOW_ROUTE;
			if (hops != NULL)
				memcpy(way->target, hop, 16);
			else
				memcpy(way->target, &index, sizeof index);
		}
	}
	if (__builtin_expect(engine->trace != NULL, 0))
		step_route(engine, found, way);
}

bool firewall_passes(struct ferrite_engine *engine, const struct interface *interface, const struct tuple *tuple, bool egress,
		     uint32_t *tag)
{
	*tag = 0;
	if (interface->firewall == NULL)
		return true;
	struct firewall_verdict verdict = firewall_check(interface->firewall, tuple, egress);
	if (verdict.rule >= 0)
		*tag = interface->tags[verdict.rule];
	/* Kept apart from the check: a flow that is decided anew is not another hit. */
	STEP(engine, .stage = FERRITE_STEP_FIREWALL, .decision = verdict.accept, .egress = egress, .interface = interface->index,
	     .reference = *tag);
	if (engine->trace == NULL || engine->trace->keep)
		*firewall_counter(interface->firewall, verdict.rule) += 1;
	return verdict.accept;
}

static unsigned no(struct plan *plan, enum counter reason)
{
	plan->reason = reason;
	return PLAN_DROP;
}

/* Flows and new flows a second of whom it is charged to. */
static enum counter limit(struct ferrite_engine *engine, struct interface *owner)
{
	uint32_t most = owner->flow_limit != 0 ? owner->flow_limit : engine->default_flow_limit;
	if (engine->flows.owners[owner->index] >= most)
		return COUNTER_drop_flow_limit;
	return rate_take(&owner->flow_rate, engine->now_ms, 1) ? NO_DROP : COUNTER_drop_flow_rate;
}

struct question {
	const struct ferrite_engine *engine;
	struct tuple reply; /* destination port is what is asked for */
	uint32_t context;
};

static bool taken(void *context, uint16_t port)
{
	struct question *question = context;
	struct tuple *reply = &question->reply;
	uint32_t raw = __builtin_bswap16(port);
	reply->ports = (reply->icmp == ICMP_ECHO ? raw : reply->ports & 0xffff) | raw << 16;
	struct flow_key key;
	flow_key_of(&key, question->engine->flows.seed, question->context, reply);
	const struct flow_entry *entry = flow_find_key(&question->engine->flows, &key);
	return entry != NULL && flow_live(&question->engine->flows, entry);
}

static void put_source_port(struct plan *plan, uint16_t port)
{
	uint32_t raw = __builtin_bswap16(port);
	plan->outside_port = (uint16_t)raw;
	plan->now.ports = (plan->now.ports & 0xffff0000u) | raw;
	if (plan->now.icmp == ICMP_ECHO)
		plan->now.ports = raw | raw << 16;
}

/* Gives `now` a port of the range; its other fields are those that it leaves with. */
static enum counter take_port(struct ferrite_engine *engine, struct plan *plan, const struct nat_range *range, unsigned kind,
			      uint32_t index)
{
	struct question question = {.engine = engine};
	uint16_t port = 0;
	tuple_flip(&plan->now, &question.reply);
	question.context = flow_context(kind, index, plan->now.family, plan->now.protocol);
	uint32_t mapping = nat_map(engine->nats, range, &plan->first, engine->seed, taken, &question, &port);
	if (mapping == NAT_EXHAUSTED)
		return COUNTER_drop_nat_exhausted;
	plan->mapping = mapping == NAT_SHARED ? 0 : mapping;
	put_source_port(plan, port);
	plan->reply_kind = (uint8_t)kind;
	plan->reply_index = index;
	return NO_DROP;
}

static enum counter by_nat(struct ferrite_engine *engine, struct plan *plan, bool nat64)
{
	struct interface *sender = plan->sender;
	if (nat64 && plan->first.fragment != FRAGMENT_WHOLE)
		return COUNTER_drop_fragment;
	if (nat_protocol_index(&plan->first) < 0)
		return COUNTER_drop_nat_protocol;
	if (nat64) {
		memset(plan->now.addresses, 0, 32);
		memcpy(plan->now.addresses + 4, plan->first.addresses + 28, 4);
		plan->now.family = 4;
		plan->now.protocol = plan->first.protocol == PROTOCOL_ICMPV6 ? PROTOCOL_ICMP : plan->first.protocol;
		plan->translate = FLOW_TO4;
	}
	memcpy(plan->now.addresses, sender->nat.ip, 4);
	enum counter reason = take_port(engine, plan, &sender->nat, FLOW_FROM_NAT, sender->nat.address);
	plan->bits |= FLOW_BY_NAT;
	if (reason == NO_DROP)
		STEP(engine, .stage = FERRITE_STEP_NAT, .decision = nat64 ? 3 : 2, .interface = sender->index,
		     .address = {{sender->nat.ip[0], sender->nat.ip[1], sender->nat.ip[2], sender->nat.ip[3]}},
		     .port = __builtin_bswap16(plan->outside_port));
	return reason;
}

static bool is_nat64(const struct plan *plan, const struct way *way)
{
	return plan->now.family == 6 && way->length == 0 && plan->sender->has_nat &&
		memcmp(plan->now.addresses + 16, NAT64_PREFIX, 12) == 0;
}

static unsigned leave(struct ferrite_engine *engine, struct plan *plan, const struct way *way)
{
	enum counter reason = NO_DROP;
	bool outside = way->length == 0, near = way->kind == WAY_NEAR;
	if (engine->uplinks.count == 0 && !near)
		return no(plan, COUNTER_drop_no_uplink);
	plan->action = near ? FLOW_NEAR : way->action;
	memcpy(plan->target, near ? engine->endpoints.places[way->endpoint].underlay : way->target, 16);
	plan->bits |= outside ? FLOW_PUBLIC : 0;
	plan->reply_kind = FLOW_FROM_INTERFACE;
	plan->reply_index = plan->sender->index;
	plan->source = plan->sender->endpoint;
	if (outside && plan->now.family == 4 && plan->sender->has_nat) {
		reason = by_nat(engine, plan, false);
	} else if (is_nat64(plan, way)) {
		reason = by_nat(engine, plan, true);
	} else if (outside && plan->now.family == 4 && plan->sender->has_vip) {
		memcpy(plan->now.addresses, plan->sender->vip, 4);
		plan->bits |= FLOW_BY_VIP;
		STEP(engine, .stage = FERRITE_STEP_NAT, .decision = 1, .interface = plan->sender->index,
		     .address = {{plan->sender->vip[0], plan->sender->vip[1], plan->sender->vip[2], plan->sender->vip[3]}});
	}
	return reason == NO_DROP ? PLAN_FLOW : no(plan, reason);
}

static unsigned deliver_to(struct ferrite_engine *engine, struct plan *plan, struct interface *receiver)
{
	uint32_t tag;
	if (__atomic_load_n(&receiver->state, __ATOMIC_ACQUIRE) == 0)
		return no(plan, COUNTER_drop_interface_gone);
	plan->receiver = receiver;
	if (receiver == plan->sender && (plan->bits & FLOW_TO_VIP) == 0)
		return no(plan, COUNTER_drop_route_miss);
	if (!firewall_passes(engine, receiver, &plan->now, false, &tag)) {
		plan->rule = tag;
		return no(plan, COUNTER_drop_firewall_ingress);
	}
	if (plan->sender == NULL) {
		enum counter reason = limit(engine, receiver);
		if (reason != NO_DROP)
			return no(plan, reason);
		plan->rule = tag;
		plan->owner = receiver->index;
	} else if (plan->rule == 0) {
		plan->rule = tag; /* no rule of the sender's decided it */
	}
	plan->action = FLOW_DELIVER;
	memset(plan->target, 0, 16);
	memcpy(plan->target, &receiver->index, sizeof receiver->index);
	plan->reply_kind = FLOW_FROM_VM;
	plan->reply_index = receiver->index;
	return PLAN_FLOW;
}

static unsigned arrive(struct ferrite_engine *engine, struct plan *plan, uint32_t place);

static unsigned arrive_nat(struct ferrite_engine *engine, struct plan *plan, const struct endpoint *endpoint)
{
	const struct nat_group *group = &engine->nat_groups[endpoint->detail];
	const struct tuple *now = &plan->now;
	if (plan->from.kind != FLOW_FROM_NAT) {
		struct flow_key key;
		flow_key_of(&key, engine->flows.seed, flow_context(FLOW_FROM_NAT, endpoint->detail, 4, now->protocol), now);
		plan->follow = flow_find_key(&engine->flows, &key);
		if (plan->follow != NULL && flow_live(&engine->flows, plan->follow))
			return PLAN_FOLLOW;
	}
	uint16_t port = now->icmp == ICMP_ERROR ? plan->error_port : __builtin_bswap16((uint16_t)(now->ports >> 16));
	const uint8_t *neighbor = neighbor_nat_find(engine->neighbor_nats, group->vni, group->ip, port);
	if (neighbor != NULL) {
		memcpy(plan->target, neighbor, 16);
		STEP(engine, .stage = FERRITE_STEP_NAT, .decision = 4, .port = port);
		return engine->uplinks.count > 0 ? PLAN_RELAY : no(plan, COUNTER_drop_no_uplink);
	}
	if (now->icmp == ICMP_ECHO && now->icmp_type == 8)
		return PLAN_ECHO;
	return no(plan, COUNTER_drop_nat_unknown);
}

bool balancer_serves(const struct balancer *balancer, const struct tuple *tuple)
{
	uint16_t port = __builtin_bswap16((uint16_t)(tuple->ports >> 16));
	for (unsigned i = 0; i < balancer->port_count; i++)
		if (balancer->ports[i].protocol == tuple->protocol && port >= balancer->ports[i].first &&
		    port <= balancer->ports[i].last)
			return true;
	return false;
}

static unsigned arrive_balancer(struct ferrite_engine *engine, struct plan *plan, const struct endpoint *endpoint)
{
	const struct balancer *balancer = engine->balancers[endpoint->owner];
	const struct tuple *now = &plan->now;
	if (now->icmp == ICMP_ECHO && now->icmp_type == (now->family == 4 ? 8 : 128))
		return PLAN_ECHO;
	if (!balancer_serves(balancer, now))
		return no(plan, COUNTER_drop_balancer_port);
	const uint8_t *target = balancer_pick(balancer->set, choice_hash(now, engine->seed));
	if (target == NULL)
		return no(plan, COUNTER_drop_balancer_empty);
	if (engine->uplinks.count == 0 && raw64(target) != raw64(engine->prefix))
		return no(plan, COUNTER_drop_no_uplink);
	plan->balancer = endpoint->owner;
	plan->bits |= FLOW_BALANCED;
	plan->owner = OWNER_BALANCER + endpoint->owner;
	plan->action = raw64(target) == raw64(engine->prefix) ? FLOW_NEAR : FLOW_HOP;
	memcpy(plan->target, target, 16);
	STEP(engine, .stage = FERRITE_STEP_BALANCER, .reference = endpoint->owner,
	     .address = *(const ferrite_ipv6 *)(const void *)target);
	plan->reply_kind = FLOW_FROM_NOWHERE;
	if (plan->action == FLOW_NEAR) /* there it is another flow's */
		return PLAN_FLOW;
	/* The target answers the client itself: to a VM of this host, or past us. */
	if (plan->sender != NULL) {
		plan->reply_kind = FLOW_FROM_INTERFACE;
		plan->reply_index = plan->sender->index;
	}
	return PLAN_FLOW;
}

/* The plan goes on at an endpoint of this host. */
static unsigned arrive(struct ferrite_engine *engine, struct plan *plan, uint32_t place)
{
	const struct endpoint seen = endpoint_seen(&engine->endpoints, place), *endpoint = &seen;
	if (++plan->depth > PLAN_DEPTH)
		return no(plan, COUNTER_drop_route_miss);
	STEP(engine, .stage = FERRITE_STEP_ARRIVE, .decision = endpoint->kind, .interface = endpoint->owner);
	if (!endpoint_takes(engine, endpoint, place, plan->now.family,
			    plan->now.addresses + (plan->now.family == 4 ? 4 : 16)))
		return no(plan, COUNTER_drop_inner_foreign);
	plan->source = place;
	struct interface *owner = &engine->interfaces[endpoint->owner];
	switch (endpoint->kind) {
	case ENDPOINT_VIP:
		memcpy(plan->now.addresses + 4, owner->ipv4, 4);
		if (owner == plan->sender) /* a VM that calls itself gets it from its VIP */
			memcpy(plan->now.addresses, owner->vip, 4);
		plan->bits |= FLOW_TO_VIP;
		return deliver_to(engine, plan, owner);
	case ENDPOINT_NAT:
		return arrive_nat(engine, plan, endpoint);
	case ENDPOINT_BALANCER:
		return arrive_balancer(engine, plan, endpoint);
	case ENDPOINT_EDGE: /* it makes no flows (stage/edge.h) */
		return no(plan, COUNTER_drop_edge_unknown);
	default:
		return deliver_to(engine, plan, owner);
	}
}

static unsigned to_service(struct ferrite_engine *engine, struct plan *plan, const struct virtual_service *service)
{
	uint32_t index = (uint32_t)(service - engine->services);
	if (plan->first.fragment != FRAGMENT_WHOLE)
		return no(plan, COUNTER_drop_fragment);
	if (engine->uplinks.count == 0)
		return no(plan, COUNTER_drop_no_uplink);
	struct nat_range range = {.interface = plan->sender->index, .vni = plan->sender->vni->number, .min = 1024, .max = 65536,
				  .address = NAT_SERVICE_GROUP + index};
	memcpy(range.ip, service->about.ip.bytes, 4);
	uint16_t port;
	store16(&port, service->about.target_port);
	plan->now.family = 6;
	memcpy(plan->now.addresses, service->underlay, 16);
	memcpy(plan->now.addresses + 16, service->about.target.bytes, 16);
	plan->now.ports = (plan->now.ports & 0xffff) | (uint32_t)port << 16;
	plan->translate = FLOW_SERVE;
	plan->action = FLOW_PLAIN;
	memcpy(plan->target, &index, sizeof index);
	enum counter reason = take_port(engine, plan, &range, FLOW_FROM_SERVICE, index);
	if (reason != NO_DROP)
		return no(plan, reason);
	STEP(engine, .stage = FERRITE_STEP_NAT, .decision = 5, .reference = index, .address = service->about.target,
	     .port = __builtin_bswap16(plan->outside_port));
	return PLAN_FLOW;
}

static unsigned from_vm(struct ferrite_engine *engine, struct plan *plan)
{
	struct interface *sender = plan->sender;
	const uint8_t *destination = plan->first.addresses + (plan->first.family == 4 ? 4 : 16);
	plan->owner = sender->index;
	if (!firewall_passes(engine, sender, &plan->first, true, &plan->rule))
		return no(plan, COUNTER_drop_firewall_egress);
	enum counter reason = limit(engine, sender);
	if (reason != NO_DROP)
		return no(plan, reason);
	const struct virtual_service *service = service_find(engine, &plan->first);
	if (service != NULL)
		return to_service(engine, plan, service);
	uint32_t place = service_address_find(&engine->service_addresses, sender->vni->number, plan->first.family, destination);
	if (place != 0)
		return arrive(engine, plan, place);
	struct way way;
	way_to(engine, sender, &plan->first, plan->first.family, destination, &way);
	switch (way.kind) {
	case WAY_LOCAL:
		return deliver_to(engine, plan, &engine->interfaces[way.interface]);
	case WAY_NEAR:
		if (endpoint_is_edge(engine, way.endpoint)) /* out of the overlay, as by one of another host */
			return leave(engine, plan, &way);
		return way.endpoint == 0 ? no(plan, COUNTER_drop_route_miss) : arrive(engine, plan, way.endpoint);
	case WAY_FAR:
		return leave(engine, plan, &way);
	default:
		return no(plan, COUNTER_drop_route_miss);
	}
}

unsigned plan_make(struct ferrite_engine *engine, struct plan *plan)
{
	plan->now = plan->first;
	plan->sender = plan->from.vm;
	/* A route that goes while the plan is made leaves a flow that is decided anew, not one that keeps it. */
	plan->base = plan->sender != NULL ? epoch_of_vm(plan->sender) : 0;
	return plan->sender != NULL ? from_vm(engine, plan) : arrive(engine, plan, plan->from.endpoint);
}

/* What makes `to` of `from`, both IPv4. */
static void rewrite_of(const struct tuple *from, const struct tuple *to, struct rewrite *rewrite)
{
	*rewrite = (struct rewrite){.source_port = (uint16_t)to->ports, .destination_port = (uint16_t)(to->ports >> 16)};
	memcpy(rewrite->source, to->addresses, 4);
	memcpy(rewrite->destination, to->addresses + 4, 4);
	if (raw32(from->addresses) != raw32(to->addresses))
		rewrite->set |= REWRITE_SOURCE_ADDRESS;
	if (raw32(from->addresses + 4) != raw32(to->addresses + 4))
		rewrite->set |= REWRITE_DESTINATION_ADDRESS;
	if ((uint16_t)from->ports != (uint16_t)to->ports)
		rewrite->set |= REWRITE_SOURCE_PORT;
	if (from->ports >> 16 != to->ports >> 16 && from->icmp != ICMP_ECHO)
		rewrite->set |= REWRITE_DESTINATION_PORT;
}

/* Ends whatever has the key. */
static void make_room(struct ferrite_engine *engine, const struct flow_key *key)
{
	struct flow_entry *entry = flow_find_key(&engine->flows, key);
	if (entry != NULL)
		flow_end(&engine->flows, flow_place(&engine->flows, entry),
			 (entry->bits & FLOW_CLOSING) != 0 ? FERRITE_FLOW_CLOSED : FERRITE_FLOW_EXPIRED);
}

static void fill_reply(const struct plan *plan, struct flow_entry *reply, const struct tuple *back)
{
	struct tuple home;
	tuple_flip(&plan->first, &home);
	switch (plan->translate) {
	case FLOW_TO4: reply->translate = FLOW_TO6; return;
	case FLOW_SERVE: reply->translate = FLOW_SERVED; return;
	default:
		if (back->family == 4)
			rewrite_of(back, &home, &reply->rewrite);
		reply->translate = reply->rewrite.set != 0 ? FLOW_REWRITE : 0;
	}
}

struct flow_entry *plan_begin(struct ferrite_engine *engine, struct plan *plan)
{
	struct flow_table *flows = &engine->flows;
	struct flow_key key, back_key;
	struct tuple back;
	bool replies = plan->reply_kind != FLOW_FROM_NOWHERE;
	flow_key_of(&key, flows->seed, flow_context(plan->from.kind, plan->from.index, plan->first.family, plan->first.protocol),
		    &plan->first);
	tuple_flip(&plan->now, &back);
	flow_key_of(&back_key, flows->seed,
		    flow_context(plan->reply_kind, plan->reply_index, back.family, back.protocol), &back);
	make_room(engine, &key);
	if (replies)
		make_room(engine, &back_key);
	uint32_t index = flow_begin(flows, &key, replies ? &back_key : NULL, plan->owner);
	if (index == FLOW_NONE) {
		nat_unmap(engine->nats, plan->mapping);
		plan->reason = COUNTER_drop_flow_table;
		return NULL;
	}
	struct flow_entry *entry = &flows->entries[index], *reply = flow_peer(flows, entry);
	entry->action = plan->action;
	entry->bits = plan->bits;
	entry->translate = plan->translate;
	flow_aim(entry, plan->target);
	entry->mapping = plan->mapping;
	entry->rule = plan->rule;
	entry->balancer = (uint16_t)plan->balancer;
	entry->source = plan->source;
	if (plan->translate == 0 && plan->first.family == 4) {
		rewrite_of(&plan->first, &plan->now, &entry->rewrite);
		entry->translate = entry->rewrite.set != 0 ? FLOW_REWRITE : 0;
	} else if (plan->translate != 0) {
		entry->rewrite.source_port = plan->outside_port;
		memcpy(entry->rewrite.source, plan->now.addresses, 4);
		memcpy(entry->rewrite.destination, plan->now.addresses + 4, 4);
	}
	if (reply != NULL)
		fill_reply(plan, reply, &back);
	entry->epoch = epoch_of(engine, plan->base, entry);
	if (reply != NULL) { /* its first packet completes it */
		reply->action = plan->reply_kind == FLOW_FROM_VM ? 0 : FLOW_DELIVER;
		if (reply->action == FLOW_DELIVER)
			memcpy(reply->target, &plan->from.index, sizeof plan->from.index);
		reply->bits |= plan->bits & FLOW_BALANCED; /* a change of the balancer is one for what targets answer, too */
		reply->balancer = (uint16_t)plan->balancer;
		uint32_t base = plan->reply_kind == FLOW_FROM_VM ? epoch_of_vm(&engine->interfaces[plan->reply_index]) : 0;
		reply->epoch = epoch_of(engine, base, reply) - 1;
	}
	COUNT(engine, stage_flow_begin, 1);
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 3, .reference = index);
	if (plan->first.protocol == PROTOCOL_TCP) {
		flow_show(flows, entry, flow_flags(plan->first.tcp_flags));
	} else { /* of ICMP: what a firewall asks when the flow is decided anew */
		entry->shown = plan->first.icmp_type;
		entry->icmp_code = plan->first.icmp_code;
	}
	if (engine->trace != NULL)
		engine->trace->begun = index;
	if (engine->trace == NULL || engine->trace->keep)
		event_begun(engine, entry);
	return entry;
}
