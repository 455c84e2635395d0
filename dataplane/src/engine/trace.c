/* Traced packets: one packet through the same code as any, recorded, and caught where it would leave. */
#include <errno.h>

#include "stage/classify.h"
#include "stage/events.h"
#include "stage/plan.h"

const char *counter_name(enum counter counter)
{
	static const char *const names[] = {
#define X(field, name) name,
		FERRITE_COUNTERS(X)
#undef X
	};
	return names[counter];
}

struct request {
	uint32_t port;
	const uint8_t *bytes;
	uint32_t length;
	bool keep;
	struct ferrite_trace_result *result;
	int status;
};

/* What a question must leave as it was. Flows that it only touches: their times and counts are in the entry, and those of
 * the one flow that a packet can touch are small enough to copy. */
struct before {
	struct counters counters, interface;
	struct interface about;
	struct flow_entry entries[2];
	uint32_t place[2];
};

/* `send`: it leaves all the same. */
static void take_what_leaves(struct ferrite_engine *engine, struct ferrite_trace_result *result, bool send)
{
	for (unsigned i = 0; i < engine->dirty_count; i++) {
		struct port *port = engine->dirty[i];
		for (unsigned j = 0; j < port->pending_count; j++) {
			struct rte_mbuf *buffer = port->pending[j];
			uint32_t at = 0;
			result->length = buffer->pkt_len;
			result->interface = port->uplink || port->interface == NULL ? 0 : port->interface->index;
			for (const struct rte_mbuf *part = buffer; part != NULL; part = part->next) {
				uint32_t fits = FERRITE_TRACE_BYTES - at < part->data_len ? FERRITE_TRACE_BYTES - at : part->data_len;
				memcpy(result->bytes + at, packet_data(part), fits);
				at += fits;
			}
			if (!send)
				rte_pktmbuf_free(buffer);
		}
		if (send)
			continue;
		port->pending_count = 0;
		port->dirty = false;
	}
	if (send)
		pipeline_flush(engine);
	else
		engine->dirty_count = 0;
}

/* The flow that the packet in the buffer would hit, copied. */
static void remember(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *buffer, struct before *before)
{
	const struct packet *packet = packet_of(buffer);
	before->place[0] = before->place[1] = FLOW_NONE;
	before->counters = engine->counters;
	before->interface = engine->interface_counters[port != NULL ? port->interface->index : 0];
	if (port == NULL)
		return;
	before->about = *port->interface;
	classify(engine, port->interface, buffer);
	if (packet->family == 0)
		return;
	const uint8_t *ip = packet_data(buffer) + ETHERNET_LENGTH;
	bool wide = packet->family == 6;
	struct flow_entry *entry = flow_find(&engine->flows, packet->hash, packet->context, packet->ports,
					     wide ? ip + 8 : ip + 12, wide);
	if (entry == NULL)
		return;
	before->place[0] = flow_place(&engine->flows, entry);
	before->entries[0] = *entry;
	before->place[1] = entry->peer;
	if (entry->peer != FLOW_NONE)
		before->entries[1] = engine->flows.entries[entry->peer];
}

static void restore(struct ferrite_engine *engine, struct port *port, const struct before *before)
{
	struct flow_table *flows = &engine->flows;
	for (unsigned i = 0; i < 2; i++)
		if (before->place[i] != FLOW_NONE &&
		    flows->entries[before->place[i]].context == before->entries[i].context)
			flows->entries[before->place[i]] = before->entries[i];
	engine->counters = before->counters;
	engine->interface_counters[port != NULL ? port->interface->index : 0] = before->interface;
	if (port == NULL)
		return;
	struct interface *interface = port->interface;
	interface->total = before->about.total;
	interface->public_rate = before->about.public_rate;
	interface->flow_rate = before->about.flow_rate;
	memcpy(interface->services, before->about.services, sizeof interface->services);
	memcpy(interface->frame, before->about.frame, sizeof interface->frame);
	interface->guest_known = before->about.guest_known;
	interface->errors_next_ms = before->about.errors_next_ms;
}

/* Steps of flows have their place; whoever reads them wants what the flow says: whose it is, the rule that let it pass, and
 * the address that its originator got. */
static void explain_flows(struct ferrite_engine *engine, struct ferrite_trace_result *result)
{
	for (unsigned i = 0; i < result->step_count; i++) {
		struct ferrite_trace_step *step = &result->steps[i];
		struct ferrite_flow_event flow;
		uint32_t place = step->reference;
		if (step->stage != FERRITE_STEP_FLOW)
			continue;
		step->reference = 0;
		if (step->decision == 0 || step->decision == 4 || place / 8 > engine->flows.mask)
			continue;
		event_describe(engine, &engine->flows.entries[place], &flow);
		step->interface = flow.interface;
		step->reference = flow.rule;
		if (!flow.translated || step->decision == 3)
			continue;
		memcpy(step->address.bytes, flow.translated_addresses, flow.family == 4 ? 4 : 16);
		step->port = flow.translated_ports[0];
	}
}

void trace_live(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *buffer,
		struct ferrite_trace_result *result)
{
	struct tracer tracer = {.result = result, .keep = true, .begun = FLOW_NONE};
	result->step_count = 0;
	result->length = 0;
	result->interface = 0;
	pipeline_flush(engine);
	engine->trace = &tracer;
	pipeline(engine, port, &buffer, 1);
	engine->trace = NULL;
	explain_flows(engine, result);
	take_what_leaves(engine, result, true);
}

static bool run(struct ferrite_engine *engine, void *argument)
{
	struct request *request = argument;
	struct port *port = request->port == 0 ? NULL : engine->ports[request->port];
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	struct tracer tracer = {.result = request->result, .keep = request->keep, .begun = FLOW_NONE};
	static struct before before;
	if (buffer == NULL || !packet_copy_in(buffer, request->bytes, request->length)) {
		rte_pktmbuf_free(buffer);
		request->status = -ENOMEM;
		return true;
	}
	pipeline_flush(engine);
	packet_no_offload(packet_of(buffer));
	packet_of(buffer)->ip_offset = port != NULL ? ETHERNET_LENGTH : IPV6_LENGTH;
	remember(engine, port, buffer, &before);
	uint64_t inserted = engine->flows.inserted;
	engine->trace = &tracer;
	if (port != NULL)
		pipeline_access(engine, port, &buffer, 1);
	else
		pipeline_uplink(engine, engine->uplink, &buffer, 1);
	engine->trace = NULL;
	explain_flows(engine, request->result);
	take_what_leaves(engine, request->result, request->keep);
	if (request->keep)
		return true;
	if (tracer.begun != FLOW_NONE && engine->flows.inserted != inserted) {
		flow_end(&engine->flows, tracer.begun, FERRITE_FLOW_BEGUN); /* which nobody is told */
		engine->flows.inserted = inserted;
	}
	restore(engine, port, &before);
	return true;
}

int ferrite_trace_packet(struct ferrite_engine *engine, uint32_t port, const uint8_t *bytes, uint32_t length, bool keep,
			 struct ferrite_trace_result *result)
{
	struct request request = {.port = port, .bytes = bytes, .length = length, .keep = keep, .result = result};
	if (port != 0 && (port >= FERRITE_MAX_PORTS || engine->ports[port] == NULL || engine->ports[port]->interface == NULL))
		return -ENOENT;
	if (length < ETHERNET_LENGTH || length > PACKET_LIMIT)
		return -EINVAL;
	result->step_count = 0;
	result->length = 0;
	result->interface = 0;
	engine_run(engine, run, &request);
	return request.status;
}
