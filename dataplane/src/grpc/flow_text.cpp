#include "flow_text.hpp"

#include <chrono>

#include "../control/address.h"

namespace ferrite {

namespace {

template <class Clock> std::uint64_t now_ms()
{
	return static_cast<std::uint64_t>(
		std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count());
}

const std::uint8_t *second_of(unsigned family, const std::uint8_t *addresses)
{
	return addresses + (family == 4 ? 4 : 16);
}

} // namespace

EngineTime::EngineTime() : offset(now_ms<std::chrono::system_clock>() - now_ms<std::chrono::steady_clock>()) {}

std::string address_text(unsigned family, const std::uint8_t *bytes)
{
	char text[CONTROL_ADDRESS_TEXT];

	return {text, family == 4 ? control_ipv4_format(bytes, text) : control_ipv6_format(bytes, text)};
}

void write_flow(const struct control *control, FlowNames &names, const EngineTime &time,
		const ferrite_flow_event &flow, dataplane::v1::Flow *out)
{
	out->set_interface(names.interface(flow.interface));
	out->set_load_balancer(names.balancer(control, flow.balancer));
	out->set_vni(flow.vni);
	out->set_protocol(flow.protocol);
	out->set_source(address_text(flow.family, flow.addresses));
	out->set_destination(address_text(flow.family, second_of(flow.family, flow.addresses)));
	out->set_source_port(flow.ports[0]);
	out->set_destination_port(flow.ports[1]);
	out->set_from_vm(flow.from_vm);
	if (flow.translated) {
		/* NAT64 makes IPv4 of IPv6: what has nothing behind its first 8 bytes is IPv4. */
		static const std::uint8_t zero[24] = {};
		unsigned family = std::equal(zero, zero + 24, flow.translated_addresses + 8) ? 4 : 6;
		auto *translation = out->mutable_translation();

		translation->set_source(address_text(family, flow.translated_addresses));
		translation->set_destination(address_text(family, second_of(family, flow.translated_addresses)));
		translation->set_source_port(flow.translated_ports[0]);
		translation->set_destination_port(flow.translated_ports[1]);
	}
	out->set_rule(names.rule(control, flow.interface, flow.rule));
	out->set_began_ms(time.epoch_ms(flow.began_ms));
	out->set_last_ms(time.epoch_ms(flow.time_ms));
	out->set_packets(flow.packets[0]);
	out->set_bytes(flow.bytes[0]);
	out->set_reply_packets(flow.packets[1]);
	out->set_reply_bytes(flow.bytes[1]);
}

} // namespace ferrite
