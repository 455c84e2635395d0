#include "packet/nat64.h"

bool nat64_make4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side4 *side,
		 const struct nat64_side4 *quoted)
{
	return false;
}

bool nat64_make6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side6 *side,
		 const struct nat64_side6 *quoted)
{
	return false;
}

bool nat64_to4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[4],
	       const uint8_t destination[4], uint16_t new_source_port)
{
	return false;
}

bool nat64_to6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[16],
	       const uint8_t destination[16], uint16_t new_destination_port)
{
	return false;
}
