#include "table/route.h"

#include <errno.h>
#include <stdlib.h>

#include "table/memory.h"

static size_t entries_bytes(const struct route_table *table)
{
	return ((size_t)table->capacity + ROUTE_SPARE + 1) * sizeof(struct route_entry);
}

int route_table_init(struct route_table *table, struct rte_rcu_qsbr *rcu, uint64_t seed, uint32_t capacity)
{
	memset(table, 0, sizeof *table);
	table->rcu = rcu;
	table->seed = seed;
	table->capacity = capacity;
	table->buckets = table_memory(ROUTE_BUCKETS * sizeof(struct route_bucket), 0);
	table->entries = table_memory(entries_bytes(table), 0);
	table->pages = calloc(VNI_LIMIT >> VNI_PAGE_BITS, sizeof *table->pages);
	if (table->buckets == NULL || table->entries == NULL || table->pages == NULL) {
		route_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

static void hops_free(struct route_entry *entry)
{
	struct route_hops *hops = route_hops_of(entry);
	if (hops == NULL)
		return;
	balancer_set_free(hops->set);
	free(hops);
	entry->several = 0;
}

static struct route_hops *hops_make(const struct ferrite_route *route)
{
	struct route_hops *hops = calloc(1, sizeof *hops + route->hop_count * sizeof hops->hops[0]);
	if (hops == NULL)
		return NULL;
	hops->count = route->hop_count;
	memcpy(hops->hops, route->hops, route->hop_count * sizeof hops->hops[0]);
	hops->set = balancer_hops_build(route->hops, route->hop_count);
	if (hops->set != NULL)
		return hops;
	free(hops);
	return NULL;
}

void route_table_free(struct route_table *table)
{
	for (uint32_t i = 1; table->entries != NULL && i <= table->used_high; i++)
		hops_free(&table->entries[i]);
	for (unsigned i = 0; table->pages != NULL && i < VNI_LIMIT >> VNI_PAGE_BITS; i++) {
		if (table->pages[i] == NULL)
			continue;
		for (unsigned j = 0; j < 1u << VNI_PAGE_BITS; j++)
			free(table->pages[i][j]);
		free(table->pages[i]);
	}
	free(table->pages);
	table_free(table->buckets, ROUTE_BUCKETS * sizeof(struct route_bucket), 0);
	table_free(table->entries, entries_bytes(table), 0);
	memset(table, 0, sizeof *table);
}

void vni_touch(struct route_table *table, struct vni *vni)
{
	table->epoch = table->epoch == UINT32_MAX ? 1 : table->epoch + 1;
	__atomic_store_n(&vni->epoch, table->epoch, __ATOMIC_RELEASE);
}

struct vni *vni_take(struct route_table *table, uint32_t number)
{
	struct vni *vni = vni_find(table, number);
	if (vni != NULL || number >= VNI_LIMIT)
		return vni;
	if (table->vnis >= FERRITE_MAX_VNIS)
		vni_sweep(table);
	if (table->vnis >= FERRITE_MAX_VNIS)
		return NULL;
	struct vni **page = table->pages[number >> VNI_PAGE_BITS];
	if (page == NULL) {
		page = calloc(1u << VNI_PAGE_BITS, sizeof *page);
		if (page == NULL)
			return NULL;
		__atomic_store_n(&table->pages[number >> VNI_PAGE_BITS], page, __ATOMIC_RELEASE);
	}
	vni = aligned_alloc(64, sizeof *vni);
	if (vni == NULL)
		return NULL;
	memset(vni, 0, sizeof *vni);
	vni->number = number;
	vni_touch(table, vni);
	table->vnis++;
	__atomic_store_n(&page[number & ((1u << VNI_PAGE_BITS) - 1)], vni, __ATOMIC_RELEASE);
	return vni;
}

void vni_sweep(struct route_table *table)
{
	struct vni *dead = NULL; /* list through the first member that readers no longer need */
	struct vni **list = calloc(table->vnis + 1, sizeof *list);
	unsigned count = 0;
	if (list == NULL)
		return;
	for (unsigned i = 0; i < VNI_LIMIT >> VNI_PAGE_BITS; i++) {
		for (unsigned j = 0; table->pages[i] != NULL && j < 1u << VNI_PAGE_BITS; j++) {
			dead = table->pages[i][j];
			if (dead == NULL || dead->routes > 0 || dead->interfaces > 0)
				continue;
			__atomic_store_n(&table->pages[i][j], NULL, __ATOMIC_RELEASE);
			list[count++] = dead;
		}
	}
	rte_rcu_qsbr_synchronize(table->rcu, RTE_QSBR_THRID_INVALID);
	for (unsigned i = 0; i < count; i++)
		free(list[i]);
	table->vnis -= count;
	free(list);
}

static bool key_words(const struct ferrite_route_key *key, uint64_t *high, uint64_t *low)
{
	if (key->vni == 0 || key->vni >= VNI_LIMIT || (key->family != 4 && key->family != 6) ||
	    key->length > (key->family == 4 ? 32 : 128))
		return false;
	uint8_t wide[16] = {0};
	memcpy(wide, key->prefix, key->family == 4 ? 4 : 16);
	prefix_mask(wide, key->length, high, low);
	return true;
}

const struct route_entry *route_find(const struct route_table *table, const struct ferrite_route_key *key)
{
	uint64_t high, low;
	if (!key_words(key, &high, &low))
		return NULL;
	return route_exact(table, key->vni, key->family, key->length, high, low);
}

static uint64_t hash_of(const struct route_table *table, const struct route_entry *entry)
{
	return route_hash(table, entry->vni, entry->family, entry->length, raw64(entry->prefix), raw64(entry->prefix + 8));
}

static unsigned bucket_free(const struct route_bucket *bucket)
{
	unsigned count = 0;
	for (unsigned i = 0; i < 8; i++)
		count += bucket->places[i] == 0;
	return count;
}

/* Where the entry with this hash is, or with `index` 0 a free place: in the emptier of the key's two buckets, which
 * keeps both from filling up long before the table is full. */
static uint32_t *place_of(const struct route_table *table, uint64_t hash, uint32_t index)
{
	struct route_bucket *choices[2] = {
		&table->buckets[(uint32_t)hash & (ROUTE_BUCKETS - 1)],
		&table->buckets[(uint32_t)(hash >> 24) & (ROUTE_BUCKETS - 1)],
	};
	unsigned first = index == 0 && bucket_free(choices[1]) > bucket_free(choices[0]);
	for (unsigned choice = 0; choice < 2; choice++) {
		struct route_bucket *bucket = choices[first ^ choice];
		for (unsigned i = 0; i < 8; i++)
			if ((bucket->places[i] & ROUTE_INDEX) == index)
				return &bucket->places[i];
	}
	return NULL;
}

static void limbo_reclaim(struct route_table *table, bool wait)
{
	while (table->limbo_tail != table->limbo_head) {
		unsigned at = table->limbo_tail % ROUTE_LIMBO;
		if (rte_rcu_qsbr_check(table->rcu, table->limbo[at].token, wait) != 1)
			return;
		uint32_t index = table->limbo[at].entry;
		hops_free(&table->entries[index]);
		table->entries[index].next = table->free_first;
		table->free_first = index;
		table->limbo_tail++;
		wait = false;
	}
}

static uint32_t entry_take(struct route_table *table)
{
	limbo_reclaim(table, table->free_first == 0 && table->used_high >= table->capacity + ROUTE_SPARE);
	uint32_t index = table->free_first;
	if (index != 0)
		table->free_first = table->entries[index].next;
	else if (table->used_high < table->capacity + ROUTE_SPARE)
		index = ++table->used_high;
	return index;
}

static void entry_retire(struct route_table *table, uint32_t index)
{
	if (table->limbo_head - table->limbo_tail == ROUTE_LIMBO)
		limbo_reclaim(table, true);
	table->limbo[table->limbo_head % ROUTE_LIMBO].entry = index;
	table->limbo[table->limbo_head % ROUTE_LIMBO].token = rte_rcu_qsbr_start(table->rcu);
	table->limbo_head++;
}

static void list_add(struct route_table *table, struct vni *vni, uint32_t index)
{
	struct route_entry *entry = &table->entries[index];
	entry->previous = 0;
	entry->next = vni->first;
	if (vni->first != 0)
		table->entries[vni->first].previous = index;
	vni->first = index;
}

static void list_drop(struct route_table *table, struct vni *vni, uint32_t index)
{
	struct route_entry *entry = &table->entries[index];
	if (entry->previous != 0)
		table->entries[entry->previous].next = entry->next;
	else
		vni->first = entry->next;
	if (entry->next != 0)
		table->entries[entry->next].previous = entry->previous;
}

static void count_length(struct vni *vni, uint8_t family, uint8_t length, int change)
{
	uint32_t *count = family == 4 ? &vni->counts4[length] : &vni->counts6[length];
	uint64_t *bits = family == 4 ? &vni->lengths4 : &vni->lengths6[length / 64];
	uint64_t bit = 1ULL << (length % 64);
	*count += (uint32_t)change;
	vni->routes += (uint32_t)change;
	__atomic_store_n(bits, *count > 0 ? *bits | bit : *bits & ~bit, __ATOMIC_RELEASE);
}

int route_put(struct route_table *table, const struct ferrite_route *route, bool replace)
{
	const struct ferrite_route_key *key = &route->key;
	uint64_t high, low;
	if (!key_words(key, &high, &low))
		return -EINVAL;
	const struct route_entry *old = route_exact(table, key->vni, key->family, key->length, high, low);
	if (old != NULL && (old->local || !replace))
		return -EEXIST;
	if (old == NULL && table->count >= table->capacity)
		return -ENOSPC;
	bool several = route->hop_count > 1;
	if (several && (route->hops == NULL || route->hop_count > FERRITE_MAX_HOPS))
		return -EINVAL;
	if (old != NULL && !several && !old->several && !route->local && old->next_hop_vni == (route->next_hop_vni & (VNI_LIMIT - 1)) &&
	    raw64(old->next_hop) != table->own && raw64(route->next_hop.bytes) != table->own) {
		route_hop_set(&table->entries[old - table->entries], route->next_hop.bytes);
		return 0;
	}
	struct vni *vni = vni_take(table, key->vni);
	uint32_t index = vni == NULL ? 0 : entry_take(table);
	if (index == 0)
		return -ENOSPC;
	struct route_entry *entry = &table->entries[index];
	*entry = (struct route_entry){.vni = key->vni & (VNI_LIMIT - 1), .length = key->length};
	if (route->local)
		entry->interface = route->interface & (VNI_LIMIT - 1);
	else
		entry->next_hop_vni = route->next_hop_vni & (VNI_LIMIT - 1);
	entry->family = key->family == 4 ? 4 : 6;
	entry->local = route->local;
	memcpy(entry->prefix, &high, 8);
	memcpy(entry->prefix + 8, &low, 8);
	memcpy(entry->next_hop, route->next_hop.bytes, 16);
	struct route_hops *hops = several ? hops_make(route) : NULL;
	if (several && hops == NULL) {
		entry->next = table->free_first;
		table->free_first = index;
		return -ENOMEM;
	}
	if (several) {
		entry->several = 1;
		memcpy(entry->next_hop, &hops, sizeof hops);
	}
	uint32_t old_index = old == NULL ? 0 : (uint32_t)(old - table->entries);
	uint64_t hash = hash_of(table, entry);
	uint32_t *place = place_of(table, hash, old_index);
	if (place == NULL) {
		hops_free(entry);
		entry->next = table->free_first;
		table->free_first = index;
		return -ENOSPC;
	}
	list_add(table, vni, index);
	__atomic_store_n(place, route_tag(hash) | index, __ATOMIC_RELEASE);
	if (old_index != 0) {
		list_drop(table, vni, old_index);
		entry_retire(table, old_index);
	} else {
		table->count++;
		count_length(vni, key->family, key->length, 1);
	}
	vni_touch(table, vni);
	return 0;
}

static void remove_entry(struct route_table *table, struct vni *vni, uint32_t index)
{
	struct route_entry *entry = &table->entries[index];
	uint32_t *place = place_of(table, hash_of(table, entry), index);
	if (place != NULL)
		__atomic_store_n(place, 0, __ATOMIC_RELEASE);
	list_drop(table, vni, index);
	count_length(vni, entry->family, entry->length, -1);
	table->count--;
	entry_retire(table, index);
}

int route_remove(struct route_table *table, const struct ferrite_route_key *key, bool local)
{
	const struct route_entry *entry = route_find(table, key);
	if (entry == NULL)
		return -ENOENT;
	if ((entry->local != 0) != local)
		return -EPERM;
	struct vni *vni = vni_find(table, key->vni);
	remove_entry(table, vni, (uint32_t)(entry - table->entries));
	vni_touch(table, vni);
	return 0;
}

unsigned route_clear(struct route_table *table, uint32_t number)
{
	struct vni *vni = vni_find(table, number);
	unsigned removed = 0;
	if (vni == NULL)
		return 0;
	for (uint32_t index = vni->first, next; index != 0; index = next) {
		next = table->entries[index].next;
		if (!table->entries[index].local) {
			remove_entry(table, vni, index);
			removed++;
		}
	}
	if (removed > 0)
		vni_touch(table, vni);
	return removed;
}

static int compare(const void *left, const void *right)
{
	const struct route_entry *a = *(const struct route_entry *const *)left;
	const struct route_entry *b = *(const struct route_entry *const *)right;
	if (a->vni != b->vni)
		return a->vni < b->vni ? -1 : 1;
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	int order = memcmp(a->prefix, b->prefix, 16);
	return order != 0 ? order : (int)a->length - (int)b->length;
}

void route_each(const struct route_table *table, uint32_t number,
		bool (*visit)(void *context, const struct ferrite_route *route), void *context)
{
	const struct vni *only = number == 0 ? NULL : vni_find(table, number);
	uint32_t limit = number == 0 ? table->count : only == NULL ? 0 : only->routes, count = 0;
	const struct route_entry **list = calloc(limit + 1, sizeof *list);
	if (list == NULL)
		return;
	if (only != NULL) {
		for (uint32_t index = only->first; index != 0 && count < limit; index = table->entries[index].next)
			list[count++] = &table->entries[index];
	} else if (number == 0) {
		for (unsigned i = 0; i < VNI_LIMIT >> VNI_PAGE_BITS; i++)
			for (unsigned j = 0; table->pages[i] != NULL && j < 1u << VNI_PAGE_BITS; j++)
				for (uint32_t at = table->pages[i][j] == NULL ? 0 : table->pages[i][j]->first;
				     at != 0 && count < limit; at = table->entries[at].next)
					list[count++] = &table->entries[at];
	}
	qsort(list, count, sizeof *list, compare);
	for (uint32_t i = 0; i < count; i++) {
		const struct route_entry *entry = list[i];
		struct ferrite_route route = {
			.key = {.vni = entry->vni, .family = entry->family, .length = entry->length},
			.local = entry->local != 0, .next_hop_vni = entry->local ? entry->vni : entry->next_hop_vni,
			.interface = entry->local ? entry->interface : 0,
		};
		memcpy(route.key.prefix, entry->prefix, 16);
		const struct route_hops *hops = route_hops_of(entry);
		if (hops != NULL) {
			route.next_hop = hops->hops[0].address;
			route.next_hop_vni = hops->hops[0].vni;
			route.hop_count = hops->count;
			route.hops = hops->hops;
		} else {
			memcpy(route.next_hop.bytes, entry->next_hop, 16);
		}
		if (!visit(context, &route))
			break;
	}
	free(list);
}
