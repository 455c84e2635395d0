/* Observing an engine: captures of packets as they pass, a mirror of them, traces of live ones, the flows that are
 * there.
 *
 * Nothing here stops or changes traffic. The worker copies what matches into a ring of bounded size and counts what
 * did not fit; whoever reads it does so at a pace of its own. An engine that nobody observes pays one predictable
 * branch a burst.
 *
 * Points are where packets pass: ports of VMs (Ethernet frames) and uplinks (outer IPv6 packets, without a link
 * header). What comes into the dataplane there is `in`.
 *
 * Filters may be made on any thread. Start and stop of an observer are serialised here, and may be on any thread while
 * the engine lives; an observer's ring has one reader.
 */
#ifndef FERRITE_OBSERVE_H
#define FERRITE_OBSERVE_H

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	FERRITE_CAPTURES = 8,          /* at once; each has a ring of FERRITE_CAPTURE_RING bytes */
	FERRITE_LIVE_TRACES = 4,       /* likewise, of FERRITE_LIVE_RING bytes */
	FERRITE_CAPTURE_RING = 8 << 20,
	FERRITE_LIVE_RING = 1 << 20,
	FERRITE_FILTER_TEXT = 1024,
	FERRITE_SNAP_MAX = 65535,
	FERRITE_MIRROR_POINTS = 16,
	FERRITE_LIVE_PACKET = 256,     /* bytes that a live trace keeps of the packet */
};

/* --- Filters. */

struct ferrite_filter;

/* Of pcap-filter(7). `inner`: over the inner IP packet instead of frames and outer packets. Says in `frames` and `outer`
 * where it will be used. NULL: not valid, and `error` has the words of libpcap. A host name in it is looked up, which may
 * take its time. */
struct ferrite_filter *ferrite_filter_make(const char *text, bool inner, bool frames, bool outer,
					   char error[FERRITE_ERROR_TEXT]);
void ferrite_filter_free(struct ferrite_filter *filter);

/* --- Points. */

struct ferrite_point {
	uint32_t port;   /* handle of a port; 0: an uplink */
	uint32_t uplink; /* its number */
};

/* How many uplinks there are, and their names. */
unsigned ferrite_uplink_count(const struct ferrite_engine *engine);
const char *ferrite_uplink_name(const struct ferrite_engine *engine, unsigned uplink);
/* The MAC that the VM behind a port uses. -ENOENT: no such port, or none is known yet. */
int ferrite_port_guest(const struct ferrite_engine *engine, uint32_t port, ferrite_mac *mac);

/* --- Captures. */

struct ferrite_capture;

struct ferrite_capture_config {
	const struct ferrite_point *points; /* none twice */
	unsigned point_count;
	bool in, out;
	struct ferrite_filter *filter; /* NULL: every packet; else it belongs to the capture once that began */
	uint32_t snap_length;          /* 1 to FERRITE_SNAP_MAX */
	uint64_t packet_limit, byte_limit; /* 0: none */
};

struct ferrite_captured {
	uint64_t time_ns;      /* of the Unix epoch */
	uint32_t point;        /* number in `points` */
	bool out;
	bool partial_checksum; /* its L4 checksum is yet to be finished by whoever sends it */
	uint16_t segment;      /* not 0: a super-packet, that stands for packets with so many bytes of payload */
	uint32_t length;       /* of the packet */
	uint32_t kept;
	const uint8_t *bytes;
};

struct ferrite_capture_count {
	uint64_t seen;     /* passed in the wanted direction */
	uint64_t accepted; /* of them, by the filter */
	uint64_t lost;     /* of them, for want of room */
};

/* -ENOSPC: FERRITE_CAPTURES there are; -ENOENT: no such point; -ENOMEM; -EINVAL. */
int ferrite_capture_start(struct ferrite_engine *engine, const struct ferrite_capture_config *config,
			  struct ferrite_capture **capture);
/* The next packet, valid until the next call. False: none is there now. */
bool ferrite_capture_next(struct ferrite_capture *capture, struct ferrite_captured *packet);
/* A limit was reached: nothing more will come, when `next` has nothing more. */
bool ferrite_capture_ended(const struct ferrite_capture *capture);
void ferrite_capture_counts(const struct ferrite_capture *capture, unsigned point, struct ferrite_capture_count *count);
void ferrite_capture_stop(struct ferrite_engine *engine, struct ferrite_capture *capture);

/* --- Mirror: what comes in at some points goes to a sink too, as UDP in IPv6 by the uplink, cut to what that carries. At
 * most one. What comes in at an uplink gets an Ethernet header without addresses, so that all of it reads alike. */

struct ferrite_mirror_config {
	struct ferrite_point points[FERRITE_MIRROR_POINTS];
	unsigned point_count;
	ferrite_ipv6 sink;
	uint16_t source_port, destination_port;
};

/* -EEXIST, -ENOENT (a point), -ENODEV (no uplink), -ENOMEM. */
int ferrite_mirror_start(struct ferrite_engine *engine, const struct ferrite_mirror_config *config);
void ferrite_mirror_stop(struct ferrite_engine *engine);

/* --- Live traces: the next packets that come in at some points and match are followed on their way. They pass as any, one by
 * one instead of in a burst. */

struct ferrite_live;

struct ferrite_live_config {
	const struct ferrite_point *points;
	unsigned point_count;
	struct ferrite_filter *filter; /* as in a capture */
	uint64_t packet_limit;         /* 0: none */
};

struct ferrite_live_seen {
	uint64_t time_ns;
	uint32_t point;
	uint32_t length, kept;
	uint8_t bytes[FERRITE_LIVE_PACKET]; /* as it came in */
	struct ferrite_trace_result trace;
};

/* As ferrite_capture_start; of them FERRITE_LIVE_TRACES. */
int ferrite_live_start(struct ferrite_engine *engine, const struct ferrite_live_config *config,
		       struct ferrite_live **live);
/* Valid until the next call; NULL: none is there now. */
const struct ferrite_live_seen *ferrite_live_next(struct ferrite_live *live);
bool ferrite_live_ended(const struct ferrite_live *live);
void ferrite_live_stop(struct ferrite_engine *engine, struct ferrite_live *live);

/* --- The flows that are there. */

struct ferrite_flow_query {
	uint32_t interface;   /* charged to it, or delivered to it; 0: all */
	uint8_t family;       /* of `prefix`; 0: every address */
	uint8_t length;
	uint8_t prefix[16];   /* one of its addresses is in it, its translation included */
	uint8_t protocol;     /* 0: every one */
	uint16_t port;        /* either; 0: every one */
};

struct ferrite_flow {
	struct ferrite_flow_event about; /* `reason` says nothing; `time_ms`: its last packet */
	bool established;
};

/* Calls back for each until it answers false. The worker lays them out piece by piece, between bursts. Control thread. */
int ferrite_flow_each(struct ferrite_engine *engine, const struct ferrite_flow_query *query,
		      bool (*visit)(void *context, const struct ferrite_flow *flow), void *context);

#ifdef __cplusplus
}
#endif
#endif
