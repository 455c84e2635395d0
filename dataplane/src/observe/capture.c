#include <errno.h>
#include <stdlib.h>

#include "observe/filter.h"
#include "observe/observe.h"
#include "observe/record_ring.h"

/* Cardinality: one per Capture call. */
struct ferrite_capture {
	/* Worker. */
	bool in, out, ended;
	uint32_t snap_length;
	uint64_t packets_left, bytes_left; /* UINT64_MAX: no limit */
	struct ferrite_filter *filter;
	struct ferrite_capture_count *counts; /* of each point */
	struct record_ring ring;
	struct observe_points points;
};

/* What stands before the bytes of a packet in the ring. */
struct record {
	uint64_t time_ns;
	uint32_t point;
	uint32_t length;
	uint32_t kept;
	uint16_t segment;
	bool out;
	bool partial_checksum;
};

static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void copy(const struct rte_mbuf *buffer, uint8_t *to, uint32_t length)
{
	for (; length > 0 && buffer != NULL; buffer = buffer->next) {
		uint32_t part = buffer->data_len < length ? buffer->data_len : length;
		memcpy(to, packet_data(buffer), part);
		to += part;
		length -= part;
	}
}

static void capture_packet(struct ferrite_capture *capture, uint32_t point, const struct rte_mbuf *buffer, bool out,
			   bool outer, uint64_t now_ns)
{
	struct ferrite_capture_count *counts = &capture->counts[point];
	const struct packet *packet = packet_of(buffer);
	uint32_t kept = buffer->pkt_len < capture->snap_length ? buffer->pkt_len : capture->snap_length;
	count(&counts->seen);
	if (capture->filter != NULL && !filter_matches(capture->filter, buffer, outer))
		return;
	count(&counts->accepted);
	uint8_t *place = record_ring_reserve(&capture->ring, (uint32_t)sizeof(struct record) + kept);
	if (place == NULL) {
		count(&counts->lost);
		return;
	}
	*(struct record *)(void *)place = (struct record){
		.time_ns = now_ns,
		.point = point,
		.length = buffer->pkt_len,
		.kept = kept,
		.segment = packet->offload.gso != GSO_NONE ? packet->offload.gso_size : 0,
		.out = out,
		.partial_checksum = packet->offload.needs_checksum != 0,
	};
	copy(buffer, place + sizeof(struct record), kept);
	record_ring_publish(&capture->ring, (uint32_t)sizeof(struct record) + kept);
	if (capture->packets_left != UINT64_MAX)
		capture->packets_left--;
	if (capture->bytes_left != UINT64_MAX)
		capture->bytes_left -= kept < capture->bytes_left ? kept : capture->bytes_left;
	if (capture->packets_left == 0 || capture->bytes_left == 0)
		__atomic_store_n(&capture->ended, true, __ATOMIC_RELEASE);
}

void capture_packets(struct ferrite_capture *capture, const struct port *port, uint32_t place,
		     struct rte_mbuf *const *burst, unsigned packets, bool out, uint64_t now_ns)
{
	unsigned point = observe_point(&capture->points, place);
	if (point == 0 || !(out ? capture->out : capture->in))
		return;
	for (unsigned i = 0; i < packets && !capture->ended; i++)
		capture_packet(capture, point - 1, burst[i], out, port->uplink, now_ns);
}

void capture_forget(struct ferrite_capture *capture, uint32_t place)
{
	__atomic_store_n(&capture->points.at[place], 0, __ATOMIC_RELAXED);
}

static void release(struct ferrite_capture *capture)
{
	record_ring_close(&capture->ring);
	ferrite_filter_free(capture->filter);
	free(capture->counts);
	free(capture);
}

static int add(struct observer_set *set, void *context)
{
	if (set->capture_count == FERRITE_CAPTURES)
		return -ENOSPC;
	set->captures[set->capture_count++] = context;
	return 0;
}

static int take_out(struct observer_set *set, void *context)
{
	for (unsigned i = 0; i < set->capture_count; i++) {
		if (set->captures[i] != context)
			continue;
		set->captures[i] = set->captures[--set->capture_count];
		return 0;
	}
	return -ENOENT;
}

static bool filter_fits_all(const struct ferrite_capture_config *config)
{
	for (unsigned i = 0; config->filter != NULL && i < config->point_count; i++)
		if (!filter_fits(config->filter, config->points[i].port == 0))
			return false;
	return true;
}

int ferrite_capture_start(struct ferrite_engine *engine, const struct ferrite_capture_config *config,
			  struct ferrite_capture **result)
{
	if (config->snap_length == 0 || config->snap_length > FERRITE_SNAP_MAX || !filter_fits_all(config))
		return -EINVAL;
	struct ferrite_capture *capture = calloc(1, sizeof *capture);
	if (capture == NULL)
		return -ENOMEM;
	capture->in = config->in;
	capture->out = config->out;
	capture->snap_length = config->snap_length;
	capture->packets_left = config->packet_limit > 0 ? config->packet_limit : UINT64_MAX;
	capture->bytes_left = config->byte_limit > 0 ? config->byte_limit : UINT64_MAX;
	capture->counts = calloc(config->point_count + 1, sizeof *capture->counts);
	int status = observe_points_fill(&capture->points, engine, config->points, config->point_count);
	if (status == 0 && (capture->counts == NULL || !record_ring_open(&capture->ring, FERRITE_CAPTURE_RING)))
		status = -ENOMEM;
	if (status == 0) {
		capture->filter = config->filter;
		status = observe_change(engine, add, capture);
	}
	if (status < 0) {
		capture->filter = NULL; /* the caller's still */
		release(capture);
		return status;
	}
	*result = capture;
	return 0;
}

bool ferrite_capture_next(struct ferrite_capture *capture, struct ferrite_captured *packet)
{
	uint32_t length;
	const uint8_t *bytes = record_ring_read(&capture->ring, &length);
	if (bytes == NULL)
		return false;
	const struct record *record = (const struct record *)(const void *)bytes;
	*packet = (struct ferrite_captured){
		.time_ns = record->time_ns,
		.point = record->point,
		.out = record->out,
		.partial_checksum = record->partial_checksum,
		.segment = record->segment,
		.length = record->length,
		.kept = record->kept,
		.bytes = bytes + sizeof *record,
	};
	return true;
}

bool ferrite_capture_ended(const struct ferrite_capture *capture)
{
	return __atomic_load_n(&capture->ended, __ATOMIC_ACQUIRE);
}

void ferrite_capture_counts(const struct ferrite_capture *capture, unsigned point, struct ferrite_capture_count *result)
{
	const struct ferrite_capture_count *counts = &capture->counts[point];
	/* In this order, so that no more are lost than accepted. */
	result->lost = __atomic_load_n(&counts->lost, __ATOMIC_RELAXED);
	result->accepted = __atomic_load_n(&counts->accepted, __ATOMIC_RELAXED);
	result->seen = __atomic_load_n(&counts->seen, __ATOMIC_RELAXED);
}

void ferrite_capture_stop(struct ferrite_engine *engine, struct ferrite_capture *capture)
{
	/* It can fail for want of memory only; then it goes on, and what it has stays. */
	if (observe_change(engine, take_out, capture) == 0)
		release(capture);
}
