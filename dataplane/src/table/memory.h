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

#endif
