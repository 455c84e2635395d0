#include <errno.h>

#include "control/digest.h"
#include "check.h"
#include "world.h"

#define CREATE(...) world_create(&world, __VA_ARGS__)

static void an_interface_is_found_until_it_is_deleted(void)
{
	struct world world = world_open();
	const struct control_interface *found;

	CHECK(control_interface_find(world.control, "vm-1") == NULL);
	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", "fd00::1", "port0"), CONTROL_SUCCESS);
	found = control_interface_find(world.control, "vm-1");
	CHECK(found != NULL && found->spec.vni == 100 && found->underlay.bytes[8] == 0xd0);
	CHECK_TEXT(found->port.device, "r0");
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK(control_interface_find(world.control, "vm-1") == NULL);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_NOT_FOUND);
	world_close(&world);
}

static void each_fault_has_its_code(void)
{
	struct world world = world_open();
	struct control_interface_spec spec;
	const struct control_interface *made;

	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", "fd00::1", "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "10.0.0.9/32", false), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "nowhere"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "eth:eth0"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "vtap:"), CONTROL_NOT_FOUND);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "port0"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "ring:r0"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.2", NULL, "port1"), CONTROL_VM_HANDLE);
	CHECK_NUMBER(CREATE("vm-2", 0, "10.0.0.1", NULL, "port1"), CONTROL_VNI_INIT4);
	CHECK_NUMBER(CREATE("vm-2", 1 << 24, "10.0.0.1", NULL, "port1"), CONTROL_VNI_INIT4);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.1", NULL, "port1"), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", "fd00::1", "port1"), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.9", NULL, "port1"), CONTROL_ROUTE_EXISTS);
	CHECK_NUMBER(CREATE("vm-2", 101, "10.0.0.1", "fd00::1", "port1"), CONTROL_SUCCESS);
	spec = world_spec("vm-3", 100, "10.0.0.3", NULL, "port2");
	spec.preferred_underlay = control_interface_find(world.control, "vm-2")->underlay;
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_VNF_INSERT);
	CHECK_NUMBER(world_state(&world).interfaces, 2);
	world_close(&world);
}

static void of_several_faults_the_first_in_order_is_told(void)
{
	struct world world = world_open();
	struct control_interface_spec spec = world_spec("vm-1", 100, "10.0.0.1", NULL, "nowhere");
	const struct control_interface *made;

	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	spec.preferred_underlay = control_interface_find(world.control, "vm-1")->underlay;
	/* All of 201, 202, 401, 402, 301 hold; each step mends the first. */
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_NOT_FOUND);
	snprintf(spec.device, sizeof spec.device, "port0");
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_ALREADY_EXISTS);
	snprintf(spec.device, sizeof spec.device, "port1");
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_VNF_INSERT);
	memset(&spec.preferred_underlay, 0, sizeof spec.preferred_underlay);
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_VM_HANDLE);
	snprintf(spec.id, sizeof spec.id, "vm-2");
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_ROUTE_EXISTS);
	spec.ipv4.bytes[3] = 2;
	fake_engine_fail_next(world.engine, FAKE_INTERFACE_ADD, -EIO);
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_PORT_START);
	CHECK_NUMBER(control_interface_create(world.control, &spec, &made), CONTROL_SUCCESS);
	world_close(&world);
}

static void a_failed_creation_leaves_nothing(void)
{
	static const struct {
		enum fake_call call;
		int error;
		enum control_status status;
	} faults[] = {
		{FAKE_PORT_OPEN, -ENODEV, CONTROL_NOT_FOUND},	   {FAKE_PORT_OPEN, -EPERM, CONTROL_PORT_START},
		{FAKE_INTERFACE_ADD, -EEXIST, CONTROL_VNF_INSERT}, {FAKE_INTERFACE_ADD, -ENOSPC, CONTROL_VNF_INSERT},
		{FAKE_INTERFACE_ADD, -ENOMEM, CONTROL_VNI_INIT4},  {FAKE_INTERFACE_ADD, -EADDRINUSE, CONTROL_ROUTE_EXISTS},
		{FAKE_INTERFACE_ADD, -EIO, CONTROL_PORT_START},
	};
	struct world world = world_open();

	for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i) {
		fake_engine_fail_next(world.engine, faults[i].call, faults[i].error);
		CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", "fd00::1", "vtap:t1"), faults[i].status);
		CHECK_NUMBER(fake_engine_ports(world.engine), 4);
		CHECK_NUMBER(fake_engine_interfaces(world.engine), 0);
		CHECK(!control_vni_in_use(world.control, 100));
		CHECK(world_state(&world).digest == 0);
	}
	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", "fd00::1", "vtap:t1"), CONTROL_SUCCESS);
	world_close(&world);
}

static void a_port_on_demand_lives_as_long_as_its_interface(void)
{
	struct world world = world_open();

	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", NULL, "vtap:t1"), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_ports(world.engine), 5);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "vtap:t1"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_ports(world.engine), 4);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "vtap:t1"), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("vm-3", 100, "10.0.0.3", NULL, "port3"), CONTROL_SUCCESS);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-3"), CONTROL_SUCCESS);
	CHECK_NUMBER(fake_engine_ports(world.engine), 5);
	world_close(&world);
}

