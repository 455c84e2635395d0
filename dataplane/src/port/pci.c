/* A DPDK device as access port and as uplink: opening, receiving, sleeping. */
#include "port/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "engine/state.h"
#include "port/coalesce.h"

static void uplink_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	underlay_transmit(&((struct pci *)port)->underlay, burst, count);
}

static unsigned receive(struct pci *pci, struct rte_mbuf **burst, unsigned limit)
{
	unsigned count = rte_eth_rx_burst(pci->id, 0, burst, (uint16_t)limit);
	for (unsigned i = 0; i < count; i++) {
		packet_no_offload(packet_of(burst[i]));
		packet_of(burst[i])->ip_offset = ETHERNET_LENGTH;
		pci->port.counters.rx_bytes += burst[i]->pkt_len;
	}
	pci->port.counters.rx_packets += count;
	return count;
}

static unsigned access_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	unsigned got = receive((struct pci *)port, burst, limit), count = 0;
	for (unsigned i = 0; i < got; i++) {
		if (burst[i]->data_len >= ETHERNET_LENGTH && burst[i]->pkt_len <= PACKET_LIMIT) {
			burst[count++] = burst[i];
			continue;
		}
		port->counters.rx_errors++;
		rte_pktmbuf_free(burst[i]);
	}
	return count;
}

static unsigned uplink_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct pci *pci = (struct pci *)port;
	unsigned got = receive(pci, burst, limit), count = 0;
	for (unsigned i = 0; i < got; i++) {
		if (underlay_accept(&pci->underlay, burst[i], NULL))
			burst[count++] = burst[i];
		else
			rte_pktmbuf_free(burst[i]);
	}
	return count > 1 ? coalesce(burst, count) : count;
}

/* Nothing tells us that a frame came, so the sleep is a short one. */
static bool nap(struct port *port, bool asleep)
{
	struct itimerspec once = {.it_value.tv_nsec = asleep ? PCI_WAKE_US * 1000 : 0};
	(void)timerfd_settime(port->fd, 0, &once, NULL);
	return false;
}

static void awake(struct port *port)
{
	uint64_t times;
	(void)!read(port->fd, &times, sizeof times);
}

static void uplink_tick(struct port *port, uint64_t now_ms)
{
	underlay_tick(&((struct pci *)port)->underlay, now_ms);
}

static void pci_close(struct port *port)
{
	struct pci *pci = (struct pci *)port;
	if (port->uplink)
		underlay_free(&pci->underlay);
	pci_stop(pci);
	free(pci);
}

static void pci_counters(const struct port *port, void (*visit)(void *context, const char *name, uint64_t value),
			 void *context)
{
	const struct pci *pci = (const struct pci *)port;
	struct rte_eth_stats stats;
	if (rte_eth_stats_get(pci->id, &stats) == 0) {
		visit(context, "pci.missed", stats.imissed);
		visit(context, "pci.rx_errors", stats.ierrors);
		visit(context, "pci.tx_errors", stats.oerrors);
	}
	if (port->uplink) {
		visit(context, "pci.unresolved", pci->underlay.unresolved);
		visit(context, "pci.foreign", pci->underlay.foreign);
	}
}

static const struct port_ops access_ops = {
	.stays = true,
	.receive = access_receive, .transmit = pci_transmit, .event = awake, .sleep = nap, .link = pci_link,
	.close = pci_close,
};

static const struct port_ops uplink_ops = {
	.stays = true,
	.receive = uplink_receive, .transmit = uplink_transmit, .event = awake, .sleep = nap, .tick = uplink_tick,
	.link = pci_link, .close = pci_close, .counters = pci_counters,
};

static struct pci *make(struct ferrite_engine *engine, const struct port_ops *ops)
{
	struct pci *pci = calloc(1, sizeof *pci);
	if (pci != NULL) {
		pci->port.ops = ops;
		pci->port.engine = engine;
	}
	return pci;
}

int pci_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct pci *pci = make(engine, &access_ops);
	int status = pci == NULL ? -ENOMEM : pci_start(pci, rest, NULL, engine->mtu, true, error);
	if (status < 0) {
		free(pci);
		return status;
	}
	*port = &pci->port;
	return 0;
}

int pci_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	struct pci *pci = make(engine, &uplink_ops);
	struct rte_ether_addr own = {0};
	int status = pci == NULL ? -ENOMEM : pci_start(pci, spec->device, spec->has_mac ? spec->mac : NULL,
						       (uint32_t)engine->mtu + IPV6_LENGTH, false, error);
	if (status < 0) {
		free(pci);
		return status;
	}
	(void)rte_eth_macaddr_get(pci->id, &own);
	underlay_init(&pci->underlay, &pci->port, &pci_link_ops, spec, own.addr_bytes, (int)pci->kernel_device);
	pci->underlay.own_only = true;
	*port = &pci->port;
	return 0;
}
