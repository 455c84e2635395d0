#include "port/vhost_ring.h"

#include "packet/headers.h"

/* A descriptor, read once. */
struct piece {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* A walk along a chain; ends by its own `left`. */
struct walk {
	const struct guest_memory *memory;
	volatile const struct vring_desc *table;
	uint32_t entries, left;
	uint16_t next;
	bool nested, may_nest, more;
};

/* The address in our memory, and in `length` how much of it is there. NULL: none. */
static uint8_t *translate(const struct guest_memory *memory, uint64_t address, uint32_t *length)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		uint64_t offset = address - region->guest;
		if (offset >= region->size)
			continue;
		if (*length > region->size - offset)
			*length = (uint32_t)(region->size - offset);
		return region->host + offset;
	}
	return NULL;
}

static bool copy_in(const struct guest_memory *memory, uint64_t address, uint32_t length, uint8_t *to)
{
	while (length > 0) {
		uint32_t part = length;
		const uint8_t *from = translate(memory, address, &part);
		if (from == NULL)
			return false;
		memcpy(to, from, part);
		address += part;
		to += part;
		length -= part;
	}
	return true;
}

static bool copy_out(const struct guest_memory *memory, uint64_t address, uint32_t length, const uint8_t *from)
{
	uint64_t begin = address;
	while (length > 0) {
		uint32_t part = length;
		uint8_t *to = translate(memory, address, &part);
		if (to == NULL)
			return false;
		memcpy(to, from, part);
		address += part;
		from += part;
		length -= part;
	}
	if (memory->wrote != NULL)
		memory->wrote(memory->device, begin, address - begin);
	return true;
}

static bool reachable(const struct guest_memory *memory, uint64_t address, uint32_t length)
{
	while (length > 0) {
		uint32_t part = length;
		if (translate(memory, address, &part) == NULL)
			return false;
		address += part;
		length -= part;
	}
	return true;
}

static void walk_begin(struct walk *walk, const struct vhost_ring *ring, uint16_t head)
{
	*walk = (struct walk){
		.memory = ring->memory, .table = ring->desc, .entries = ring->size, .next = head,
		.left = ring->size < VHOST_CHAIN_LIMIT ? ring->size : VHOST_CHAIN_LIMIT,
		.may_nest = ring->indirect, .more = true,
	};
}

/* Enters a table of descriptors; it stands for the rest of the chain. */
static bool walk_enter(struct walk *walk, const struct piece *piece)
{
	uint32_t length = piece->length, whole = length;
	const uint8_t *table = translate(walk->memory, piece->address, &length);
	if (!walk->may_nest || walk->nested || (piece->flags & VRING_DESC_F_NEXT) != 0 || table == NULL ||
	    length != whole || length == 0 || length % sizeof(struct vring_desc) != 0 || (uintptr_t)table % 8 != 0)
		return false;
	walk->table = (volatile const struct vring_desc *)(const void *)table;
	walk->entries = length / (uint32_t)sizeof(struct vring_desc);
	walk->next = 0;
	walk->nested = true;
	return true;
}

/* 1: a piece; 0: the chain has ended; -1: it is none. */
static int walk_next(struct walk *walk, struct piece *piece)
{
	while (walk->more) {
		if (walk->left-- == 0 || walk->next >= walk->entries)
			return -1;
		volatile const struct vring_desc *at = &walk->table[walk->next];
		*piece = (struct piece){at->addr, at->len, at->flags, at->next};
		if ((piece->flags & VRING_DESC_F_INDIRECT) != 0) {
			if (!walk_enter(walk, piece))
				return -1;
			continue;
		}
		walk->more = (piece->flags & VRING_DESC_F_NEXT) != 0;
		walk->next = piece->next;
		return 1;
	}
	return 0;
}

bool vhost_ring_sane(const struct vhost_ring *ring)
{
	return ring->desc != NULL && ring->avail != NULL && ring->used != NULL && ring->size > 0 &&
		ring->size <= VHOST_RING_LIMIT && (ring->size & (ring->size - 1)) == 0 &&
		(uintptr_t)ring->desc % 8 == 0 && (uintptr_t)ring->avail % 2 == 0 && (uintptr_t)ring->used % 4 == 0;
}

static enum vhost_result fail(struct vhost_ring *ring)
{
	ring->broken = true;
	return VHOST_BROKEN;
}

/* How many entries the guest has made available; more than the ring holds: never. */
static uint32_t available(const struct vhost_ring *ring)
{
	return (uint16_t)(__atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE) - ring->next);
}

static void use(struct vhost_ring *ring, uint16_t head, uint32_t length)
{
	uint16_t at = ring->filled++ & (uint16_t)(ring->size - 1);
	ring->used->ring[at].id = head;
	ring->used->ring[at].len = length;
	if (ring->memory->wrote_used != NULL)
		ring->memory->wrote_used(ring->memory->device, ring->number,
					 sizeof(struct vring_used) + at * sizeof(struct vring_used_elem),
					 sizeof(struct vring_used_elem));
}

