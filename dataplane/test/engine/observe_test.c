/* Captures, the ring under them, the blocks that they become, and the mirror. */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/check.h"
#include "observe/pcapng.h"
#include "observe/record_ring.h"
#include "world.h"

static uint8_t frame[FRAME_ROOM], got[FRAME_ROOM];
static char error[FERRITE_ERROR_TEXT];

/* --- Ring. */

static void records_come_out_as_they_went_in_over_many_rounds(void)
{
	struct record_ring ring;
	uint32_t length = 0, wrote = 0, read = 0;
	CHECK(record_ring_open(&ring, 4096));
	for (unsigned turn = 0; turn < 5000; turn++) {
		uint32_t size = (turn * 37) % 700;
		uint8_t *place = record_ring_reserve(&ring, size);
		if (place != NULL && size >= 4) {
			memset(place, (uint8_t)size, size);
			memcpy(place, &wrote, 4);
			record_ring_publish(&ring, size);
			wrote++;
		}
		for (unsigned i = 0; i < turn % 3; i++) {
			const uint8_t *record = record_ring_read(&ring, &length);
			if (record == NULL)
				break;
			CHECK(memcmp(record, &read, 4) == 0);
			CHECK(length == 4 || record[length - 1] == (uint8_t)length);
			read++;
		}
	}
	while (record_ring_read(&ring, &length) != NULL)
		read++;
	CHECK_NUMBER(read, wrote);
	CHECK(wrote > 3000);
	record_ring_close(&ring);
}

static void a_full_ring_takes_nothing_until_something_is_read(void)
{
	struct record_ring ring;
	uint32_t length;
	CHECK(record_ring_open(&ring, 256));
	for (unsigned i = 0; i < 4; i++) {
		CHECK(record_ring_reserve(&ring, 56) != NULL);
		record_ring_publish(&ring, 56);
	}
	CHECK(record_ring_reserve(&ring, 1) == NULL);
	CHECK(record_ring_reserve(&ring, 300) == NULL);
	CHECK(record_ring_read(&ring, &length) != NULL);
	CHECK(record_ring_reserve(&ring, 56) == NULL); /* it is being read */
	CHECK(record_ring_read(&ring, &length) != NULL);
	CHECK(record_ring_reserve(&ring, 56) != NULL);
	record_ring_close(&ring);
}

/* --- pcapng. */

static uint32_t word(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return value;
}

static void check_frame_of_block(const uint8_t *block, size_t length, uint32_t type)
{
	CHECK_NUMBER(length % 4, 0);
	CHECK_NUMBER(word(block), type);
	CHECK_NUMBER(word(block + 4), length);
	CHECK_NUMBER(word(block + length - 4), length);
}

/* Where the value of an option is, or NULL. */
static const uint8_t *option(const uint8_t *options, const uint8_t *end, uint16_t code, uint16_t *length)
{
	while (options + 4 <= end) {
		uint16_t found;
		memcpy(&found, options, 2);
		memcpy(length, options + 2, 2);
		if (found == code)
			return options + 4;
		if (found == 0)
			return NULL;
		options += 4 + ((*length + 3u) & ~3u);
	}
	return NULL;
}

