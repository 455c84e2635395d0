#include "stage/decide.h"

#include "packet/answer.h"
#include "stage/classify.h"
#include "stage/decap.h"
#include "stage/edge.h"
#include "stage/plan.h"
#include "stage/service.h"

typedef bool service(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);

/* The first fragment leaves its ports, a later one takes them, and with them its key. False: nobody knows them. */
static bool know_fragment(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer,
			  struct tuple *tuple)
{
	struct packet *packet = packet_of(buffer);
	uint32_t context = flow_context(from->kind, from->index, 0, 0);
	uint32_t owner = from->kind == FLOW_FROM_BALANCER ? OWNER_BALANCER + from->index : packet->interface;
	/* What is kept with the packet has no identification. */
	uint32_t have = (uint32_t)buffer->data_len - packet->ip_offset;
	if (parse_ip(packet_data(buffer) + packet->ip_offset, have, buffer->pkt_len - packet->ip_offset, tuple) != PARSE_OK)
		return false;
	if (tuple->fragment == FRAGMENT_FIRST)
		fragment_remember(&engine->fragments, context, tuple, owner, engine->now_ms);
	else if (!fragment_find(&engine->fragments, context, tuple, engine->now_ms))
		return false;
	packet->ports = tuple->ports;
	classify_key(engine, buffer, from->kind, from->index);
	return true;
}

bool decap_refuse(struct ferrite_engine *engine, struct rte_mbuf *buffer, enum counter reason)
{
	drop(engine, reason, buffer);
	return false;
}

bool decap_unknown(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t destination[16])
{
	bool ours = raw64(destination) == raw64(engine->prefix) && underlay_is_ours(destination);
	return decap_refuse(engine, buffer, ours ? COUNTER_drop_outer_stale : COUNTER_drop_outer_unknown);
}

bool decap_plain(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *destination = packet_data(buffer) + 24;
	uint32_t index = underlay_index(destination);
	packet->endpoint = 0;
	packet->ip_offset = 0;
	if (index >= engine->service_count || !equal16(engine->services[index].underlay, destination) ||
	    !classify_ip(buffer, 0))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (packet->fragment != FRAGMENT_WHOLE)
		return decap_refuse(engine, buffer, COUNTER_drop_fragment);
	classify_key(engine, buffer, FLOW_FROM_SERVICE, index);
	return true;
}

/* UINT32_MAX where there is no IP packet of this version. */
static uint32_t inner_length(const uint8_t *inner, uint8_t family)
{
	if (family == 4) {
		uint32_t header = (inner[0] & 15u) * 4, total = load16(inner + 2);
		return inner[0] >> 4 == 4 && header >= IPV4_LENGTH && total >= header ? total : UINT32_MAX;
	}
	return inner[0] >> 4 == 6 ? IPV6_LENGTH + (uint32_t)load16(inner + 4) : UINT32_MAX;
}

bool decap_unusual(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(buffer);
	const uint8_t *inner = packet_data(buffer) + IPV6_LENGTH;
	uint32_t have = buffer->data_len;
	packet->family = 0;
	if (have < IPV6_LENGTH || outer->version_class_label[0] >> 4 != 6)
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (__builtin_expect(outer->next_header != PROTOCOL_IPV4 && outer->next_header != PROTOCOL_IPV6, 0))
		return decap_plain(engine, buffer);
	uint8_t family = outer->next_header == PROTOCOL_IPV4 ? 4 : 6;
	uint32_t length = load16(outer->payload_length);
	if (have < IPV6_LENGTH + (family == 4 ? (uint32_t)IPV4_LENGTH : (uint32_t)IPV6_LENGTH))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	uint32_t total = inner_length(inner, family);
	if (__builtin_expect(total > length || IPV6_LENGTH + length > buffer->pkt_len, 0))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (__builtin_expect(IPV6_LENGTH + total != buffer->pkt_len, 0) &&
	    (packet->offload.needs_checksum || !classify_trim(buffer, IPV6_LENGTH + total)))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (!classify_ip(buffer, IPV6_LENGTH))
		return decap_refuse(engine, buffer, COUNTER_drop_malformed);
	return decap_arrive(engine, buffer, outer->destination);
}

