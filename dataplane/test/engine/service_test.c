/* What the gateway answers: ARP, ND, DHCP, echo. */
#include "stage/dhcp4.h"
#include "stage/dhcp6.h"
#include "control/check.h"
#include "world.h"

static uint8_t sent[FRAME_ROOM], got[FRAME_ROOM];
static struct ferrite_engine *host;
static struct vm vm;
static const uint8_t gateway4[4] = {169, 254, 0, 1}, gateway6[16] = {0xfe, 0x80, [15] = 1};
static const uint8_t link_local[16] = {0xfe, 0x80, [15] = 0x55}, everybody[6] = {255, 255, 255, 255, 255, 255};

/* Sends and takes the answer; its length. */
static uint32_t ask(uint32_t length)
{
	CHECK(ring_put(vm.end, sent, length, NULL));
	world_poll(host, NULL);
	uint32_t took = ring_take(vm.end, got, sizeof got, NULL);
	if (took > 0) {
		CHECK(memcmp(got + 6, vm.gateway.bytes, 6) == 0);
		CHECK(load16(got + 12) == ETHERTYPE_ARP || frame_checks(got + 14, took - 14));
	}
	return took;
}

static uint32_t arp(const uint8_t sender[4], const uint8_t target[4])
{
	struct arp_message *message = (struct arp_message *)(void *)(sent + 14);
	memcpy(sent, everybody, 6);
	memcpy(sent + 6, vm.mac, 6);
	store16(sent + 12, ETHERTYPE_ARP);
	*message = (struct arp_message){.hardware = {0, 1}, .protocol = {8, 0}, .hardware_length = 6,
					.protocol_length = 4, .operation = {0, 1}};
	memcpy(message->sender_mac, vm.mac, 6);
	memcpy(message->sender, sender, 4);
	memcpy(message->target, target, 4);
	return 42;
}

static void arp_is_answered_for_the_gateway_only(void)
{
	const uint8_t nobody[4] = {0}, other[4] = {10, 0, 0, 9};
	CHECK_NUMBER(ask(arp(vm.ipv4, gateway4)), 42);
	CHECK(got[21] == 2 && memcmp(got + 22, vm.gateway.bytes, 6) == 0 && memcmp(got + 28, gateway4, 4) == 0);
	CHECK(memcmp(got, vm.mac, 6) == 0 && memcmp(got + 38, vm.ipv4, 4) == 0);
	CHECK_NUMBER(ask(arp(nobody, gateway4)), 42);
	CHECK_NUMBER(ask(arp(vm.ipv4, other)), 0);
	CHECK_NUMBER(ask(arp(other, gateway4)), 0); /* spoofed */
}

static uint32_t icmp6(const uint8_t from[16], const uint8_t to[16], uint8_t hops, const uint8_t *message, uint32_t length)
{
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(sent + 14);
	memcpy(sent, to[0] == 0xff ? everybody : vm.gateway.bytes, 6);
	memcpy(sent + 6, vm.mac, 6);
	store16(sent + 12, ETHERTYPE_IPV6);
	*ip = (struct ipv6_header){.version_class_label = {0x60}, .next_header = PROTOCOL_ICMPV6, .hop_limit = hops};
	store16(ip->payload_length, length);
	memcpy(ip->source, from, 16);
	memcpy(ip->destination, to, 16);
	memcpy(sent + 54, message, length);
	checksum_put(sent + 56, checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, length), sent + 54, length));
	return 54 + length;
}

static void neighbour_discovery_finds_the_gateway(void)
{
	uint8_t message[24] = {135};
	const uint8_t solicited[16] = {0xff, 2, [11] = 1, 0xff, [15] = 1}, unspecified[16] = {0};
	memcpy(message + 8, gateway6, 16);
	CHECK_NUMBER(ask(icmp6(link_local, solicited, 255, message, 24)), 86);
	CHECK(got[54] == 136 && got[58] == 0xe0 && memcmp(got + 62, gateway6, 16) == 0);
	CHECK(got[78] == 2 && got[79] == 1 && memcmp(got + 80, vm.gateway.bytes, 6) == 0);
	CHECK(memcmp(got + 38, link_local, 16) == 0);
	CHECK_NUMBER(ask(icmp6(unspecified, solicited, 255, message, 24)), 86);
	CHECK(got[58] == 0xa0 && got[38] == 0xff);
	CHECK_NUMBER(ask(icmp6(link_local, solicited, 64, message, 24)), 0); /* was routed: not a neighbour */
	message[23] = 9;
	CHECK_NUMBER(ask(icmp6(link_local, solicited, 255, message, 24)), 0);
}

