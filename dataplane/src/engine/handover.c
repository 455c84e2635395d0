/* Taking over from a predecessor, and being taken over from (ferrite/handover.h). */
#include "engine/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/state.h"
#include "stage/trace.h"

enum { LEDGER_MAGIC = 0x6c726546, LEDGER_COMPLETE = 1 };

/* What is said of one interface. */
struct ledger_interface {
	uint64_t base[LEDGER_PORT_COUNTERS], port[LEDGER_PORT_COUNTERS];
	uint64_t counters[LEDGER_COUNTERS];
	uint64_t errors_next_ms;
	uint8_t frame_mac[6], guest_mac[6];
	uint8_t guest_known;
};

/* In the region. Everything below `state` is written when the worker has stopped, but the addresses of groups, which are
 * kept as they are made, for who comes after a crash. */
struct ledger {
	uint32_t magic;
	uint32_t seed;
	uint64_t flow_seed, nat_seed;
	uint64_t layout;
	uint32_t epoch, route_epoch;
	uint32_t state;
	uint32_t nat_group_high;
	struct nat_group nat_groups[NAT_GROUPS];
	uint64_t counter_names; /* counters count only where they are called the same */
	uint64_t flow_count, inserted, evicted, refused, expired;
	uint32_t owners_used, sweep_at;
	uint32_t nat_count, nat_free_first, nat_used_high, nat_bitmap_free, nat_bitmap_high;
	uint32_t nat_used[FERRITE_MAX_INTERFACES][NAT_PROTOCOLS];
	uint64_t counters[LEDGER_COUNTERS];
	uint64_t uplinks[FERRITE_MAX_UPLINKS][LEDGER_PORT_COUNTERS];
	struct underlay_memory neighbours[FERRITE_MAX_UPLINKS];
	uint8_t used[FERRITE_MAX_INTERFACES]; /* of `interfaces`, whose pages are touched only then */
	struct ledger_interface interfaces[FERRITE_MAX_INTERFACES];
};
_Static_assert((int)COUNTERS <= (int)LEDGER_COUNTERS, "each has a place");
_Static_assert(sizeof(struct port_counters) <= LEDGER_PORT_COUNTERS * sizeof(uint64_t), "each has a place");

/* Change LEDGER_VERSION where the meaning of what is in the tables changes and no size does. */
static uint64_t layout_of(uint32_t capacity)
{
	const uint64_t parts[] = {
		LEDGER_VERSION, sizeof(struct ledger), sizeof(struct flow_bucket), sizeof(struct flow_entry), OWNERS,
		sizeof(struct nat_mapping), sizeof(struct nat_bitmap), NAT_MAPPINGS, NAT_BITMAPS, NAT_GROUPS, capacity,
	};
	uint64_t hash = 0;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
		hash = mix(hash ^ parts[i], 0x9e3779b97f4a7c15ULL);
	return hash;
}

static uint64_t counter_names(void)
{
	uint64_t hash = 0;
	for (unsigned i = 0; i < COUNTERS; i++)
		for (const char *at = counter_name((enum counter)i); *at != 0; at++)
			hash = mix(hash ^ (uint8_t)*at, i);
	return hash;
}

static size_t region_bytes(uint32_t capacity)
{
	size_t flows[3], nats[NAT_PARTS], sum = table_region_size(sizeof(struct ledger));
	flow_table_sizes(capacity, OWNERS, flows);
	nat_table_sizes(NAT_MAPPINGS, nats);
	for (unsigned i = 0; i < 3; i++)
		sum += table_region_size(flows[i]);
	for (unsigned i = 0; i < NAT_PARTS; i++)
		sum += table_region_size(nats[i]);
	return sum;
}

static int region_make(struct table_region *region, size_t bytes)
{
	int fd = memfd_create("ferrite-tables", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int code = errno;
		close(fd);
		return -code;
	}
	region->descriptor = fd;
	return 0;
}

static int region_map(struct table_region *region, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, region->descriptor, 0);
	if (at == MAP_FAILED)
		return -errno;
	(void)madvise(at, bytes, MADV_HUGEPAGE); /* where the machine has them for shared memory */
	region->base = at;
	region->bytes = bytes;
	region->used = 0;
	return 0;
}

