#include "observe/filter.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/headers.h"

struct ferrite_filter {
	bool inner;
	struct bpf_program frames, outer; /* without instructions: not for that; inner: both in `frames` */
};

static bool compile(struct bpf_program *program, int link, const char *text, char error[FERRITE_ERROR_TEXT])
{
	pcap_t *pcap = pcap_open_dead(link, FERRITE_SNAP_MAX);
	if (pcap == NULL) {
		(void)snprintf(error, FERRITE_ERROR_TEXT, "no memory");
		return false;
	}
	bool good = pcap_compile(pcap, program, text, 1, PCAP_NETMASK_UNKNOWN) == 0;
	if (!good) {
		(void)snprintf(error, FERRITE_ERROR_TEXT, "%s", pcap_geterr(pcap));
		*program = (struct bpf_program){0};
	}
	pcap_close(pcap);
	return good;
}

struct ferrite_filter *ferrite_filter_make(const char *text, bool inner, bool frames, bool outer,
					   char error[FERRITE_ERROR_TEXT])
{
	struct ferrite_filter *filter = calloc(1, sizeof *filter);
	error[0] = 0;
	if (filter == NULL) {
		(void)snprintf(error, FERRITE_ERROR_TEXT, "no memory");
		return NULL;
	}
	filter->inner = inner;
	if (strnlen(text, FERRITE_FILTER_TEXT) == FERRITE_FILTER_TEXT)
		(void)snprintf(error, FERRITE_ERROR_TEXT, "longer than %d bytes", FERRITE_FILTER_TEXT - 1);
	else if (inner ? compile(&filter->frames, DLT_RAW, text, error)
		       : (!frames || compile(&filter->frames, DLT_EN10MB, text, error)) &&
				 (!outer || compile(&filter->outer, DLT_IPV6, text, error)))
		return filter;
	ferrite_filter_free(filter);
	return NULL;
}

void ferrite_filter_free(struct ferrite_filter *filter)
{
	if (filter == NULL)
		return;
	pcap_freecode(&filter->frames);
	pcap_freecode(&filter->outer);
	free(filter);
}

bool filter_fits(const struct ferrite_filter *filter, bool outer)
{
	return (outer && !filter->inner ? &filter->outer : &filter->frames)->bf_insns != NULL;
}

/* Bytes before the IP packet that the filter is about; more than there is: none. */
static uint32_t skipped(const uint8_t *data, uint32_t have, bool outer)
{
	if (!outer) {
		uint16_t type = have >= ETHERNET_LENGTH ? load16(data + 12) : 0;
		return type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6 ? ETHERNET_LENGTH : UINT32_MAX;
	}
	uint8_t next = have >= IPV6_LENGTH ? data[6] : 0;
	return next == 4 || next == 41 ? IPV6_LENGTH : UINT32_MAX;
}

bool filter_matches(const struct ferrite_filter *filter, const struct rte_mbuf *buffer, bool outer)
{
	const uint8_t *data = packet_data(buffer);
	uint32_t have = buffer->data_len, length = buffer->pkt_len;
	if (filter->inner) {
		uint32_t skip = skipped(data, have, outer);
		if (skip > have)
			return false;
		return bpf_filter(filter->frames.bf_insns, data + skip, length - skip, have - skip) != 0;
	}
	return bpf_filter((outer ? &filter->outer : &filter->frames)->bf_insns, data, length, have) != 0;
}
