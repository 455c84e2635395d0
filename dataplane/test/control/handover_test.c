/* The state of the control layer as bytes: told whole it comes back as it was, told wrong it is refused. */
#include <stdlib.h>

#include "check.h"
#include "control/address.h"
#include "control/handover.h"
#include "world.h"

static struct control_address address_of(const char *text)
{
	struct control_address address = {.family = 4};
	ferrite_ipv4 ipv4;

	CHECK(control_ipv4_parse(text, strlen(text), &ipv4));
	memcpy(address.bytes, ipv4.bytes, sizeof ipv4.bytes);
	return address;
}

static void put_firewall(struct world *world)
{
	struct control_rule rules[2] = {
		{.id = "one", .egress = true, .accept = true, .priority = 7, .protocol = 6, .source_ports.any = true,
		 .destination_ports = {.first = 80, .last = 90}, .icmp_type = -1, .icmp_code = -1},
		{.id = "two", .priority = 3, .source = {.family = 4, .length = 8, .bytes = {10}}, .source_ports.any = true,
		 .destination_ports.any = true, .protocol = 1, .icmp_type = 8, .icmp_code = -1},
	};
	struct control_firewall firewall = {
		.interface = "vm-1", .ingress = FERRITE_DROP, .egress = FERRITE_RULES, .rule_count = 2, .rules = rules};

	CHECK_NUMBER(control_firewall_put(world->control, &firewall), CONTROL_SUCCESS);
}

/* One of everything. */
static struct world full_world(void)
{
	struct world world = world_open();
	struct control_prefix prefix = {.interface = "vm-1", .routed = true, .key = {.family = 4, .length = 24, .prefix = {10, 9, 8, 7}}};
	struct control_address vip = address_of("198.51.100.9");
	struct control_nat_spec nat = {.interface = "vm-2", .ip = address_of("198.51.100.1"), .min = 1000, .max = 2000};
	struct control_balancer_spec balancer = {.id = "lb", .vni = 100, .address = address_of("198.51.100.7"), .port_count = 1,
						 .ports = {{6, 80, 80}}};
	struct ferrite_neighbor_nat neighbor = {.ip = {{198, 51, 100, 1}}, .vni = 100, .min = 2000, .max = 3000,
						.underlay = {{0xfd, 9}}};
	ferrite_ipv6 targets[2] = {{{0xfd, 2}}, {{0xfd, 1}}}, underlay;
	struct ferrite_hop hops[2] = {{{{0xfd, 1}}, 100, 1}, {{{0xfd, 2}}, 100, 3}};
	struct control_route several = world_route(100, "10.7.0.0/16", "fd01::");

	CHECK_NUMBER(world_create(&world, "vm-1", 100, "10.0.0.1", "fd00::1", "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_create(&world, "vm-2", 100, "10.0.0.2", NULL, "port1"), CONTROL_SUCCESS);
	CHECK_NUMBER(control_prefix_create(world.control, &prefix, &underlay), CONTROL_SUCCESS);
	CHECK_NUMBER(control_vip_create(world.control, "vm-1", &vip, &(ferrite_ipv6){{0}}, &underlay), CONTROL_SUCCESS);
	CHECK_NUMBER(control_nat_create(world.control, &nat, &underlay), CONTROL_SUCCESS);
	put_firewall(&world);
	CHECK_NUMBER(control_balancer_ensure(world.control, &balancer, targets, 2, &underlay), CONTROL_SUCCESS);
	CHECK_NUMBER(control_neighbor_nat_create(world.control, &neighbor), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "0.0.0.0/0", false), CONTROL_SUCCESS);
	several.hops = hops;
	several.hop_count = 2;
	CHECK_NUMBER(control_route_put(world.control, &several, false), CONTROL_SUCCESS);
	return world;
}

static bool restores(const uint8_t *bytes, size_t length, struct control_state *state)
{
	char error[CONTROL_HANDOVER_ERROR] = "";
	struct world world = world_open();
	bool good = control_handover_restore(world.control, bytes, length, error);

	CHECK(good == (error[0] == 0));
	CHECK(memchr(error, 0, sizeof error) != NULL);
	*state = world_state(&world);
	world_close(&world);
	return good;
}

static void what_was_saved_comes_back(void)
{
	struct world world = full_world();
	struct control_state before = world_state(&world), after;
	size_t length;
	uint8_t *bytes = control_handover_save(world.control, &length);

	CHECK(bytes != NULL);
	CHECK(restores(bytes, length, &after));
	CHECK_TEXT(after.uuid, before.uuid);
	CHECK(after.digest == before.digest);
	CHECK_NUMBER(after.initialized, true);
	CHECK_NUMBER(after.interfaces, before.interfaces);
	CHECK_NUMBER(after.routes, before.routes);
	free(bytes);
	world_close(&world);
}

static void what_is_damaged_is_refused(void)
{
	struct world world = full_world();
	struct control_state state;
	size_t length;
	uint8_t *bytes = control_handover_save(world.control, &length);

	for (size_t cut = 0; cut < length; cut += cut < 64 ? 1 : 37) {
		uint8_t *copy = malloc(cut > 0 ? cut : 1);

		memcpy(copy, bytes, cut);
		CHECK(!restores(copy, cut, &state));
		free(copy);
	}
	for (size_t at = 0; at < length; at += at < 64 ? 1 : 41) {
		bytes[at] ^= 0x10;
		CHECK(!restores(bytes, length, &state));
		bytes[at] ^= 0x10;
	}
	CHECK(restores(bytes, length, &state));
	free(bytes);
	world_close(&world);
}

/* A newer one may say more of a thing, and an older one less; a thing that is not known is not left out in silence. */
static void neighbouring_versions_understand_each_other(void)
{
	struct world world = world_open();
	struct control_state state;
	size_t length;
	uint8_t *bytes = control_handover_save(world.control, &length), longer[256] = {0};
	size_t first = CONTROL_HANDOVER_HEADER;

	/* The first record, of the state, with four bytes more behind it. */
	CHECK_NUMBER(bytes[first], 1);
	size_t record = 5 + bytes[first + 1];
	memcpy(longer, bytes, first + record);
	longer[first + 1] = (uint8_t)(bytes[first + 1] + 4);
	memcpy(longer + first + record + 4, bytes + first + record, length - first - record);
	control_handover_seal(longer, length + 4);
	CHECK(restores(longer, length + 4, &state));
	/* A record of a kind 99 before the end. */
	memcpy(longer, bytes, length);
	memcpy(longer + first + record + 5, bytes + first + record, length - first - record);
	memcpy(longer + first + record, (const uint8_t[]){99, 0, 0, 0, 0}, 5);
	control_handover_seal(longer, length + 5);
	CHECK(!restores(longer, length + 5, &state));
	free(bytes);
	world_close(&world);
}

int main(void)
{
	RUN(what_was_saved_comes_back);
	RUN(what_is_damaged_is_refused);
	RUN(neighbouring_versions_understand_each_other);
	return CHECK_RESULT();
}
