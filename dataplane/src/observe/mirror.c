/* A copy of what comes in, to somebody who looks: whole frames as UDP in IPv6, by the uplink.
 *
 * A copy is one small buffer and is cut to what that and the uplink's MTU hold. Its outer source is an address of this
 * host's prefix that no endpoint has.
 */
#include <errno.h>
#include <stdlib.h>

#include "observe/observe.h"
#include "packet/checksum.h"
#include "packet/headers.h"

enum { MIRROR_HEAD = IPV6_LENGTH + UDP_LENGTH, MIRROR_HOPS = 64 };

/* Cardinality: at most one per engine. */
struct mirror {
	struct observe_points points;
	ferrite_ipv6 source, sink;
	uint16_t source_port, destination_port;
};

static uint32_t copy(const struct rte_mbuf *buffer, uint8_t *to, uint32_t room)
{
	uint32_t done = 0;
	for (; buffer != NULL && done < room; buffer = buffer->next) {
		uint32_t part = buffer->data_len < room - done ? buffer->data_len : room - done;
		memcpy(to + done, packet_data(buffer), part);
		done += part;
	}
	return done;
}

/* What an uplink brought had a link header once. */
static uint32_t ethernet(uint8_t *to)
{
	memset(to, 0, ETHERNET_LENGTH);
	store16(to + 12, ETHERTYPE_IPV6);
	return ETHERNET_LENGTH;
}

static void wrap(const struct mirror *mirror, uint8_t *data, uint32_t length)
{
	struct ipv6_header *ip = (struct ipv6_header *)(void *)data;
	struct udp_header *udp = (struct udp_header *)(void *)(ip + 1);
	*ip = (struct ipv6_header){
		.version_class_label = {0x60}, .next_header = PROTOCOL_UDP, .hop_limit = MIRROR_HOPS};
	store16(ip->payload_length, UDP_LENGTH + length);
	memcpy(ip->source, mirror->source.bytes, 16);
	memcpy(ip->destination, mirror->sink.bytes, 16);
	store16(udp->source, mirror->source_port);
	store16(udp->destination, mirror->destination_port);
	store16(udp->length, UDP_LENGTH + length);
	memset(udp->checksum, 0, 2);
	checksum_put_udp(udp->checksum, checksum_add(checksum_pseudo6(ip, PROTOCOL_UDP, UDP_LENGTH + length), udp,
						     UDP_LENGTH + length));
}

static void mirror_packet(struct mirror *mirror, struct ferrite_engine *engine, const struct rte_mbuf *original,
			  bool outer)
{
	struct port *uplink = uplink_for(engine, mix(original->pkt_len, mirror->source_port));
	uint32_t room = SMALL_ROOM < uplink->mtu ? SMALL_ROOM : uplink->mtu;
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL)
		return;
	uint8_t *data = packet_data(buffer), *payload = data + MIRROR_HEAD;
	uint32_t length = outer ? ethernet(payload) : 0;
	length += copy(original, payload + length, room - MIRROR_HEAD - length);
	wrap(mirror, data, length);
	buffer->data_len = (uint16_t)(MIRROR_HEAD + length);
	buffer->pkt_len = MIRROR_HEAD + length;
	*packet_of(buffer) = (struct packet){.ip_offset = 0};
	emit(engine, uplink, buffer);
}

void mirror_packets(struct mirror *mirror, struct ferrite_engine *engine, const struct port *port, uint32_t place,
		    struct rte_mbuf *const *burst, unsigned count)
{
	if (observe_point(&mirror->points, place) == 0)
		return;
	for (unsigned i = 0; i < count; i++)
		mirror_packet(mirror, engine, burst[i], port->uplink);
}

void mirror_forget(struct mirror *mirror, uint32_t place)
{
	__atomic_store_n(&mirror->points.at[place], 0, __ATOMIC_RELAXED);
}

static int add(struct observer_set *set, void *context)
{
	if (set->mirror != NULL)
		return -EEXIST;
	set->mirror = context;
	return 0;
}

static int take_out(struct observer_set *set, void *context)
{
	*(struct mirror **)context = set->mirror;
	set->mirror = NULL;
	return 0;
}

int ferrite_mirror_start(struct ferrite_engine *engine, const struct ferrite_mirror_config *config)
{
	if (engine->uplinks.count == 0)
		return -ENODEV;
	if (config->point_count > FERRITE_MIRROR_POINTS)
		return -EINVAL;
	struct mirror *mirror = calloc(1, sizeof *mirror);
	if (mirror == NULL)
		return -ENOMEM;
	mirror->sink = config->sink;
	mirror->source_port = config->source_port;
	mirror->destination_port = config->destination_port;
	memcpy(mirror->source.bytes, engine->prefix, 8);
	mirror->source.bytes[8] = UNDERLAY_MARK;
	int status = observe_points_fill(&mirror->points, engine, config->points, config->point_count);
	if (status == 0)
		status = observe_change(engine, add, mirror);
	if (status < 0)
		free(mirror);
	return status;
}

void ferrite_mirror_stop(struct ferrite_engine *engine)
{
	struct mirror *mirror = NULL;
	if (observe_change(engine, take_out, &mirror) == 0)
		free(mirror);
}
