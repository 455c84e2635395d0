/* ICMP errors in IPv4 and the packets that they quote, rewritten. */
#include "packet/translate.h"
#include "packet_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rewrite outer = {.set = 3, .source = {1, 2, 3, 4}, .destination = {5, 6, 7, 8}};
	const struct rewrite quoted = {.set = 15, .source = {9, 9, 9, 9}, .destination = {8, 8, 8, 8}, .source_port = 7,
				       .destination_port = 9};
	struct fuzz_packet packet;
	uint32_t length;
	if (!fuzz_packet(&packet, data, size, 4))
		return 0;
	if (!translate4_error(packet.buffer, FUZZ_BEFORE, &packet.tuple, &outer, &quoted)) {
		must(fuzz_unchanged(&packet));
	} else {
		uint8_t *ip = packet_taken(packet.buffer, FUZZ_BEFORE, &length);
		must(length == packet.length && memcmp(ip + 12, "\1\2\3\4\5\6\7\10", 8) == 0);
		must(load16(ip + packet.tuple.l4_offset + 2) == naive_checksum(ip, length));
	}
	fuzz_return(&packet);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	return fuzz_packet_seed(n, data, 4, true);
}