/* Where the bytes of a guest's packet go: header, small buffer, big buffer. */
struct sink {
	uint8_t header[VHOST_HEADER_LIMIT];
	uint32_t header_size, header_done, done;
	struct rte_mbuf *small, *big;
	bool overflow, no_memory;
};

static bool sink_part(const struct guest_memory *memory, uint64_t *address, uint32_t *length,
		      uint8_t *to, uint32_t room, uint32_t *done)
{
	uint32_t part = *length < room ? *length : room;
	if (!copy_in(memory, *address, part, to))
		return false;
	*address += part;
	*length -= part;
	*done += part;
	return true;
}

static bool sink_piece(struct sink *sink, const struct guest_memory *memory, uint64_t address, uint32_t length)
{
	if (sink->header_done < sink->header_size &&
	    !sink_part(memory, &address, &length, sink->header + sink->header_done,
		       sink->header_size - sink->header_done, &sink->header_done))
		return false;
	if (sink->done < SMALL_ROOM && !sink_part(memory, &address, &length, packet_data(sink->small) + sink->done,
						  SMALL_ROOM - sink->done, &sink->done))
		return false;
	if (length == 0)
		return true;
	if (length > PACKET_LIMIT || sink->done + length > PACKET_LIMIT) {
		sink->overflow = true;
		return reachable(memory, address, length);
	}
	if (sink->big == NULL && !sink->no_memory) {
		sink->big = rte_pktmbuf_alloc(buffers.big);
		sink->no_memory = sink->big == NULL;
	}
	if (sink->no_memory)
		return reachable(memory, address, length);
	return sink_part(memory, &address, &length, packet_data(sink->big) + sink->done - SMALL_ROOM,
			 PACKET_LIMIT - sink->done, &sink->done);
}

/* Lengths and offloads of what the sink got. */
static enum vhost_result sink_finish(struct sink *sink)
{
	struct rte_mbuf *buffer = sink->small;
	struct packet *packet = packet_of(buffer);
	struct vnet_header vnet;
	uint32_t length = sink->done;
	memcpy(&vnet, sink->header, VNET_LENGTH);
	if (sink->no_memory)
		return VHOST_NO_MEMORY;
	if (sink->overflow || sink->header_done < sink->header_size || length < ETHERNET_LENGTH ||
	    !offload_read(&packet->offload, &vnet, ETHERNET_LENGTH, length))
		return VHOST_BAD;
	packet->ip_offset = ETHERNET_LENGTH;
	buffer->pkt_len = length;
	buffer->data_len = (uint16_t)(length < SMALL_ROOM ? length : SMALL_ROOM);
	if (sink->big != NULL) {
		sink->big->data_len = (uint16_t)(length - SMALL_ROOM);
		buffer->next = sink->big;
		buffer->nb_segs = 2;
		sink->big = NULL;
	}
	return VHOST_OK;
}

enum vhost_result vhost_ring_take(struct vhost_ring *ring, struct rte_mbuf *empty)
{
	struct sink sink = {.header_size = ring->header, .small = empty};
	struct walk walk;
	struct piece piece;
	uint32_t ready = ring->broken ? 0 : available(ring);
	int more;
	if (ready == 0)
		return ring->broken ? VHOST_BROKEN : VHOST_EMPTY;
	if (ready > ring->size)
		return fail(ring);
	uint16_t head = ring->avail->ring[ring->next & (ring->size - 1)];
	walk_begin(&walk, ring, head);
	while ((more = walk_next(&walk, &piece)) > 0)
		if ((piece.flags & VRING_DESC_F_WRITE) != 0 ||
		    !sink_piece(&sink, ring->memory, piece.address, piece.length)) {
			more = -1;
			break;
		}
	enum vhost_result result = more < 0 ? fail(ring) : sink_finish(&sink);
	rte_pktmbuf_free(sink.big);
	if (result != VHOST_BROKEN) {
		ring->next++;
		use(ring, head, 0);
	}
	return result;
}

/* The guest's buffers that one packet takes. */
struct room {
	unsigned chains, pieces;
	uint32_t bytes;
	struct { uint16_t head; uint32_t length; } chain[VHOST_CHAINS];
	struct { uint64_t address; uint32_t length; } piece[VHOST_PIECES];
};

