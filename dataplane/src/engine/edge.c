/* Edges, as the control layer makes, changes and removes them.
 *
 * An edge keeps its VNI alive as an interface does. What is outside is changed by the worker between two bursts, for it
 * reads that without a lock. */
#include <errno.h>
#include <stdlib.h>

#include "stage/edge.h"
#include "table/memory.h"

static struct edge *edge_at(struct ferrite_engine *engine, uint32_t index)
{
	return index > 0 && index <= FERRITE_MAX_EDGES ? engine->edges[index] : NULL;
}

static uint32_t free_index(const struct ferrite_engine *engine)
{
	for (uint32_t i = 1; i <= FERRITE_MAX_EDGES; i++)
		if (engine->edges[i] == NULL)
			return i;
	return 0;
}

static bool is_whole(const struct ferrite_edge_config *config)
{
	return config->length4 <= 32 && config->length6 <= 128;
}

/* A gateway has its entry from the start: what it says of itself counts before anybody has asked. */
static void expect(struct edge *edge, uint8_t family, const uint8_t *address, const ferrite_mac *mac, uint64_t now_ms)
{
	static const ferrite_mac none;
	struct outside_neighbour *neighbour = outside_find(&edge->neighbours, family, address, now_ms);
	if (neighbour == NULL || memcmp(mac, &none, sizeof none) == 0 || !outside_learn(neighbour, mac->bytes, now_ms))
		return;
	neighbour->fixed = true;
	neighbour->next_ms = UINT64_MAX;
}

/* What is outside. Nobody waits for a neighbour. */
static void fill(struct ferrite_engine *engine, struct edge *edge, const struct ferrite_edge_config *config)
{
	static const uint8_t none[16];
	memset(&edge->neighbours, 0, sizeof edge->neighbours);
	memcpy(edge->self.mac, edge->port->mac, 6);
	memcpy(edge->self.ipv4, config->ipv4.bytes, 4);
	memcpy(edge->self.ipv6, config->ipv6.bytes, 16);
	memcpy(edge->gateway4, config->gateway4.bytes, 4);
	memcpy(edge->gateway6, config->gateway6.bytes, 16);
	edge->length4 = config->length4;
	edge->length6 = config->length6;
	edge->epoch = ++engine->epoch;
	if (memcmp(edge->gateway4, none, 4) != 0)
		expect(edge, 4, edge->gateway4, &config->gateway_mac, engine->now_ms);
	if (memcmp(edge->gateway6, none, 16) != 0)
		expect(edge, 6, edge->gateway6, &config->gateway_mac, engine->now_ms);
}

int ferrite_edge_add(struct ferrite_engine *engine, const struct ferrite_edge_config *config, uint32_t *result,
		     ferrite_ipv6 *underlay)
{
	struct port *port = config->port < FERRITE_MAX_PORTS ? engine->ports[config->port] : NULL;
	int status;
	if (port == NULL || config->vni == 0 || config->vni >= VNI_LIMIT || !is_whole(config))
		return -EINVAL;
	if (port->interface != NULL || port->edge != NULL)
		return -EBUSY;
	uint32_t index = free_index(engine);
	struct vni *vni = index != 0 ? vni_take(&engine->routes, config->vni) : NULL;
	if (vni == NULL)
		return -ENOSPC;
	if (engine->edge_cache == NULL)
		engine->edge_cache = table_memory(sizeof *engine->edge_cache * EDGE_CACHE, 0);
	struct edge *edge = calloc(1, sizeof *edge);
	if (edge == NULL || engine->edge_cache == NULL) {
		free(edge);
		return -ENOMEM;
	}
	uint32_t place = endpoint_take(&engine->endpoints, ENDPOINT_EDGE, 0,
				       handover_underlay(engine, &config->preferred_underlay), &status);
	engine->handover.has_next = false;
	if (place == 0) {
		free(edge);
		return status == -EEXIST ? -EADDRINUSE : status;
	}
	edge->index = index;
	edge->endpoint = place;
	edge->vni = vni;
	edge->port = port;
	vni->interfaces++;
	fill(engine, edge, config);
	engine->endpoints.places[place].owner = index;
	memcpy(edge->underlay, engine->endpoints.places[place].underlay, 16);
	memcpy(underlay->bytes, edge->underlay, 16);
	__atomic_store_n(&engine->edges[index], edge, __ATOMIC_RELEASE);
	endpoint_publish(&engine->endpoints, place, ENDPOINT_EDGE);
	__atomic_store_n(&port->edge, edge, __ATOMIC_RELEASE);
	*result = index;
	return 0;
}

struct change {
	struct edge *edge;
	const struct ferrite_edge_config *config;
};

static bool change(struct ferrite_engine *engine, void *argument)
{
	const struct change *change = argument;
	edge_forget(change->edge);
	fill(engine, change->edge, change->config);
	return true;
}

int ferrite_edge_update(struct ferrite_engine *engine, uint32_t index, const struct ferrite_edge_config *config)
{
	struct change wanted = {.edge = edge_at(engine, index), .config = config};
	if (wanted.edge == NULL)
		return -ENOENT;
	if (!is_whole(config))
		return -EINVAL;
	engine_run(engine, change, &wanted);
	return 0;
}

int ferrite_edge_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct edge *edge = edge_at(engine, index);
	if (edge == NULL)
		return -ENOENT;
	__atomic_store_n(&edge->port->edge, NULL, __ATOMIC_RELEASE);
	endpoint_withdraw(&engine->endpoints, edge->endpoint);
	__atomic_store_n(&engine->edges[index], NULL, __ATOMIC_RELEASE);
	vni_touch(&engine->routes, edge->vni); /* flows of VMs that left by it here */
	engine_quiesce(engine);
	rte_spinlock_lock(&engine->decide_lock);
	fragment_forget(&engine->fragments, EDGE_FRAGMENTS + index);
	rte_spinlock_unlock(&engine->decide_lock);
	endpoint_give(&engine->endpoints, edge->endpoint);
	edge->vni->interfaces--;
	edge_forget(edge);
	free(edge);
	return 0;
}

void edges_free(struct ferrite_engine *engine)
{
	for (uint32_t i = 1; i <= FERRITE_MAX_EDGES; i++) {
		if (engine->edges[i] == NULL)
			continue;
		edge_forget(engine->edges[i]);
		free(engine->edges[i]);
	}
	table_free(engine->edge_cache, sizeof(struct edge_cached) * EDGE_CACHE, 0);
}
