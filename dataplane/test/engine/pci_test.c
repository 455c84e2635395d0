/* DPDK devices as ports: by name, with drivers that need no hardware, and what is asked of those that have some. */
#include <errno.h>

#include "control/check.h"
#include "port/pci.h"
#include "world.h"

static uint8_t frame[FRAME_ROOM];
static char error[FERRITE_ERROR_TEXT];

static struct ferrite_engine *start(const char *first, const char *second)
{
	struct ferrite_engine_config config = {.name = "test", .mtu = 1500, .uplinks = {first, second},
					       .uplink_count = second != NULL ? 2 : 1};
	struct ferrite_engine *engine = NULL;
	memcpy(config.underlay_prefix.bytes, (const uint8_t[8]){0xfd, 0, 0, 0x0f, 0, 1}, 8);
	return ferrite_engine_start(&config, &engine, error) < 0 ? NULL : engine;
}

static void names_become_what_dpdk_probes(void)
{
	static const struct { const char *device, *name, *arguments; } cases[] = {
		{"0000:03:00.0", "0000:03:00.0", "0000:03:00.0"},
		{"0000:03:00.0,dv_flow_en=1", "0000:03:00.0", "0000:03:00.0,dv_flow_en=1"},
		{"0000:03:00.0_representor_c0pf0vf0", "0000:03:00.0_representor_c0pf0vf0", "0000:03:00.0,representor=c0pf0vf0"},
		{"0000:03:00.0_representor_vf3,dv_flow_en=1", "0000:03:00.0_representor_vf3",
		 "0000:03:00.0,representor=vf3,dv_flow_en=1"},
		{"net_af_packet0,iface=veth1", "net_af_packet0", "net_af_packet0,iface=veth1"},
	};
	char name[RTE_ETH_NAME_MAX_LEN], arguments[256];
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK(pci_arguments(cases[i].device, name, arguments, sizeof arguments));
		CHECK_TEXT(name, cases[i].name);
		CHECK_TEXT(arguments, cases[i].arguments);
	}
	CHECK(!pci_arguments("", name, arguments, sizeof arguments));
	CHECK(!pci_arguments("0000:03:00.0_representor_c0pf0vf0", name, arguments, 20));
	memset(frame, 'a', RTE_ETH_NAME_MAX_LEN);
	frame[RTE_ETH_NAME_MAX_LEN] = 0;
	CHECK(!pci_arguments((const char *)frame, name, arguments, sizeof arguments));
}

static void a_device_that_is_not_there_is_said(void)
{
	CHECK(start("pci:0000:7f:1f.7", NULL) == NULL);
	CHECK(strstr(error, "DPDK finds no device 0000:7f:1f.7") != NULL);
	CHECK(start("pci:net_nonsense0", NULL) == NULL);
	CHECK(start("pci:net_af_packet0,iface=upl-missing", NULL) == NULL);
	CHECK(error[0] != 0);
}

/* net_ring gives back what it is sent: our own packet comes again, and is none of ours. */
static void packets_leave_by_a_device_and_come_from_it(void)
{
	struct ferrite_engine *engine = start("up=pci:net_ring0,mac=02:00:00:00:00:77,peer=02:00:00:00:00:77", NULL);
	struct vm vm, far;
	CHECK_TEXT(error, "");
	if (engine == NULL)
		return;
	CHECK_NUMBER(world_counter(engine, "uplink.up.up"), 1);
	world_vm(&vm, engine, 1, 200, 1);
	/* Somebody else's interface with an underlay address of this host: it is relayed to it by the loop. */
	far = vm;
	far.ipv4[3] = far.ipv6[15] = 2;
	memcpy(far.underlay.bytes, (const uint8_t[16]){0xfd, 0, 0, 0x0f, 0, 2, 0, 0, 0xd0, 1, [15] = 1}, 16);
	world_route(engine, 200, &far);
	for (unsigned i = 0; i < 10; i++) {
		uint32_t length = frame_udp4(frame, &vm, far.ipv4, 100, 1);
		CHECK(ring_put(vm.end, frame, length, NULL));
		world_poll(engine, NULL);
	}
	CHECK_NUMBER(world_counter(engine, "uplink.up.tx_packets"), 10);
	CHECK_NUMBER(world_counter(engine, "uplink.up.tx_bytes"), 10 * (14 + 40 + 20 + 8 + 100));
	CHECK_NUMBER(world_counter(engine, "uplink.up.rx_packets"), 10);
	CHECK_NUMBER(world_counter(engine, "pci.foreign"), 10);
	/* A super-packet is cut, for this driver cuts none. */
	struct offload offload = {.needs_checksum = 1, .gso = GSO_TCP4, .gso_size = 1000, .header_length = 40,
				  .checksum_start = 20, .checksum_offset = 16};
	uint32_t length = frame_udp4(frame, &vm, far.ipv4, 4000, 3);
	frame[23] = PROTOCOL_TCP;
	memset(frame + 34 + 4, 0, 16);
	frame[34 + 12] = 0x50;
	frame[34 + 13] = 0x10;
	checksum_ipv4((struct ipv4_header *)(void *)(frame + 14), 20);
	CHECK(ring_put(vm.end, frame, length, &offload));
	world_poll(engine, NULL);
	CHECK_NUMBER(world_counter(engine, "uplink.up.tx_packets"), 14);
	CHECK_NUMBER(world_counter(engine, "uplink.up.tx_errors"), 0);
	world_vm_leave(&vm);
	ferrite_engine_stop(engine);
}