static void blocks_say_what_they_should(void)
{
	uint8_t block[1024];
	uint16_t length;
	size_t size = pcapng_section(block, sizeof block, "ferrite-dataplane 1");
	check_frame_of_block(block, size, 0x0a0d0d0a);
	CHECK_NUMBER(word(block + 8), 0x1a2b3c4d);
	CHECK_NUMBER(word(block + 12), 1); /* version 1.0 */
	CHECK(memcmp(option(block + 24, block + size, 4, &length), "ferrite-dataplane 1", 19) == 0);

	size = pcapng_interface(block, sizeof block, PCAPNG_IPV6, 96, "uplink", "ring:a", "ip6");
	check_frame_of_block(block, size, 1);
	CHECK_NUMBER(word(block + 8), 229);
	CHECK_NUMBER(word(block + 12), 96);
	CHECK(memcmp(option(block + 16, block + size, 2, &length), "uplink", 6) == 0);
	CHECK_NUMBER(length, 6);
	CHECK_NUMBER(*option(block + 16, block + size, 9, &length), 9);
	CHECK(memcmp(option(block + 16, block + size, 11, &length), "\0ip6", 4) == 0);
	CHECK_NUMBER(length, 4);

	struct ferrite_captured packet = {.time_ns = 0x123456789abcdef0, .point = 3, .out = true, .segment = 1448,
					  .length = 60000, .kept = 5, .bytes = (const uint8_t *)"hello"};
	size = pcapng_packet(block, sizeof block, &packet);
	check_frame_of_block(block, size, 6);
	CHECK_NUMBER(word(block + 8), 3);
	CHECK_NUMBER(word(block + 12), 0x12345678);
	CHECK_NUMBER(word(block + 16), 0x9abcdef0);
	CHECK_NUMBER(word(block + 20), 5);
	CHECK_NUMBER(word(block + 24), 60000);
	CHECK(memcmp(block + 28, "hello\0\0\0", 8) == 0);
	CHECK_NUMBER(word(option(block + 36, block + size, 2, &length)), 2);
	CHECK(memcmp(option(block + 36, block + size, 1, &length), "super-packet, segments of 1448 bytes", 36) == 0);

	struct ferrite_capture_count count = {.seen = 10, .accepted = 5, .lost = 2};
	size = pcapng_statistics(block, sizeof block, 1, 1000, 2000, &count);
	check_frame_of_block(block, size, 5);
	CHECK_NUMBER(word(block + 8), 1);
	CHECK_NUMBER(word(block + 16), 2000);
	CHECK_NUMBER(word(option(block + 20, block + size, 4, &length)), 10);
	CHECK_NUMBER(word(option(block + 20, block + size, 5, &length)), 2);
	CHECK_NUMBER(word(option(block + 20, block + size, 6, &length)), 5);
}

static void a_block_without_room_is_none(void)
{
	uint8_t block[1024];
	struct ferrite_captured packet = {.kept = 5, .length = 5, .bytes = (const uint8_t *)"hello"};
	size_t size = pcapng_packet(block, sizeof block, &packet);
	for (size_t room = 0; room < size; room++)
		CHECK_NUMBER(pcapng_packet(block, room, &packet), 0);
	CHECK_NUMBER(pcapng_packet(block, size, &packet), size);
	CHECK_NUMBER(pcapng_section(block, 20, "x"), 0);
	CHECK_NUMBER(pcapng_interface(block, 30, 1, 1, "name", "", ""), 0);
}

/* --- Captures. */

static struct ferrite_engine *engine;
static struct ring_end *fabric;
static struct vm vm, far;

static void begin(void)
{
	engine = world_engine(1, "ring:obs-up", 1500);
	fabric = ring_join("obs-up");
	world_vm(&vm, engine, 1, 300, 1);
	far = vm;
	far.ipv4[3] = far.ipv6[15] = 2;
	memcpy(far.underlay.bytes, (const uint8_t[16]){0xfd, 0, 0, 0x0f, 0, 2, 0, 0, 0xd0, 1, [15] = 1}, 16);
	world_route(engine, 300, &far);
}

static void end(void)
{
	world_vm_leave(&vm);
	ring_leave(fabric);
	ferrite_engine_stop(engine);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
}

static unsigned send_udp(unsigned count, uint32_t payload)
{
	unsigned arrived = 0;
	for (unsigned i = 0; i < count; i++) {
		uint32_t length = frame_udp4(frame, &vm, far.ipv4, payload, (uint8_t)i);
		CHECK(ring_put(vm.end, frame, length, NULL));
		if (i % 16 == 15 || i + 1 == count) {
			world_poll(engine, NULL);
			while (ring_take(fabric, got, sizeof got, NULL) > 0)
				arrived++;
		}
	}
	return arrived;
}

