/* A TAP as access port: a super-packet of the guest's kernel passes as one packet. */
#include "port/vtap.h"

#include "engine/state.h"

static unsigned vtap_receive(struct port *port, struct rte_mbuf **burst, unsigned limit)
{
	struct vtap *vtap = (struct vtap *)port;
	struct vnet_header vnet;
	struct rte_mbuf *buffer;
	unsigned count = 0;
	while (count < limit && (buffer = vtap_read(vtap, &vnet)) != NULL) {
		if (!offload_read(&packet_of(buffer)->offload, &vnet, ETHERNET_LENGTH, buffer->pkt_len)) {
			port->counters.rx_errors++;
			rte_pktmbuf_free(buffer);
			continue;
		}
		port->counters.rx_bytes += buffer->pkt_len;
		burst[count++] = buffer;
	}
	port->counters.rx_packets += count;
	return count;
}

static void vtap_transmit(struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct vtap *vtap = (struct vtap *)port;
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *buffer = burst[i];
		struct vnet_header vnet;
		struct iovec parts[PORT_PARTS + 1] = {{&vnet, VNET_LENGTH}};
		int used = 1;
		offload_write(&packet_of(buffer)->offload, &vnet, packet_of(buffer)->ip_offset);
		for (struct rte_mbuf *at = buffer; at != NULL && used <= PORT_PARTS; at = at->next)
			parts[used++] = (struct iovec){packet_data(at), at->data_len};
		if (buffer->nb_segs > PORT_PARTS)
			port->counters.tx_drops++;
		else
			(void)vtap_write(vtap, parts, used, buffer->pkt_len);
	}
	rte_pktmbuf_free_bulk(burst, count);
}

static const struct port_ops vtap_ops = {
	.receive = vtap_receive, .transmit = vtap_transmit, .tick = vtap_tick, .link = vtap_link, .close = vtap_close,
	.handed = "vtap",
};

int vtap_open(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	struct vtap *vtap;
	int status = vtap_make(engine, rest, sizeof *vtap, &vtap_ops, engine->mtu, &vtap, error);
	if (status < 0)
		return status;
	vtap->port.caps = PORT_GSO | PORT_CHECKSUM;
	*port = &vtap->port;
	return 0;
}
