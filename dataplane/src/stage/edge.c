#include "stage/edge.h"

#include "packet/answer.h"
#include "packet/murmur.h"
#include "stage/classify.h"
#include "stage/decide.h"

/* What cached decisions of the edge were made under. Read before anything is looked up. */
static uint32_t epoch_now(const struct ferrite_engine *engine, const struct edge *edge)
{
	return vni_epoch(edge->vni) + __atomic_load_n(&engine->edge_epoch, __ATOMIC_ACQUIRE) * 0x9e3779b1u +
		edge->epoch * 0x85ebca77u;
}

static struct edge_cached *cached_at(const struct ferrite_engine *engine, const struct packet *packet)
{
	return &engine->edge_cache[packet->hash % EDGE_CACHE];
}

static void addresses_of(const struct rte_mbuf *buffer, uint8_t addresses[32])
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	memset(addresses, 0, 32);
	memcpy(addresses, packet->family == 4 ? ip + 12 : ip + 8, packet->family == 4 ? 8 : 32);
}

static bool recall(const struct ferrite_engine *engine, const struct rte_mbuf *buffer, uint32_t epoch, struct edge_way *way)
{
	const struct packet *packet = packet_of(buffer);
	const struct edge_cached *entry = cached_at(engine, packet);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	if (entry->kind == EDGE_NOTHING || entry->epoch != epoch || entry->context != packet->context ||
	    entry->ports != packet->ports)
		return false;
	if (packet->family == 4 ? raw64(entry->addresses) != raw64(ip + 12) :
				  !equal16(entry->addresses, ip + 8) || !equal16(entry->addresses + 16, ip + 24))
		return false;
	way->kind = entry->kind;
	memcpy(way->target, entry->target, 16);
	return true;
}

static void remember(struct ferrite_engine *engine, const struct rte_mbuf *buffer, uint32_t epoch, const struct edge_way *way)
{
	const struct packet *packet = packet_of(buffer);
	struct edge_cached *entry = cached_at(engine, packet);
	entry->context = packet->context;
	entry->ports = packet->ports;
	addresses_of(buffer, entry->addresses);
	entry->epoch = epoch;
	entry->kind = way->kind;
	memcpy(entry->target, way->target, 16);
}

static const struct route_entry *route_to(const struct ferrite_engine *engine, const struct edge *edge, uint8_t family,
					  const uint8_t *address)
{
	const struct route_entry *found = family == 6 ? route_lookup6(&engine->routes, edge->vni, address) :
							route_lookup4(&engine->routes, edge->vni, address);
	/* The way of last resort leads to edges, and is not behind them. */
	return found != NULL && found->length > 0 ? found : NULL;
}

static struct edge_way to_hop(const uint8_t hop[16])
{
	struct edge_way way = {.kind = EDGE_HOP};
	memcpy(way.target, hop, 16);
	return way;
}

/* Where outside finds an address: the neighbour that has the port, a VIP or load balancer of this host, or the longest
 * prefix. `port`: host order. Under the decide lock. */
static struct edge_way place(const struct ferrite_engine *engine, const struct edge *edge, uint8_t family,
			     const uint8_t *address, uint16_t port, const struct tuple *tuple)
{
	struct edge_way nowhere = {.kind = EDGE_NOTHING}, way;
	const uint8_t *neighbor = family == 4 ? neighbor_nat_find(engine->neighbor_nats, edge->vni->number, address, port) : NULL;
	if (neighbor != NULL)
		return to_hop(neighbor);
	uint32_t service = service_address_find(&engine->service_addresses, edge->vni->number, family, address);
	if (service != 0)
		return to_hop(engine->endpoints.places[service].underlay);
	const struct route_entry *found = route_to(engine, edge, family, address);
	if (found == NULL)
		return nowhere;
	const struct route_hops *hops = route_hops_of(found);
	if (hops != NULL) {
		way = to_hop(hops->hops[balancer_choose(hops->set, choice_hash(tuple, engine->seed))].address.bytes);
	} else {
		uint32_t index = (uint32_t)(found - engine->routes.entries);
		way = (struct edge_way){.kind = EDGE_ROUTE};
		memcpy(way.target, &index, sizeof index);
	}
	return way;
}

