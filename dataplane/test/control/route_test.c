#include <errno.h>
#include <stdlib.h>

#include "control/digest.h"
#include "check.h"
#include "world.h"

static struct world world_with_vnis(void)
{
	struct world world = world_open();

	CHECK_NUMBER(world_create(&world, "vm-1", 100, "10.0.0.1", "fd00::1", "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_create(&world, "vm-2", 200, "10.0.0.1", NULL, "port1"), CONTROL_SUCCESS);
	return world;
}

static void each_fault_of_a_route_has_its_code(void)
{
	struct world world = world_with_vnis();
	struct control_route route = world_route(100, "10.0.0.0/8", "fd00:f:2::1");

	CHECK_NUMBER(world_put(&world, 300, "10.0.0.0/8", false), CONTROL_NO_VNI);
	CHECK_NUMBER(world_drop(&world, 300, "10.0.0.0/8"), CONTROL_NO_VNI);
	CHECK_NUMBER(world_put(&world, 100, "10.0.0.0/8", false), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "10.9.9.9/8", false), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(world_put(&world, 100, "10.0.0.1/32", false), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(world_put(&world, 100, "10.0.0.1/32", true), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(world_drop(&world, 100, "10.0.0.1/32"), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(world_drop(&world, 100, "fd00::1/128"), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(world_drop(&world, 100, "10.0.0.0/9"), CONTROL_ROUTE_NOT_FOUND);
	CHECK_NUMBER(world_drop(&world, 200, "10.0.0.0/8"), CONTROL_ROUTE_NOT_FOUND);
	route.key.length = 33;
	CHECK_NUMBER(control_route_put(world.control, &route, false), CONTROL_ROUTE_INSERT);
	CHECK_NUMBER(control_route_delete(world.control, &route.key), CONTROL_ROUTE_NOT_FOUND);
	fake_engine_fail_next(world.engine, FAKE_ROUTE_PUT, -ENOSPC);
	CHECK_NUMBER(world_put(&world, 100, "10.2.0.0/16", false), CONTROL_ROUTE_INSERT);
	CHECK_NUMBER(world_drop(&world, 100, "10.2.0.0/16"), CONTROL_ROUTE_NOT_FOUND);
	CHECK_NUMBER(world_drop(&world, 100, "10.255.0.0/8"), CONTROL_SUCCESS);
	world_close(&world);
}

static void a_listing_shows_both_families_and_no_local_routes(void)
{
	struct world world = world_with_vnis();

	CHECK_NUMBER(world_put(&world, 100, "0.0.0.0/0", false), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "::/0", false), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 200, "10.0.0.0/8", false), CONTROL_SUCCESS);
	CHECK_NUMBER(world_listed(&world, 100), 2);
	CHECK_NUMBER(world_listed(&world, 200), 1);
	CHECK_NUMBER(world_listed(&world, 0), 3);
	CHECK_NUMBER(world_listed(&world, 300), -1);
	world_close(&world);
}

static void initialize_and_reset_leave_the_routes_of_interfaces(void)
{
	struct world world = world_with_vnis();
	uint64_t interfaces = world_state(&world).digest;

	CHECK_NUMBER(world_put(&world, 100, "10.1.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 200, "10.1.0.0/16", false), CONTROL_SUCCESS);
	control_vni_reset(world.control, 100);
	control_vni_reset(world.control, 999);
	CHECK_NUMBER(world_listed(&world, 0), 1);
	control_initialize(world.control);
	CHECK_NUMBER(world_listed(&world, 0), 0);
	CHECK(world_state(&world).digest == interfaces);
	CHECK_NUMBER(fake_engine_routes(world.engine), 3);
	/* Nothing that was there before fails to be deleted. */
	CHECK_NUMBER(world_drop(&world, 100, "10.0.0.1/32"), CONTROL_ROUTE_BAD_PORT);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-2"), CONTROL_SUCCESS);
	world_close(&world);
}

static void the_digest_is_that_of_the_documented_text(void)
{
	struct world world = world_with_vnis();
	struct control_interface_spec spec = world_spec("vm-1", 100, "10.0.0.1", "fd00::1", "port0");
	struct control_route route = world_route(100, "10.128.0.0/9", "fd00:f:2::1");
	const char *interface_text = "i|vm-1|100|10.0.0.1|fd00::1|port0|";
	const char *route_text = "r|100|10.128.0.0/9|fd00:f:2::1|100";
	uint64_t before = world_state(&world).digest;

	CHECK(control_fnv1a("", 0) == 0xcbf29ce484222325u);
	CHECK(control_fnv1a("a", 1) == 0xaf63dc4c8601ec8cu);
	CHECK(control_digest_interface(&spec) == control_fnv1a(interface_text, strlen(interface_text)));
	CHECK_NUMBER(control_route_put(world.control, &route, true), CONTROL_SUCCESS);
	CHECK(world_state(&world).digest == (before ^ control_fnv1a(route_text, strlen(route_text))));
	/* A replaced route is counted as it is now. */
	route.next_hop.bytes[15] = 2;
	CHECK_NUMBER(control_route_put(world.control, &route, true), CONTROL_SUCCESS);
	CHECK(world_state(&world).digest == (before ^ control_digest_route(&route.key, &route.next_hop, 100)));
	CHECK_NUMBER(world_state(&world).routes, 1);
	CHECK_NUMBER(control_route_delete(world.control, &route.key), CONTROL_SUCCESS);
	CHECK(world_state(&world).digest == before);
	world_close(&world);
}

static void xor_route(void *context, const struct control_route *route)
{
	*(uint64_t *)context ^= control_digest_route(&route->key, &route->next_hop, route->next_hop_vni);
}

static void xor_interface(void *context, const struct control_interface *interface)
{
	*(uint64_t *)context ^= control_digest_interface(&interface->spec);
}

static void after_any_history_digest_and_engine_agree_with_the_listing(void)
{
	struct world world = world_open();

	srand(4);
	for (int step = 0; step < 60000; ++step) {
		char id[24], device[24], ipv4[24], prefix[48];
		uint32_t vni = 1 + (uint32_t)rand() % 3;
		int number = rand() % 8;

		snprintf(id, sizeof id, "vm-%d", rand() % 8);
		snprintf(device, sizeof device, "vtap:t%d", number);
		snprintf(ipv4, sizeof ipv4, "10.0.0.%d", rand() % 8);
		snprintf(prefix, sizeof prefix, "10.0.%d.%d/%d", rand() % 2, rand() % 8, 22 + rand() % 11);
		switch (rand() % 8) {
		case 0:
			world_create(&world, id, vni, ipv4, NULL, device);
			break;
		case 1:
			if (rand() % 3 == 0)
				control_interface_delete(world.control, id);
			break;
		case 2:
			if (rand() % 50 == 0)
				control_vni_reset(world.control, vni);
			break;
		case 3:
		case 4:
			world_drop(&world, vni, prefix);
			break;
		default:
			world_put(&world, vni, prefix, rand() % 2 == 0);
		}
		if (step % 100 == 0) {
			uint64_t digest = 0;

			control_route_each(world.control, 0, xor_route, &digest);
			control_interface_each(world.control, xor_interface, &digest);
			CHECK(world_state(&world).digest == digest);
			CHECK_NUMBER(world_state(&world).routes, world_listed(&world, 0));
			CHECK_NUMBER(fake_engine_routes(world.engine),
				     world_state(&world).routes + world_state(&world).interfaces);
		}
	}
	world_close(&world);
}

int main(void)
{
	RUN(each_fault_of_a_route_has_its_code);
	RUN(a_listing_shows_both_families_and_no_local_routes);
	RUN(initialize_and_reset_leave_the_routes_of_interfaces);
	RUN(the_digest_is_that_of_the_documented_text);
	RUN(after_any_history_digest_and_engine_agree_with_the_listing);
	return CHECK_RESULT();
}