/* A predecessor's memory, where it is what ours would be. */
static bool region_inherit(struct handover *handover, size_t bytes, uint64_t layout)
{
	struct ferrite_inheritance *from = handover->inheritance;
	struct table_region *region = &handover->region;
	struct stat file;
	if (from == NULL || from->tables < 0 || from->layout != layout || fstat(from->tables, &file) < 0 ||
	    file.st_size != (off_t)bytes)
		return false;
	int seals = fcntl(from->tables, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return false;
	region->descriptor = fcntl(from->tables, F_DUPFD_CLOEXEC, 0);
	if (region->descriptor < 0 || region_map(region, bytes) < 0)
		return false;
	const struct ledger *ledger = (const struct ledger *)(const void *)region->base;
	return ledger->magic == LEDGER_MAGIC && ledger->layout == layout;
}

/* Pages that the predecessor has touched are mapped now and not by packets. */
static void region_touch(const struct table_region *region)
{
	off_t at = 0;
	while ((at = lseek(region->descriptor, at, SEEK_DATA)) >= 0 && (size_t)at < region->bytes) {
		off_t end = lseek(region->descriptor, at, SEEK_HOLE);
		if (end <= at)
			break;
		(void)madvise(region->base + at, (size_t)(end - at), MADV_POPULATE_WRITE);
		at = end;
	}
}

int handover_tables(struct ferrite_engine *engine, const struct ferrite_engine_config *config, uint32_t capacity,
		    uint32_t timeout, uint64_t seeds[3], char *error)
{
	struct handover *handover = &engine->handover;
	struct table_region *region = &handover->region;
	size_t bytes = region_bytes(capacity), flow_sizes[3], nat_sizes[NAT_PARTS];
	void *flows[3], *nats[NAT_PARTS];
	uint64_t layout = layout_of(capacity);
	handover->inheritance = config->inheritance;
	handover->heir = config->inheritance != NULL;
	if (!config->keep_tables)
		return 0;
	handover->inherits = region_inherit(handover, bytes, layout);
	if (!handover->inherits) {
		handover_free(engine);
		int status = region_make(region, bytes);
		if (status == 0)
			status = region_map(region, bytes);
		if (status < 0)
			return port_error(error, -status, "no memory for tables that can be handed over: %s", strerror(-status));
	}
	struct ledger *ledger = table_region_take(region, sizeof *ledger);
	flow_table_sizes(capacity, OWNERS, flow_sizes);
	nat_table_sizes(NAT_MAPPINGS, nat_sizes);
	for (unsigned i = 0; i < 3; i++)
		flows[i] = table_region_take(region, flow_sizes[i]);
	for (unsigned i = 0; i < NAT_PARTS; i++)
		nats[i] = table_region_take(region, nat_sizes[i]);
	handover->ledger = ledger;
	if (!handover->inherits) {
		ledger->magic = LEDGER_MAGIC;
		ledger->layout = layout;
		ledger->seed = engine->seed;
		ledger->flow_seed = seeds[1];
		ledger->nat_seed = seeds[2];
	} else {
		region_touch(region);
		engine->seed = ledger->seed;
		engine->epoch = ledger->epoch;
		engine->nat_group_high = ledger->nat_group_high < NAT_GROUPS ? ledger->nat_group_high : NAT_GROUPS - 1;
		memcpy(engine->nat_groups, ledger->nat_groups, sizeof *engine->nat_groups * (engine->nat_group_high + 1));
		for (uint32_t i = 0; i <= engine->nat_group_high; i++)
			engine->nat_groups[i].users = 0;
	}
	flow_table_place(&engine->flows, capacity, OWNERS, timeout, ledger->flow_seed, flows);
	nat_table_place(engine->nats, ledger->nat_seed, NAT_MAPPINGS, nats);
	return 1;
}

/* After the routes' table was made: epochs go on, so that nothing is taken for decided that was decided elsewhere. */
void handover_epochs(struct ferrite_engine *engine)
{
	if (engine->handover.inherits)
		engine->routes.epoch = engine->handover.ledger->route_epoch;
}

void handover_free(struct ferrite_engine *engine)
{
	struct table_region *region = &engine->handover.region;
	if (region->base != NULL)
		(void)munmap(region->base, region->bytes);
	if (region->descriptor >= 0)
		close(region->descriptor);
	*region = (struct table_region){.descriptor = -1};
	engine->handover.ledger = NULL;
}

int handover_take(struct ferrite_engine *engine, const char *kind, const char *name)
{
	struct ferrite_inheritance *from = engine->handover.inheritance;
	char device[FERRITE_DEVICE_TEXT];
	if (from == NULL || snprintf(device, sizeof device, "%s:%s", kind, name) >= (int)sizeof device)
		return -1;
	for (unsigned i = 0; i < from->device_count; i++) {
		int descriptor = from->devices[i].descriptor;
		if (descriptor < 0 || strcmp(from->devices[i].device, device) != 0)
			continue;
		from->devices[i].descriptor = -1;
		return descriptor;
	}
	return -1;
}

int ferrite_engine_begin(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	return worker_start(engine, error);
}

uint64_t ferrite_handover_change(const struct ferrite_engine *engine)
{
	return mix((uint64_t)engine->ports_version << 32 | engine->epoch, engine->routes.epoch);
}

int ferrite_handover_tables(const struct ferrite_engine *engine)
{
	return engine->handover.ledger != NULL ? engine->handover.region.descriptor : -1;
}

uint64_t ferrite_handover_layout(const struct ferrite_engine *engine)
{
	return engine->handover.ledger != NULL ? engine->handover.ledger->layout : 0;
}

bool ferrite_handover_inherits(const struct ferrite_engine *engine)
{
	return engine->handover.inherits;
}

/* "vtap", "eth"; NULL: it has no descriptor that another process could use. */
static const char *kind_of(const struct port *port)
{
	return port->ops->handed;
}

static unsigned add_device(const struct port *port, struct ferrite_handed *devices, unsigned count, unsigned limit)
{
	if (kind_of(port) == NULL || port->fd < 0 || count == limit)
		return count;
	if (snprintf(devices[count].device, FERRITE_DEVICE_TEXT, "%s:%s", kind_of(port), port->device) >= FERRITE_DEVICE_TEXT)
		return count;
	devices[count].descriptor = port->fd;
	return count + 1;
}

unsigned ferrite_handover_devices(const struct ferrite_engine *engine, struct ferrite_handed *devices, unsigned limit)
{
	unsigned count = 0;
	for (unsigned i = 0; i < engine->uplinks.count; i++)
		count = add_device(engine->uplinks.ports[i], devices, count, limit);
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++)
		if (engine->ports[i] != NULL)
			count = add_device(engine->ports[i], devices, count, limit);
	return count;
}

