#include "port/underlay.h"

#include <unistd.h>

#include "engine/state.h"
#include "port/neighbour.h"

enum { SERVICE_TYPE = 0xff }; /* of the underlay addresses of virtual services */

void underlay_init(struct underlay *underlay, struct port *port, const struct underlay_ops *ops,
		   const struct port_spec *spec, const uint8_t mac[6], int device)
{
	*underlay = (struct underlay){
		.port = port, .ops = ops, .has_peer = spec->has_peer, .mac_fixed = spec->has_mac, .device = device,
		.neighbours = -1,
	};
	memcpy(underlay->table.prefix, port->engine->prefix, 8);
	memcpy(underlay->table.mac, spec->has_mac ? spec->mac : mac, 6);
	underlay->table.has_gateway = spec->has_gateway;
	memcpy(underlay->table.gateway, spec->gateway, 16);
	memcpy(underlay->peer, spec->peer, 6);
	if (device > 0 && !spec->has_peer)
		underlay->neighbours = neighbour_socket();
}

void underlay_free(struct underlay *underlay)
{
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		struct link_entry *entry = &underlay->table.entries[i];
		rte_pktmbuf_free_bulk(entry->held, entry->held_count);
		entry->held_count = 0;
	}
	if (underlay->neighbours >= 0)
		close(underlay->neighbours);
	underlay->neighbours = -1;
}

void underlay_save(const struct underlay *underlay, struct underlay_memory *memory)
{
	memory->heard = underlay->heard;
	memory->kernel_knows = underlay->kernel_knows;
	memcpy(memory->heard_mac, underlay->heard_mac, 6);
	memcpy(memory->kernel_mac, underlay->kernel_mac, 6);
	memory->count = 0;
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		const struct link_entry *entry = &underlay->table.entries[i];
		if (!entry->used || !entry->known)
			continue;
		memcpy(memory->entries[memory->count].key, entry->key, 8);
		memcpy(memory->entries[memory->count].target, entry->target, 16);
		memcpy(memory->entries[memory->count++].mac, entry->mac, 6);
	}
}

void underlay_load(struct underlay *underlay, const struct underlay_memory *memory)
{
	uint64_t now = underlay->port->engine->now_ms;
	if (memory->heard) {
		underlay->heard = true;
		memcpy(underlay->heard_mac, memory->heard_mac, 6);
	}
	if (memory->kernel_knows && underlay->neighbours >= 0) {
		underlay->kernel_knows = true;
		memcpy(underlay->kernel_mac, memory->kernel_mac, 6);
	}
	for (uint32_t i = 0; i < memory->count && i < LEDGER_NEIGHBOURS; i++) {
		struct link_entry *entry = link_find(&underlay->table, memory->entries[i].target, now);
		if (entry == NULL || entry->known)
			continue;
		entry->known = true; /* and confirmed with its first use */
		entry->used_ms = now;
		memcpy(entry->mac, memory->entries[i].mac, 6);
	}
}

void underlay_header(const struct underlay *underlay, uint8_t header[14], const uint8_t mac[6])
{
	memcpy(header, mac, 6);
	memcpy(header + 6, underlay->table.mac, 6);
	store16(header + 12, ETHERTYPE_IPV6);
}

static void solicit(struct underlay *underlay, struct link_entry *entry, uint64_t now)
{
	uint8_t frame[LINK_FRAME];
	uint32_t length = link_solicit(&underlay->table, entry, now, frame);
	if (length > 0)
		underlay->ops->frame(underlay->port, frame, length);
}

static void send(struct underlay *underlay, struct rte_mbuf *buffer, uint64_t now)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct port *port = underlay->port;
	const uint8_t *mac = underlay->has_peer ? underlay->peer : underlay->kernel_knows ? underlay->kernel_mac : NULL;
	if (mac != NULL) {
		underlay->ops->packet(port, buffer, mac);
		return;
	}
	struct link_entry *entry = link_find(&underlay->table, packet_data(buffer) + 24, now);
	if (entry != NULL) {
		entry->used_ms = now;
		solicit(underlay, entry, now);
		mac = entry->known ? entry->mac : NULL;
	}
	if (mac == NULL && underlay->point_to_point)
		mac = underlay->heard ? underlay->heard_mac : everybody;
	if (mac != NULL) {
		underlay->ops->packet(port, buffer, mac);
	} else if (entry != NULL && entry->held_count < LINK_HOLD) {
		entry->held[entry->held_count++] = buffer;
	} else {
		underlay->unresolved++;
		port_drop(port, buffer);
	}
}