static struct ferrite_capture *capture(struct ferrite_capture_config config, const char *filter)
{
	const struct ferrite_point points[] = {{.port = vm.port}, {.uplink = 0}};
	struct ferrite_capture *made = NULL;
	config.points = points;
	config.point_count = 2;
	config.in = config.out = true;
	if (config.snap_length == 0)
		config.snap_length = FERRITE_SNAP_MAX;
	config.filter = filter != NULL ? ferrite_filter_make(filter, true, true, true, error) : NULL;
	CHECK(filter == NULL || config.filter != NULL);
	CHECK_NUMBER(ferrite_capture_start(engine, &config, &made), 0);
	return made;
}

static void a_packet_is_seen_where_it_comes_in_and_where_it_leaves(void)
{
	struct ferrite_captured packet;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){0}, NULL);
	CHECK_NUMBER(send_udp(1, 100), 1);
	CHECK(ferrite_capture_next(made, &packet));
	CHECK_NUMBER(packet.point, 0);
	CHECK(!packet.out);
	CHECK_NUMBER(packet.length, 142);
	CHECK_NUMBER(packet.kept, 142);
	CHECK(memcmp(packet.bytes, frame, 142) == 0);
	CHECK(packet.time_ns > 1600000000000000000);
	CHECK(ferrite_capture_next(made, &packet));
	CHECK_NUMBER(packet.point, 1);
	CHECK(packet.out);
	CHECK_NUMBER(packet.length, 168);
	CHECK(memcmp(packet.bytes, got, 168) == 0);
	CHECK(!ferrite_capture_next(made, &packet));
	ferrite_capture_stop(engine, made);
	CHECK(engine->observers == NULL);
	CHECK_NUMBER(send_udp(1, 100), 1);
	end();
}

static void a_filter_over_the_inner_packet_holds_at_both_points(void)
{
	struct ferrite_captured packet;
	struct ferrite_capture_count count;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){0}, "udp and dst host 10.0.0.2");
	struct ferrite_capture *none = capture((struct ferrite_capture_config){0}, "tcp");
	CHECK_NUMBER(send_udp(3, 10), 3);
	for (unsigned i = 0; i < 6; i++)
		CHECK(ferrite_capture_next(made, &packet));
	CHECK(!ferrite_capture_next(made, &packet));
	CHECK(!ferrite_capture_next(none, &packet));
	ferrite_capture_counts(none, 0, &count);
	CHECK_NUMBER(count.seen, 3);
	CHECK_NUMBER(count.accepted, 0);
	ferrite_capture_stop(engine, made);
	ferrite_capture_stop(engine, none);
	end();
}

static void a_wrong_filter_is_told_in_the_words_of_libpcap(void)
{
	CHECK(ferrite_filter_make("tcp porrt 80", false, true, false, error) == NULL);
	CHECK(strstr(error, "syntax error") != NULL);
	CHECK(ferrite_filter_make("ether host 02:00:00:00:00:01", false, false, true, error) == NULL);
	CHECK(error[0] != 0);
	char text[FERRITE_FILTER_TEXT + 1];
	memset(text, ' ', sizeof text);
	text[FERRITE_FILTER_TEXT] = 0;
	CHECK(ferrite_filter_make(text, false, true, false, error) == NULL);
	CHECK_TEXT(error, "longer than 1023 bytes");
}

static void limits_end_a_capture_and_not_the_traffic(void)
{
	struct ferrite_captured packet;
	unsigned packets = 0;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){.packet_limit = 5}, NULL);
	struct ferrite_capture *bytes = capture((struct ferrite_capture_config){.byte_limit = 100, .snap_length = 60}, NULL);
	CHECK_NUMBER(send_udp(40, 500), 40);
	CHECK(ferrite_capture_ended(made));
	CHECK(ferrite_capture_ended(bytes));
	while (ferrite_capture_next(made, &packet))
		packets++;
	CHECK_NUMBER(packets, 5);
	packets = 0;
	while (ferrite_capture_next(bytes, &packet)) {
		CHECK_NUMBER(packet.kept, 60);
		CHECK(packet.length > 500);
		packets++;
	}
	CHECK_NUMBER(packets, 2);
	ferrite_capture_stop(engine, made);
	ferrite_capture_stop(engine, bytes);
	end();
}

