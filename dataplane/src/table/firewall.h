/* The rules of an interface, compiled: the first one that matches a packet decides.
 *
 * Immutable but for its counters; published by pointer, freed by the control thread after a grace period. Rules are
 * kept apart by direction and family, so that a lookup never sees what cannot match. Up to FIREWALL_LINEAR of them are
 * tried one by one. More are cut into blocks of FIREWALL_BLOCK, and in a block each of five fields (source,
 * destination, protocol, source port, destination port) has its values cut into the intervals in which the same rules
 * match, each with a vector of one bit a rule: a lookup finds five intervals, ANDs their vectors, and the first bit
 * left is the rule. It is exact: every condition of a rule is an interval of one field. Blocks are tried in order, so
 * the cost is O(rules / 512 * log) and the memory is linear in the rules.
 *
 * What a rule says of ports counts for TCP, UDP and SCTP only, what it says of ICMP for ICMP only (`protocol` 1, which
 * is ICMPv6 in IPv6): there type and code take the places of the ports. `protocol` 0 is every packet of the family.
 *
 * Capacity FERRITE_MAX_RULES. Memory: at most 256 bytes a rule while they are few (both families), and at most 340 KB
 * per block of 512 and family beyond (less as far as rules share values: any port, one network): 2.7 MB for 4,096.
 */
#ifndef FERRITE_TABLE_FIREWALL_H
#define FERRITE_TABLE_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"
#include "packet/parse.h"

enum {
	FIREWALL_LINEAR = 32,
	FIREWALL_BLOCK = 512,
	FIREWALL_DEFAULT = -1, /* in place of a rule's index */
};

/* Cardinality: at most one per interface. */
struct firewall;

struct firewall_verdict {
	bool accept;
	int32_t rule; /* index in the list that was given; FIREWALL_DEFAULT: none matched */
};

/* Control. The rules in the order in which they are tried. NULL: more than FERRITE_MAX_RULES, or no memory. */
struct firewall *firewall_build(const struct ferrite_rule *rules, unsigned count, enum ferrite_firewall_default ingress,
				enum ferrite_firewall_default egress);
void firewall_free(struct firewall *firewall);
size_t firewall_bytes(const struct firewall *firewall);

/* The tuple as it is: fragments that are not first bring their ports with them, or none. NULL accepts everything. */
struct firewall_verdict firewall_check(const struct firewall *firewall, const struct tuple *tuple, bool egress);

/* Packets that the rule decided; the worker adds. Of FIREWALL_DEFAULT: those of neither direction's rules. */
uint64_t *firewall_counter(struct firewall *firewall, int32_t rule);

/* Control. Packets of all rules with this tag, and of rules of the same tag in the lists before (firewall_carry). */
uint64_t firewall_hits(const struct firewall *firewall, uint32_t tag);
/* Control. When no worker has `from` any more, before it is freed: its counts go on in rules with the same tag of `to`,
 * and are forgotten where there is none. */
void firewall_carry(struct firewall *to, const struct firewall *from);

#endif
