#include "port/port.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

int port_error(char *error, int code, const char *format, ...)
{
	if (error != NULL) {
		va_list list;
		va_start(list, format);
		(void)vsnprintf(error, FERRITE_ERROR_TEXT, format, list);
		va_end(list);
	}
	return -code;
}

static const struct { const char *name; size_t offset; } fields[] = {
#define FIELD(name) {#name, offsetof(struct port_counters, name)}
	FIELD(rx_packets), FIELD(rx_bytes), FIELD(tx_packets), FIELD(tx_bytes), FIELD(rx_errors), FIELD(rx_truncated),
	FIELD(rx_no_memory), FIELD(tx_drops), FIELD(tx_errors),
#undef FIELD
};
_Static_assert(sizeof fields / sizeof *fields * sizeof(uint64_t) == sizeof(struct port_counters), "each has a name");

static uint64_t field_of(const struct port_counters *counters, unsigned i)
{
	const uint8_t *at = (const uint8_t *)counters + fields[i].offset;
	return __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
}

void port_counters_each(const struct port_counters *counters, const char *prefix,
			void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	char name[FERRITE_DEVICE_TEXT + 48];
	for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
		(void)snprintf(name, sizeof name, "%s.%s", prefix, fields[i].name);
		visit(context, name, field_of(counters, i));
	}
}

void port_counters_add(struct port_counters *sum, const struct port_counters *counters)
{
	for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
		*(uint64_t *)(void *)((uint8_t *)sum + fields[i].offset) += field_of(counters, i);
}

bool offload_read(struct offload *offload, const struct vnet_header *vnet, uint32_t frame, uint32_t length)
{
	*offload = (struct offload){0};
	if ((vnet->flags & VNET_NEEDS_CHECKSUM) != 0) {
		if (vnet->checksum_start < frame ||
		    (uint32_t)vnet->checksum_start + vnet->checksum_offset + 2 > length)
			return false;
		offload->needs_checksum = 1;
		offload->checksum_start = (uint16_t)(vnet->checksum_start - frame);
		offload->checksum_offset = vnet->checksum_offset;
	}
	uint8_t kind = vnet->gso_type & (uint8_t)~GSO_ECN;
	if (kind == GSO_NONE)
		return true;
	if ((kind != GSO_TCP4 && kind != GSO_TCP6) || vnet->gso_size == 0 || !offload->needs_checksum)
		return false;
	offload->gso = vnet->gso_type;
	offload->gso_size = vnet->gso_size;
	offload->header_length = vnet->header_length > frame ? (uint16_t)(vnet->header_length - frame) : 0;
	return true;
}

void offload_write(const struct offload *offload, struct vnet_header *vnet, uint32_t frame)
{
	*vnet = (struct vnet_header){0};
	if (offload->needs_checksum) {
		vnet->flags = VNET_NEEDS_CHECKSUM;
		vnet->checksum_start = (uint16_t)(offload->checksum_start + frame);
		vnet->checksum_offset = offload->checksum_offset;
	}
	if (offload->gso != GSO_NONE) {
		vnet->gso_type = offload->gso;
		vnet->gso_size = offload->gso_size;
		vnet->header_length = (uint16_t)(offload->header_length + frame);
	}
}