static void learn(struct interface *interface, const uint8_t mac[6])
{
	if ((mac[0] & 1) != 0)
		return;
	if (memcmp(interface->frame, mac, 6) != 0)
		memcpy(interface->frame, mac, 6);
	interface->guest_known = 1;
}

static void reply(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer, unsigned kind,
		  enum counter stage, service *answer)
{
	COUNT(engine, stage_local, 1);
	if (!rate_take(&interface->services[kind], engine->now_ms, 1)) {
		DROP(engine, drop_service_rate, buffer);
		return;
	}
	/* An echo may be as long as the MTU; nothing else that is asked here is. */
	if ((buffer->nb_segs == 1 || kind == SERVICES_ECHO) && answer(engine, interface, buffer)) {
		STEP(engine, .stage = FERRITE_STEP_SERVICE, .interface = interface->index, .name = counter_name(stage));
		emit(engine, interface->port, buffer);
	} else {
		DROP(engine, drop_unhandled, buffer);
	}
}

bool too_big(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer,
	     bool becomes6)
{
	const struct packet *packet = packet_of(buffer);
	const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(packet_data(buffer) + ETHERNET_LENGTH);
	if (packet->family == 4 && !becomes6 && packet->offload.gso == GSO_NONE && (load16(ip->fragment) & 0x4000) == 0)
		return false; /* the uplink fragments where its medium is too small */
	COUNT(engine, drop_too_big, 1);
	engine->interface_counters[interface->index].drop_too_big++;
	STEP(engine, .stage = FERRITE_STEP_DROP, .interface = interface->index, .name = counter_name(COUNTER_drop_too_big));
	if (engine->now_ms < interface->errors_next_ms) {
		rte_pktmbuf_free(buffer);
		return true;
	}
	interface->errors_next_ms = engine->now_ms + ICMP_ERROR_GAP_MS;
	COUNT(engine, stage_too_big, 1);
	if (service_too_big(engine, interface, buffer))
		emit(engine, port, buffer);
	else
		rte_pktmbuf_free(buffer);
	return true;
}

/* What the buffer holds goes to whoever sent the packet that it answers; `place`: the endpoint that says so. */
static void send_back(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer, uint32_t place)
{
	struct packet *packet = packet_of(buffer);
	(void)classify_ip(buffer, packet->ip_offset); /* no more what it answers */
	COUNT(engine, stage_answer, 1);
	if (from->home != NULL)
		deliver(engine, from->home, buffer, packet->family);
	else if (raw64(from->back) == raw64(engine->prefix)) /* an edge of this host asked */
		edge_near(engine, buffer, engine->endpoints.places[place].underlay, from->back);
	else if (engine->uplinks.count == 0)
		DROP(engine, drop_no_uplink, buffer);
	else
		encap(engine, buffer, engine->endpoints.places[place].underlay, from->back);
}

/* The flow of this packet ended, and its sender is told. */
static void end_with_answer(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer,
			    uint32_t balancer_index)
{
	struct balancer *balancer = engine->balancers[balancer_index];
	struct tuple tuple;
	COUNT(engine, drop_flow_ended, 1);
	engine->interface_counters[packet_of(buffer)->interface].drop_flow_ended++;
	STEP(engine, .stage = FERRITE_STEP_DROP, .name = counter_name(COUNTER_drop_flow_ended));
	packet_tuple(buffer, &tuple);
	if (balancer == NULL || engine->now_ms < balancer->answers_next_ms) {
		rte_pktmbuf_free(buffer);
		return;
	}
	uint8_t source[16];
	memcpy(source, tuple.addresses + (tuple.family == 4 ? 4 : 16), tuple.family == 4 ? 4 : 16);
	bool answered = tuple.protocol == PROTOCOL_TCP ?
		answer_reset(buffer, packet_of(buffer)->ip_offset, &tuple) :
		answer_unreachable(buffer, packet_of(buffer)->ip_offset, &tuple, tuple.family == 4 ? 3 : 1,
				   tuple.family == 4 ? 13 : 1, 0, source);
	if (!answered) {
		rte_pktmbuf_free(buffer);
		return;
	}
	balancer->answers_next_ms = engine->now_ms + ICMP_ERROR_GAP_MS;
	STEP(engine, .stage = FERRITE_STEP_ANSWER, .decision = tuple.protocol == PROTOCOL_TCP ? 2 : 3);
	send_back(engine, from, buffer, balancer->endpoint);
}

