/* Memory of the tables: zeroed, lazily resident, outside of EAL's heap. */
#ifndef FERRITE_TABLE_MEMORY_H
#define FERRITE_TABLE_MEMORY_H

#include <stddef.h>
#include <sys/mman.h>

/* NULL when there is none. `huge`: worth transparent huge pages (dense, hot). */
static inline void *table_memory(size_t bytes, int huge)
{
	size_t rounded = (bytes + (2u << 20) - 1) & ~(((size_t)2 << 20) - 1);
	void *at = mmap(NULL, huge ? rounded : bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (huge)
		(void)madvise(at, rounded, MADV_HUGEPAGE);
	return at;
}

static inline void table_free(void *at, size_t bytes, int huge)
{
	size_t rounded = (bytes + (2u << 20) - 1) & ~(((size_t)2 << 20) - 1);
	if (at != NULL)
		(void)munmap(at, huge ? rounded : bytes);
}

/* Memory that a successor can map: one descriptor, given out from its beginning in an order that both sides keep. What is
 * in it must hold no pointers that anybody follows. */
struct table_region {
	unsigned char *base; /* NULL: there is none */
	size_t bytes, used;
	int descriptor;
};

static inline size_t table_region_size(size_t bytes)
{
	return (bytes + (2u << 20) - 1) & ~(((size_t)2 << 20) - 1);
}

/* NULL when it is used up. */
static inline void *table_region_take(struct table_region *region, size_t bytes)
{
	size_t rounded = table_region_size(bytes);
	if (rounded > region->bytes - region->used)
		return NULL;
	void *at = region->base + region->used;
	region->used += rounded;
	return at;
}

#endif
