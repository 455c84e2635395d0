/* What all stages share: the gateway's addresses and how a packet is dropped. */
#ifndef FERRITE_STAGE_STAGE_H
#define FERRITE_STAGE_STAGE_H

#include "engine/state.h"
#include "packet/checksum.h"

static const uint8_t GATEWAY4[4] = {169, 254, 0, 1};
static const uint8_t GATEWAY6[16] = {0xfe, 0x80, [15] = 1};
static const uint8_t ALL_NODES[16] = {0xff, 0x02, [15] = 1};

/* Counts the reason and frees. */
#define DROP(engine, reason, buffer) \
	do { \
		FERRITE_TRACE(reason, buffer); \
		COUNT(engine, reason, 1); \
		rte_pktmbuf_free(buffer); \
	} while (0)

static inline bool link_local6(const uint8_t address[16])
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

#endif
