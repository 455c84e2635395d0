#include "stage/act.h"

#include "packet/nat64.h"
#include "stage/classify.h"
#include "stage/plan.h"

static const uint8_t NAT64_PREFIX[12] = {0, 0x64, 0xff, 0x9b};

/* After the header moved: the packet's own fields as its tuple has them now. */
static void settle(struct rte_mbuf *buffer, const struct tuple *tuple)
{
	struct packet *packet = packet_of(buffer);
	packet->family = tuple->family;
	packet->protocol = tuple->protocol;
	packet->ports = tuple->ports;
	packet->ip_length = tuple->ip_length;
	packet->l4_offset = (uint16_t)(packet->ip_offset + tuple->l4_offset);
	packet->icmp = tuple->icmp;
}

static bool to4(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tuple *tuple, const struct flow_entry *entry)
{
	/* An error's destination is whoever sent what it is about, not always the flow's other end. */
	const uint8_t *destination = tuple->icmp == ICMP_ERROR ? tuple->addresses + 28 : entry->rewrite.destination;
	uint8_t to[4];
	memcpy(to, destination, 4);
	return nat64_to4(buffer, packet_of(buffer)->ip_offset, tuple, entry->rewrite.source, to, entry->rewrite.source_port);
}

static bool to6(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tuple *tuple, const struct flow_entry *entry)
{
	const struct flow_entry *original = flow_peer(&engine->flows, entry);
	uint8_t source[16];
	memcpy(source, NAT64_PREFIX, 12);
	memcpy(source + 12, tuple->addresses, 4);
	return nat64_to6(buffer, packet_of(buffer)->ip_offset, tuple, source, original->addresses, (uint16_t)original->ports);
}

static bool serve(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tuple *tuple, const struct flow_entry *entry)
{
	const struct virtual_service *service = &engine->services[raw32(entry->target)];
	struct nat64_side6 side = {.set = REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT,
				   .source_port = entry->rewrite.source_port};
	memcpy(side.source, service->underlay, 16);
	memcpy(side.destination, service->about.target.bytes, 16);
	store16(&side.destination_port, service->about.target_port);
	return nat64_make6(buffer, packet_of(buffer)->ip_offset, tuple, &side, NULL);
}

static bool served(struct ferrite_engine *engine, struct rte_mbuf *buffer, struct tuple *tuple, const struct flow_entry *entry)
{
	const struct flow_entry *original = flow_peer(&engine->flows, entry);
	struct nat64_side4 side = {
		.set = REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT,
		.source_port = (uint16_t)(original->ports >> 16), .destination_port = (uint16_t)original->ports,
	};
	memcpy(side.source, original->addresses + 4, 4);
	memcpy(side.destination, original->addresses, 4);
	return nat64_make4(buffer, packet_of(buffer)->ip_offset, tuple, &side, NULL);
}

bool act_translate(struct ferrite_engine *engine, struct rte_mbuf *buffer, const struct flow_entry *entry)
{
	struct tuple tuple;
	packet_tuple(buffer, &tuple);
	if (entry->translate == FLOW_REWRITE) {
		translate4(packet_data(buffer) + packet_of(buffer)->ip_offset, &tuple, &entry->rewrite, &packet_of(buffer)->offload);
		return true;
	}
	if (tuple.fragment != FRAGMENT_WHOLE) {
		DROP(engine, drop_fragment, buffer);
		return false;
	}
	bool done = entry->translate == FLOW_TO4 ? to4(engine, buffer, &tuple, entry) :
		entry->translate == FLOW_TO6 ? to6(engine, buffer, &tuple, entry) :
		entry->translate == FLOW_SERVE ? serve(engine, buffer, &tuple, entry) : served(engine, buffer, &tuple, entry);
	if (!done) {
		DROP(engine, drop_nat_protocol, buffer);
		return false;
	}
	settle(buffer, &tuple);
	return true;
}

void act_anew(struct rte_mbuf *buffer)
{
	(void)classify_ip(buffer, packet_of(buffer)->ip_offset);
}

void act_plain(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	if (engine->uplinks.count == 0) {
		DROP(engine, drop_no_uplink, buffer);
		return;
	}
	(void)rte_pktmbuf_adj(buffer, packet->ip_offset);
	packet->ip_offset = 0;
	COUNT(engine, stage_virtual_service, 1);
	COUNT(engine, stage_encap, 1);
	STEP(engine, .stage = FERRITE_STEP_SEND, .decision = 2);
	emit(engine, uplink_for(engine, packet->hash), buffer);
}

void act_near(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t address[16])
{
	struct packet *packet = packet_of(buffer);
	uint32_t place = endpoint_find(&engine->endpoints, address);
	if (place == 0 || packet->passed >= PLAN_DEPTH) {
		DROP(engine, drop_route_miss, buffer);
		return;
	}
	const struct endpoint seen = endpoint_seen(&engine->endpoints, place), *endpoint = &seen;
	const uint8_t *destination = packet_data(buffer) + packet->ip_offset + (packet->family == 4 ? 16 : 24);
	STEP(engine, .stage = FERRITE_STEP_ARRIVE, .decision = endpoint->kind, .interface = endpoint->owner);
	packet->interface = endpoint->kind == ENDPOINT_BALANCER || endpoint->kind == ENDPOINT_EDGE ? 0 : endpoint->owner;
	if (!endpoint_takes(engine, endpoint, place, packet->family, destination)) {
		DROP(engine, drop_inner_foreign, buffer);
		return;
	}
	packet->passed++;
	packet->endpoint = place;
	packet->context = flow_context(endpoint_kind(endpoint), endpoint_index(endpoint), packet->family, packet->protocol);
	if (engine->near_count == NEAR_LIMIT) {
		DROP(engine, drop_no_memory, buffer);
		return;
	}
	engine->near[engine->near_count++] = buffer;
}