const char *ferrite_handover_obstacle(const struct ferrite_engine *engine)
{
	for (unsigned i = 0; i < engine->uplinks.count; i++)
		if (engine->uplinks.ports[i]->ops->stays)
			return engine->uplinks.ports[i]->device;
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++)
		if (engine->ports[i] != NULL && engine->ports[i]->ops->stays)
			return engine->ports[i]->device;
	return NULL;
}

/* The ledger. */

static void save_interface(struct ferrite_engine *engine, uint32_t index, struct ledger_interface *to)
{
	const struct interface *interface = &engine->interfaces[index];
	memcpy(to->base, &interface->base, sizeof interface->base);
	memcpy(to->port, &interface->port->counters, sizeof interface->port->counters);
	memcpy(to->counters, &engine->interface_counters[index], sizeof(struct counters));
	to->errors_next_ms = interface->errors_next_ms;
	memcpy(to->frame_mac, interface->frame, 6);
	memcpy(to->guest_mac, interface->port->guest_mac, 6);
	to->guest_known = interface->guest_known;
}

static void save(struct ferrite_engine *engine, struct ledger *ledger)
{
	const struct flow_table *flows = &engine->flows;
	const struct nat_table *nats = engine->nats;
	ledger->counter_names = counter_names();
	ledger->flow_count = flows->count;
	ledger->inserted = flows->inserted;
	ledger->evicted = flows->evicted;
	ledger->refused = flows->refused;
	ledger->expired = flows->expired;
	ledger->owners_used = flows->owners_used;
	ledger->sweep_at = flows->sweep_at;
	ledger->nat_count = nats->count;
	ledger->nat_free_first = nats->free_first;
	ledger->nat_used_high = nats->used_high;
	ledger->nat_bitmap_free = nats->bitmap_free;
	ledger->nat_bitmap_high = nats->bitmap_high;
	memcpy(ledger->nat_used, nats->used, sizeof ledger->nat_used);
	memcpy(ledger->counters, &engine->counters, sizeof engine->counters);
	for (unsigned i = 0; i < engine->uplinks.count; i++) {
		struct port *port = engine->uplinks.ports[i];
		memcpy(ledger->uplinks[i], &port->counters, sizeof port->counters);
		ledger->neighbours[i].count = 0;
		if (port->ops->underlay != NULL)
			underlay_save(port->ops->underlay(port), &ledger->neighbours[i]);
	}
	for (uint32_t i = 1; i < FERRITE_MAX_INTERFACES; i++) {
		ledger->used[i] = engine->interfaces[i].port != NULL;
		if (ledger->used[i])
			save_interface(engine, i, &ledger->interfaces[i]);
	}
	ledger->state = LEDGER_COMPLETE;
}

