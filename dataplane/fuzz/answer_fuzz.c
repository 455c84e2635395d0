/* Every answer to any packet. */
#include "packet/answer.h"
#include "packet_fuzz.h"

static void ask(const uint8_t *data, size_t size, unsigned kind)
{
	const uint8_t source[16] = {0x20, 1, [15] = 1};
	struct fuzz_packet packet;
	uint32_t length;
	if (!fuzz_packet(&packet, data, size, 0))
		return;
	bool v4 = packet.tuple.family == 4;
	bool done = kind == 0 ? answer_reset(packet.buffer, FUZZ_BEFORE, &packet.tuple) :
		kind == 1 ? answer_echo(packet.buffer, FUZZ_BEFORE, &packet.tuple) :
		answer_unreachable(packet.buffer, FUZZ_BEFORE, &packet.tuple, v4 ? 3 : 1, 1, 5, source);
	if (!done) {
		must(fuzz_unchanged(&packet));
	} else {
		struct tuple now;
		uint8_t *ip = packet_taken(packet.buffer, FUZZ_BEFORE, &length);
		must(parse_ip(ip, length, length, &now) == PARSE_OK && now.ip_length == length);
		must(packet_verifies(ip, length));
		must(kind == 1 || length <= (v4 ? 576u : 1280u));
	}
	fuzz_return(&packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned kind = 0; kind < 3; kind++)
		ask(data, size, kind);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	return fuzz_packet_seed(n / 2, data, n % 2 ? 4 : 6, n > 40);
}