void underlay_transmit(struct underlay *underlay, struct rte_mbuf **burst, unsigned count)
{
	uint64_t now = underlay->port->engine->now_ms;
	for (unsigned i = 0; i < count; i++)
		send(underlay, burst[i], now);
	underlay->ops->flush(underlay->port);
}

/* Everything that waits for this neighbour. */
static void release(struct underlay *underlay, struct link_entry *entry, const uint8_t mac[6])
{
	for (unsigned i = 0; i < entry->held_count; i++)
		underlay->ops->packet(underlay->port, entry->held[i], mac);
	entry->held_count = 0;
	underlay->ops->flush(underlay->port);
}

static void control_frame(struct underlay *underlay, const struct rte_mbuf *buffer)
{
	uint8_t answer[LINK_FRAME];
	struct link_entry *resolved;
	uint32_t length = link_input(&underlay->table, packet_data(buffer), buffer->data_len,
				     underlay->port->engine->now_ms, answer, &resolved);
	if (length > 0)
		underlay->ops->frame(underlay->port, answer, length);
	if (resolved != NULL && resolved->held_count > 0)
		release(underlay, resolved, resolved->mac);
}

/* A TAP's far end is known by what it sends. */
static void hear(struct underlay *underlay, const uint8_t *frame)
{
	if ((frame[6] & 1) == 0) {
		memcpy(underlay->heard_mac, frame + 6, 6);
		underlay->heard = true;
	}
	if (!underlay->mac_fixed && (frame[0] & 1) == 0)
		memcpy(underlay->table.mac, frame, 6);
}

bool underlay_accept(struct underlay *underlay, struct rte_mbuf *buffer, const struct vnet_header *vnet)
{
	static const struct vnet_header none;
	const uint8_t *data = packet_data(buffer), *ip = data + ETHERNET_LENGTH;
	struct packet *packet = packet_of(buffer);
	if (buffer->data_len < ETHERNET_LENGTH + IPV6_LENGTH || load16(data + 12) != ETHERTYPE_IPV6 ||
	    (underlay->own_only && (data[0] & 1) == 0 && memcmp(data, underlay->table.mac, 6) != 0))
		return false;
	if (ip[6] == PROTOCOL_ICMPV6) {
		control_frame(underlay, buffer);
		return false;
	}
	bool tunnelled = ip[6] == PROTOCOL_IPV4 || ip[6] == PROTOCOL_IPV6;
	bool service = ip[32] == UNDERLAY_MARK && ip[33] == SERVICE_TYPE;
	if ((!tunnelled && !service) || raw64(ip + 24) != raw64(underlay->table.prefix)) {
		underlay->foreign++;
		return false;
	}
	uint16_t outer = tunnelled ? IPV6_LENGTH : 0;
	if (!offload_read(&packet->offload, vnet != NULL ? vnet : &none, ETHERNET_LENGTH + outer, buffer->pkt_len)) {
		underlay->port->counters.rx_errors++;
		return false;
	}
	if (underlay->point_to_point)
		hear(underlay, data);
	(void)rte_pktmbuf_adj(buffer, ETHERNET_LENGTH);
	packet->ip_offset = outer;
	return true;
}

static void ask_kernel(struct underlay *underlay, uint64_t now_ms)
{
	if (underlay->neighbours < 0 || now_ms < underlay->ask_ms)
		return;
	underlay->ask_ms = now_ms + UNDERLAY_ASK_MS;
	underlay->kernel_knows = neighbour_find(underlay->neighbours, underlay->device,
						underlay->table.has_gateway ? underlay->table.gateway : NULL,
						underlay->kernel_mac);
	for (unsigned i = 0; underlay->kernel_knows && i < LINK_ENTRIES; i++)
		if (underlay->table.entries[i].held_count > 0)
			release(underlay, &underlay->table.entries[i], underlay->kernel_mac);
}

void underlay_tick(struct underlay *underlay, uint64_t now_ms)
{
	ask_kernel(underlay, now_ms);
	for (unsigned i = 0; i < LINK_ENTRIES; i++) {
		struct link_entry *entry = &underlay->table.entries[i];
		if (!entry->used || entry->held_count == 0)
			continue;
		if (entry->tries < LINK_TRIES || now_ms < entry->next_ms) {
			solicit(underlay, entry, now_ms);
			continue;
		}
		/* What nobody answers for is not kept for ever. */
		underlay->unresolved += entry->held_count;
		for (unsigned j = 0; j < entry->held_count; j++)
			port_drop(underlay->port, entry->held[j]);
		entry->held_count = 0;
		entry->tries = 0;
	}
}