/* A live flow takes the packet: true. */
static bool by_entry(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer,
		     struct flow_entry *entry, uint32_t base)
{
	struct flow_table *flows = &engine->flows;
	const struct packet *packet = packet_of(buffer);
	uint8_t flags = packet->protocol == PROTOCOL_TCP ? flow_flags(packet->tcp_flags) : 0;
	if (!flow_live(flows, entry)) {
		flow_end(flows, flow_place(flows, entry),
			 (entry->bits & FLOW_CLOSING) != 0 ? FERRITE_FLOW_CLOSED : FERRITE_FLOW_EXPIRED);
		return false;
	}
	if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && (entry->bits & (FLOW_CLOSING | FLOW_REPLY)) == FLOW_CLOSING) {
		flow_end(flows, flow_place(flows, entry), FERRITE_FLOW_CLOSED);
		return false;
	}
	if (entry->epoch != epoch_of(engine, base, entry)) {
		enum counter reason;
		uint32_t balancer = flow_original(flows, entry)->balancer;
		switch (refresh(engine, entry, false, &reason)) {
		case REFRESH_GONE:
			return false;
		case REFRESH_DROP:
			drop(engine, reason, buffer);
			return true;
		case REFRESH_ANSWER:
			end_with_answer(engine, from, buffer, balancer);
			return true;
		}
	} else {
		STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 1, .reference = flow_place(flows, flow_original(flows, entry)));
	}
	if (packet->protocol == PROTOCOL_TCP && (flags & ~entry->shown) != 0)
		flow_show(flows, entry, flags);
	else if (packet->protocol == PROTOCOL_TCP && entry->peer == FLOW_NONE && entry->state == FLOW_BRIEF)
		flow_show(flows, entry, flags);
	struct tally tally = {0};
	flow_renew(flows, entry, packet);
	act(engine, from->vm, buffer, entry, &tally);
	tally_add(engine, &tally);
	return true;
}

static bool by_flow(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	bool wide = packet->family == 6;
	struct flow_entry *entry = flow_find(&engine->flows, packet->hash, packet->context, packet->ports,
					     wide ? ip + 8 : ip + 12, wide);
	return entry != NULL && by_entry(engine, from, buffer, entry, from->vm != NULL ? epoch_of_vm(from->vm) : 0);
}

/* To a neighbour's NAT, as it is. */
static void relay(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer, const struct plan *plan)
{
	if (raw64(plan->target) == raw64(engine->prefix)) {
		act_near(engine, buffer, plan->target);
		return;
	}
	if (engine->uplinks.count == 0) {
		DROP(engine, drop_no_uplink, buffer);
		return;
	}
	if (from->vm != NULL && maybe_too_big(engine, buffer, 0) && too_big(engine, from->vm->port, from->vm, buffer, false))
		return;
	COUNT(engine, stage_relay, 1);
	COUNT(engine, stage_encap, 1);
	encap(engine, buffer, engine->endpoints.places[plan->source].underlay, plan->target);
}

