/* A DPDK device from its name to a started port, and back. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>

#include "engine/state.h"
#include "port/pci.h"

enum { ARGUMENTS = 256 };

/* By DPDK's number. A pool stays: its buffers may be on their way through other ports when its own closes. */
static struct { bool used; struct rte_mempool *pool; } devices[RTE_MAX_ETHPORTS];

bool pci_arguments(const char *device, char *name, char *arguments, size_t limit)
{
	static const char mark[] = "_representor_";
	size_t length = strcspn(device, ",");
	const char *at = strstr(device, mark);
	if (length == 0 || length >= RTE_ETH_NAME_MAX_LEN)
		return false;
	memcpy(name, device, length);
	name[length] = 0;
	int written = at == NULL || at >= device + length ?
		snprintf(arguments, limit, "%s", device) :
		snprintf(arguments, limit, "%.*s,representor=%s", (int)(at - device), device, at + sizeof mark - 1);
	return written > 0 && (size_t)written < limit;
}

/* DPDK's number of the device. */
static int find(const char *device, uint16_t *id, char *error)
{
	char name[RTE_ETH_NAME_MAX_LEN], arguments[ARGUMENTS];
	if (!pci_arguments(device, name, arguments, sizeof arguments))
		return port_error(error, EINVAL, "pci: the name of %.64s is longer than %d", device, RTE_ETH_NAME_MAX_LEN - 1);
	if (rte_eth_dev_get_port_by_name(name, id) != 0) {
		if (rte_eth_dev_count_total() >= RTE_MAX_ETHPORTS)
			return port_error(error, ENOSPC, "pci: all %d places of this DPDK (RTE_MAX_ETHPORTS) are in use",
					  RTE_MAX_ETHPORTS);
		int status = rte_dev_probe(arguments);
		if (status < 0)
			return port_error(error, -status, "pci: DPDK finds no device %s: %s", name, strerror(-status));
		if (rte_eth_dev_get_port_by_name(name, id) != 0)
			return port_error(error, ENODEV, "pci: no driver made a network device of %s", name);
	}
	if (devices[*id].used)
		return port_error(error, EBUSY, "pci: %s is in use", name);
	return 0;
}

static int make_pool(struct pci *pci, char *error)
{
	char name[32];
	(void)snprintf(name, sizeof name, "ferrite-pci-%u", pci->id);
	if (devices[pci->id].pool == NULL)
		devices[pci->id].pool = environment_pool(name, 4 * PCI_DESCRIPTORS - 1);
	pci->pool = devices[pci->id].pool;
	return pci->pool != NULL ? 0 : port_error(error, ENOMEM, "pci: no memory for %s", name);
}