static void the_last_interface_takes_the_vni_and_its_routes_along(void)
{
	struct world world = world_open();

	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("vm-2", 100, "10.0.0.2", NULL, "port1"), CONTROL_SUCCESS);
	CHECK_NUMBER(world_put(&world, 100, "10.1.0.0/16", false), CONTROL_SUCCESS);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_SUCCESS);
	CHECK(control_vni_in_use(world.control, 100));
	CHECK_NUMBER(world_listed(&world, 100), 1);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-2"), CONTROL_SUCCESS);
	CHECK(!control_vni_in_use(world.control, 100));
	CHECK_NUMBER(world_listed(&world, 100), -1);
	CHECK_NUMBER(fake_engine_routes(world.engine), 0);
	CHECK_NUMBER(world_state(&world).routes, 0);
	CHECK(world_state(&world).digest == 0);
	world_close(&world);
}

static void ensuring_the_same_interface_again_is_a_success(void)
{
	struct world world = world_open();
	struct control_interface_spec spec = world_spec("vm-1", 100, "10.0.0.1", NULL, "vtap:t1");
	const struct control_interface *first, *second;
	uint64_t digest;

	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &first), CONTROL_SUCCESS);
	digest = world_state(&world).digest;
	CHECK(digest == control_digest_interface(&spec));
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &second), CONTROL_SUCCESS);
	CHECK(first == second && world_state(&world).digest == digest);
	snprintf(spec.hostname, sizeof spec.hostname, "other");
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &second), CONTROL_SUCCESS);
	CHECK(world_state(&world).digest == control_digest_interface(&spec) && digest != world_state(&world).digest);
	spec.ipv4.bytes[3] = 9;
	CHECK_NUMBER(control_interface_ensure(world.control, &spec, &second), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(world_state(&world).interfaces, 1);
	world_close(&world);
}

static void next_port(void *context, const struct control_interface *interface)
{
	char *seen = context;

	strcat(seen, interface->spec.id);
}

static void interfaces_are_listed_in_the_order_of_ports(void)
{
	struct world world = world_open();
	char seen[64] = "";

	CHECK_NUMBER(CREATE("c", 1, "10.0.0.3", NULL, "port2"), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("a", 1, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("b", 1, "10.0.0.2", NULL, "port1"), CONTROL_SUCCESS);
	CHECK_NUMBER(CREATE("d", 1, "10.0.0.4", NULL, "vtap:t"), CONTROL_SUCCESS);
	control_interface_each(world.control, next_port, seen);
	CHECK_TEXT(seen, "abcd");
	world_close(&world);
}

static void an_interface_that_does_not_stop_is_gone_all_the_same(void)
{
	struct world world = world_open();

	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	fake_engine_fail_next(world.engine, FAKE_INTERFACE_REMOVE, -EIO);
	CHECK_NUMBER(control_interface_delete(world.control, "vm-1"), CONTROL_PORT_STOP);
	CHECK(control_interface_find(world.control, "vm-1") == NULL);
	CHECK_NUMBER(CREATE("vm-1", 100, "10.0.0.1", NULL, "port0"), CONTROL_SUCCESS);
	world_close(&world);
}

static void every_process_has_its_uuid(void)
{
	struct world one = world_open(), other = world_open();
	struct control_state state = world_state(&one);

	CHECK_NUMBER(strlen(state.uuid), 36);
	CHECK_NUMBER(strspn(state.uuid, "0123456789ABCDEF-"), 36);
	CHECK(state.uuid[14] == '4' && strchr("89AB", state.uuid[19]) != NULL);
	CHECK(strcmp(state.uuid, world_state(&other).uuid) != 0);
	world_close(&one);
	world_close(&other);
}

static void a_port_is_there_once(void)
{
	struct world world = world_open();
	char error[FERRITE_ERROR_TEXT] = "";

	CHECK(control_port_add(world.control, "port0", "ring:new", NULL, error) != 0);
	CHECK(control_port_add(world.control, "new", "ring:r0", NULL, error) != 0);
	CHECK(strstr(error, "new") != NULL);
	fake_engine_fail_next(world.engine, FAKE_PORT_OPEN, -EBUSY);
	CHECK_NUMBER(control_port_add(world.control, "new", "ring:new", NULL, error), -EBUSY);
	CHECK_NUMBER(control_port_add(world.control, "new", "ring:new", NULL, error), 0);
	world_close(&world);
}

int main(void)
{
	RUN(an_interface_is_found_until_it_is_deleted);
	RUN(each_fault_has_its_code);
	RUN(of_several_faults_the_first_in_order_is_told);
	RUN(a_failed_creation_leaves_nothing);
	RUN(a_port_on_demand_lives_as_long_as_its_interface);
	RUN(the_last_interface_takes_the_vni_and_its_routes_along);
	RUN(ensuring_the_same_interface_again_is_a_success);
	RUN(interfaces_are_listed_in_the_order_of_ports);
	RUN(an_interface_that_does_not_stop_is_gone_all_the_same);
	RUN(every_process_has_its_uuid);
	RUN(a_port_is_there_once);
	return CHECK_RESULT();
}
