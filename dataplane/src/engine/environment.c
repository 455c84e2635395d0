/* DPDK's environment and the packet pools of this process.
 *
 * No hugepages and no shared configuration: several engines live on one machine, each with a file prefix of its own.
 * `FERRITE_EAL` in the environment replaces the memory arguments (as "--in-memory -m 1024" where hugepages are). Of the
 * PCI bus nothing is probed by itself: the allow list names a device that cannot be, and ports probe what they are told.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_memory.h>
#include <rte_mbuf_pool_ops.h>

#include "engine/state.h"
#include "table/memory.h"

/* Memory that devices may have to reach; one per pool. */
static struct { void *at; size_t bytes; bool registered; } memories[2 + RTE_MAX_ETHPORTS];
static unsigned memory_count;

/* A pool on memory of our own: transparent huge pages where they help, and no page touched before it is used where
 * they don't. DPDK's own --no-huge memory is shared memory of small pages, which costs up to half of the speed. */
static struct rte_mempool *make_pool(const char *name, unsigned count, unsigned cache, uint16_t room, int huge)
{
	struct rte_pktmbuf_pool_private about = {
		.mbuf_data_room_size = room, .mbuf_priv_size = sizeof(struct packet),
	};
	unsigned size = (unsigned)(sizeof(struct rte_mbuf) + sizeof(struct packet) + room);
	struct rte_mempool *pool = rte_mempool_create_empty(name, count, size, cache, sizeof about, SOCKET_ID_ANY,
							    RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (pool == NULL || rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0)
		return NULL;
	rte_pktmbuf_pool_init(pool, &about);
	size_t bytes = (size_t)(pool->header_size + pool->elt_size + pool->trailer_size) * count + 4096;
	void *memory = table_memory(bytes, huge);
	if (memory == NULL || rte_mempool_populate_virt(pool, memory, bytes, (size_t)getpagesize(), NULL, NULL) < 0)
		return NULL;
	(void)rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	if (memory_count < sizeof memories / sizeof *memories) {
		memories[memory_count].at = memory;
		memories[memory_count++].bytes = (bytes + 4095) & ~(size_t)4095;
	}
	return pool;
}

struct rte_mempool *environment_pool(const char *name, unsigned count)
{
	return make_pool(name, count, 256, SMALL_ROOM + RTE_PKTMBUF_HEADROOM, 1);
}

int environment_map(struct rte_device *device)
{
	for (unsigned i = 0; i < memory_count; i++) {
		uint64_t address = (uintptr_t)memories[i].at;
		if (!memories[i].registered)
			memories[i].registered = rte_extmem_register(memories[i].at, memories[i].bytes, NULL, 0, 4096) == 0;
		if (rte_dev_dma_map(device, memories[i].at, address, memories[i].bytes) < 0 && rte_errno != ENOTSUP &&
		    rte_errno != EEXIST)
			return -rte_errno;
	}
	return 0;
}

static int make_pools(char *error)
{
	buffers.small = make_pool("ferrite-small", SMALL_COUNT, 256, SMALL_ROOM + RTE_PKTMBUF_HEADROOM, 1);
	buffers.big = make_pool("ferrite-big", BIG_COUNT, 32, UINT16_MAX, 0);
	if (buffers.small == NULL || buffers.big == NULL)
		return port_error(error, ENOMEM, "packet pools: %s", rte_strerror(rte_errno));
	return 0;
}

int environment_start(char *error)
{
	static bool started;
	static char line[512], *arguments[32]; /* EAL keeps pointers into them */
	if (started)
		return 0;
	/* EAL pins the calling thread, and what it starts later would inherit that. */
	cpu_set_t affinity;
	bool saved = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
	unsigned first = 0;
	while (saved && first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &affinity))
		first++;
	const char *memory = getenv("FERRITE_EAL");
	(void)snprintf(line, sizeof line,
		       "ferrite --file-prefix ferrite-%d --lcores 0@%u -a ffff:ff:1f.7 --iova-mode=va --no-telemetry --log-level=*:error %s",
		       (int)getpid(), first, memory != NULL ? memory : "--no-huge --no-shconf -m 96");
	int count = 0;
	for (char *save, *word = strtok_r(line, " ", &save); word != NULL && count < 31;
	     word = strtok_r(NULL, " ", &save))
		arguments[count++] = word;
	int status = rte_eal_init(count, arguments);
	if (saved)
		(void)sched_setaffinity(0, sizeof affinity, &affinity);
	if (status < 0)
		return port_error(error, rte_errno, "DPDK's environment did not start: %s", rte_strerror(rte_errno));
	/* Without shared configuration it stays empty: gone at once, it is not left behind by a kill either. */
	(void)rmdir(rte_eal_get_runtime_dir());
	status = make_pools(error);
	if (status < 0)
		return status;
	started = true;
	return 0;
}
