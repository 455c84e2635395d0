/* One uplink or two: which of them a flow leaves by, and what happens when one is cut. */
#include <errno.h>
#include <time.h>

#include "control/check.h"
#include "world.h"

enum { FLOWS = 20000 };

static uint8_t frame[FRAME_ROOM], got[FRAME_ROOM];
static char error[FERRITE_ERROR_TEXT];

struct pair {
	struct ferrite_engine *engine;
	struct ring_end *ends[2];
	struct vm vm, far;
	unsigned sent[2];
};

static struct ferrite_engine *start(const char *first, const char *second)
{
	struct ferrite_engine_config config = {.name = "test", .mtu = 1500, .uplinks = {first, second},
					       .uplink_count = second != NULL ? 2 : 1};
	struct ferrite_engine *engine = NULL;
	memcpy(config.underlay_prefix.bytes, (const uint8_t[8]){0xfd, 0, 0, 0x0f, 0, 1}, 8);
	return ferrite_engine_start(&config, &engine, error) < 0 ? NULL : engine;
}

static bool begin(struct pair *pair, const char *first, const char *second)
{
	*pair = (struct pair){.engine = start(first, second)};
	CHECK_TEXT(error, "");
	if (pair->engine == NULL)
		return false;
	pair->ends[0] = ring_join("upl-a");
	pair->ends[1] = second != NULL ? ring_join("upl-b") : NULL;
	world_vm(&pair->vm, pair->engine, 1, 200, 1);
	pair->far = pair->vm;
	pair->far.ipv4[3] = pair->far.ipv6[15] = 2;
	memcpy(pair->far.underlay.bytes, (const uint8_t[16]){0xfd, 0, 0, 0x0f, 0, 2, 0, 0, 0xd0, 1, [15] = 1}, 16);
	world_route(pair->engine, 200, &pair->far);
	return true;
}

static void end(struct pair *pair)
{
	world_vm_leave(&pair->vm);
	ferrite_engine_stop(pair->engine);
	for (unsigned i = 0; i < 2; i++)
		if (pair->ends[i] != NULL)
			ring_leave(pair->ends[i]);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
}

static void count(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++)
		while (pair->ends[i] != NULL && ring_take(pair->ends[i], got, sizeof got, NULL) > 0)
			pair->sent[i]++;
}

/* One packet of each of `flows` flows, by turns of IPv4 or of IPv6. */
static void send_flows(struct pair *pair, unsigned flows, bool wide)
{
	pair->sent[0] = pair->sent[1] = 0;
	for (unsigned i = 0; i < flows; i++) {
		uint32_t length = wide ? frame_udp6(frame, &pair->vm, pair->far.ipv6, 32, 1) :
					 frame_udp4(frame, &pair->vm, pair->far.ipv4, 32, 1);
		store16(frame + (wide ? 54 : 34), 1024 + i % 60000);
		memset(frame + (wide ? 60 : 40), 0, 2); /* no UDP checksum: the ports were changed */
		CHECK(ring_put(pair->vm.end, frame, length, NULL));
		if (i % 32 == 31 || i + 1 == flows) {
			(void)ferrite_engine_poll(pair->engine);
			count(pair);
		}
	}
	world_poll(pair->engine, NULL);
	count(pair);
}

static void pass_a_tick(struct ferrite_engine *engine)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = 110000000}, NULL);
	for (unsigned i = 0; i < 32; i++)
		(void)ferrite_engine_poll(engine);
}

static bool about(unsigned found, double share)
{
	double wanted = FLOWS * share, margin = 5 * 71; /* five standard deviations at the half, 71 of 20,000 */
	return found > wanted - margin && found < wanted + margin;
}

static void flows_are_divided_by_weight(void)
{
	static const struct { const char *first, *second; double share; } cases[] = {
		{"a=ring:upl-a", "b=ring:upl-b", 0.5},
		{"a=ring:upl-a,weight=3", "b=ring:upl-b", 0.75},
		{"a=ring:upl-a,weight=1", "b=ring:upl-b,weight=99", 0.01},
		{"a=ring:upl-a,weight=37", "b=ring:upl-b,weight=63", 0.37},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pair pair;
		if (!begin(&pair, cases[i].first, cases[i].second))
			return;
		for (unsigned wide = 0; wide < 2; wide++) {
			send_flows(&pair, FLOWS, wide == 1);
			CHECK_NUMBER(pair.sent[0] + pair.sent[1], FLOWS);
			CHECK(about(pair.sent[0], cases[i].share));
			if (!about(pair.sent[0], cases[i].share))
				printf("%u of %d, not %g\n", pair.sent[0], FLOWS, cases[i].share);
		}
		CHECK_NUMBER(world_counter(pair.engine, "uplink.tx_packets"), 2 * FLOWS);
		CHECK_NUMBER(world_counter(pair.engine, "uplink.a.tx_packets") +
			     world_counter(pair.engine, "uplink.b.tx_packets"), 2 * FLOWS);
		end(&pair);
	}
}

