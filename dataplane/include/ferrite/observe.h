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

#ifdef __cplusplus
}
#endif
#endif