static void a_router_solicitation_gets_a_managed_router_with_an_mtu(void)
{
	const uint8_t message[8] = {133}, routers[16] = {0xff, 2, [15] = 2};
	CHECK_NUMBER(ask(icmp6(link_local, routers, 255, message, 8)), 86);
	CHECK(got[54] == 134 && got[59] == 0xc0 && load16(got + 60) == 65535);
	CHECK(got[70] == 1 && memcmp(got + 72, vm.gateway.bytes, 6) == 0);
	CHECK(got[78] == 5 && load32(got + 82) == 1400);
}

static void the_gateway_answers_echo_of_both_families(void)
{
	uint8_t message[64] = {128, [4] = 1, 2, 3, 4};
	for (unsigned i = 8; i < sizeof message; i++)
		message[i] = (uint8_t)i;
	CHECK_NUMBER(ask(icmp6(vm.ipv6, gateway6, 64, message, sizeof message)), 54 + sizeof message);
	CHECK(got[54] == 129 && memcmp(got + 58, message + 4, sizeof message - 4) == 0);
	uint32_t length = frame_udp4(sent, &vm, gateway4, 64 - 8, 0);
	sent[14 + 9] = PROTOCOL_ICMP;
	memcpy(sent + 34, message, sizeof message);
	sent[34] = 8;
	checksum_put(sent + 36, checksum_add(0, sent + 34, sizeof message));
	CHECK_NUMBER(ask(length), length);
	CHECK(got[34] == 0 && memcmp(got + 38, message + 4, sizeof message - 4) == 0);
	CHECK(memcmp(got + 26, gateway4, 4) == 0 && memcmp(got + 30, vm.ipv4, 4) == 0);
}

static const uint8_t *option4(uint8_t wanted)
{
	const uint8_t *at = got + 42 + 240;
	while (*at != 255) {
		if (*at == wanted)
			return at;
		at += 2 + at[1];
	}
	return NULL;
}

/* A DHCPv4 message of the type with one more option of 4 bytes (0: none). */
static uint32_t dhcp4(uint8_t type, uint8_t option, const uint8_t value[4])
{
	uint8_t message[260] = {1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef};
	const uint8_t nobody[4] = {0}, broadcast[4] = {255, 255, 255, 255};
	memcpy(message + 28, vm.mac, 6);
	memcpy(message + 236, (const uint8_t[]){99, 130, 83, 99, 53, 1, type}, 7);
	message[243] = option;
	message[244] = 4;
	if (option != 0)
		memcpy(message + 245, value, 4);
	else
		message[243] = message[244] = 0;
	message[249] = 255;
	return frame_wrap4(sent, everybody, vm.mac, nobody, broadcast, 68, 67, message, sizeof message);
}

static void dhcp4_leases_the_interface_its_address(void)
{
	const uint8_t other[4] = {10, 0, 0, 99};
	CHECK(ask(dhcp4(1, 0, NULL)) > 282);
	CHECK(option4(53)[2] == 2 && memcmp(got + 42 + 16, vm.ipv4, 4) == 0 && load32(got + 42 + 4) == 0xdeadbeef);
	CHECK(ask(dhcp4(3, 50, vm.ipv4)) > 282);
	CHECK(option4(53)[2] == 5);
	CHECK(load32(option4(51) + 2) == UINT32_MAX && load32(option4(1) + 2) == UINT32_MAX);
	CHECK(load16(option4(26) + 2) == 1400 && memcmp(option4(54) + 2, gateway4, 4) == 0);
	CHECK(option4(6)[2] == 192 && option4(12)[1] == 6 && memcmp(option4(12) + 2, "tester", 6) == 0);
	const uint8_t routes[14] = {121, 12, 16, 169, 254, 0, 0, 0, 0, 0, 169, 254, 0, 1};
	CHECK(memcmp(option4(121), routes, 14) == 0);
	CHECK(ask(dhcp4(3, 50, other)) > 282);
	CHECK(option4(53)[2] == 6 && memcmp(got, everybody, 6) == 0);
	CHECK_NUMBER(ask(dhcp4(3, 54, other)), 0); /* it chose another server */
	CHECK_NUMBER(ask(dhcp4(7, 0, NULL)), 0);   /* release */
	CHECK(ask(dhcp4(8, 0, NULL)) > 282);       /* inform: no lease */
	CHECK(option4(53)[2] == 5 && option4(51) == NULL && raw32(got + 42 + 16) == 0);
}

/* What a booting client is told; `user` may be NULL. The length of the answer. */
static size_t boot4(const struct dhcp4_lease *from, const char *vendor, const char *user, uint8_t *answer)
{
	uint8_t message[512] = {1, 1, 6, [236] = 99, 130, 83, 99, 53, 1, 1};
	size_t at = 243;
	bool broadcast;
	const struct { uint8_t option; const char *text; } classes[] = {{60, vendor}, {77, user}};
	for (unsigned i = 0; i < 2; i++) {
		if (classes[i].text == NULL)
			continue;
		message[at] = classes[i].option;
		message[at + 1] = (uint8_t)strlen(classes[i].text);
		memcpy(message + at + 2, classes[i].text, message[at + 1]);
		at += 2u + message[at + 1];
	}
	message[at++] = 255;
	return dhcp4_answer(from, message, at, answer, &broadcast);
}