static bool on_link(const struct edge *edge, uint8_t family, const uint8_t *address)
{
	struct endpoint_prefix link = {.family = family, .length = family == 4 ? edge->length4 : edge->length6};
	bool none = family == 4 ? raw32(edge->self.ipv4) == 0 : zero16(edge->self.ipv6);
	memcpy(link.bytes, family == 4 ? edge->self.ipv4 : edge->self.ipv6, family == 4 ? 4 : 16);
	return !none && prefix_holds(&link, family, address);
}

static bool is_own(const struct edge *edge, uint8_t family, const uint8_t *address)
{
	return family == 4 ? raw32(edge->self.ipv4) == raw32(address) && raw32(address) != 0 :
			     equal16(edge->self.ipv6, address) && !zero16(address);
}

/* Whether a neighbour that asks for the address is told that it is here: it is found, and by more than what the link's own
 * prefix says. */
static bool stands_for(struct ferrite_engine *engine, const struct edge *edge, uint8_t family, const uint8_t *address)
{
	bool found = family == 4 && neighbor_nat_has(engine->neighbor_nats, edge->vni->number, address);
	rte_spinlock_lock(&engine->decide_lock);
	found = found || service_address_find(&engine->service_addresses, edge->vni->number, family, address) != 0;
	rte_spinlock_unlock(&engine->decide_lock);
	if (found)
		return true;
	const struct route_entry *route = route_to(engine, edge, family, address);
	return route != NULL && (!on_link(edge, family, address) || route->length > (family == 4 ? edge->length4 : edge->length6));
}

/* A frame that we made. */
static void send_frame(struct ferrite_engine *engine, struct edge *edge, const uint8_t *frame, uint32_t length)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL || !packet_copy_in(buffer, frame, length)) {
		COUNT(engine, drop_no_memory, 1);
		rte_pktmbuf_free(buffer);
		return;
	}
	packet_no_offload(packet_of(buffer));
	packet_of(buffer)->ip_offset = ETHERNET_LENGTH;
	emit(engine, edge->port, buffer);
}

/* What stands before the IP packet becomes an Ethernet header. */
static void frame_to(const struct edge *edge, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	struct packet *packet = packet_of(buffer);
	int cut = (int)packet->ip_offset - ETHERNET_LENGTH;
	buffer->data_off = (uint16_t)(buffer->data_off + cut);
	buffer->data_len = (uint16_t)(buffer->data_len - cut);
	buffer->pkt_len -= (uint32_t)cut;
	packet->l4_offset = (uint16_t)(packet->l4_offset - cut);
	packet->ip_offset = ETHERNET_LENGTH;
	uint8_t *frame = packet_data(buffer);
	memcpy(frame, mac, 6);
	memcpy(frame + 6, edge->self.mac, 6);
	store16(frame + 12, packet->family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
}

static void send_outside(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer, const uint8_t mac[6])
{
	frame_to(edge, buffer, mac);
	STEP(engine, .stage = FERRITE_STEP_SEND, .decision = 3);
	emit(engine, edge->port, buffer);
}

/* Packets that have waited too long; the rest stays in order. */
static void drop_stale(struct ferrite_engine *engine, struct edge *edge, struct outside_neighbour *neighbour)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < neighbour->held_count; i++) {
		if (engine->now_ms - neighbour->held_ms[i] > OUTSIDE_HOLD_MS) {
			DROP(engine, drop_edge_gateway, neighbour->held[i]);
			continue;
		}
		neighbour->held[kept] = neighbour->held[i];
		neighbour->held_ms[kept++] = neighbour->held_ms[i];
	}
	edge->neighbours.held -= neighbour->held_count - kept;
	neighbour->held_count = kept;
}