static void a_flow_stays_on_its_link(void)
{
	struct pair pair;
	if (!begin(&pair, "a=ring:upl-a", "b=ring:upl-b"))
		return;
	for (unsigned flow = 0; flow < 20; flow++) {
		uint32_t length = frame_udp4(frame, &pair.vm, pair.far.ipv4, 32, 1);
		store16(frame + 34, 2000 + flow);
		memset(frame + 40, 0, 2);
		pair.sent[0] = pair.sent[1] = 0;
		for (unsigned i = 0; i < 20; i++)
			CHECK(ring_put(pair.vm.end, frame, length, NULL));
		world_poll(pair.engine, NULL);
		count(&pair);
		CHECK(pair.sent[0] == 20 || pair.sent[1] == 20);
	}
	end(&pair);
}

static void a_cut_link_gives_its_flows_to_the_other_and_takes_them_back(void)
{
	struct pair pair;
	if (!begin(&pair, "a=ring:upl-a", "b=ring:upl-b,weight=2"))
		return;
	CHECK_NUMBER(world_counter(pair.engine, "uplink.a.up"), 1);
	for (unsigned i = 0; i < 2; i++) {
		ring_cut(pair.ends[i], true);
		pass_a_tick(pair.engine);
		CHECK_NUMBER(world_counter(pair.engine, i == 0 ? "uplink.a.up" : "uplink.b.up"), 0);
		for (unsigned wide = 0; wide < 2; wide++) {
			send_flows(&pair, 2000, wide == 1);
			CHECK_NUMBER(pair.sent[i], 0);
			CHECK_NUMBER(pair.sent[1 - i], 2000);
		}
		ring_cut(pair.ends[i], false);
		pass_a_tick(pair.engine);
		send_flows(&pair, FLOWS, false);
		CHECK(about(pair.sent[0], 1.0 / 3));
		CHECK_NUMBER(world_counter(pair.engine, i == 0 ? "uplink.a.downs" : "uplink.b.downs"), 1);
	}
	/* Both cut: what is sent is lost and counted, and nothing else happens. */
	ring_cut(pair.ends[0], true);
	ring_cut(pair.ends[1], true);
	pass_a_tick(pair.engine);
	send_flows(&pair, 100, false);
	CHECK_NUMBER(pair.sent[0] + pair.sent[1], 0);
	CHECK_NUMBER(world_counter(pair.engine, "uplink.tx_drops"), 100);
	end(&pair);
}

static void both_links_bring_packets(void)
{
	struct pair pair;
	if (!begin(&pair, "a=ring:upl-a", "b=ring:upl-b"))
		return;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t outer[200] = {0x60, [6] = 4, [7] = 64};
		uint32_t length = frame_udp4(frame, &pair.far, pair.vm.ipv4, 32, 1) - 14;
		store16(outer + 4, length);
		memcpy(outer + 24, pair.vm.underlay.bytes, 16);
		memcpy(outer + 40, frame + 14, length);
		CHECK(ring_put(pair.ends[i], outer, 40 + length, NULL));
		world_poll(pair.engine, NULL);
		CHECK_NUMBER(ring_take(pair.vm.end, got, sizeof got, NULL), length + 14);
	}
	CHECK_NUMBER(world_counter(pair.engine, "uplink.a.rx_packets"), 1);
	CHECK_NUMBER(world_counter(pair.engine, "uplink.b.rx_packets"), 1);
	end(&pair);
}

static void one_uplink_is_as_before(void)
{
	struct pair pair;
	if (!begin(&pair, "ring:upl-a", NULL))
		return;
	send_flows(&pair, 1000, false);
	CHECK_NUMBER(pair.sent[0], 1000);
	CHECK_NUMBER(world_counter(pair.engine, "uplink.upl-a.tx_packets"), 1000);
	end(&pair);
}

static void what_cannot_be_an_uplink_is_said(void)
{
	CHECK(start("ring:upl-a", "ring:upl-a") == NULL);
	CHECK(strstr(error, "another one has the name upl-a") != NULL);
	CHECK(start("vhost:/tmp/x", NULL) == NULL);
	CHECK(strstr(error, "vhost is for VMs") != NULL);
	CHECK(start("eth:upl-missing", NULL) == NULL);
	CHECK(strstr(error, "upl-missing") != NULL);
	struct ferrite_engine *none = start("none", NULL);
	CHECK(none != NULL && none->uplink == NULL);
	ferrite_engine_stop(none);
}

int main(void)
{
	RUN(flows_are_divided_by_weight);
	RUN(a_flow_stays_on_its_link);
	RUN(a_cut_link_gives_its_flows_to_the_other_and_takes_them_back);
	RUN(both_links_bring_packets);
	RUN(one_uplink_is_as_before);
	RUN(what_cannot_be_an_uplink_is_said);
	return CHECK_RESULT();
}
