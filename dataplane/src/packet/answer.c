#include "packet/answer.h"

bool answer_reset(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	return false;
}

bool answer_unreachable(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple, uint8_t type,
			uint8_t code, uint32_t rest, const uint8_t *source)
{
	return false;
}

bool answer_echo(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	return false;
}
