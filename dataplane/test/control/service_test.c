/* Prefixes, VIPs, NATs, load balancers and firewalls above the fake engine: codes in their order, what a failure
 * leaves, and what goes with what. */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "control/address.h"
#include "control/digest.h"
#include "world.h"

static const ferrite_ipv6 none;

static struct world world_with_vms(void)
{
	struct world world = world_open();

	CHECK_NUMBER(world_create(&world, "vm-1", 100, "10.0.0.1", "fd00::1", "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_create(&world, "vm-2", 100, "10.0.0.2", NULL, "port1"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_create(&world, "vm-3", 200, "10.0.0.1", NULL, "port2"), CONTROL_SUCCESS);
	return world;
}

static struct control_address address(const char *text)
{
	struct control_address address = {.family = strchr(text, ':') != NULL ? 6 : 4};
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;

	if (address.family == 4 && control_ipv4_parse(text, strlen(text), &ipv4))
		memcpy(address.bytes, ipv4.bytes, sizeof ipv4.bytes);
	if (address.family == 6 && control_ipv6_parse(text, strlen(text), &ipv6))
		memcpy(address.bytes, ipv6.bytes, sizeof ipv6.bytes);
	return address;
}

static ferrite_ipv6 underlay_of(const char *text)
{
	ferrite_ipv6 out = {{0}};

	CHECK(control_ipv6_parse(text, strlen(text), &out));
	return out;
}

static struct control_prefix prefix_of(const char *interface, const char *text, bool routed)
{
	struct control_prefix prefix = {.interface = interface, .routed = routed};

	CHECK(control_prefix_parse(text, strlen(text), &prefix.key) == CONTROL_PREFIX_OK);
	return prefix;
}

static enum control_status add_prefix(struct world *world, const char *interface, const char *text, bool routed)
{
	struct control_prefix prefix = prefix_of(interface, text, routed);
	ferrite_ipv6 underlay;

	return control_prefix_create(world->control, &prefix, &underlay);
}

static enum control_status drop_prefix(struct world *world, const char *interface, const char *text, bool routed)
{
	struct control_prefix prefix = prefix_of(interface, text, routed);

	return control_prefix_delete(world->control, interface, &prefix.key, routed);
}

static enum control_status add_vip(struct world *world, const char *interface, const char *ip, const ferrite_ipv6 *preferred)
{
	struct control_address of = address(ip);
	ferrite_ipv6 underlay;

	return control_vip_create(world->control, interface, &of, preferred, &underlay);
}

static struct control_nat_spec nat_of(const char *interface, const char *ip, uint32_t min, uint32_t max)
{
	return (struct control_nat_spec){.interface = interface, .ip = address(ip), .min = min, .max = max};
}

static enum control_status add_nat(struct world *world, const char *interface, const char *ip, uint32_t min, uint32_t max)
{
	struct control_nat_spec nat = nat_of(interface, ip, min, max);
	ferrite_ipv6 underlay;

	return control_nat_create(world->control, &nat, &underlay);
}

static enum control_status put_nat(struct world *world, const char *interface, const char *ip, uint32_t min, uint32_t max)
{
	struct control_nat_spec nat = nat_of(interface, ip, min, max);
	ferrite_ipv6 underlay;

	return control_nat_ensure(world->control, &nat, &underlay);
}

static struct ferrite_neighbor_nat neighbor(uint32_t vni, const char *ip, uint32_t min, uint32_t max)
{
	struct ferrite_neighbor_nat entry = {.vni = vni, .min = min, .max = max, .underlay = underlay_of("fd00:f:2::1")};
	struct control_address of = address(ip);

	memcpy(entry.ip.bytes, of.bytes, sizeof entry.ip.bytes);
	return entry;
}

static enum control_status add_neighbor(struct world *world, uint32_t vni, const char *ip, uint32_t min, uint32_t max)
{
	struct ferrite_neighbor_nat entry = neighbor(vni, ip, min, max);

	return control_neighbor_nat_create(world->control, &entry);
}

static enum control_status drop_neighbor(struct world *world, uint32_t vni, const char *ip, uint32_t min, uint32_t max)
{
	struct ferrite_neighbor_nat entry = neighbor(vni, ip, min, max);

	return control_neighbor_nat_delete(world->control, &entry);
}

static struct control_balancer_spec balancer_of(const char *id, uint32_t vni, const char *ip)
{
	struct control_balancer_spec spec = {.vni = vni, .address = address(ip), .port_count = 1};

	snprintf(spec.id, sizeof spec.id, "%s", id);
	spec.ports[0] = (struct ferrite_balancer_port){.protocol = 6, .first = 80, .last = 80};
	return spec;
}

static enum control_status add_balancer(struct world *world, const char *id, uint32_t vni, const char *ip)
{
	struct control_balancer_spec spec = balancer_of(id, vni, ip);
	ferrite_ipv6 underlay;

	return control_balancer_create(world->control, &spec, &underlay);
}

static enum control_status add_target(struct world *world, const char *id, const char *ip)
{
	struct control_address of = address(ip);

	return control_target_create(world->control, id, &of);
}

static enum control_status drop_target(struct world *world, const char *id, const char *ip)
{
	struct control_address of = address(ip);

	return control_target_delete(world->control, id, &of);
}

static struct control_rule rule_of(const char *id, bool egress, bool accept, uint16_t priority, const char *source)
{
	struct control_rule rule = {
		.egress = egress,
		.accept = accept,
		.priority = priority,
		.destination = {.family = 4},
		.protocol = 6,
		.source_ports = {.any = true},
		.destination_ports = {.first = 80, .last = 90},
		.icmp_type = -1,
		.icmp_code = -1,
	};
	struct ferrite_route_key key = {0};

	snprintf(rule.id, sizeof rule.id, "%s", id);
	CHECK(control_prefix_parse(source, strlen(source), &key) == CONTROL_PREFIX_OK);
	rule.source.family = key.family;
	rule.source.length = key.length;
	memcpy(rule.source.bytes, key.prefix, sizeof key.prefix);
	return rule;
}

static enum control_status add_rule(struct world *world, const char *id, bool egress, uint16_t priority)
{
	struct control_rule rule = rule_of(id, egress, true, priority, "10.0.0.0/8");

	return control_rule_create(world->control, "vm-1", &rule);
}

static void each_fault_of_a_prefix_has_its_code(void)
{
	struct world world = world_with_vms();
	struct control_prefix wanted = prefix_of("vm-1", "10.9.0.0/16", true);
	ferrite_ipv6 underlay;

	CHECK_NUMBER(add_prefix(&world, "vm-9", "10.1.0.0/16", true), CONTROL_NO_VM);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/33", true), CONTROL_ROUTE_INSERT);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/33", false), CONTROL_VNF_INSERT);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/16", true), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(add_prefix(&world, "vm-2", "10.1.0.0/16", true), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(add_prefix(&world, "vm-3", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/16", false), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_prefix(&world, "vm-2", "10.1.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.0.0.2/32", true), CONTROL_ROUTE_EXISTS);
	wanted.preferred = control_interface_find(world.control, "vm-2")->underlay;
	CHECK_NUMBER(control_prefix_create(world.control, &wanted, &underlay), CONTROL_VNF_INSERT);
	fake_engine_fail_next(world.engine, FAKE_PREFIX_ADD, -EADDRINUSE);
	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.9.0.0/16", true), CONTROL_VNF_INSERT);
	CHECK_NUMBER(world_put(&world, 100, "10.8.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(drop_prefix(&world, "vm-9", "10.1.0.0/16", true), CONTROL_NO_VM);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.7.0.0/16", true), CONTROL_ROUTE_NOT_FOUND);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.1.0.0/40", true), CONTROL_ROUTE_NOT_FOUND);
	CHECK_NUMBER(drop_prefix(&world, "vm-2", "10.1.0.0/16", true), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.8.0.0/16", true), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.0.0.1/32", true), CONTROL_NOT_FOUND);
	CHECK_NUMBER(world_drop(&world, 100, "10.1.0.0/16"), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.7.0.0/16", false), CONTROL_NOT_FOUND);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.1.0.0/16", false), CONTROL_SUCCESS);
	world_close(&world);
}