static void a_device_is_an_access_port_too(void)
{
	struct ferrite_engine *engine = start("ring:upl-pci", NULL);
	uint32_t port, other;
	struct ferrite_port_info info;
	CHECK(engine != NULL);
	if (engine == NULL)
		return;
	for (unsigned i = 0; i < 3; i++) { /* the name is free again each time */
		CHECK_NUMBER(ferrite_port_open(engine, "pci:net_null7,copy=1", NULL, &port, error), 0);
		CHECK_NUMBER(ferrite_port_info(engine, port, &info), 0);
		CHECK_TEXT(info.device, "net_null7");
		CHECK_NUMBER(ferrite_port_open(engine, "pci:net_null7", NULL, &other, error), -EBUSY);
		(void)ferrite_engine_poll(engine);
		CHECK(world_counter(engine, "drop.no_interface") > 0); /* net_null gives frames for ever */
		CHECK_NUMBER(ferrite_port_close(engine, port), 0);
	}
	ferrite_engine_stop(engine);
}

static void the_limit_of_dpdk_is_said(void)
{
	struct ferrite_engine *engine = start("ring:upl-pci", NULL);
	uint32_t ports[RTE_MAX_ETHPORTS + 1];
	unsigned opened = 0;
	char device[32];
	int status = 0;
	while (engine != NULL && status == 0 && opened <= RTE_MAX_ETHPORTS) {
		(void)snprintf(device, sizeof device, "pci:net_null%u", 100 + opened);
		status = ferrite_port_open(engine, device, NULL, &ports[opened], error);
		opened += status == 0;
	}
	CHECK_NUMBER(opened, RTE_MAX_ETHPORTS);
	CHECK_NUMBER(status, -ENOSPC);
	CHECK(strstr(error, "RTE_MAX_ETHPORTS") != NULL);
	while (opened > 0)
		CHECK_NUMBER(ferrite_port_close(engine, ports[--opened]), 0);
	ferrite_engine_stop(engine);
}

/* A TCP super-packet over IPv4, in a tunnel or not. */
static struct rte_mbuf *super_packet(bool tunnel)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	uint32_t prefix = tunnel ? 54 : 14;
	memset(frame, 0, 200);
	frame[prefix] = 0x45;
	frame[prefix + 9] = PROTOCOL_TCP;
	frame[prefix + 10] = 0x12; /* a checksum of before */
	store16(frame + prefix + 2, 140);
	frame[prefix + 20 + 12] = 0x80;
	CHECK(packet_copy_in(buffer, frame, prefix + 140));
	packet_of(buffer)->ip_offset = (uint16_t)prefix;
	packet_of(buffer)->offload = (struct offload){.needs_checksum = 1, .gso = GSO_TCP4, .gso_size = 50,
						      .header_length = 52, .checksum_start = 20, .checksum_offset = 16};
	buffer->ol_flags = 0;
	return buffer;
}

static void devices_are_asked_for_what_they_have(void)
{
	const uint64_t all = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
		RTE_ETH_TX_OFFLOAD_TCP_TSO;
	struct rte_mbuf *plain = super_packet(false), *tunnel = super_packet(true);
	CHECK(!pci_offload(plain, 0));
	CHECK(!pci_offload(plain, all & ~(uint64_t)RTE_ETH_TX_OFFLOAD_TCP_TSO));
	CHECK_NUMBER(plain->ol_flags, 0);
	CHECK(pci_offload(plain, all));
	CHECK_NUMBER(plain->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM |
		     RTE_MBUF_F_TX_TCP_SEG);
	CHECK_NUMBER(plain->l2_len, 14);
	CHECK_NUMBER(plain->l3_len, 20);
	CHECK_NUMBER(plain->l4_len, 32);
	CHECK_NUMBER(plain->tso_segsz, 50);
	CHECK_NUMBER(packet_data(plain)[14 + 10], 0);
	/* Of the pseudo header without its length: zero addresses, and the protocol. */
	CHECK_NUMBER(load16(packet_data(plain) + 34 + 16), PROTOCOL_TCP);

	CHECK(!pci_offload(tunnel, all));
	CHECK(pci_offload(tunnel, all | RTE_ETH_TX_OFFLOAD_IPIP_TNL_TSO));
	CHECK((tunnel->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK) == RTE_MBUF_F_TX_TUNNEL_IPIP);
	CHECK((tunnel->ol_flags & RTE_MBUF_F_TX_OUTER_IPV6) != 0);
	CHECK_NUMBER(tunnel->outer_l2_len, 14);
	CHECK_NUMBER(tunnel->outer_l3_len, 40);
	CHECK_NUMBER(tunnel->l2_len, 0);
	CHECK_NUMBER(tunnel->l3_len, 20);

	/* Nonsense is not passed on to a device. */
	packet_of(plain)->offload.checksum_start = 160;
	CHECK(!pci_offload(plain, all));
	packet_of(plain)->offload = (struct offload){.needs_checksum = 1, .checksum_start = 20, .checksum_offset = 3};
	CHECK(!pci_offload(plain, all));
	packet_no_offload(packet_of(plain));
	CHECK(pci_offload(plain, 0));
	rte_pktmbuf_free(plain);
	rte_pktmbuf_free(tunnel);
}

int main(void)
{
	RUN(names_become_what_dpdk_probes);
	RUN(a_device_that_is_not_there_is_said);
	RUN(packets_leave_by_a_device_and_come_from_it);
	RUN(a_device_is_an_access_port_too);
	RUN(the_limit_of_dpdk_is_said);
	RUN(devices_are_asked_for_what_they_have);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	return CHECK_RESULT();
}