static void hold(struct ferrite_engine *engine, struct edge *edge, struct outside_neighbour *neighbour, struct rte_mbuf *buffer)
{
	drop_stale(engine, edge, neighbour);
	if (neighbour->held_count == OUTSIDE_HOLD || edge->neighbours.held == OUTSIDE_HELD || engine->trace != NULL) {
		DROP(engine, drop_edge_gateway, buffer);
		return;
	}
	COUNT(engine, stage_edge_held, 1);
	neighbour->held_ms[neighbour->held_count] = engine->now_ms;
	neighbour->held[neighbour->held_count++] = buffer;
	edge->neighbours.held++;
}

static bool learn(struct ferrite_engine *engine, struct edge *edge, uint8_t family, const uint8_t *address, const uint8_t mac[6])
{
	struct outside_neighbour *neighbour = outside_known(&edge->neighbours, family, address);
	if (neighbour == NULL || !outside_learn(neighbour, mac, engine->now_ms))
		return false;
	drop_stale(engine, edge, neighbour);
	for (unsigned i = 0; i < neighbour->held_count; i++)
		send_outside(engine, edge, neighbour->held[i], mac);
	edge->neighbours.held -= neighbour->held_count;
	neighbour->held_count = 0;
	return true;
}

/* To the neighbour on the way to the packet's destination. */
static void outward(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *destination = packet_data(buffer) + packet->ip_offset + (packet->family == 4 ? 16 : 24);
	const uint8_t *next = on_link(edge, packet->family, destination) ? destination :
		packet->family == 4 ? edge->gateway4 : edge->gateway6;
	bool none = packet->family == 4 ? raw32(next) == 0 : zero16(next);
	struct outside_neighbour *neighbour =
		none ? NULL : outside_find(&edge->neighbours, packet->family, next, engine->now_ms);
	if (neighbour == NULL) {
		DROP(engine, drop_edge_gateway, buffer);
		return;
	}
	uint8_t question[OUTSIDE_FRAME];
	uint32_t length = __builtin_expect(neighbour->known && engine->now_ms < neighbour->next_ms, 1) ? 0 :
		outside_ask(neighbour, &edge->self, engine->now_ms, question);
	if (length > 0)
		send_frame(engine, edge, question, length);
	if (__builtin_expect(neighbour->known, 1))
		send_outside(engine, edge, buffer, neighbour->mac);
	else
		hold(engine, edge, neighbour, buffer);
}

static uint8_t ttl_of(const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	return packet_data(buffer)[packet->ip_offset + (packet->family == 4 ? 8 : 7)];
}

/* One hop older (RFC 1141 with the carry of RFC 1624). */
static void age(struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	if (packet->family == 6) {
		ip[7]--;
		return;
	}
	uint32_t old = load16(ip + 8);
	ip[8]--;
	uint32_t sum = (uint16_t)~load16(ip + 10) + (uint16_t)~old + (uint32_t)load16(ip + 8);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store16(ip + 10, ~sum & 0xffff);
}

static void put_outer(struct rte_mbuf *buffer, const uint8_t from[16], const uint8_t to[16])
{
	struct packet *packet = packet_of(buffer);
	const uint16_t grow = (uint16_t)(IPV6_LENGTH - packet->ip_offset);
	buffer->data_off = (uint16_t)(buffer->data_off - grow);
	buffer->data_len = (uint16_t)(buffer->data_len + grow);
	buffer->pkt_len = buffer->pkt_len + IPV6_LENGTH - packet->ip_offset;
	packet->l4_offset = (uint16_t)(packet->l4_offset + grow);
	packet->ip_offset = IPV6_LENGTH;
	struct ipv6_header *outer = (struct ipv6_header *)(void *)packet_data(buffer);
	*outer = (struct ipv6_header){.version_class_label = {0x60}, .hop_limit = 64};
	outer->next_header = packet->family == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
	store16(outer->payload_length, packet->ip_length);
	memcpy(outer->source, from, 16);
	memcpy(outer->destination, to, 16);
}

void edge_near(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t from[16], const uint8_t to[16])
{
	packet_of(buffer)->sender = 0;
	put_outer(buffer, from, to);
	act_near(engine, buffer, to);
}

