#include "offload/offload.h"

#include <errno.h>

void offload_init(struct offloader *offloader, const struct offload_driver *driver)
{
	*offloader = (struct offloader){.driver = driver != NULL ? driver : &offload_null};
}

uint32_t offload_needs(const struct offload_flow *flow)
{
	const struct tuple *tuple = &flow->tuple;
	uint32_t needs = OFFLOAD_FORWARD;
	if ((tuple->protocol != PROTOCOL_TCP && tuple->protocol != PROTOCOL_UDP) || tuple->fragment != FRAGMENT_WHOLE ||
	    (tuple->family != 4 && (tuple->family != 6 || flow->rewrite.set != 0)))
		return 0;
	needs |= flow->tunnelled ? OFFLOAD_DECAP : 0;
	needs |= flow->encapsulate ? OFFLOAD_ENCAP : 0;
	needs |= tuple->family == 6 ? OFFLOAD_IPV6 : 0;
	needs |= (flow->rewrite.set & (REWRITE_SOURCE_ADDRESS | REWRITE_DESTINATION_ADDRESS)) != 0 ? OFFLOAD_ADDRESS : 0;
	needs |= (flow->rewrite.set & (REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT)) != 0 ? OFFLOAD_PORT : 0;
	/* Without it nobody would know when a flow that we do not see is over. */
	needs |= flow->idle_seconds > 0 ? OFFLOAD_AGE : 0;
	return needs;
}

/* Asked once a device: the answer is found by trying. */
static uint32_t capabilities_of(struct offloader *offloader, uint16_t device)
{
	if (device >= OFFLOAD_DEVICES)
		return 0;
	if (!offloader->asked[device]) {
		offloader->capabilities[device] = offloader->driver->capabilities(device);
		offloader->asked[device] = 1;
	}
	return offloader->capabilities[device];
}

int offload_add(struct offloader *offloader, const struct offload_flow *flow, struct offload_handle **handle)
{
	uint32_t needs = offload_needs(flow);
	int status = -ENOTSUP;
	if (needs != 0 && (capabilities_of(offloader, flow->in) & needs) == needs)
		status = offloader->driver->add(flow, handle);
	if (status == 0)
		offloader->added++;
	else if (status == -ENOTSUP)
		offloader->unsupported++;
	else
		offloader->failed++;
	return status;
}

void offload_remove(struct offloader *offloader, struct offload_handle *handle)
{
	(void)offloader->driver->remove(handle);
	offloader->removed++;
}

int offload_query(struct offloader *offloader, struct offload_handle *handle, struct offload_usage *usage)
{
	return offloader->driver->query(handle, usage);
}

unsigned offload_aged(struct offloader *offloader, uint16_t device, void **contexts, unsigned limit)
{
	unsigned count = offloader->driver->aged(device, contexts, limit);
	offloader->aged += count;
	return count;
}

void offload_counters_each(const struct offloader *offloader,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	visit(context, "offload.added", offloader->added);
	visit(context, "offload.removed", offloader->removed);
	visit(context, "offload.aged", offloader->aged);
	visit(context, "offload.unsupported", offloader->unsupported);
	visit(context, "offload.failed", offloader->failed);
}
