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

	switch (below(16)) {
	case 6:
	case 7: {
		auto *prefix = below(2) == 0 ? operation.mutable_put_alias_prefix() : operation.mutable_put_balancer_prefix();

		prefix->set_interface(id);
		prefix->set_prefix(spoil(pick({"10.2.0.0/16", "10.3.0.1/24", "fd00:2::/64", "10.2.0.0/33"})));
		prefix->set_underlay_address(spoil(pick({"", "", "fd00:0:0:f:0:8000:0:1", "fd00:0:0:f:0:8000:0:2"})));
		break;
	}
	case 8: {
		auto *prefix = below(2) == 0 ? operation.mutable_delete_alias_prefix()
					     : operation.mutable_delete_balancer_prefix();

		prefix->set_interface(id);
		prefix->set_prefix(spoil(pick({"10.2.0.0/16", "10.3.0.0/24", "fd00:2::/64"})));
		break;
	}
	case 9: {
		auto *vip = operation.mutable_put_vip();

		vip->set_interface(id);
		vip->set_ip(spoil(pick({"1.1.1.1", "1.1.1.2", "fd00::1"})));
		break;
	}
	case 10: {
		auto *nat = operation.mutable_put_nat();

		nat->set_interface(id);
		nat->set_ip(spoil(pick({"1.1.1.1", "1.1.1.2"})));
		nat->set_min_port(below(8) * 10);
		nat->set_max_port(below(9) * 10);
		break;
	}
	case 11: {
		auto *nat = below(3) == 0 ? operation.mutable_delete_neighbor_nat() : operation.mutable_put_neighbor_nat();

		nat->set_vni(vni);
		nat->set_ip(spoil(pick({"1.1.1.1", "1.1.1.2"})));
		nat->set_min_port(below(8) * 10);
		nat->set_max_port(below(9) * 10);
		nat->set_underlay_address(spoil(pick({"fd00:f:2::1", "fd00:f:3::1"})));
		break;
	}
	case 12: {
		auto *balancer = operation.mutable_put_load_balancer();

		balancer->set_id(spoil(pick({"lb-1", "lb-2"})));
		balancer->set_vni(vni);
		balancer->set_ip(spoil(pick({"1.1.1.1", "1.1.1.3", "fd00::3"})));
		for (unsigned port = below(3); port > 0; --port) {
			balancer->add_ports()->set_first(port * 100);
			balancer->mutable_ports(balancer->ports_size() - 1)->set_protocol(below(8) == 0 ? 1 : 6);
		}
		for (unsigned target = below(4); target > 0; --target)
			balancer->add_targets(spoil("fd00:f:2::" + std::to_string(target)));
		break;
	}
	case 13: {
		auto *firewall = operation.mutable_put_firewall();

		firewall->set_interface(id);
		firewall->set_ingress(static_cast<ferrite::dataplane::v1::FirewallDefault>(below(4)));
		for (unsigned i = below(4); i > 0; --i) {
			auto *rule = firewall->add_rules();

			rule->set_id(spoil(std::to_string(i)));
			rule->set_priority(below(3));
			rule->set_source(spoil(pick({"", "10.0.0.0/8", "fd00::/16", "0.0.0.0/0"})));
			rule->set_destination(pick({"", "10.0.0.0/8", "::/0"}));
			rule->set_protocol(pick({"6", "1", "0"})[0] - static_cast<unsigned>('0'));
			if (below(3) == 0)
				rule->mutable_source_ports()->set_last(below(70000));
			if (below(3) == 0)
				rule->set_icmp_type(below(300));
		}
		break;
	}
	case 14:
		switch (below(4)) {
		case 0:
			operation.set_delete_vip(id);
			break;
		case 1:
			operation.set_delete_nat(id);
			break;
		case 2:
			operation.set_delete_firewall(id);
			break;
		default:
			operation.set_delete_load_balancer(spoil(pick({"lb-1", "lb-2"})));
		}
		break;
	case 15: {
		auto *route = operation.mutable_put_route();

		route->set_vni(vni);
		route->set_prefix(spoil(pick({"10.0.0.0/8", "10.1.0.0/16"})));
		for (unsigned hop = below(4); hop > 0; --hop) {
			route->add_hops()->set_address(spoil("fd00:f:2::" + std::to_string(1 + below(5))));
			route->mutable_hops(route->hops_size() - 1)->set_weight(below(300));
		}
		break;
	}
	case 0: {
		auto *spec = operation.mutable_create_interface();

		spec->set_id(id);
		spec->set_vni(vni);
		spec->set_ipv4(spoil(pick({"10.0.0.1", "10.0.0.2", "0.0.0.0"})));
		spec->set_ipv6(spoil(pick({"", "fd00::1", "::"})));
		spec->set_device(spoil(pick({"port0", "port1", "vtap:t1", "eth:eth0"})));
		spec->set_hostname(spoil(pick({"", "", "name"})));
		spec->set_total_rate(below(3));
		spec->set_public_rate(below(2));
		spec->set_pxe_server(spoil(pick({"", "", "10.0.0.9", "fd00::9"})));
		spec->set_pxe_file(spoil(pick({"", "boot"})));
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

template <class Value>
static void add(void *sum, std::uint64_t (*digest)(const Value *value), const Value *value)
{
	*static_cast<std::uint64_t *>(sum) ^= digest(value);
}

/* Of everything that is listed. */
static std::uint64_t listed_digest(const struct control *control)
{
	std::uint64_t sum = 0;

	control_interface_each(
		control,
		[](void *to, const struct control_interface *interface) {
			*static_cast<std::uint64_t *>(to) ^= control_digest_interface(&interface->spec);
		},
		&sum);
	control_route_each(
		control, 0,
		[](void *to, const struct control_route *route) {
			*static_cast<std::uint64_t *>(to) ^=
				route->hop_count > 1
					? control_digest_hops(&route->key, route->hops, route->hop_count)
					: control_digest_route(&route->key, &route->next_hop, route->next_hop_vni);
		},
		&sum);
	for (bool routed : {false, true})
		control_prefix_each(
			control, nullptr, routed,
			[](void *to, const control_prefix *prefix) { add(to, control_digest_prefix, prefix); }, &sum);
	control_vip_each(
		control, [](void *to, const control_vip *vip) { add(to, control_digest_vip, vip); }, &sum);
	control_nat_each(
		control, [](void *to, const control_nat *nat) { add(to, control_digest_nat, nat); }, &sum);
	control_neighbor_nat_each(
		control,
		[](void *to, const ferrite_neighbor_nat *nat) { add(to, control_digest_neighbor_nat, nat); }, &sum);
	control_balancer_each(
		control,
		[](void *to, const control_balancer *balancer) { add(to, control_digest_balancer, balancer); }, &sum);
	control_firewall_each(
		control,
		[](void *to, const control_firewall *firewall) { add(to, control_digest_firewall, firewall); }, &sum);
	return sum;
}

static void any_operation_has_a_result_and_leaves_a_true_digest()
{
	struct world world = world_open();
	unsigned done = 0, refused = 0;

	for (int step = 0; step < 40000; ++step) {
		Result result;

		ferrite::apply_operation(world.control, some_operation(), &result);
		CHECK(result.message().empty() == false);
		CHECK(result.has_interface() == false || result.code() == 0);
		done += result.code() == 0;
		refused += result.code() == 3;
		if (step % 16 == 0)
			CHECK(world_state(&world).digest == listed_digest(world.control));
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