/* Into the overlay. */
static void inside(struct ferrite_engine *engine, const struct edge *edge, struct rte_mbuf *buffer, const struct edge_way *way,
		   struct tally *tally)
{
	uint8_t hop[16];
	if (way->kind == EDGE_ROUTE)
		route_hop(&engine->routes.entries[raw32(way->target)], hop);
	else
		memcpy(hop, way->target, 16);
	if (__builtin_expect(raw64(hop) == raw64(engine->prefix), 0)) {
		edge_near(engine, buffer, edge->underlay, hop);
		return;
	}
	if (__builtin_expect(engine->uplinks.count == 0, 0)) {
		DROP(engine, drop_no_uplink, buffer);
		return;
	}
	tally->encap++;
	encap(engine, buffer, edge->underlay, hop);
}

/* Counts the drop; true: the buffer now holds the error that says so to its sender, else it is gone. */
static bool complain(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer, const struct tuple *tuple,
		     enum counter reason, uint16_t mtu)
{
	struct packet *packet = packet_of(buffer);
	bool wide = tuple->family == 6, old = reason == COUNTER_drop_edge_ttl;
	const uint8_t *source = wide ? edge->self.ipv6 : edge->self.ipv4;
	bool silent = (wide ? zero16(source) : raw32(source) == 0) || engine->now_ms < edge->errors_next_ms;
	*counter_of(&engine->counters, reason) += 1;
	STEP(engine, .stage = FERRITE_STEP_DROP, .name = counter_name(reason));
	uint8_t type = (uint8_t)(old ? (wide ? 3 : 11) : (wide ? 2 : 3)), code = (uint8_t)(!old && !wide ? 4 : 0);
	if (silent || !answer_unreachable(buffer, packet->ip_offset, tuple, type, code, mtu, source)) {
		rte_pktmbuf_free(buffer);
		return false;
	}
	edge->errors_next_ms = engine->now_ms + ICMP_ERROR_GAP_MS;
	packet_no_offload(packet);
	(void)classify_ip(buffer, packet->ip_offset); /* it may go on to an endpoint of this host */
	COUNT(engine, stage_edge_error, 1);
	STEP(engine, .stage = FERRITE_STEP_ANSWER, .decision = 3);
	return true;
}

/* The ports that a packet is known by: those of the first fragment for a later one, of what an error quotes. False: it is a
 * fragment of nobody. `port`: of the side in the overlay, host order. */
static bool ports_of(struct ferrite_engine *engine, const struct edge *edge, struct rte_mbuf *buffer, struct tuple *tuple,
		     bool from_outside, uint16_t *port)
{
	struct packet *packet = packet_of(buffer);
	packet_tuple(buffer, tuple);
	if (__builtin_expect(tuple->fragment != FRAGMENT_WHOLE, 0)) {
		uint32_t index = edge->index | (from_outside ? EDGE_OUTSIDE : 0);
		uint32_t context = flow_context(FLOW_FROM_EDGE, index, 0, 0);
		if (parse_ip(packet_data(buffer) + packet->ip_offset, (uint32_t)buffer->data_len - packet->ip_offset,
			     buffer->pkt_len - packet->ip_offset, tuple) != PARSE_OK)
			return false;
		rte_spinlock_lock(&engine->decide_lock);
		bool known = true;
		if (tuple->fragment == FRAGMENT_FIRST)
			fragment_remember(&engine->fragments, context, tuple, EDGE_FRAGMENTS + edge->index, engine->now_ms);
		else
			known = fragment_find(&engine->fragments, context, tuple, engine->now_ms);
		rte_spinlock_unlock(&engine->decide_lock);
		if (!known)
			return false;
		packet->ports = tuple->ports;
	}
	*port = __builtin_bswap16((uint16_t)(from_outside ? tuple->ports >> 16 : tuple->ports));
	uint32_t start = (uint32_t)packet->l4_offset + ICMP_LENGTH;
	struct tuple quoted;
	if (tuple->icmp != ICMP_ERROR)
		return true;
	*port = 0;
	if (buffer->data_len > start &&
	    parse_quoted(packet_data(buffer) + start, buffer->data_len - start, &quoted) == PARSE_OK)
		*port = __builtin_bswap16((uint16_t)(from_outside ? quoted.ports : quoted.ports >> 16));
	return true;
}