/* One more chain of the guest. VHOST_BAD: the packet would need more than we take. */
static enum vhost_result room_grow(struct vhost_ring *ring, struct room *room, uint32_t wanted)
{
	struct walk walk;
	struct piece piece;
	uint32_t before = room->bytes;
	int more;
	if (room->chains == VHOST_CHAINS)
		return VHOST_BAD;
	uint16_t head = ring->avail->ring[(uint16_t)(ring->next + room->chains) & (ring->size - 1)];
	walk_begin(&walk, ring, head);
	while ((more = walk_next(&walk, &piece)) > 0) {
		if ((piece.flags & VRING_DESC_F_WRITE) == 0)
			return fail(ring);
		if (room->bytes >= wanted)
			continue; /* still to be a chain that ends */
		if (room->pieces == VHOST_PIECES)
			return VHOST_BAD;
		uint32_t part = piece.length < wanted - room->bytes ? piece.length : wanted - room->bytes;
		if (part == 0)
			continue;
		if (!reachable(ring->memory, piece.address, part))
			return fail(ring);
		room->piece[room->pieces].address = piece.address;
		room->piece[room->pieces++].length = part;
		room->bytes += part;
	}
	if (more < 0 || room->bytes == before) /* a chain without room would be taken for ever */
		return fail(ring);
	room->chain[room->chains].head = head;
	room->chain[room->chains++].length = room->bytes - before;
	return VHOST_OK;
}

/* Fills the room from its begin. */
static bool room_fill(const struct guest_memory *memory, const struct room *room, const struct iovec *parts,
		      unsigned count)
{
	unsigned at = 0;
	uint32_t done = 0;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *from = parts[i].iov_base;
		uint32_t left = (uint32_t)parts[i].iov_len;
		while (left > 0) {
			uint32_t part = room->piece[at].length - done;
			part = part < left ? part : left;
			if (!copy_out(memory, room->piece[at].address + done, part, from))
				return false;
			from += part;
			left -= part;
			done += part;
			if (done == room->piece[at].length) {
				at++;
				done = 0;
			}
		}
	}
	return true;
}

enum vhost_result vhost_ring_give(struct vhost_ring *ring, const struct vnet_header *vnet, const struct iovec *parts,
				  unsigned count)
{
	struct room room;
	uint8_t header[VHOST_HEADER_LIMIT] = {0};
	struct iovec all[PORT_PARTS + 2];
	uint32_t wanted = ring->header, ready = ring->broken ? 0 : available(ring);
	if (ring->broken)
		return VHOST_BROKEN;
	if (ready > ring->size)
		return fail(ring);
	if (count > PORT_PARTS)
		return VHOST_BAD;
	for (unsigned i = 0; i < count; i++) {
		all[i + 1] = parts[i];
		wanted += (uint32_t)parts[i].iov_len;
	}
	room.chains = room.pieces = 0;
	room.bytes = 0;
	while (room.bytes < wanted) {
		if (room.chains > 0 && !ring->mergeable)
			return VHOST_BAD;
		if (room.chains == ready)
			return VHOST_EMPTY;
		enum vhost_result result = room_grow(ring, &room, wanted);
		if (result != VHOST_OK)
			return result;
	}
	memcpy(header, vnet, VNET_LENGTH);
	header[VNET_LENGTH] = (uint8_t)room.chains; /* how many buffers; VHOST_CHAINS fits into a byte */
	all[0] = (struct iovec){header, ring->header};
	if (!room_fill(ring->memory, &room, all, count + 1))
		return fail(ring);
	for (unsigned i = 0; i < room.chains; i++)
		use(ring, room.chain[i].head, room.chain[i].length);
	ring->next = (uint16_t)(ring->next + room.chains);
	return VHOST_OK;
}

bool vhost_ring_publish(struct vhost_ring *ring)
{
	uint16_t before = ring->published, now = ring->filled;
	if (before == now)
		return false;
	__atomic_store_n(&ring->used->idx, now, __ATOMIC_RELEASE);
	ring->published = now;
	if (ring->memory->wrote_used != NULL)
		ring->memory->wrote_used(ring->memory->device, ring->number, 2, 2);
	/* The guest first asks for an interrupt, then looks again; we first show, then look whether it asked. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	bool told = ring->told;
	ring->told = true;
	if (!ring->event_index)
		return (ring->avail->flags & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	return !told || vring_need_event(ring->avail->ring[ring->size], now, before);
}

bool vhost_ring_listen(struct vhost_ring *ring, bool on)
{
	if (!on) {
		/* With an event index what was asked for last is passed already, and stays so. */
		if (!ring->quiet && !ring->event_index)
			ring->used->flags = VRING_USED_F_NO_NOTIFY;
		ring->quiet = true;
		return false;
	}
	if (ring->broken)
		return false;
	ring->quiet = false;
	if (ring->event_index) {
		volatile uint16_t *wanted = (volatile uint16_t *)(volatile void *)&ring->used->ring[ring->size];
		*wanted = ring->next;
	} else {
		ring->used->flags = 0;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return available(ring) > 0;
}
