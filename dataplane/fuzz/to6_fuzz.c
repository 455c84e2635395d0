/* NAT64 from IPv4 to IPv6: packets and errors. */
#include "packet/nat64.h"
#include "packet_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t source[16] = {0, 0x64, 0xff, 0x9b, [15] = 1}, destination[16] = {0x20, 1, [15] = 2};
	struct fuzz_packet packet;
	uint32_t length;
	if (!fuzz_packet(&packet, data, size, 4))
		return 0;
	bool plain = packet.tuple.icmp == ICMP_ECHO || packet.tuple.protocol == PROTOCOL_TCP ||
		packet.tuple.protocol == PROTOCOL_UDP;
	bool verified = plain && packet.tuple.fragment == FRAGMENT_WHOLE &&
		packet_of(packet.buffer)->offload.needs_checksum == 0 && packet_verifies(packet.bytes, packet.length);
	/* Computed over what UDP says that it is, where there was none; a verdict over all of L4 is then another one. */
	const uint8_t *udp = packet.bytes + packet.tuple.l4_offset;
	if (packet.tuple.protocol == PROTOCOL_UDP && verified && load16(udp + 6) == 0)
		verified = load16(udp + 4) == packet.length - packet.tuple.l4_offset;
	if (!nat64_to6(packet.buffer, FUZZ_BEFORE, &packet.tuple, source, destination, 7)) {
		must(fuzz_unchanged(&packet));
	} else {
		uint8_t *ip = packet_taken(packet.buffer, FUZZ_BEFORE, &length);
		must(packet.tuple.family == 6 && packet.tuple.ip_length == length);
		must(!verified || packet_verifies(ip, length));
		must(packet.tuple.icmp != ICMP_ERROR || packet_verifies(ip, length));
	}
	fuzz_return(&packet);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	return fuzz_packet_seed(n, data, 4, false);
}
