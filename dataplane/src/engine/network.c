/* What the control layer adds around interfaces: prefixes, VIPs, NATs, load balancers, firewalls, virtual services. */
#include <errno.h>

#include "engine/state.h"

int ferrite_interface_update(struct ferrite_engine *engine, uint32_t index,
			     const struct ferrite_interface_settings *settings)
{
	return -ENOSYS;
}

int ferrite_prefix_add(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
		       bool routed, const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	return -ENOSYS;
}

int ferrite_prefix_remove(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
			  bool routed)
{
	return -ENOSYS;
}

int ferrite_vip_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 vip, const ferrite_ipv6 *preferred,
		    ferrite_ipv6 *underlay)
{
	return -ENOSYS;
}

int ferrite_vip_remove(struct ferrite_engine *engine, uint32_t interface)
{
	return -ENOSYS;
}

int ferrite_nat_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 ip, uint32_t min, uint32_t max,
		    const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	return -ENOSYS;
}

int ferrite_nat_update(struct ferrite_engine *engine, uint32_t interface, uint32_t min, uint32_t max)
{
	return -ENOSYS;
}

int ferrite_nat_remove(struct ferrite_engine *engine, uint32_t interface)
{
	return -ENOSYS;
}

void ferrite_nat_usage(struct ferrite_engine *engine, uint32_t interface, uint32_t used[3])
{
	used[0] = used[1] = used[2] = 0;
}

int ferrite_neighbor_nat_add(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	return -ENOSYS;
}

int ferrite_neighbor_nat_remove(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	return -ENOSYS;
}

int ferrite_balancer_add(struct ferrite_engine *engine, const struct ferrite_balancer_config *config, uint32_t *index,
			 ferrite_ipv6 *underlay)
{
	return -ENOSYS;
}

int ferrite_balancer_remove(struct ferrite_engine *engine, uint32_t index)
{
	return -ENOSYS;
}

int ferrite_balancer_ports(struct ferrite_engine *engine, uint32_t index, const struct ferrite_balancer_port *ports,
			   unsigned count)
{
	return -ENOSYS;
}

int ferrite_balancer_targets(struct ferrite_engine *engine, uint32_t index, const ferrite_ipv6 *targets,
			     unsigned count)
{
	return -ENOSYS;
}

int ferrite_firewall_set(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_rule *rules,
			 unsigned count, enum ferrite_firewall_default ingress, enum ferrite_firewall_default egress)
{
	return -ENOSYS;
}

uint64_t ferrite_firewall_hits(struct ferrite_engine *engine, uint32_t interface, uint32_t tag)
{
	return 0;
}

int ferrite_virtual_service_add(struct ferrite_engine *engine, const struct ferrite_virtual_service *service)
{
	return -ENOSYS;
}

int ferrite_interface_counters(struct ferrite_engine *engine, uint32_t interface,
			       void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	return -ENOSYS;
}

unsigned ferrite_flow_events(struct ferrite_engine *engine, struct ferrite_flow_event *events, unsigned limit)
{
	return 0;
}

int ferrite_trace_packet(struct ferrite_engine *engine, uint32_t port, const uint8_t *bytes, uint32_t length, bool keep,
			 struct ferrite_trace_result *result)
{
	return -ENOSYS;
}
