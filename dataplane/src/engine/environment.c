/* DPDK's environment and the packet pools of this process.
 *
 * No hugepages, no shared configuration, no PCI: several engines live on one machine, each with a file prefix of its
 * own. `FERRITE_EAL` in the environment replaces the memory arguments (as "--in-memory -m 1024" where hugepages are).
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "engine/state.h"

static int make_pools(char *error)
{
	buffers.small = rte_pktmbuf_pool_create("ferrite-small", SMALL_COUNT, 256, sizeof(struct packet),
						SMALL_ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	buffers.big = rte_pktmbuf_pool_create("ferrite-big", BIG_COUNT, 32, sizeof(struct packet), UINT16_MAX,
					      SOCKET_ID_ANY);
	if (buffers.small == NULL || buffers.big == NULL)
		return port_error(error, ENOMEM, "packet pools: %s", rte_strerror(rte_errno));
	return 0;
}

int environment_start(char *error)
{
	static bool started;
	if (started)
		return 0;
	char prefix[64], line[512], *arguments[32];
	const char *memory = getenv("FERRITE_EAL");
	(void)snprintf(prefix, sizeof prefix, "ferrite-%d", (int)getpid());
	(void)snprintf(line, sizeof line,
		       "ferrite --file-prefix %s --lcores 0@0 --no-pci --no-telemetry --log-level=*:error %s", prefix,
		       memory != NULL ? memory : "--no-huge --no-shconf -m 160");
	int count = 0;
	for (char *save, *word = strtok_r(line, " ", &save); word != NULL && count < 31;
	     word = strtok_r(NULL, " ", &save))
		arguments[count++] = strdup(word); /* EAL keeps pointers into them: they live as long as it */
	arguments[count] = NULL;

	/* EAL pins the calling thread, and what it starts later would inherit that. */
	cpu_set_t affinity;
	bool saved = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
	unsigned first = 0;
	while (saved && first < CPU_SETSIZE && !CPU_ISSET(first, &affinity))
		first++;
	for (int i = 0; saved && i < count; i++)
		if (strcmp(arguments[i], "0@0") == 0) {
			free(arguments[i]);
			if (asprintf(&arguments[i], "0@%u", first) < 0)
				return port_error(error, ENOMEM, "no memory");
		}
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