void handover_note(struct ferrite_engine *engine)
{
	struct ledger *ledger = engine->handover.ledger;
	if (ledger == NULL || !engine->has_worker)
		return; /* it is still the predecessor's */
	ledger->epoch = engine->epoch;
	ledger->route_epoch = engine->routes.epoch;
	ledger->nat_group_high = engine->nat_group_high;
	memcpy(ledger->nat_groups, engine->nat_groups, sizeof *ledger->nat_groups * (engine->nat_group_high + 1));
}

void ferrite_handover_note(struct ferrite_engine *engine)
{
	handover_note(engine);
}

void ferrite_handover_stop(struct ferrite_engine *engine)
{
	worker_stop(engine);
	pipeline_flush(engine);
	if (engine->handover.ledger != NULL)
		save(engine, engine->handover.ledger);
}

int ferrite_handover_resume(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	if (engine->has_worker)
		return 0;
	engine->stopping = false;
	if (engine->handover.ledger != NULL)
		engine->handover.ledger->state = 0;
	return worker_start(engine, error);
}

static void load_interface(struct ferrite_engine *engine, uint32_t index, const struct ledger_interface *from, bool counters)
{
	struct interface *interface = &engine->interfaces[index];
	memcpy(&interface->port->counters, from->port, sizeof interface->port->counters);
	memcpy(&interface->base, from->base, sizeof interface->base);
	if (counters)
		memcpy(&engine->interface_counters[index], from->counters, sizeof(struct counters));
	interface->errors_next_ms = from->errors_next_ms;
	memcpy(interface->frame, from->frame_mac, 6);
	memcpy(interface->port->guest_mac, from->guest_mac, 6);
	interface->guest_known = from->guest_known;
}

static void load(struct ferrite_engine *engine, const struct ledger *ledger)
{
	struct flow_table *flows = &engine->flows;
	struct nat_table *nats = engine->nats;
	bool counters = ledger->counter_names == counter_names();
	flows->count = ledger->flow_count;
	flows->inserted = ledger->inserted;
	flows->evicted = ledger->evicted;
	flows->refused = ledger->refused;
	flows->expired = ledger->expired;
	flows->owners_used = ledger->owners_used;
	flows->sweep_at = ledger->sweep_at;
	nats->count = ledger->nat_count;
	nats->free_first = ledger->nat_free_first;
	nats->used_high = ledger->nat_used_high;
	nats->bitmap_free = ledger->nat_bitmap_free;
	nats->bitmap_high = ledger->nat_bitmap_high;
	memcpy(nats->used, ledger->nat_used, sizeof ledger->nat_used);
	if (counters)
		memcpy(&engine->counters, ledger->counters, sizeof engine->counters);
	for (unsigned i = 0; i < engine->uplinks.count; i++) {
		struct port *port = engine->uplinks.ports[i];
		memcpy(&port->counters, ledger->uplinks[i], sizeof port->counters);
		if (port->ops->underlay != NULL)
			underlay_load(port->ops->underlay(port), &ledger->neighbours[i]);
	}
	for (uint32_t i = 1; i < FERRITE_MAX_INTERFACES; i++)
		if (engine->interfaces[i].port != NULL && ledger->used[i])
			load_interface(engine, i, &ledger->interfaces[i], counters);
}

/* After a crash: what may have been written by halves is told by its keys, and dropped with all that hangs on it. */

static bool has_interface(const struct ferrite_engine *engine, uint32_t index)
{
	return index > 0 && index < FERRITE_MAX_INTERFACES && engine->interfaces[index].port != NULL;
}

