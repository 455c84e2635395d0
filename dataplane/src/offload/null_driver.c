/* The driver of devices that offload nothing. */
#include <errno.h>

#include "offload/offload.h"

static uint32_t null_capabilities(uint16_t device)
{
	return 0;
}

static int null_add(const struct offload_flow *flow, struct offload_handle **handle)
{
	*handle = NULL;
	return -ENOTSUP;
}

static int null_remove(struct offload_handle *handle)
{
	return 0;
}

static int null_query(struct offload_handle *handle, struct offload_usage *usage)
{
	return -ENOTSUP;
}

static unsigned null_aged(uint16_t device, void **contexts, unsigned limit)
{
	return 0;
}

const struct offload_driver offload_null = {
	.name = "null", .capabilities = null_capabilities, .add = null_add, .remove = null_remove, .query = null_query,
	.aged = null_aged,
};
