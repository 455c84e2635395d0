#include "port/port.h"

#include <stdarg.h>
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