static bool is_whole(const struct ferrite_engine *engine, uint32_t index)
{
	const struct flow_table *flows = &engine->flows;
	const struct flow_entry *entry = &flows->entries[index];
	unsigned kind = flow_kind(entry->context);
	uint32_t of = flow_index(entry->context), capacity = (flows->mask + 1) * 8;
	uint64_t hash = flow_wide(entry->context) ?
		flow_hash6(flows->seed, entry->context, entry->ports, entry->addresses) :
		flow_hash4(flows->seed, entry->context, entry->ports, entry->addresses);
	if (flows->buckets[index / 8].tags[index % 8] != flow_tag(hash) ||
	    (index / 8 != flow_primary(flows, hash) && index / 8 != flow_secondary(flows, hash)))
		return false;
	if (kind <= FLOW_FROM_INTERFACE ? !has_interface(engine, of) : kind == FLOW_FROM_NAT ? of >= NAT_GROUPS :
	    kind == FLOW_FROM_SERVICE ? of >= engine->service_count : of >= FERRITE_MAX_ENDPOINTS)
		return false;
	if (entry->action == FLOW_DELIVER ? !has_interface(engine, raw32(entry->target)) : entry->action > FLOW_NEAR)
		return false;
	/* A route's number is only believed once it was looked up anew, but it must be one. */
	if (entry->action == FLOW_ROUTE && raw32(entry->target) > engine->routes.capacity + ROUTE_SPARE)
		return false;
	if ((entry->bits & FLOW_BALANCED) != 0 && (entry->balancer == 0 || engine->balancers[entry->balancer] == NULL))
		return false;
	if (entry->state >= FLOW_STATES || entry->translate > FLOW_SERVED || entry->source > ENDPOINT_PLACES)
		return false;
	if ((entry->bits & FLOW_REPLY) != 0)
		return entry->peer < capacity;
	return (entry->peer == FLOW_NONE || entry->peer < capacity) && entry->owner < OWNERS &&
		(entry->owner >= OWNER_BALANCER || has_interface(engine, entry->owner));
}

/* Both directions say the same of each other. */
static bool is_paired(const struct flow_table *flows, uint32_t index)
{
	const struct flow_entry *entry = &flows->entries[index];
	if (entry->peer == FLOW_NONE)
		return (entry->bits & FLOW_REPLY) == 0;
	const struct flow_entry *peer = &flows->entries[entry->peer];
	return entry->peer != index && flows->buckets[entry->peer / 8].tags[entry->peer % 8] != 0 && peer->peer == index &&
		((entry->bits ^ peer->bits) & FLOW_REPLY) != 0;
}

/* Calls for each entry that there is; false from `keep`: it goes. */
static uint64_t each_entry(struct ferrite_engine *engine, bool (*keep)(struct ferrite_engine *engine, uint32_t index))
{
	struct flow_table *flows = &engine->flows;
	uint64_t gone = 0;
	for (uint32_t at = 0; at <= flows->mask; at++) {
		struct flow_bucket *bucket = &flows->buckets[at];
		for (unsigned slot = 0; (raw64(bucket->tags) | raw64(bucket->tags + 4)) != 0 && slot < 8; slot++) {
			if (bucket->tags[slot] == 0 || keep(engine, at * 8 + slot))
				continue;
			bucket->tags[slot] = 0;
			gone++;
		}
	}
	return gone;
}

static bool keep_whole(struct ferrite_engine *engine, uint32_t index)
{
	return is_whole(engine, index);
}

static bool keep_paired(struct ferrite_engine *engine, uint32_t index)
{
	return is_paired(&engine->flows, index);
}

static bool count_original(struct ferrite_engine *engine, uint32_t index)
{
	struct flow_table *flows = &engine->flows;
	struct flow_entry *entry = &flows->entries[index];
	if ((entry->bits & FLOW_REPLY) != 0)
		return true;
	if (entry->mapping != 0 && !nat_rebuild_add(engine->nats, entry->mapping, entry->addresses, (uint16_t)entry->ports))
		return false;
	if (flows->owners[entry->owner]++ == 0)
		flows->owners_used++;
	flows->count++;
	return true;
}