static void a_reader_that_sleeps_loses_and_the_traffic_does_not(void)
{
	struct ferrite_captured packet;
	struct ferrite_capture_count in, out;
	unsigned kept = 0;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){0}, NULL);
	CHECK_NUMBER(send_udp(4000, 1300), 4000);
	while (ferrite_capture_next(made, &packet))
		kept++;
	ferrite_capture_counts(made, 0, &in);
	ferrite_capture_counts(made, 1, &out);
	CHECK_NUMBER(in.accepted, 4000);
	CHECK_NUMBER(out.accepted, 4000);
	CHECK(in.lost + out.lost > 0);
	CHECK_NUMBER(kept, 8000 - in.lost - out.lost);
	ferrite_capture_stop(engine, made);
	end();
}

static void eight_captures_run_at_once_and_no_ninth(void)
{
	struct ferrite_capture *made[FERRITE_CAPTURES], *ninth = NULL;
	struct ferrite_captured packet;
	begin();
	for (unsigned i = 0; i < FERRITE_CAPTURES; i++)
		made[i] = capture((struct ferrite_capture_config){0}, NULL);
	const struct ferrite_point point = {.port = vm.port}, gone = {.port = 77}, twice[2] = {point, point};
	struct ferrite_capture_config config = {.points = &point, .point_count = 1, .in = true, .snap_length = 64};
	CHECK_NUMBER(ferrite_capture_start(engine, &config, &ninth), -ENOSPC);
	ferrite_capture_stop(engine, made[3]);
	config.points = &gone;
	CHECK_NUMBER(ferrite_capture_start(engine, &config, &ninth), -ENOENT);
	config.points = twice;
	config.point_count = 2;
	CHECK_NUMBER(ferrite_capture_start(engine, &config, &ninth), -EINVAL);
	config.point_count = 1;
	CHECK_NUMBER(ferrite_capture_start(engine, &config, &made[3]), 0);
	CHECK_NUMBER(send_udp(2, 10), 2);
	for (unsigned i = 0; i < FERRITE_CAPTURES; i++) {
		CHECK(ferrite_capture_next(made[i], &packet));
		ferrite_capture_stop(engine, made[i]);
	}
	end();
}

static void a_port_that_closes_leaves_a_capture_that_sees_nobody_elses(void)
{
	struct ferrite_captured packet;
	struct vm next;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){0}, "dst host 10.0.0.2");
	uint32_t handle = vm.port;
	world_vm_leave(&vm);
	world_vm(&next, engine, 1, 300, 3);
	CHECK_NUMBER(next.port, handle);
	vm = next;
	CHECK_NUMBER(send_udp(1, 10), 1);
	CHECK(ferrite_capture_next(made, &packet));
	CHECK_NUMBER(packet.point, 1); /* the uplink still */
	CHECK(!ferrite_capture_next(made, &packet));
	ferrite_capture_stop(engine, made);
	end();
}

/* What a real reader makes of it. */
static void libpcap_reads_what_a_capture_writes(void)
{
	struct ferrite_captured packet;
	struct ferrite_capture_count count;
	uint8_t block[4096];
	char path[] = "/tmp/obs-test-XXXXXX", *name = path;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	unsigned read = 0;
	begin();
	struct ferrite_capture *made = capture((struct ferrite_capture_config){.snap_length = 96}, NULL);
	CHECK_NUMBER(send_udp(3, 200), 3);
	FILE *file = fdopen(mkstemp(name), "w");
	fwrite(block, 1, pcapng_section(block, sizeof block, "test"), file);
	/* One link type: libpcap refuses files of several. */
	fwrite(block, 1, pcapng_interface(block, sizeof block, PCAPNG_ETHERNET, 96, "vm", "ring", ""), file);
	while (ferrite_capture_next(made, &packet))
		if (packet.point == 0)
			fwrite(block, 1, pcapng_packet(block, sizeof block, &packet), file);
	ferrite_capture_counts(made, 0, &count);
	fwrite(block, 1, pcapng_statistics(block, sizeof block, 0, 1, 2, &count), file);
	fclose(file);
	pcap_t *reader = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, (char *)block);
	CHECK(reader != NULL);
	while (reader != NULL && pcap_next_ex(reader, &header, &bytes) == 1) {
		CHECK_NUMBER(header->caplen, 96);
		CHECK_NUMBER(header->len, 242);
		CHECK(memcmp(bytes, frame, 14) == 0);
		read++;
	}
	CHECK_NUMBER(read, 3);
	if (reader != NULL)
		pcap_close(reader);
	unlink(path);
	ferrite_capture_stop(engine, made);
	end();
}

