/* A DPDK device as port: what its files share.
 *
 * `pci:` names any device that DPDK's drivers know: a PCI address, a representor by the name that the driver gives it, or
 * a virtual one with its arguments. Of a packet's offloads the device does what it can (pci_offload.c), software the rest.
 *
 * Cardinality: at most RTE_MAX_ETHPORTS (32 in Debian's DPDK) in a process. One queue a direction, of the one worker.
 */
#ifndef FERRITE_PORT_PCI_H
#define FERRITE_PORT_PCI_H

#include <rte_ethdev.h>

#include "port/segment.h"
#include "port/underlay.h"

enum { PCI_DESCRIPTORS = 1024, PCI_QUEUE = 64, PCI_WAKE_US = 250 };

struct pci {
	struct port port;             /* `fd` is a timer: a device without interrupts is looked at again */
	uint16_t id;                  /* DPDK's number */
	uint32_t kernel_device;       /* index of its network device; 0: none */
	uint64_t capabilities;        /* RTE_ETH_TX_OFFLOAD_* that are in use */
	struct rte_mempool *pool;
	unsigned queued;
	struct rte_mbuf *queue[PCI_QUEUE];
	struct underlay underlay;     /* uplink */
	struct segment piece;         /* that is being filled */
	bool open;
	uint8_t next_mac[6];
};

/* pci_device.c: finds or probes, configures and starts. `frame_mtu`: longest IP packet on the link. */
int pci_start(struct pci *pci, const char *device, const uint8_t *mac, uint32_t frame_mtu, bool promiscuous, char *error);
void pci_stop(struct pci *pci);
bool pci_link(struct port *port);
/* "0000:03:00.0_representor_c0pf0vf0" is probed as "0000:03:00.0,representor=c0pf0vf0". `name` (RTE_ETH_NAME_MAX_LEN): of
 * the device, without arguments. False: too long. */
bool pci_arguments(const char *device, char *name, char *arguments, size_t limit);

/* pci_send.c: frames of an access port; and how the link layer of an uplink sends. */
void pci_transmit(struct port *port, struct rte_mbuf **burst, unsigned count);
extern const struct underlay_ops pci_link_ops;

/* pci_offload.c: marks on a frame what the device is to do. False: it cannot, software must. `capabilities`:
 * RTE_ETH_TX_OFFLOAD_*. */
bool pci_offload(struct rte_mbuf *frame, uint64_t capabilities);

#endif
