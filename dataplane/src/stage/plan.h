/* The plan of a flow: what its first packet's way is, step by step, before anything is changed.
 *
 * A plan is made by value on the stack: where the packet came from, what it says as it came (`first`) and as it is at
 * this point of its way (`now`), and what follows from it. A way inside this host (a VIP, a balancer, a target beside
 * it) is the same plan going on at another endpoint. Only `plan_begin` writes tables.
 */
#ifndef FERRITE_STAGE_PLAN_H
#define FERRITE_STAGE_PLAN_H

#include "stage/act.h"

enum {
	PLAN_DROP,    /* `reason` */
	PLAN_FLOW,    /* it can begin */
	PLAN_FOLLOW,  /* the flow `follow` takes it: it arrived at a NAT of this host */
	PLAN_RELAY,   /* on to `target`, without a flow */
	PLAN_ECHO,    /* the endpoint `source` answers */
	PLAN_END,     /* its flow ends with an answer */

	PLAN_DEPTH = 4,
};

/* Where a packet came from. */
struct arrival {
	uint8_t kind;             /* FLOW_FROM_* */
	uint32_t index;
	struct interface *vm;     /* NULL: the underlay */
	uint32_t endpoint;        /* that it came to; 0: from a VM */
	struct interface *home;   /* whose VM is told what there is to tell; NULL: `back` is */
	uint8_t back[16];         /* the outer source */
};

struct plan {
	struct arrival from;
	struct tuple first, now;
	uint16_t error_port;      /* of an ICMP error: the quoted source port, host order */
	struct interface *sender, *receiver;
	enum counter reason;
	uint32_t base;            /* epochs of the sender, from before anything was looked up */
	uint32_t owner, mapping, rule, balancer, source;
	uint8_t action, translate, bits;
	uint8_t target[16];
	uint16_t outside_port;    /* as in the packet, for NAT64 and virtual services */
	uint8_t reply_kind;       /* where the other direction comes from */
	uint32_t reply_index;
	unsigned depth;
	struct flow_entry *follow;
};

/* Where a destination lies, as a VM of the interface would be sent there. */
enum { WAY_NONE, WAY_LOCAL, WAY_NEAR, WAY_FAR };
struct way {
	uint8_t kind;
	uint8_t action;       /* FAR: FLOW_ROUTE or FLOW_HOP */
	uint8_t family, length;
	uint32_t interface;   /* LOCAL */
	uint32_t endpoint;    /* NEAR; 0: nobody's */
	uint8_t target[16];   /* FAR */
};
/* `tuple`: the packet as the VM sent it, for the choice among several next hops. */
void way_to(struct ferrite_engine *engine, const struct interface *from, const struct tuple *tuple, uint8_t family,
	    const uint8_t *destination, struct way *way);

/* Whether the address is the interface's: primary, or within a prefix. */
bool interface_owns(const struct ferrite_engine *engine, const struct interface *interface, uint8_t family,
		    const uint8_t *address);
/* Whether what came to the endpoint may go to this inner destination. */
bool endpoint_takes(const struct ferrite_engine *engine, const struct endpoint *endpoint, uint32_t place, uint8_t family,
		    const uint8_t *destination);
const struct virtual_service *service_find(const struct ferrite_engine *engine, const struct tuple *tuple);

/* Where packets come from that came to the endpoint. */
static inline uint8_t endpoint_kind(const struct endpoint *endpoint)
{
	switch (endpoint->kind) {
	case ENDPOINT_NAT: return FLOW_FROM_NAT;
	case ENDPOINT_BALANCER: return FLOW_FROM_BALANCER;
	case ENDPOINT_EDGE: return FLOW_FROM_EDGE;
	default: return FLOW_FROM_INTERFACE;
	}
}

static inline uint32_t endpoint_index(const struct endpoint *endpoint)
{
	return endpoint->kind == ENDPOINT_NAT ? endpoint->detail : endpoint->owner;
}

/* The firewall of the interface over the tuple; the tag of the rule that decided it. */
bool firewall_passes(struct ferrite_engine *engine, const struct interface *interface, const struct tuple *tuple, bool egress,
		     uint32_t *tag);

/* Whether protocol and port are the balancer's. */
bool balancer_serves(const struct balancer *balancer, const struct tuple *tuple);

/* From its VM, or where it arrived: PLAN_*. */
unsigned plan_make(struct ferrite_engine *engine, struct plan *plan);
/* The entry of the flow that begins; NULL: the table is full, `reason`. */
struct flow_entry *plan_begin(struct ferrite_engine *engine, struct plan *plan);

/* Decides the entry's flow anew. REFRESH_FRESH: it stands; _GONE: it ended without a word, and the packet is a new flow's;
 * _DROP: drop the packet, `reason`; _ANSWER: it ended with an answer. `error`: the packet is
 * an ICMP error about the flow. */
enum { REFRESH_FRESH, REFRESH_GONE, REFRESH_DROP, REFRESH_ANSWER };
unsigned refresh(struct ferrite_engine *engine, struct flow_entry *entry, bool error, enum counter *reason);

/* ICMP errors: true when it was about a live flow, and is on its way or dropped. */
bool icmp_error(struct ferrite_engine *engine, const struct arrival *from, struct rte_mbuf *buffer, struct tuple *tuple,
		uint16_t *quoted_port);

/* Flows that begin, end and are refused, to whoever listens (stage/events.c). */
void event_begun(struct ferrite_engine *engine, const struct flow_entry *original);
void event_ended(void *engine, struct flow_entry *original, unsigned reason);
void event_refused(struct ferrite_engine *engine, const struct plan *plan);

#endif