static bool has_option4(const uint8_t *answer, size_t length, uint8_t wanted)
{
	for (size_t at = 240; at + 2 <= length && answer[at] != 255; at += 2u + answer[at + 1])
		if (answer[at] == wanted)
			return true;
	return false;
}

static void dhcp4_boots_firmware_by_tftp_and_ipxe_by_http_each_by_its_own_message(void)
{
	const struct dhcp4_lease boot = {.address = {10, 0, 0, 1}, .server = {169, 254, 0, 1}, .hostname = "",
					 .pxe_server = "10.9.8.7", .pxe_file = "boot.ipxe"};
	uint8_t answer[DHCP4_LIMIT];
	static const uint8_t server[4] = {10, 9, 8, 7}, none[4];
	size_t length = boot4(&boot, "PXEClient:Arch:00007:UNDI:003016", NULL, answer);
	CHECK(length > 0 && memcmp(answer + 20, server, 4) == 0);
	CHECK(strcmp((char *)answer + 108, "ipxe/x86_64/ipxe.new") == 0 && has_option4(answer, length, 3));
	length = boot4(&boot, "PXEClient:Arch:00007:UNDI:003016", "iPXE", answer);
	CHECK(strcmp((char *)answer + 108, "http://10.9.8.7/boot.ipxe") == 0 && length > 0);
	length = boot4(&boot, "dhclient", NULL, answer); /* the next client is not taken for a booting one */
	CHECK(length > 0 && answer[108] == 0 && memcmp(answer + 20, none, 4) == 0 && !has_option4(answer, length, 3));
	const struct dhcp4_lease plain = {.address = {10, 0, 0, 1}, .server = {169, 254, 0, 1}, .hostname = ""};
	CHECK(boot4(&plain, "PXEClient:Arch:00007", NULL, answer) > 0 && answer[108] == 0);
}

static const struct dhcp6_lease lease = {.has_address = true, .address = {0x20, 1}, .server = {0, 3, 0, 1, 2}};

/* Type, client id, optionally our server id, then what is given; the answer's length. */
static size_t dhcp6(uint8_t type, bool to_us, const uint8_t *more, size_t length, uint8_t *answer)
{
	uint8_t message[512] = {type, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9};
	size_t at = 12;
	if (to_us) {
		memcpy(message + at, (const uint8_t[]){0, 2, 0, 10}, 4);
		memcpy(message + at + 4, lease.server, 10);
		at += 14;
	}
	memcpy(message + at, more, length);
	return dhcp6_answer(&lease, message, at + length, answer);
}

static const uint8_t *option6(const uint8_t *answer, size_t length, uint8_t wanted)
{
	for (size_t at = 4; at + 4 <= length; at += 4u + load16(answer + at + 2))
		if (load16(answer + at) == wanted)
			return answer + at;
	return NULL;
}

static void dhcp6_leases_by_two_or_four_messages(void)
{
	uint8_t answer[DHCP6_LIMIT];
	const uint8_t association[] = {0, 3, 0, 12, 0, 0, 0, 7, [15] = 0}, rapid[] = {0, 3, 0, 12, 0, 0, 0, 7, [15] = 0,
		0, 14, 0, 0};
	size_t length = dhcp6(1, false, association, sizeof association, answer);
	CHECK(length > 0 && answer[0] == 2 && answer[1] == 1 && answer[3] == 3);
	const uint8_t *found = option6(answer, length, 3);
	CHECK(found != NULL && load32(found + 4) == 7 && load16(found + 16) == 5 && found[20] == 0x20);
	length = dhcp6(1, false, rapid, sizeof rapid, answer);
	CHECK(length > 0 && answer[0] == 7 && option6(answer, length, 14) != NULL);
	for (uint8_t type = 3; type <= 6; type++) {
		if (type == 4)
			continue;
		length = dhcp6(type, type != 6, association, sizeof association, answer);
		CHECK(length > 0 && answer[0] == 7 && option6(answer, length, 3) != NULL);
	}
	CHECK(dhcp6(3, false, association, sizeof association, answer) > 0); /* no server named: who else */
	const uint8_t other[14] = {0, 2, 0, 10, 0, 3, 0, 1, 9};
	CHECK_NUMBER(dhcp6(3, false, other, sizeof other, answer), 0);
	const uint8_t anonymous[] = {1, 1, 2, 3, 0, 3, 0, 12, 0, 0, 0, 7, [19] = 0};
	CHECK(dhcp6_answer(&lease, anonymous, sizeof anonymous, answer) > 0 && answer[0] == 2);
	CHECK(dhcp6(8, true, association, sizeof association, answer) > 0);
	CHECK(dhcp6(11, false, association, 0, answer) > 0);
	CHECK_NUMBER(dhcp6(2, false, association, sizeof association, answer), 0);
}

