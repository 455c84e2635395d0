/* Offload by rte_flow, through the port that speaks for the switch.
 *
 * What a device can is found by having it validate a rule of each sort: drivers say it nowhere. Never run on hardware
 * here; see docs/hardware.md.
 */
#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>

#include "offload/rte_rule.h"

struct offload_handle {
	struct rte_flow *flow;
	uint16_t device, proxy;
};

static int proxy_of(uint16_t device, uint16_t *proxy)
{
	struct rte_flow_error why;
	return rte_flow_pick_transfer_proxy(device, proxy, &why);
}

/* rte_flow's many ways to say that a device cannot. */
static int status_of(int status)
{
	return status == -ENOSYS || status == -EOPNOTSUPP || status == -EINVAL ? -ENOTSUP : status;
}

static int validate(const struct offload_flow *flow)
{
	struct rte_rule rule;
	struct rte_flow_error why;
	uint16_t proxy;
	int status = proxy_of(flow->in, &proxy);
	if (status < 0)
		return status_of(status);
	rte_rule_write(&rule, flow);
	return status_of(rte_flow_validate(proxy, &rule.attributes, rule.items, rule.actions, &why));
}

static uint32_t rte_capabilities(uint16_t device)
{
	/* The plainest flow, and what is added to it. */
	struct offload_flow plain = {.in = device, .out = device, .tuple = {.family = 4, .protocol = PROTOCOL_UDP}}, more;
	uint32_t found = OFFLOAD_FORWARD;
	if (validate(&plain) < 0)
		return 0;
	more = plain;
	more.tunnelled = true;
	found |= validate(&more) == 0 ? OFFLOAD_DECAP : 0;
	more = plain;
	more.encapsulate = true;
	found |= validate(&more) == 0 ? OFFLOAD_ENCAP : 0;
	more = plain;
	more.rewrite.set = REWRITE_SOURCE_ADDRESS | REWRITE_DESTINATION_ADDRESS;
	found |= validate(&more) == 0 ? OFFLOAD_ADDRESS : 0;
	more = plain;
	more.rewrite.set = REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT;
	found |= validate(&more) == 0 ? OFFLOAD_PORT : 0;
	more = plain;
	more.idle_seconds = 30;
	found |= validate(&more) == 0 ? OFFLOAD_AGE : 0;
	more = plain;
	more.tuple.family = 6;
	found |= validate(&more) == 0 ? OFFLOAD_IPV6 : 0;
	return found;
}

static int rte_add(const struct offload_flow *flow, struct offload_handle **handle)
{
	struct rte_rule rule;
	struct rte_flow_error why;
	struct offload_handle *made = calloc(1, sizeof *made);
	if (made == NULL)
		return -ENOMEM;
	made->device = flow->in;
	int status = proxy_of(flow->in, &made->proxy);
	if (status == 0) {
		rte_rule_write(&rule, flow);
		made->flow = rte_flow_create(made->proxy, &rule.attributes, rule.items, rule.actions, &why);
		status = made->flow != NULL ? 0 : -(rte_errno != 0 ? rte_errno : EIO);
	}
	if (status < 0) {
		free(made);
		return status_of(status);
	}
	*handle = made;
	return 0;
}

static int rte_remove(struct offload_handle *handle)
{
	struct rte_flow_error why;
	int status = rte_flow_destroy(handle->proxy, handle->flow, &why);
	free(handle);
	return status;
}

static int rte_query(struct offload_handle *handle, struct offload_usage *usage)
{
	const struct rte_flow_action count[] = {
		{.type = RTE_FLOW_ACTION_TYPE_COUNT}, {.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_query_count answer = {0};
	struct rte_flow_error why;
	int status = rte_flow_query(handle->proxy, handle->flow, count, &answer, &why);
	usage->packets = answer.hits_set ? answer.hits : 0;
	usage->bytes = answer.bytes_set ? answer.bytes : 0;
	return status;
}

static unsigned rte_aged(uint16_t device, void **contexts, unsigned limit)
{
	struct rte_flow_error why;
	uint16_t proxy;
	if (limit == 0 || proxy_of(device, &proxy) < 0)
		return 0;
	int count = rte_flow_get_aged_flows(proxy, contexts, limit, &why);
	return count > 0 ? (unsigned)count : 0;
}

const struct offload_driver offload_rte = {
	.name = "rte_flow", .capabilities = rte_capabilities, .add = rte_add, .remove = rte_remove, .query = rte_query,
	.aged = rte_aged,
};
