/* NAT64 from IPv6 to IPv4: packets and errors. */
#include "packet/nat64.h"
#include "packet_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t source[16] = {0, 0x64, 0xff, 0x9b, [15] = 1}, destination[16] = {0x20, 1, [15] = 2};
	struct fuzz_packet packet;
	uint32_t length;
	if (!fuzz_packet(&packet, data, size, 6))
		return 0;
	bool plain = packet.tuple.icmp == ICMP_ECHO || packet.tuple.protocol == PROTOCOL_TCP ||
		packet.tuple.protocol == PROTOCOL_UDP;
	bool verified = plain && packet.tuple.fragment == FRAGMENT_WHOLE &&
		packet_of(packet.buffer)->offload.needs_checksum == 0 && packet_verifies(packet.bytes, packet.length);
	if (!nat64_to4(packet.buffer, FUZZ_BEFORE, &packet.tuple, source, destination, 7)) {
		must(fuzz_unchanged(&packet));
	} else {
		uint8_t *ip = packet_taken(packet.buffer, FUZZ_BEFORE, &length);
		must(packet.tuple.family == 4 && packet.tuple.ip_length == length);
		must(!verified || packet_verifies(ip, length));
		must(packet.tuple.icmp != ICMP_ERROR || packet_verifies(ip, length));
	}
	fuzz_return(&packet);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	return fuzz_packet_seed(n, data, 6, false);
}
