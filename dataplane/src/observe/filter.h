/* A pcap filter, compiled for what it will be held against: frames, outer packets, or the IP packet in either. */
#ifndef FERRITE_OBSERVE_FILTER_H
#define FERRITE_OBSERVE_FILTER_H

#include "ferrite/observe.h"
#include "packet/buffer.h"

/* Worker. Bounded by the length of the filter: it has no way to go back. */
bool filter_matches(const struct ferrite_filter *filter, const struct rte_mbuf *buffer, bool outer);
bool filter_fits(const struct ferrite_filter *filter, bool outer);

#endif