/* --- Mirror. */

static void what_comes_in_goes_to_the_sink_too(void)
{
	begin();
	struct ferrite_mirror_config config = {.points = {{.port = vm.port}}, .point_count = 1, .source_port = 3000,
					       .destination_port = 3001};
	memcpy(config.sink.bytes, (const uint8_t[16]){0x20, 1, 0x0d, 0xb8, [15] = 9}, 16);
	CHECK_NUMBER(ferrite_mirror_start(engine, &config), 0);
	CHECK_NUMBER(ferrite_mirror_start(engine, &config), -EEXIST);
	uint32_t length = frame_udp4(frame, &vm, far.ipv4, 300, 1);
	CHECK(ring_put(vm.end, frame, length, NULL));
	world_poll(engine, NULL);
	unsigned mirrored = 0, forwarded = 0;
	uint32_t size;
	while ((size = ring_take(fabric, got, sizeof got, NULL)) > 0) {
		if (got[6] != PROTOCOL_UDP) {
			forwarded++;
			continue;
		}
		mirrored++;
		CHECK_NUMBER(size, 48 + length);
		CHECK(memcmp(got + 24, config.sink.bytes, 16) == 0);
		CHECK(memcmp(got + 8, engine->prefix, 8) == 0);
		CHECK_NUMBER(load16(got + 40), 3000);
		CHECK_NUMBER(load16(got + 42), 3001);
		CHECK(frame_checks(got, size));
		CHECK(memcmp(got + 48, frame, length) == 0);
	}
	CHECK_NUMBER(mirrored, 1);
	CHECK_NUMBER(forwarded, 1);
	/* One that does not fit with its wrapping is cut. */
	length = frame_udp4(frame, &vm, far.ipv4, 1472, 1);
	CHECK(ring_put(vm.end, frame, length, NULL));
	world_poll(engine, NULL);
	while ((size = ring_take(fabric, got, sizeof got, NULL)) > 0) {
		CHECK(frame_checks(got, size) || got[6] != PROTOCOL_UDP);
		CHECK_NUMBER(size, got[6] == PROTOCOL_UDP && engine->uplink->mtu < 48 + length ? engine->uplink->mtu :
			     got[6] == PROTOCOL_UDP ? 48 + length : 1540);
	}
	ferrite_mirror_stop(engine);
	CHECK(engine->observers == NULL);
	CHECK_NUMBER(send_udp(1, 10), 1);
	end();
}

int main(void)
{
	RUN(records_come_out_as_they_went_in_over_many_rounds);
	RUN(a_full_ring_takes_nothing_until_something_is_read);
	RUN(blocks_say_what_they_should);
	RUN(a_block_without_room_is_none);
	RUN(a_packet_is_seen_where_it_comes_in_and_where_it_leaves);
	RUN(a_filter_over_the_inner_packet_holds_at_both_points);
	RUN(a_wrong_filter_is_told_in_the_words_of_libpcap);
	RUN(limits_end_a_capture_and_not_the_traffic);
	RUN(a_reader_that_sleeps_loses_and_the_traffic_does_not);
	RUN(eight_captures_run_at_once_and_no_ninth);
	RUN(a_port_that_closes_leaves_a_capture_that_sees_nobody_elses);
	RUN(libpcap_reads_what_a_capture_writes);
	RUN(what_comes_in_goes_to_the_sink_too);
	return CHECK_RESULT();
}