static void dhcp6_confirms_its_address_and_no_other(void)
{
	uint8_t answer[DHCP6_LIMIT], association[] = {0, 3, 0, 40, 0, 0, 0, 7, [16] = 0, 5, 0, 24, 0x20, 1, [43] = 0};
	size_t length = dhcp6(4, false, association, sizeof association, answer);
	CHECK(length > 0 && load16(option6(answer, length, 13) + 4) == 0);
	association[20] = 0x30;
	length = dhcp6(4, false, association, sizeof association, answer);
	CHECK(length > 0 && load16(option6(answer, length, 13) + 4) == 4);
	length = dhcp6(5, true, association, sizeof association, answer); /* renew: the foreign one ends */
	const uint8_t *found = option6(answer, length, 3);
	CHECK(found != NULL && load16(found + 2) == 12 + 28 + 28 && found[44 + 4] == 0x30 && load32(found + 44 + 24) == 0);
}

static void dhcp6_without_an_address_says_so(void)
{
	struct dhcp6_lease none = {.server = {0, 3, 0, 1, 2}};
	uint8_t answer[DHCP6_LIMIT], message[] = {1, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 3, 0, 12, 0, 0, 0, 7, [25] = 0};
	size_t length = dhcp6_answer(&none, message, sizeof message, answer);
	const uint8_t *found = option6(answer, length, 3);
	CHECK(found != NULL && load16(found + 16) == 13 && load16(found + 20) == 2);
}

static void dhcp6_boots_by_architecture_and_user_class(void)
{
	struct dhcp6_lease boot = {.has_address = true, .server = {0, 3, 0, 1, 2}, .pxe_server = "2001:db8::1",
				   .pxe_file = "boot.ipxe"};
	static const char loader[] = "tftp://[2001:db8::1]/ipxe/x86_64/ipxe.new", file[] = "http://[2001:db8::1]/boot.ipxe";
	uint8_t answer[DHCP6_LIMIT], message[] = {1, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 61, 0, 2, 0, 7, 0, 15, 0, 6, 0, 4, 'i', 'P',
						  'X', 'E'};
	size_t length = dhcp6_answer(&boot, message, 16, answer);
	const uint8_t *found = option6(answer, length, 59);
	CHECK(found != NULL && load16(found + 2) == sizeof loader - 1 && memcmp(found + 4, loader, sizeof loader - 1) == 0);
	length = dhcp6_answer(&boot, message, sizeof message, answer);
	found = option6(answer, length, 59);
	CHECK(found != NULL && load16(found + 2) == sizeof file - 1 && memcmp(found + 4, file, sizeof file - 1) == 0);
	length = dhcp6_answer(&boot, message, 10, answer);
	CHECK(length > 0 && option6(answer, length, 59) == NULL);
}

static void dhcp6_answers_over_the_wire_with_a_checksum(void)
{
	const uint8_t servers[16] = {0xff, 2, [13] = 1, 0, 2};
	const uint8_t message[] = {1, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 3, 0, 12, 0, 0, 0, 7, [25] = 0};
	uint32_t length = frame_wrap6(sent, everybody, vm.mac, link_local, servers, 546, 547, message, sizeof message);
	CHECK(ask(length) > 62 + 40);
	CHECK(load16(got + 54) == 547 && load16(got + 56) == 546 && got[62] == 2);
	CHECK(memcmp(got + 38, link_local, 16) == 0 && memcmp(got + 22, gateway6, 16) == 0);
}

int main(void)
{
	host = world_engine(1, "none", 1400);
	world_vm(&vm, host, 1, 200, 1);
	RUN(arp_is_answered_for_the_gateway_only);
	RUN(neighbour_discovery_finds_the_gateway);
	RUN(a_router_solicitation_gets_a_managed_router_with_an_mtu);
	RUN(the_gateway_answers_echo_of_both_families);
	RUN(dhcp4_leases_the_interface_its_address);
	RUN(dhcp4_boots_firmware_by_tftp_and_ipxe_by_http_each_by_its_own_message);
	RUN(dhcp6_leases_by_two_or_four_messages);
	RUN(dhcp6_confirms_its_address_and_no_other);
	RUN(dhcp6_without_an_address_says_so);
	RUN(dhcp6_boots_by_architecture_and_user_class);
	RUN(dhcp6_answers_over_the_wire_with_a_checksum);
	world_vm_leave(&vm);
	ferrite_engine_stop(host);
	return CHECK_RESULT();
}
