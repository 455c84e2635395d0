/* What all stages share: the gateway's addresses and how a packet is dropped. */
#ifndef FERRITE_STAGE_STAGE_H
#define FERRITE_STAGE_STAGE_H

#include "engine/state.h"
#include "packet/checksum.h"
#include "stage/trace.h"

static const uint8_t GATEWAY4[4] = {169, 254, 0, 1};
static const uint8_t GATEWAY6[16] = {0xfe, 0x80, [15] = 1};
static const uint8_t ALL_NODES[16] = {0xff, 0x02, [15] = 1};

static inline uint64_t *counter_of(struct counters *counters, enum counter counter)
{
	return (uint64_t *)(void *)counters + counter;
}

/* Counts the reason, of the engine and of the packet's interface, and frees. */
static inline void drop(struct ferrite_engine *engine, enum counter reason, struct rte_mbuf *buffer)
{
	*counter_of(&engine->counters, reason) += 1;
	*counter_of(&engine->interface_counters[packet_of(buffer)->interface], reason) += 1;
	STEP(engine, .stage = FERRITE_STEP_DROP, .interface = packet_of(buffer)->interface, .name = counter_name(reason));
	rte_pktmbuf_free(buffer);
}

#define DROP(engine, reason, buffer) drop(engine, COUNTER_##reason, buffer)

static inline bool link_local6(const uint8_t address[16])
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

#endif