static uint64_t rebuild(struct ferrite_engine *engine)
{
	struct flow_table *flows = &engine->flows;
	memset(flows->owners, 0, OWNERS * sizeof *flows->owners);
	uint64_t gone = each_entry(engine, keep_whole);
	gone += each_entry(engine, keep_paired);
	nat_rebuild_begin(engine->nats);
	gone += each_entry(engine, count_original);
	gone += each_entry(engine, keep_paired); /* replies of those whose mapping was not to be believed */
	nat_rebuild_end(engine->nats);
	return gone;
}

uint64_t ferrite_handover_adopt(struct ferrite_engine *engine, bool after_crash, uint64_t *refused)
{
	struct ledger *ledger = engine->handover.ledger;
	*refused = 0;
	if (engine->handover.inherits) {
		if (after_crash || ledger->state != LEDGER_COMPLETE)
			*refused = rebuild(engine);
		else
			load(engine, ledger);
		ledger->state = 0;
		engine->now_ms = engine->clock_ms();
		engine->flows.now = (uint32_t)engine->now_ms;
		engine->swept_ms = engine->now_ms;
	}
	engine->handover.inheritance = NULL;
	return engine->flows.count;
}

/* The wire. */

unsigned ferrite_handover_wire(const struct ferrite_engine *engine, struct ferrite_wire_peer *peers, unsigned limit)
{
	unsigned count = 0;
	for (unsigned i = 0; i < engine->uplinks.count; i++) {
		if (!wire_is(engine->uplinks.ports[i]))
			continue;
		unsigned more = wire_hand_over(engine->uplinks.ports[i], peers + count, limit - count);
		for (unsigned j = 0; j < more; j++)
			peers[count + j].uplink = (uint8_t)i;
		count += more;
	}
	return count;
}

int ferrite_handover_wire_take(struct ferrite_engine *engine, const struct ferrite_wire_peer *peer)
{
	if (peer->uplink < engine->uplinks.count && wire_is(engine->uplinks.ports[peer->uplink]))
		return wire_take_over(engine->uplinks.ports[peer->uplink], peer);
	for (unsigned i = 0; i < peer->count && i < FERRITE_WIRE_DESCRIPTORS; i++)
		close(peer->descriptors[i]);
	return -EINVAL;
}

int ferrite_handover_wire_listen(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	for (unsigned i = 0; i < engine->uplinks.count; i++) {
		int status = wire_is(engine->uplinks.ports[i]) ? wire_listen(engine->uplinks.ports[i], error) : 0;
		if (status < 0)
			return status;
	}
	return 0;
}

/* Identities. */

const ferrite_ipv6 *handover_underlay(const struct ferrite_engine *engine, const ferrite_ipv6 *preferred)
{
	return engine->handover.has_next ? &engine->handover.next.underlay : preferred;
}

int ferrite_identity_of(const struct ferrite_engine *engine, const ferrite_ipv6 *underlay, struct ferrite_identity *identity)
{
	uint32_t place = endpoint_find(&engine->endpoints, underlay->bytes);
	if (place == 0)
		return -ENOENT;
	const struct endpoint *endpoint = &engine->endpoints.places[place];
	bool owned = endpoint->kind == ENDPOINT_INTERFACE || endpoint->kind == ENDPOINT_BALANCER;
	*identity = (struct ferrite_identity){
		.place = place, .index = owned ? endpoint->owner : 0,
		.group = endpoint->kind == ENDPOINT_NAT ? endpoint->detail : 0, .underlay = *underlay,
	};
	return 0;
}

int ferrite_identity_next(struct ferrite_engine *engine, const struct ferrite_identity *identity)
{
	struct endpoint_table *endpoints = &engine->endpoints;
	engine->handover.has_next = false;
	endpoints->wanted = 0;
	if (identity->place == 0 || identity->place > ENDPOINT_PLACES || zero16(identity->underlay.bytes) ||
	    identity->index >= FERRITE_MAX_ENDPOINTS || identity->group >= NAT_GROUPS ||
	    zero16(endpoints->places[identity->place].underlay) == 0)
		return -EINVAL;
	engine->handover.next = *identity;
	engine->handover.has_next = true;
	endpoints->wanted = identity->place;
	return 0;
}

void ferrite_identity_done(struct ferrite_engine *engine)
{
	engine->handover.has_next = false;
	endpoint_settle(&engine->endpoints);
}
