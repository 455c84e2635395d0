/* Every counter of the engine, by stage and by reason of a drop.
 *
 * The worker adds with plain stores; the control thread reads whenever it likes.
 */
#ifndef FERRITE_ENGINE_COUNTERS_H
#define FERRITE_ENGINE_COUNTERS_H

#include <stdint.h>

#define FERRITE_COUNTERS(X) \
	X(stage_classify, "stage.classify.packets") \
	X(stage_decide, "stage.decide.packets") \
	X(stage_encap, "stage.encap.packets") \
	X(stage_decap, "stage.decap.packets") \
	X(stage_deliver, "stage.deliver.packets") \
	X(stage_local, "stage.local.packets") \
	X(stage_arp, "stage.arp.packets") \
	X(stage_nd, "stage.nd.packets") \
	X(stage_dhcp4, "stage.dhcp4.packets") \
	X(stage_dhcp6, "stage.dhcp6.packets") \
	X(stage_echo, "stage.echo.packets") \
	X(stage_too_big, "stage.too_big.packets") \
	X(drop_no_interface, "drop.no_interface") \
	X(drop_malformed, "drop.malformed") \
	X(drop_not_ip, "drop.not_ip") \
	X(drop_not_gateway, "drop.not_gateway") \
	X(drop_spoof, "drop.spoof") \
	X(drop_multicast, "drop.multicast") \
	X(drop_unhandled, "drop.unhandled") \
	X(drop_route_miss, "drop.route_miss") \
	X(drop_too_big, "drop.too_big") \
	X(drop_no_uplink, "drop.no_uplink") \
	X(drop_outer_malformed, "drop.outer_malformed") \
	X(drop_outer_unknown, "drop.outer_unknown") \
	X(drop_outer_stale, "drop.outer_stale") \
	X(drop_inner_foreign, "drop.inner_foreign") \
	X(drop_interface_gone, "drop.interface_gone") \
	X(drop_no_memory, "drop.no_memory")

struct counters {
#define X(field, name) uint64_t field;
	FERRITE_COUNTERS(X)
#undef X
};

#define COUNT(engine, field, n) ((engine)->counters.field += (n))

/* Hook of the traced variant of the pipeline; nothing in the fast one. */
#ifndef FERRITE_TRACE
#define FERRITE_TRACE(stage, buffer) ((void)0)
#endif

#endif