static struct edge_way look_up(struct ferrite_engine *engine, const struct edge *edge, const struct tuple *tuple, bool source,
			       uint16_t port)
{
	const uint8_t *address = tuple->addresses + (source ? 0 : tuple->family == 4 ? 4 : 16);
	rte_spinlock_lock(&engine->decide_lock);
	struct edge_way way = place(engine, edge, tuple->family, address, port, tuple);
	rte_spinlock_unlock(&engine->decide_lock);
	if (way.kind == EDGE_HOP && equal16(way.target, edge->underlay))
		way.kind = EDGE_NOTHING;
	if (way.kind == EDGE_ROUTE) {
		uint8_t hop[16];
		route_hop(&engine->routes.entries[raw32(way.target)], hop);
		if (equal16(hop, edge->underlay))
			way.kind = EDGE_NOTHING;
	}
	return way;
}

static inline bool is_plain(const struct packet *packet)
{
	return packet->fragment == FRAGMENT_WHOLE && packet->icmp != ICMP_ERROR;
}

/* From outside, to somebody behind us. */
static void inward(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer, uint32_t epoch, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	struct edge_way way;
	struct tuple tuple;
	uint16_t port;
	if (!is_plain(packet) || !recall(engine, buffer, epoch, &way)) {
		if (!ports_of(engine, edge, buffer, &tuple, true, &port)) {
			DROP(engine, drop_fragment, buffer);
			return;
		}
		way = look_up(engine, edge, &tuple, false, port);
		if (way.kind == EDGE_NOTHING) {
			DROP(engine, drop_edge_unknown, buffer);
			return;
		}
		if (is_plain(packet))
			remember(engine, buffer, epoch, &way);
	}
	const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(packet_data(buffer) + packet->ip_offset);
	enum counter reason = ttl_of(buffer) <= 1 ? COUNTER_drop_edge_ttl : NO_DROP;
	if (reason == NO_DROP && maybe_too_big(engine, buffer, 0) &&
	    (packet->family == 6 || packet->offload.gso != GSO_NONE || (load16(ip->fragment) & 0x4000) != 0))
		reason = COUNTER_drop_too_big;
	if (__builtin_expect(reason != NO_DROP, 0)) {
		uint8_t mac[6];
		memcpy(mac, packet_data(buffer) + 6, 6);
		packet_tuple(buffer, &tuple);
		if (complain(engine, edge, buffer, &tuple, reason, reason == COUNTER_drop_too_big ? engine->mtu : 0))
			send_outside(engine, edge, buffer, mac);
		return;
	}
	age(buffer);
	COUNT(engine, stage_edge_in, 1);
	inside(engine, edge, buffer, &way, tally);
}

/* What an edge is asked itself: echo. `mac`: of the asker outside; NULL: it is in the overlay. */
static void to_itself(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer, const uint8_t mac[6],
		      const struct edge_way *back, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	struct tuple tuple;
	packet_tuple(buffer, &tuple);
	if (!answer_echo(buffer, packet->ip_offset, &tuple)) {
		DROP(engine, drop_unhandled, buffer);
		return;
	}
	COUNT(engine, stage_edge_echo, 1);
	STEP(engine, .stage = FERRITE_STEP_ANSWER, .decision = 1);
	if (mac != NULL)
		send_outside(engine, edge, buffer, mac);
	else
		inside(engine, edge, buffer, back, tally);
}