static int configure(struct pci *pci, const struct rte_eth_dev_info *about, uint32_t mtu, char *error)
{
	const uint64_t transmit = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
		RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
		RTE_ETH_TX_OFFLOAD_IPIP_TNL_TSO | RTE_ETH_TX_OFFLOAD_IP_TNL_TSO;
	struct rte_eth_conf wanted = {.rxmode.mtu = mtu, .txmode.offloads = about->tx_offload_capa & transmit};
	uint16_t receive = PCI_DESCRIPTORS, send = PCI_DESCRIPTORS;
	int socket = rte_eth_dev_socket_id(pci->id);
	/* A frame longer than a buffer comes in several, where the device can. */
	if (mtu + ETHERNET_LENGTH > SMALL_ROOM) {
		if ((about->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0)
			wanted.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
		else
			wanted.rxmode.mtu = SMALL_ROOM - ETHERNET_LENGTH;
	}
	/* The way in which DPDK itself counts what lies around an MTU. */
	uint32_t around = about->max_mtu != UINT16_MAX && about->max_rx_pktlen > about->max_mtu ?
		about->max_rx_pktlen - about->max_mtu : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t most = about->max_rx_pktlen > around ? about->max_rx_pktlen - around : 0;
	if (about->max_mtu != 0 && about->max_mtu < most)
		most = about->max_mtu;
	if (wanted.rxmode.mtu > most)
		wanted.rxmode.mtu = most;
	pci->capabilities = wanted.txmode.offloads;
	int status = rte_eth_dev_configure(pci->id, 1, 1, &wanted);
	if (status == 0)
		status = rte_eth_dev_adjust_nb_rx_tx_desc(pci->id, &receive, &send);
	if (status == 0)
		status = rte_eth_rx_queue_setup(pci->id, 0, receive, (unsigned)socket, NULL, pci->pool);
	if (status == 0)
		status = rte_eth_tx_queue_setup(pci->id, 0, send, (unsigned)socket, NULL);
	if (status < 0)
		return port_error(error, -status, "pci: %s refuses its queues: %s", pci->port.device, strerror(-status));
	/* Some drivers have an MTU of their own and cannot change it. */
	uint16_t now = (uint16_t)wanted.rxmode.mtu;
	(void)rte_eth_dev_set_mtu(pci->id, now);
	if (rte_eth_dev_get_mtu(pci->id, &now) == 0 && now < wanted.rxmode.mtu)
		wanted.rxmode.mtu = now;
	pci->port.mtu = wanted.rxmode.mtu;
	return pci->port.mtu >= 1280 ? 0 : port_error(error, EINVAL, "pci: the MTU of %s is below 1280", pci->port.device);
}

static int start(struct pci *pci, const uint8_t *mac, bool promiscuous, char *error)
{
	struct rte_ether_addr own;
	int status = rte_eth_dev_start(pci->id);
	if (status < 0)
		return port_error(error, -status, "pci: %s does not start: %s", pci->port.device, strerror(-status));
	if (mac != NULL) {
		memcpy(&own, mac, sizeof own);
		(void)rte_eth_dev_default_mac_addr_set(pci->id, &own);
	}
	/* What a driver does not have it does not need. */
	if (promiscuous)
		(void)rte_eth_promiscuous_enable(pci->id);
	else
		(void)rte_eth_allmulticast_enable(pci->id);
	pci->port.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return pci->port.fd >= 0 ? 0 : port_error(error, errno, "pci: no timer: %s", strerror(errno));
}

int pci_start(struct pci *pci, const char *device, const uint8_t *mac, uint32_t frame_mtu, bool promiscuous, char *error)
{
	struct rte_eth_dev_info about;
	(void)snprintf(pci->port.device, sizeof pci->port.device, "%.*s", (int)strcspn(device, ","), device);
	pci->port.fd = -1;
	int status = find(device, &pci->id, error);
	if (status < 0)
		return status;
	devices[pci->id].used = true;
	status = rte_eth_dev_info_get(pci->id, &about);
	if (status < 0)
		status = port_error(error, -status, "pci: %s says nothing of itself", pci->port.device);
	if (status == 0)
		status = make_pool(pci, error);
	if (status == 0 && (status = environment_map(about.device)) < 0)
		status = port_error(error, -status, "pci: %s cannot reach the packet buffers: %s", pci->port.device,
				    strerror(-status));
	if (status == 0)
		status = configure(pci, &about, frame_mtu, error);
	if (status == 0)
		status = start(pci, mac, promiscuous, error);
	if (status < 0) {
		pci_stop(pci);
		return status;
	}
	pci->kernel_device = about.if_index;
	return 0;
}

void pci_stop(struct pci *pci)
{
	struct rte_eth_dev_info about;
	bool known = rte_eth_dev_info_get(pci->id, &about) == 0;
	rte_pktmbuf_free_bulk(pci->queue, pci->queued);
	pci->queued = 0;
	(void)rte_eth_dev_stop(pci->id);
	(void)rte_eth_dev_close(pci->id);
	/* Functions and representors share one PCI device, which stays; a virtual one is unplugged. */
	if (known && about.device != NULL && strcmp(rte_bus_name(rte_dev_bus(about.device)), "vdev") == 0)
		(void)rte_dev_remove(about.device);
	if (pci->port.fd >= 0)
		close(pci->port.fd);
	pci->port.fd = -1;
	devices[pci->id].used = false;
}

bool pci_link(struct port *port)
{
	const struct pci *pci = (const struct pci *)port;
	struct rte_eth_link link = {0};
	struct ifreq request = {0};
	if (rte_eth_link_get_nowait(pci->id, &link) == 0 && link.link_status == RTE_ETH_LINK_DOWN)
		return false;
	/* Drivers on top of a network device do not all look at its carrier. */
	if (pci->kernel_device == 0 || if_indextoname(pci->kernel_device, request.ifr_name) == NULL)
		return pci->kernel_device == 0;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 &&
		(request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	if (fd >= 0)
		close(fd);
	return up;
}