static void begin(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer,
		  const struct tuple *tuple, uint16_t quoted_port)
{
	struct plan plan = {.from = *from, .first = *tuple, .error_port = quoted_port};
	struct flow_entry *entry;
	struct tally tally = {0};
	STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 0);
	switch (plan_make(engine, &plan)) {
	case PLAN_FLOW:
		entry = plan_begin(engine, &plan);
		if (entry == NULL) {
			drop(engine, plan.reason, buffer);
			return;
		}
		flow_renew(&engine->flows, entry, packet_of(buffer));
		act(engine, from->vm, buffer, entry, &tally);
		tally_add(engine, &tally);
		return;
	case PLAN_FOLLOW:
		if (!by_entry(engine, from, buffer, plan.follow, 0))
			DROP(engine, drop_nat_unknown, buffer);
		return;
	case PLAN_RELAY:
		relay(engine, from, buffer, &plan);
		return;
	case PLAN_ECHO:
		if (!answer_echo(buffer, packet_of(buffer)->ip_offset, tuple)) {
			DROP(engine, drop_nat_unknown, buffer);
			return;
		}
		STEP(engine, .stage = FERRITE_STEP_ANSWER, .decision = 1);
		send_back(engine, from, buffer, plan.source);
		return;
	default:
		if (plan.reason == COUNTER_drop_firewall_egress || plan.reason == COUNTER_drop_firewall_ingress)
			event_refused(engine, &plan);
		drop(engine, plan.reason, buffer);
	}
}

/* Rules 5 and on of a VM's packet, and all of one from the underlay that has an endpoint. */
static void decide(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer)
{
	struct tuple tuple;
	uint16_t quoted_port = 0;
	packet_tuple(buffer, &tuple);
	rte_spinlock_lock(&engine->decide_lock);
	if (tuple.fragment != FRAGMENT_WHOLE && !know_fragment(engine, from, buffer, &tuple))
		DROP(engine, drop_fragment, buffer);
	else if ((tuple.icmp != ICMP_ERROR || !icmp_error(engine, from, buffer, &tuple, &quoted_port)) &&
		 !by_flow(engine, from, buffer))
		begin(engine, from, buffer, &tuple, quoted_port);
	rte_spinlock_unlock(&engine->decide_lock);
}

/* Never routed: this network, loopback, link-local, multicast, reserved and broadcast. */
static bool unroutable4(const uint8_t address[4])
{
	return address[0] == 0 || address[0] == 127 || address[0] >= 224 || (address[0] == 169 && address[1] == 254);
}

static bool unroutable6(const uint8_t address[16])
{
	return address[0] == 0xff || link_local6(address) || zero16(address);
}

static uint16_t destination_port(const struct packet *packet)
{
	return packet->protocol == PROTOCOL_UDP ? __builtin_bswap16((uint16_t)(packet->ports >> 16)) : 0;
}

static uint16_t source_port(const struct packet *packet)
{
	return packet->protocol == PROTOCOL_UDP ? __builtin_bswap16((uint16_t)packet->ports) : 0;
}

/* Whether the packet's source is the interface's, or nobody asks. */
static bool is_own(const struct ferrite_engine *engine, const struct interface *interface, uint8_t family,
		   const uint8_t *source)
{
	return interface->spoof_off || interface_owns(engine, interface, family, source);
}

/* The MAC of the interface, or the first one that it uses, which becomes it. */
static bool recognized(struct interface *interface, const uint8_t *data)
{
	if (!interface->spoof_off && interface->guest_known && memcmp(interface->frame, data + 6, 6) != 0)
		return false;
	learn(interface, data + 6);
	return true;
}

static bool is_lease(const struct packet *packet, uint16_t from, uint16_t to)
{
	return source_port(packet) == from && destination_port(packet) == to;
}

/* Rules 1 to 4, and the total rate: true when they end it. */
static bool local4(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(data + ETHERNET_LENGTH);
	bool own = is_own(engine, interface, 4, ip->source), to_gateway = raw32(ip->destination) == raw32(GATEWAY4);
	struct tuple tuple;
	if (destination_port(packet) == 67 && packet->fragment == FRAGMENT_WHOLE &&
	    (to_gateway || raw32(ip->destination) == UINT32_MAX) && (own || raw32(ip->source) == 0)) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, SERVICES_DHCP, COUNTER_stage_dhcp4, service_dhcp4);
		return true;
	}
	if (is_lease(packet, 67, 68) || !own || !recognized(interface, data)) {
		DROP(engine, drop_spoof, buffer);
		return true;
	}
	if (to_gateway && (data[0] & 1) == 0) {
		reply(engine, interface, buffer, SERVICES_ECHO, COUNTER_stage_echo, service_echo4);
		return true;
	}
	if (!unroutable4(ip->destination))
		return false;
	packet_tuple(buffer, &tuple);
	if (service_find(engine, &tuple) != NULL)
		return false;
	DROP(engine, drop_multicast, buffer);
	return true;
}