static void initialize_again_keeps_alias_prefixes_and_they_can_be_deleted(void)
{
	struct world world = world_with_vms();

	CHECK_NUMBER(add_prefix(&world, "vm-1", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(add_neighbor(&world, 100, "1.1.1.1", 0, 100), CONTROL_SUCCESS);
	CHECK_NUMBER(add_vip(&world, "vm-1", "2.2.2.2", &none), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "10.8.0.0/16", false), CONTROL_SUCCESS);
	control_initialize(world.control);
	control_vni_reset(world.control, 100);
	CHECK_NUMBER(fake_engine_neighbor_nats(world.engine), 0);
	CHECK_NUMBER(world_state(&world).routes, 0);
	CHECK_NUMBER(drop_prefix(&world, "vm-1", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(control_vip_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	world_close(&world);
}

static void each_fault_of_a_vip_has_its_code(void)
{
	struct world world = world_with_vms();
	const ferrite_ipv6 taken = control_interface_find(world.control, "vm-2")->underlay;
	struct control_vip vip;

	CHECK_NUMBER(add_vip(&world, "vm-9", "fd00::1", &taken), CONTROL_NO_VM);
	CHECK_NUMBER(add_vip(&world, "vm-1", "fd00::1", &taken), CONTROL_BAD_IPVER);
	CHECK_NUMBER(add_vip(&world, "vm-1", "1.1.1.1", &none), CONTROL_SUCCESS);
	CHECK_NUMBER(add_vip(&world, "vm-1", "1.1.1.1", &taken), CONTROL_VNF_INSERT);
	CHECK_NUMBER(add_vip(&world, "vm-1", "1.1.1.1", &none), CONTROL_SNAT_EXISTS);
	CHECK_NUMBER(add_vip(&world, "vm-2", "1.1.1.1", &none), CONTROL_DNAT_EXISTS);
	CHECK_NUMBER(add_vip(&world, "vm-3", "1.1.1.1", &none), CONTROL_SUCCESS);
	CHECK_NUMBER(control_vip_get(world.control, "vm-9", &vip), CONTROL_NO_VM);
	CHECK_NUMBER(control_vip_get(world.control, "vm-2", &vip), CONTROL_SNAT_NO_DATA);
	CHECK_NUMBER(control_vip_delete(world.control, "vm-2"), CONTROL_SNAT_NO_DATA);
	CHECK_NUMBER(control_vip_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK_NUMBER(add_vip(&world, "vm-2", "1.1.1.1", &none), CONTROL_SUCCESS);
	fake_engine_fail_next(world.engine, FAKE_VIP_ADD, -ENOMEM);
	CHECK_NUMBER(add_vip(&world, "vm-1", "1.1.1.2", &none), CONTROL_SNAT_CREATE);
	CHECK_NUMBER(control_vip_get(world.control, "vm-1", &vip), CONTROL_SNAT_NO_DATA);
	world_close(&world);
}

static void ranges_of_one_nat_address_never_overlap(void)
{
	struct world world = world_with_vms();

	CHECK_NUMBER(add_nat(&world, "vm-9", "1.1.1.1", 100, 200), CONTROL_NO_VM);
	CHECK_NUMBER(add_nat(&world, "vm-1", "fd00::1", 100, 200), CONTROL_BAD_IPVER);
	CHECK_NUMBER(add_nat(&world, "vm-1", "1.1.1.1", 100, 200), CONTROL_SUCCESS);
	CHECK_NUMBER(add_nat(&world, "vm-1", "1.1.1.1", 300, 400), CONTROL_SNAT_EXISTS);
	CHECK_NUMBER(add_nat(&world, "vm-2", "1.1.1.1", 199, 300), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_nat(&world, "vm-2", "1.1.1.1", 50, 101), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_neighbor(&world, 100, "1.1.1.1", 150, 160), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_neighbor(&world, 200, "1.1.1.1", 150, 160), CONTROL_SUCCESS);
	CHECK_NUMBER(add_neighbor(&world, 100, "1.1.1.1", 0, 100), CONTROL_SUCCESS);
	CHECK_NUMBER(add_neighbor(&world, 100, "1.1.1.1", 0, 100), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_neighbor(&world, 100, "1.1.1.2", 150, 160), CONTROL_SUCCESS);
	CHECK_NUMBER(add_nat(&world, "vm-2", "1.1.1.1", 99, 100), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_nat(&world, "vm-2", "1.1.1.1", 200, 300), CONTROL_SUCCESS);
	CHECK_NUMBER(drop_neighbor(&world, 100, "1.1.1.1", 0, 99), CONTROL_NOT_FOUND);
	CHECK_NUMBER(drop_neighbor(&world, 100, "1.1.1.1", 100, 200), CONTROL_NOT_FOUND);
	CHECK_NUMBER(drop_neighbor(&world, 200, "1.1.1.1", 0, 100), CONTROL_NOT_FOUND);
	CHECK_NUMBER(drop_neighbor(&world, 100, "1.1.1.1", 0, 100), CONTROL_SUCCESS);
	/* A range grows in its place, and not over another's. */
	CHECK_NUMBER(put_nat(&world, "vm-1", "1.1.1.1", 50, 150), CONTROL_SUCCESS);
	CHECK_NUMBER(put_nat(&world, "vm-1", "1.1.1.1", 50, 201), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(put_nat(&world, "vm-1", "1.1.1.1", 300, 301), CONTROL_SUCCESS);
	CHECK_NUMBER(put_nat(&world, "vm-1", "1.1.1.3", 50, 201), CONTROL_SUCCESS);
	fake_engine_fail_next(world.engine, FAKE_NAT_UPDATE, -ENOMEM);
	CHECK_NUMBER(put_nat(&world, "vm-1", "1.1.1.3", 50, 60), CONTROL_SNAT_CREATE);
	CHECK_NUMBER(add_nat(&world, "vm-3", "1.1.1.1", 150, 151), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(control_nat_delete(world.control, "vm-3"), CONTROL_SNAT_NO_DATA);
	CHECK_NUMBER(control_nat_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK_NUMBER(control_nat_delete(world.control, "vm-1"), CONTROL_SNAT_NO_DATA);
	world_close(&world);
}

static void a_deleted_interface_takes_along_what_stands_around_it(void)
{
	struct world world = world_with_vms();

	CHECK_NUMBER(add_prefix(&world, "vm-3", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-3", "10.1.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(add_vip(&world, "vm-3", "1.1.1.1", &none), CONTROL_SUCCESS);
	CHECK_NUMBER(add_nat(&world, "vm-3", "1.1.1.2", 0, 100), CONTROL_SUCCESS);
	CHECK_NUMBER(add_neighbor(&world, 200, "1.1.1.2", 100, 200), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 200, "10.8.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-3"), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_endpoints(world.engine), 0);
	CHECK_NUMBER(fake_engine_neighbor_nats(world.engine), 0);
	CHECK_NUMBER(world_create(&world, "vm-3", 200, "10.0.0.1", NULL, "port2"), CONTROL_SUCCESS);
	CHECK_NUMBER(add_prefix(&world, "vm-3", "10.1.0.0/16", true), CONTROL_SUCCESS);
	CHECK_NUMBER(add_vip(&world, "vm-3", "1.1.1.1", &none), CONTROL_SUCCESS);
	CHECK_NUMBER(add_nat(&world, "vm-3", "1.1.1.2", 0, 100), CONTROL_SUCCESS);
	world_close(&world);
}

static void each_fault_of_a_load_balancer_has_its_code(void)
{
	struct world world = world_with_vms();
	struct control_balancer_spec spec = balancer_of("lb-2", 100, "1.1.1.1");
	ferrite_ipv6 underlay;

	CHECK_NUMBER(add_balancer(&world, "lb-1", 100, "1.1.1.1"), CONTROL_SUCCESS);
	spec.preferred = control_interface_find(world.control, "vm-2")->underlay;
	CHECK_NUMBER(control_balancer_create(world.control, &spec, &underlay), CONTROL_VNF_INSERT);
	CHECK_NUMBER(add_balancer(&world, "lb-2", 100, "1.1.1.1"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_balancer(&world, "lb-1", 100, "1.1.1.2"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_balancer(&world, "lb-2", 0, "1.1.1.2"), CONTROL_VNI_INIT4);
	CHECK_NUMBER(add_balancer(&world, "lb-2", 300, "fd00::9"), CONTROL_SUCCESS);
	CHECK(control_vni_in_use(world.control, 300));
	CHECK_NUMBER(world_put(&world, 300, "10.8.0.0/16", false), CONTROL_SUCCESS);
	fake_engine_fail_next(world.engine, FAKE_BALANCER_ADD, -ENOSPC);
	CHECK_NUMBER(add_balancer(&world, "lb-3", 400, "1.1.1.1"), CONTROL_OUT_OF_MEMORY);
	CHECK(!control_vni_in_use(world.control, 400));
	CHECK_NUMBER(control_balancer_delete(world.control, "lb-3"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(control_balancer_delete(world.control, "lb-2"), CONTROL_SUCCESS);
	CHECK(!control_vni_in_use(world.control, 300));
	CHECK_NUMBER(world_state(&world).routes, 0);
	CHECK_NUMBER(add_target(&world, "lb-9", "1.1.1.1"), CONTROL_BAD_IPVER);
	CHECK_NUMBER(add_target(&world, "lb-9", "fd00:f:2::1"), CONTROL_NO_LB);
	CHECK_NUMBER(add_target(&world, "lb-1", "fd00:f:2::2"), CONTROL_SUCCESS);
	CHECK_NUMBER(add_target(&world, "lb-1", "fd00:f:2::1"), CONTROL_SUCCESS);
	CHECK_NUMBER(add_target(&world, "lb-1", "fd00:f:2::2"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(add_target(&world, "lb-1", "::"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(control_balancer_find(world.control, "lb-1")->targets[0].bytes[15], 1);
	CHECK_NUMBER(drop_target(&world, "lb-1", "1.1.1.1"), CONTROL_BAD_IPVER);
	CHECK_NUMBER(drop_target(&world, "lb-9", "fd00:f:2::1"), CONTROL_NO_LB);
	CHECK_NUMBER(drop_target(&world, "lb-1", "fd00:f:2::9"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(drop_target(&world, "lb-1", "fd00:f:2::1"), CONTROL_SUCCESS);
	fake_engine_fail_next(world.engine, FAKE_BALANCER_TARGETS, -ENOMEM);
	CHECK_NUMBER(drop_target(&world, "lb-1", "fd00:f:2::2"), CONTROL_BACKIP_DEL);
	CHECK_NUMBER(control_balancer_find(world.control, "lb-1")->target_count, 1);
	world_close(&world);
}

static void a_load_balancer_has_room_for_1024_targets(void)
{
	struct world world = world_with_vms();
	char text[48];

	CHECK_NUMBER(add_balancer(&world, "lb-1", 100, "1.1.1.1"), CONTROL_SUCCESS);
	for (int i = 1; i <= 1024; ++i) {
		snprintf(text, sizeof text, "fd00:f:2::%x", i);
		CHECK_NUMBER(add_target(&world, "lb-1", text), CONTROL_SUCCESS);
	}
	CHECK_NUMBER(fake_engine_targets(world.engine, 1), 1024);
	CHECK_NUMBER(add_target(&world, "lb-1", "fd00:f:3::1"), CONTROL_BACKIP_ADD);
	CHECK_NUMBER(add_target(&world, "lb-1", "::"), CONTROL_BACKIP_ADD);
	world_close(&world);
}

static void a_load_balancer_changes_in_its_place(void)
{
	struct world world = world_with_vms();
	struct control_balancer_spec spec = balancer_of("lb-1", 100, "1.1.1.1");
	ferrite_ipv6 targets[2] = {underlay_of("fd00:f:2::2"), underlay_of("fd00:f:2::1")};
	ferrite_ipv6 first, second;
	uint64_t digest;

	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 2, &first), CONTROL_SUCCESS);
	digest = world_state(&world).digest;
	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 2, &second), CONTROL_SUCCESS);
	CHECK(memcmp(&first, &second, sizeof first) == 0 && digest == world_state(&world).digest);
	spec.ports[0].last = 90;
	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 1, &second), CONTROL_SUCCESS);
	CHECK(memcmp(&first, &second, sizeof first) == 0 && digest != world_state(&world).digest);
	CHECK_NUMBER(control_balancer_find(world.control, "lb-1")->target_count, 1);
	CHECK_NUMBER(add_vip(&world, "vm-1", "1.1.1.2", &none), CONTROL_SUCCESS);
	spec.address = address("1.1.1.2");
	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 1, &second), CONTROL_ALREADY_EXISTS);
	spec.address = address("1.1.1.3");
	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 1, &second), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_targets(world.engine, 1), 1);
	fake_engine_fail_next(world.engine, FAKE_BALANCER_TARGETS, -ENOMEM);
	spec = balancer_of("lb-9", 100, "1.1.1.9");
	CHECK_NUMBER(control_balancer_ensure(world.control, &spec, targets, 2, &second), CONTROL_BACKIP_ADD);
	CHECK(control_balancer_find(world.control, "lb-9") == NULL);
	world_close(&world);
}

static void rules_are_tried_by_priority_and_then_by_age(void)
{
	struct world world = world_with_vms();
	const struct fake_firewall *told;
	struct control_rule rule;

	CHECK_NUMBER(add_rule(&world, "b", false, 20), CONTROL_SUCCESS);
	CHECK_NUMBER(add_rule(&world, "a", false, 20), CONTROL_SUCCESS);
	CHECK_NUMBER(add_rule(&world, "c", false, 10), CONTROL_SUCCESS);
	CHECK_NUMBER(add_rule(&world, "c", true, 1), CONTROL_ALREADY_EXISTS);
	told = fake_engine_firewall(world.engine, 1);
	CHECK_NUMBER(told->count, 3);
	CHECK(told->rules[0].tag == 3 && told->rules[1].tag == 1 && told->rules[2].tag == 2);
	CHECK(told->ingress == FERRITE_DROP && told->egress == FERRITE_ACCEPT);
	CHECK_NUMBER(add_rule(&world, "e", true, 1), CONTROL_SUCCESS);
	CHECK(fake_engine_firewall(world.engine, 1)->egress == FERRITE_DROP);
	CHECK_NUMBER(control_rule_get(world.control, "vm-1", "a", &rule), CONTROL_SUCCESS);
	CHECK_NUMBER(control_rule_get(world.control, "vm-9", "a", &rule), CONTROL_NO_VM);
	CHECK_NUMBER(control_rule_get(world.control, "vm-2", "a", &rule), CONTROL_NOT_FOUND);
	CHECK_NUMBER(control_rule_delete(world.control, "vm-2", "a"), CONTROL_NOT_FOUND);
	fake_engine_fail_next(world.engine, FAKE_FIREWALL_SET, -ENOMEM);
	CHECK_NUMBER(control_rule_delete(world.control, "vm-1", "b"), CONTROL_OUT_OF_MEMORY);
	CHECK_NUMBER(control_rule_get(world.control, "vm-1", "b", &rule), CONTROL_SUCCESS);
	CHECK_NUMBER(rule.priority, 20);
	CHECK_NUMBER(control_rule_delete(world.control, "vm-1", "b"), CONTROL_SUCCESS);
	for (const char *const *id = (const char *const[]){"a", "c", "e", NULL}; *id != NULL; ++id)
		CHECK_NUMBER(control_rule_delete(world.control, "vm-1", *id), CONTROL_SUCCESS);
	told = fake_engine_firewall(world.engine, 1);
	CHECK(told->count == 0 && told->ingress == FERRITE_ACCEPT && told->egress == FERRITE_ACCEPT);
	world_close(&world);
}

static void an_interface_has_room_for_4096_rules(void)
{
	struct world world = world_with_vms();
	char id[16];

	for (int i = 0; i < FERRITE_MAX_RULES; ++i) {
		snprintf(id, sizeof id, "rule-%d", i);
		CHECK_NUMBER(add_rule(&world, id, false, (uint16_t)(i % 7)), CONTROL_SUCCESS);
	}
	CHECK_NUMBER(add_rule(&world, "more", false, 1), CONTROL_OUT_OF_MEMORY);
	CHECK_NUMBER(fake_engine_firewall(world.engine, 1)->count, FERRITE_MAX_RULES);
	world_close(&world);
}

static void a_rule_of_two_families_counts_and_matches_nothing(void)
{
	struct world world = world_with_vms();
	struct control_rule rule = rule_of("six", false, true, 1, "fd00::/64");

	CHECK_NUMBER(control_rule_create(world.control, "vm-1", &rule), CONTROL_SUCCESS);
	/* 0.0.0.0/0 beside an IPv6 prefix: clients say so when they mean every address. */
	CHECK_NUMBER(fake_engine_firewall(world.engine, 1)->count, 1);
	CHECK_NUMBER(fake_engine_firewall(world.engine, 1)->rules[0].family, 6);
	rule = rule_of("both", false, true, 1, "fd00::/64");
	rule.destination.length = 8;
	CHECK_NUMBER(control_rule_create(world.control, "vm-1", &rule), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_firewall(world.engine, 1)->count, 1);
	world_close(&world);
}

static void a_firewall_is_put_whole(void)
{
	struct world world = world_with_vms();
	struct control_rule rules[2] = {rule_of("b", false, true, 2, "10.0.0.0/8"), rule_of("a", true, false, 1, "10.0.0.0/8")};
	struct control_firewall firewall = {
		.interface = "vm-1", .ingress = FERRITE_RULES, .egress = FERRITE_DROP, .rule_count = 2, .rules = rules};
	uint64_t before = world_state(&world).digest, digest;

	CHECK_NUMBER(control_firewall_delete(world.control, "vm-1"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(control_firewall_put(world.control, &firewall), CONTROL_SUCCESS);
	digest = world_state(&world).digest;
	CHECK(digest == (before ^ control_digest_firewall(&firewall)));
	CHECK(fake_engine_firewall(world.engine, 1)->ingress == FERRITE_DROP);
	CHECK_NUMBER(control_rule_hits(world.control, "vm-1", "b"), 1);
	rules[0].priority = 0;
	CHECK_NUMBER(control_firewall_put(world.control, &firewall), CONTROL_SUCCESS);
	CHECK_NUMBER(control_rule_hits(world.control, "vm-1", "b"), 1);
	firewall.rule_count = 0;
	CHECK_NUMBER(control_firewall_put(world.control, &firewall), CONTROL_SUCCESS);
	CHECK(fake_engine_firewall(world.engine, 1)->ingress == FERRITE_ACCEPT);
	strcpy(rules[1].id, "b");
	firewall.rule_count = 2;
	CHECK_NUMBER(control_firewall_put(world.control, &firewall), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(control_firewall_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK(world_state(&world).digest == before);
	world_close(&world);
}

static void firewall_defaults_can_be_others_from_the_start(void)
{
	struct world world = world_open();
	struct control_config config = {.has_firewall_defaults = true, .ingress = FERRITE_DROP, .egress = FERRITE_RULES};
	const struct fake_firewall *told;

	control_configure(world.control, &config);
	CHECK_NUMBER(world_create(&world, "vm-1", 100, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	told = fake_engine_firewall(world.engine, 1);
	CHECK(told != NULL && told->ingress == FERRITE_DROP && told->egress == FERRITE_ACCEPT);
	world_close(&world);
}

static void settings_of_an_interface_change_in_place(void)
{
	struct world world = world_open();
	struct control_interface_spec spec = world_spec("vm-1", 100, "10.0.0.1", NULL, "port0");
	const struct control_interface *made;

	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &made), CONTROL_SUCCESS);
	spec.total_rate = 100;
	spec.public_rate = 101;
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &made), CONTROL_PORT_METER);
	spec.public_rate = 50;
	spec.flow_limit = 7;
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &made), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_settings(world.engine, 1)->flow_limit, 7);
	CHECK(world_state(&world).digest == control_digest_interface(&spec));
	fake_engine_fail_next(world.engine, FAKE_INTERFACE_UPDATE, -EIO);
	spec.flow_limit = 8;
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &made), CONTROL_PORT_START);
	CHECK_NUMBER(made->spec.flow_limit, 7);
	spec = world_spec("vm-2", 100, "10.0.0.2", NULL, "port1");
	spec.total_rate = 1ull << 32;
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_PORT_METER);
	world_close(&world);
}

static void an_uplink_is_no_port_of_an_interface(void)
{
	struct world world = world_open();
	char error[FERRITE_ERROR_TEXT];

	CHECK(control_uplink_add(world.control, "pf0"));
	CHECK(!control_uplink_add(world.control, "pf0"));
	CHECK(!control_uplink_add(world.control, "port0"));
	CHECK_NUMBER(world_create(&world, "vm-1", 100, "10.0.0.1", NULL, "pf0"), CONTROL_ALREADY_EXISTS);
	CHECK(control_port_add(world.control, "pf0", "ring:x", NULL, error) != 0);
	world_close(&world);
}

static int capture_begin(void *context, const struct control_capture *capture)
{
	(void)capture;
	return *(int *)context;
}

static void capture_end(void *context)
{
	*(int *)context = 1;
}

static void capture_follows_its_codes(void)
{
	static const struct control_capture_ops ops = {.start = capture_begin, .stop = capture_end};
	struct control_capture capture = {.interface_count = 1, .interfaces = {{.device = "nowhere"}}};
	struct world world = world_open();
	unsigned stopped = 0;
	int context = -EIO;

	CHECK_NUMBER(control_capture_start(world.control, &capture), CONTROL_NOT_ACTIVE);
	CHECK_NUMBER(control_capture_stop(world.control, &stopped), CONTROL_NOT_ACTIVE);
	control_capture_install(world.control, &ops, &context);
	CHECK_NUMBER(control_capture_start(world.control, &capture), CONTROL_NOT_FOUND);
	strcpy(capture.interfaces[0].device, "port1");
	CHECK_NUMBER(control_capture_start(world.control, &capture), CONTROL_RTE_RULE_ADD);
	context = 0;
	CHECK_NUMBER(control_capture_start(world.control, &capture), CONTROL_SUCCESS);
	CHECK_NUMBER(control_capture_start(world.control, &capture), CONTROL_ALREADY_ACTIVE);
	CHECK_NUMBER(control_capture_status(world.control)->interfaces[0].port, 2);
	CHECK_NUMBER(control_capture_stop(world.control, &stopped), CONTROL_SUCCESS);
	CHECK(stopped == 1 && context == 1 && control_capture_status(world.control) == NULL);
	world_close(&world);
}

int main(void)
{
	RUN(each_fault_of_a_prefix_has_its_code);
	RUN(initialize_again_keeps_alias_prefixes_and_they_can_be_deleted);
	RUN(each_fault_of_a_vip_has_its_code);
	RUN(ranges_of_one_nat_address_never_overlap);
	RUN(a_deleted_interface_takes_along_what_stands_around_it);
	RUN(each_fault_of_a_load_balancer_has_its_code);
	RUN(a_load_balancer_has_room_for_1024_targets);
	RUN(a_load_balancer_changes_in_its_place);
	RUN(rules_are_tried_by_priority_and_then_by_age);
	RUN(an_interface_has_room_for_4096_rules);
	RUN(a_rule_of_two_families_counts_and_matches_nothing);
	RUN(a_firewall_is_put_whole);
	RUN(firewall_defaults_can_be_others_from_the_start);
	RUN(settings_of_an_interface_change_in_place);
	RUN(an_uplink_is_no_port_of_an_interface);
	RUN(capture_follows_its_codes);
	return CHECK_RESULT();
}