static void outside_arp(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer)
{
	struct outside_message message = outside_read_arp(packet_data(buffer), buffer->data_len);
	uint8_t answer[OUTSIDE_FRAME];
	bool learned = message.kind != OUTSIDE_NOTHING && learn(engine, edge, 4, message.sender, message.mac);
	if (message.kind == OUTSIDE_REQUEST && raw32(edge->self.ipv4) != 0 && raw32(message.sender) != raw32(message.target) &&
	    (is_own(edge, 4, message.target) || stands_for(engine, edge, 4, message.target))) {
		COUNT(engine, stage_edge_arp, 1);
		send_frame(engine, edge, answer, outside_answer_arp(&edge->self, &message, answer));
		rte_pktmbuf_free(buffer);
	} else if (learned) {
		rte_pktmbuf_free(buffer);
	} else {
		DROP(engine, drop_unhandled, buffer);
	}
}

static void outside_nd(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer)
{
	uint32_t length = ETHERNET_LENGTH + (uint32_t)packet_of(buffer)->ip_length;
	struct outside_message message = {.kind = OUTSIDE_NOTHING};
	uint8_t answer[OUTSIDE_FRAME];
	if (buffer->data_len >= length)
		message = outside_read_nd(packet_data(buffer), length);
	if (message.kind == OUTSIDE_ADVERTISEMENT && learn(engine, edge, 6, message.target, message.mac)) {
		rte_pktmbuf_free(buffer);
		return;
	}
	bool own = message.kind == OUTSIDE_SOLICITATION && is_own(edge, 6, message.target);
	if (message.kind != OUTSIDE_SOLICITATION || zero16(edge->self.ipv6) ||
	    (!own && !stands_for(engine, edge, 6, message.target))) {
		DROP(engine, drop_unhandled, buffer);
		return;
	}
	COUNT(engine, stage_edge_nd, 1);
	send_frame(engine, edge, answer, outside_answer_nd(&edge->self, &message, packet_data(buffer) + 6, !own, answer));
	rte_pktmbuf_free(buffer);
}

static bool is_neighbour(const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	return packet->family == 6 && data[ETHERNET_LENGTH + 6] == PROTOCOL_ICMPV6 && data[packet->l4_offset] >= 133 &&
		data[packet->l4_offset] <= 137;
}

/* True: an IP packet, classified. False: it is dropped or answered. */
static bool arrive_outside(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	packet->family = 0;
	packet->interface = packet->sender = packet->endpoint = 0;
	packet->passed = 0;
	packet->ip_offset = ETHERNET_LENGTH;
	if (buffer->data_len < ETHERNET_LENGTH) {
		DROP(engine, drop_malformed, buffer);
		return false;
	}
	uint16_t type = load16(data + 12);
	if (type == ETHERTYPE_ARP) {
		outside_arp(engine, edge, buffer);
		return false;
	}
	if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6) {
		DROP(engine, drop_not_ip, buffer);
		return false;
	}
	if (buffer->data_len < ETHERNET_LENGTH + 1 || data[ETHERNET_LENGTH] >> 4 != (type == ETHERTYPE_IPV4 ? 4 : 6) ||
	    !classify_ip(buffer, ETHERNET_LENGTH)) {
		DROP(engine, drop_malformed, buffer);
		return false;
	}
	if (__builtin_expect(is_neighbour(buffer), 0)) {
		outside_nd(engine, edge, buffer);
		return false;
	}
	if (memcmp(data, edge->self.mac, 6) != 0) {
		DROP(engine, drop_not_gateway, buffer);
		return false;
	}
	classify_key(engine, buffer, FLOW_FROM_EDGE, edge->index | EDGE_OUTSIDE);
	return true;
}