static bool local6(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(data + ETHERNET_LENGTH);
	bool own = is_own(engine, interface, 6, ip->source), to_gateway = equal16(ip->destination, GATEWAY6);
	bool neighbour = packet->protocol == PROTOCOL_ICMPV6 && packet->icmp != ICMP_NONE && ip->next_header == PROTOCOL_ICMPV6 &&
		data[packet->l4_offset] >= 133 && data[packet->l4_offset] <= 137;
	/* On its own link a VM speaks as its address, as any link-local one, or as nobody yet. */
	if (!own && !link_local6(ip->source) && !zero16(ip->source)) {
		DROP(engine, drop_spoof, buffer);
	} else if (neighbour) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, SERVICES_ND, COUNTER_stage_nd, service_nd);
	} else if (destination_port(packet) == 547 && packet->fragment == FRAGMENT_WHOLE &&
		   (to_gateway || ip->destination[0] == 0xff)) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, SERVICES_DHCP, COUNTER_stage_dhcp6, service_dhcp6);
	} else if (is_lease(packet, 547, 546) || !recognized(interface, data)) {
		DROP(engine, drop_spoof, buffer);
	} else if (to_gateway && (data[0] & 1) == 0) {
		reply(engine, interface, buffer, SERVICES_ECHO, COUNTER_stage_echo, service_echo6);
	} else if (unroutable6(ip->destination)) {
		DROP(engine, drop_multicast, buffer);
	} else if (!own) {
		DROP(engine, drop_spoof, buffer);
	} else {
		return false;
	}
	return true;
}

static void not_ip(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	if (packet->reason == CLASSIFY_MALFORMED)
		DROP(engine, drop_malformed, buffer);
	else if (load16(packet_data(buffer) + 12) != ETHERTYPE_ARP)
		DROP(engine, drop_not_ip, buffer);
	else if (arp_is_spoofed(engine, interface, buffer))
		DROP(engine, drop_spoof, buffer);
	else
		reply(engine, interface, buffer, SERVICES_ARP, COUNTER_stage_arp, service_arp);
}

void decide_vm(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const struct arrival from = {.kind = FLOW_FROM_VM, .index = interface->index, .vm = interface,
				     .home = interface};
	COUNT(engine, stage_decide, 1);
	STEP(engine, .stage = FERRITE_STEP_ARRIVE, .interface = interface->index);
	if (packet->family == 0) {
		not_ip(engine, interface, buffer);
		return;
	}
	if (packet->family == 4 ? local4(engine, interface, buffer) : local6(engine, interface, buffer))
		return;
	if ((packet_data(buffer)[0] & 1) != 0)
		DROP(engine, drop_not_gateway, buffer);
	else if (interface->metered && !rate_take(&interface->total, engine->now_ms, packet->ip_length))
		DROP(engine, drop_meter_total, buffer);
	else
		decide(engine, &from, buffer);
}

void decide_underlay(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	struct arrival from = {.kind = (uint8_t)flow_kind(packet->context), .index = flow_index(packet->context),
			       .endpoint = packet->endpoint};
	COUNT(engine, stage_decide, 1);
	if (packet->sender != 0) /* handed on inside this host */
		from.home = &engine->interfaces[packet->sender];
	else
		memcpy(from.back, packet_data(buffer) + 8, 16);
	if (from.kind == FLOW_FROM_SERVICE) {
		/* Only replies come from there. */
		rte_spinlock_lock(&engine->decide_lock);
		bool took = by_flow(engine, &from, buffer);
		rte_spinlock_unlock(&engine->decide_lock);
		if (!took)
			DROP(engine, drop_nat_unknown, buffer);
		return;
	}
	decide(engine, &from, buffer);
}
