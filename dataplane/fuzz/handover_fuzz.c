/* Whatever a predecessor tells: it is refused with a line, or restored and can be told again. The header is made right, so that
 * what stands behind it is read. */
#include <stdlib.h>
#include <string.h>

#include "control/address.h"
#include "control/handover.h"
#include "control/world.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONTROL_HANDOVER_ERROR];
	size_t length = CONTROL_HANDOVER_HEADER + size, again;
	uint8_t *bytes = malloc(length);
	struct world world = world_open();

	memset(error, 0x55, sizeof error);
	if (size > 0)
		memcpy(bytes + CONTROL_HANDOVER_HEADER, data, size);
	control_handover_seal(bytes, length);
	bool good = control_handover_restore(world.control, bytes, length, error);
	if (memchr(error, 0, sizeof error) == NULL || good != (error[0] == 0))
		abort();
	free(bytes);
	bytes = control_handover_save(world.control, &again);
	if (bytes == NULL)
		abort();
	free(bytes);
	world_close(&world);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	struct world world;
	struct control_rule rule = {.id = "r", .accept = true, .priority = (uint16_t)n, .icmp_type = -1, .icmp_code = -1,
				    .source_ports.any = true, .destination_ports.any = true};
	struct control_nat_spec nat = {.interface = "a", .ip = {.family = 4, .bytes = {198, 51, 100, 1}}, .min = 10, .max = 20};
	struct control_balancer_spec balancer = {.id = "b", .vni = 100, .address = {.family = 4, .bytes = {198, 51, 100, 7}}};
	ferrite_ipv6 underlay, target = {{0xfd, 1}};
	size_t length, body;
	uint8_t *bytes;

	if (n >= 4)
		return 0;
	world = world_open();
	(void)world_create(&world, "a", 100, "10.0.0.1", "fd00::1", "port0");
	if (n > 0)
		(void)control_rule_create(world.control, "a", &rule);
	if (n > 1)
		(void)control_nat_create(world.control, &nat, &underlay);
	if (n > 2)
		(void)control_balancer_ensure(world.control, &balancer, &target, 1, &underlay);
	(void)world_put(&world, 100, "0.0.0.0/0", false);
	bytes = control_handover_save(world.control, &length);
	body = length - CONTROL_HANDOVER_HEADER < limit ? length - CONTROL_HANDOVER_HEADER : limit;
	memcpy(data, bytes + CONTROL_HANDOVER_HEADER, body);
	free(bytes);
	world_close(&world);
	return body;
}