void edge_outside(struct ferrite_engine *engine, struct edge *edge, struct rte_mbuf **burst, unsigned count, struct tally *tally)
{
	uint32_t epoch = epoch_now(engine, edge);
	unsigned kept = 0;
	for (unsigned i = 0; i < count && i < 8; i++) {
		rte_prefetch0(packet_data(burst[i]));
		rte_prefetch0(packet_of(burst[i]));
	}
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *buffer = burst[i];
		if (i + 8 < count) {
			rte_prefetch0(packet_data(burst[i + 8]));
			rte_prefetch0(packet_of(burst[i + 8]));
		}
		if (!arrive_outside(engine, edge, buffer))
			continue;
		rte_prefetch0(cached_at(engine, packet_of(buffer)));
		burst[kept++] = buffer;
	}
	for (unsigned i = 0; i < kept; i++) {
		struct rte_mbuf *buffer = burst[i];
		const struct packet *packet = packet_of(buffer);
		const uint8_t *data = packet_data(buffer);
		uint8_t mac[6];
		if (__builtin_expect(is_own(edge, packet->family, data + ETHERNET_LENGTH + (packet->family == 4 ? 16 : 24)), 0)) {
			memcpy(mac, data + 6, 6);
			to_itself(engine, edge, buffer, mac, NULL, tally);
		} else {
			inward(engine, edge, buffer, epoch, tally);
		}
	}
}

/* A packet that is too long for the link outside, and its sender is told. */
static bool too_long(struct ferrite_engine *engine, const struct edge *edge, const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t length = packet->offload.gso == GSO_NONE ? packet->ip_length : piece_length(buffer);
	return __builtin_expect(edge->port->mtu != 0 && length > edge->port->mtu, 0);
}

void edge_overlay(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	struct edge *edge = engine->edges[engine->endpoints.places[packet->endpoint].owner];
	struct edge_way way, back = {.kind = EDGE_NOTHING};
	struct tuple tuple;
	uint16_t port = 0;
	if (__builtin_expect(edge == NULL, 0)) {
		DROP(engine, drop_edge_unknown, buffer);
		return;
	}
	uint32_t epoch = epoch_now(engine, edge);
	bool plain = is_plain(packet), known = plain && recall(engine, buffer, epoch, &way);
	if (!known) {
		if (!ports_of(engine, edge, buffer, &tuple, false, &port)) {
			DROP(engine, drop_fragment, buffer);
			return;
		}
		back = look_up(engine, edge, &tuple, true, port);
		if (back.kind == EDGE_NOTHING) {
			DROP(engine, drop_edge_source, buffer);
			return;
		}
		const uint8_t *destination = tuple.addresses + (tuple.family == 4 ? 4 : 16);
		if (is_own(edge, tuple.family, destination)) {
			to_itself(engine, edge, buffer, NULL, &back, tally);
			return;
		}
		uint16_t towards = tuple.icmp == ICMP_ERROR ? 0 : __builtin_bswap16((uint16_t)(tuple.ports >> 16));
		way = look_up(engine, edge, &tuple, false, towards);
		if (way.kind == EDGE_NOTHING)
			way.kind = EDGE_OUT;
		if (plain)
			remember(engine, buffer, epoch, &way);
	}
	enum counter reason = ttl_of(buffer) <= 1 ? COUNTER_drop_edge_ttl :
		way.kind == EDGE_OUT && too_long(engine, edge, buffer) ? COUNTER_drop_too_big : NO_DROP;
	if (__builtin_expect(reason != NO_DROP, 0)) {
		if (known && ports_of(engine, edge, buffer, &tuple, false, &port))
			back = look_up(engine, edge, &tuple, true, port);
		if (back.kind == EDGE_NOTHING)
			drop(engine, reason, buffer);
		else if (complain(engine, edge, buffer, &tuple, reason, (uint16_t)(reason == COUNTER_drop_too_big ? edge->port->mtu : 0)))
			inside(engine, edge, buffer, &back, tally);
		return;
	}
	age(buffer);
	if (way.kind != EDGE_OUT) {
		inside(engine, edge, buffer, &way, tally);
		return;
	}
	COUNT(engine, stage_edge_out, 1);
	outward(engine, edge, buffer);
}

void edge_forget(struct edge *edge)
{
	for (unsigned i = 0; i < OUTSIDE_NEIGHBOURS; i++) {
		struct outside_neighbour *neighbour = &edge->neighbours.entries[i];
		rte_pktmbuf_free_bulk(neighbour->held, neighbour->held_count);
		neighbour->held_count = 0;
	}
	edge->neighbours.held = 0;
}
