/* Operations as they come off the wire, well formed and not, against the control layer above the fake engine. */
#include <cstdint>
#include <google/protobuf/stubs/logging.h>
#include <random>
#include <string>

#include "check.h"
#include "control/digest.h"
#include "grpc/apply.hpp"
#include "grpc/read.hpp"
#include "grpc/write.hpp"

extern "C" {
#include "world.h"
}

using ferrite::dataplane::v1::ApplyRequest;
using ferrite::dataplane::v1::Operation;
using ferrite::dataplane::v1::Result;

static std::mt19937 random_source(5);

static unsigned below(unsigned bound)
{
	return static_cast<unsigned>(random_source()) % bound;
}

static std::string pick(std::initializer_list<const char *> texts)
{
	return texts.begin()[below(static_cast<unsigned>(texts.size()))];
}

/* A text that is often right, and else near it or nothing like it. */
static std::string spoil(std::string text)
{
	switch (below(12)) {
	case 0:
		return {};
	case 1:
		return text + std::string(1, '\0') + "x";
	case 2:
		return std::string(below(200), 'a');
	case 3:
		if (!text.empty())
			text[below(static_cast<unsigned>(text.size()))] = static_cast<char>(below(256));
		return text;
	default:
		return text;
	}
}

static Operation some_operation()
{
	Operation operation;
	std::string id = spoil(pick({"vm-1", "vm-2", "vm-3"}));
	std::uint32_t vni = 1 + below(3);

	switch (below(6)) {
	case 0: {
		auto *spec = operation.mutable_create_interface();

		spec->set_id(id);
		spec->set_vni(vni);
		spec->set_ipv4(spoil(pick({"10.0.0.1", "10.0.0.2", "0.0.0.0"})));
		spec->set_ipv6(spoil(pick({"", "fd00::1", "::"})));
		spec->set_device(spoil(pick({"port0", "port1", "vtap:t1", "eth:eth0"})));
		spec->set_hostname(spoil(""));
		break;
	}
	case 1:
		operation.set_delete_interface(id);
		break;
	case 2:
	case 3: {
		auto *route = operation.mutable_put_route();

		route->set_vni(vni);
		route->set_prefix(spoil(pick({"10.0.0.0/8", "10.1.0.0/16", "10.0.0.1/32", "::/0", "10.0.0.0/33"})));
		route->set_next_hop(spoil(pick({"fd00:f:2::1", "fd00:f:3::1", "10.0.0.1"})));
		route->set_next_hop_vni(below(4));
		break;
	}
	case 4:
		operation.mutable_delete_route()->set_vni(vni);
		operation.mutable_delete_route()->set_prefix(spoil(pick({"10.0.0.0/8", "::/0", "10.0.0.1/32"})));
		break;
	default:
		if (below(10) == 0)
			operation.set_reset_vni(vni);
	}
	return operation;
}

static void any_operation_has_a_result_and_leaves_a_true_digest()
{
	struct world world = world_open();
	unsigned done = 0, refused = 0;

	for (int step = 0; step < 40000; ++step) {
		Result result;
		std::uint64_t digest = 0;

		ferrite::apply_operation(world.control, some_operation(), &result);
		CHECK(result.message().empty() == false);
		CHECK(result.has_interface() == false || result.code() == 0);
		done += result.code() == 0;
		refused += result.code() == 3;
		control_interface_each(
			world.control,
			[](void *sum, const struct control_interface *interface) {
				*static_cast<std::uint64_t *>(sum) ^= control_digest_interface(&interface->spec);
			},
			&digest);
		control_route_each(
			world.control, 0,
			[](void *sum, const struct control_route *route) {
				*static_cast<std::uint64_t *>(sum) ^=
					control_digest_route(&route->key, &route->next_hop, route->next_hop_vni);
			},
			&digest);
		CHECK(world_state(&world).digest == digest);
	}
	CHECK(done > 1000 && refused > 1000);
	world_close(&world);
}

static void bytes_that_happen_to_parse_do_no_harm()
{
	struct world world = world_open();
	ApplyRequest request;
	std::string bytes;

	for (int i = 0; i < 8; ++i)
		*request.add_operations() = some_operation();
	bytes = request.SerializeAsString();
	for (int step = 0; step < 40000; ++step) {
		std::string broken = bytes;
		ApplyRequest parsed;

		for (unsigned flips = 1 + below(8); flips > 0; --flips)
			broken[below(static_cast<unsigned>(broken.size()))] = static_cast<char>(below(256));
		broken.resize(below(static_cast<unsigned>(broken.size()) + 1));
		if (!parsed.ParsePartialFromString(broken))
			continue;
		for (const Operation &operation : parsed.operations()) {
			Result result;

			ferrite::apply_operation(world.control, operation, &result);
		}
	}
	world_close(&world);
}

static void an_answer_reads_back_as_what_was_asked()
{
	struct world world = world_open();
	Operation operation;
	Result result;
	control_interface_spec spec;

	operation.mutable_create_interface()->set_id("vm-1");
	operation.mutable_create_interface()->set_vni(7);
	operation.mutable_create_interface()->set_ipv6("FD00:0::1");
	operation.mutable_create_interface()->set_device("port0");
	ferrite::apply_operation(world.control, operation, &result);
	CHECK_NUMBER(result.code(), 0);
	CHECK_TEXT(result.interface().spec().ipv4().c_str(), "");
	CHECK_TEXT(result.interface().spec().ipv6().c_str(), "fd00::1");
	CHECK_TEXT(result.interface().device().c_str(), "r0");
	CHECK(ferrite::read_interface(result.interface().spec(), ferrite_ipv6{}, spec) == nullptr);
	CHECK(control_digest_interface(&spec) == world_state(&world).digest);
	world_close(&world);
}

int main()
{
	google::protobuf::SetLogHandler(nullptr); /* thousands of lines about what this test does on purpose */
	RUN(an_answer_reads_back_as_what_was_asked);
	RUN(any_operation_has_a_result_and_leaves_a_true_digest);
	RUN(bytes_that_happen_to_parse_do_no_harm);
	return CHECK_RESULT();
}
