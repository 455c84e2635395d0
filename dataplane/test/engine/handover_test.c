/* An engine takes the place of another, both in this process: what stands in the tables goes over, and after a crash what
 * cannot be true is dropped. */
#include <stdlib.h>

#include "control/check.h"
#include "engine/state.h"

enum { FLOWS = 64 };

static struct ferrite_engine *start(struct ferrite_inheritance *inheritance)
{
	struct ferrite_engine_config config = {
		.name = "handover", .underlay_prefix = {{0xfd, 0, 0, 0x0f, 0, 1}}, .uplink = "none", .mtu = 1500,
		.flow_capacity = 4096, .keep_tables = true, .inheritance = inheritance,
	};
	struct ferrite_engine *engine = NULL;
	char error[FERRITE_ERROR_TEXT];
	CHECK_NUMBER(ferrite_engine_start(&config, &engine, error), 0);
	return engine;
}

static uint32_t add_vm(struct ferrite_engine *engine, const char *device, ferrite_ipv6 *underlay)
{
	struct ferrite_interface_config config = {.vni = 100, .ipv4 = {{10, 0, 0, 1}}};
	char error[FERRITE_ERROR_TEXT];
	uint32_t index = 0;
	CHECK_NUMBER(ferrite_port_open(engine, device, NULL, &config.port, error), 0);
	CHECK_NUMBER(ferrite_interface_add(engine, &config, &index, underlay), 0);
	return index;
}

static const struct nat_range range = {.interface = 1, .vni = 100, .ip = {198, 51, 100, 1}, .min = 1000, .max = 2000, .address = 1};

static struct tuple tuple_of(uint32_t number)
{
	return (struct tuple){.family = 4, .protocol = 6, .ports = number + 1, .addresses = {10, 0, 0, 1, 203, 0, 113, 9}};
}

static uint32_t map(struct ferrite_engine *engine, uint32_t number, uint16_t *port)
{
	struct tuple tuple = tuple_of(number);
	return nat_map(engine->nats, &range, &tuple, engine->seed, NULL, NULL, port);
}

static uint32_t begin(struct ferrite_engine *engine, uint32_t vm, uint32_t number)
{
	struct tuple tuple = tuple_of(number), back;
	struct flow_key original, reply;
	uint16_t port;
	uint32_t mapping = map(engine, number, &port);
	tuple_flip(&tuple, &back);
	flow_key_of(&original, engine->flows.seed, flow_context(FLOW_FROM_VM, vm, 4, 6), &tuple);
	flow_key_of(&reply, engine->flows.seed, flow_context(FLOW_FROM_NAT, 1, 4, 6), &back);
	uint32_t at = flow_begin(&engine->flows, &original, &reply, vm);
	CHECK(at != FLOW_NONE);
	engine->flows.entries[at].action = FLOW_HOP;
	engine->flows.entries[at].mapping = mapping;
	return at;
}

static struct ferrite_engine *successor(struct ferrite_engine *from, const ferrite_ipv6 *underlay, const char *device)
{
	struct ferrite_inheritance inheritance = {
		.tables = ferrite_handover_tables(from), .layout = ferrite_handover_layout(from),
	};
	struct ferrite_identity identity;
	ferrite_ipv6 again;
	CHECK_NUMBER(ferrite_identity_of(from, underlay, &identity), 0);
	struct ferrite_engine *engine = start(&inheritance);
	CHECK(ferrite_handover_inherits(engine));
	CHECK_NUMBER(ferrite_identity_next(engine, &identity), 0);
	CHECK_NUMBER(add_vm(engine, device, &again), identity.index);
	CHECK(memcmp(&again, underlay, sizeof again) == 0);
	ferrite_identity_done(engine);
	return engine;
}

static void end_all(struct ferrite_engine *engine)
{
	engine->flows.now += FLOW_ESTABLISHED_SECONDS * 1000u + 1;
	flow_sweep(&engine->flows, engine->flows.mask + 1);
	CHECK_NUMBER(engine->flows.count, 0);
	CHECK_NUMBER(engine->nats->count, 0);
	CHECK_NUMBER(nat_group_used(engine->nats, 1), 0);
}

static void a_successor_has_the_flows_and_their_ports(void)
{
	ferrite_ipv6 underlay;
	uint16_t before, after;
	uint64_t refused;
	struct ferrite_engine *old = start(NULL);
	uint32_t vm = add_vm(old, "ring:hov0", &underlay);
	for (uint32_t i = 0; i < FLOWS; i++)
		(void)begin(old, vm, i);
	nat_unmap(old->nats, map(old, 7, &before));
	struct ferrite_engine *new = successor(old, &underlay, "ring:hov1");
	ferrite_handover_stop(old);
	CHECK_NUMBER(ferrite_handover_adopt(new, false, &refused), FLOWS);
	CHECK_NUMBER(refused, 0);
	nat_unmap(new->nats, map(new, 7, &after));
	CHECK_NUMBER(after, before);
	CHECK_NUMBER(new->flows.owners[vm], FLOWS);
	end_all(new);
	ferrite_engine_stop(new);
	ferrite_engine_stop(old);
}

static void after_a_crash_what_cannot_be_true_is_dropped(void)
{
	ferrite_ipv6 underlay;
	uint16_t before, after;
	uint64_t refused;
	struct ferrite_engine *old = start(NULL);
	uint32_t vm = add_vm(old, "ring:hov2", &underlay), at[FLOWS];
	for (uint32_t i = 0; i < FLOWS; i++)
		at[i] = begin(old, vm, i);
	nat_unmap(old->nats, map(old, 7, &before));
	struct flow_entry *entries = old->flows.entries;
	entries[at[1]].ports ^= 0x100;                           /* no longer what its tag says */
	entries[at[2]].peer = at[3];                             /* of another flow */
	entries[at[4]].mapping = entries[at[5]].mapping;         /* of another source */
	old->flows.buckets[entries[at[6]].peer / 8].tags[entries[at[6]].peer % 8] = 0; /* half of it was gone */
	struct ferrite_engine *new = successor(old, &underlay, "ring:hov3");
	CHECK_NUMBER(ferrite_handover_adopt(new, true, &refused), FLOWS - 4);
	CHECK_NUMBER(refused, 7);
	CHECK_NUMBER(new->nats->count, FLOWS - 4);
	CHECK_NUMBER(new->flows.owners[vm], FLOWS - 4);
	nat_unmap(new->nats, map(new, 7, &after));
	CHECK_NUMBER(after, before);
	end_all(new);
	ferrite_engine_stop(new);
	ferrite_engine_stop(old);
}

static void tables_of_another_look_are_not_taken(void)
{
	struct ferrite_engine *old = start(NULL);
	struct ferrite_inheritance inheritance = {
		.tables = ferrite_handover_tables(old), .layout = ferrite_handover_layout(old) + 1,
	};
	struct ferrite_engine *new = start(&inheritance);
	CHECK(!ferrite_handover_inherits(new));
	CHECK(ferrite_handover_tables(new) >= 0);
	ferrite_engine_stop(new);
	ferrite_engine_stop(old);
}

int main(void)
{
	RUN(a_successor_has_the_flows_and_their_ports);
	RUN(after_a_crash_what_cannot_be_true_is_dropped);
	RUN(tables_of_another_look_are_not_taken);
	return CHECK_RESULT();
}
