/* What stands around interfaces, in both contracts. */
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../control/digest.h"
#include "write.hpp"

namespace ferrite {

namespace {

/* Empty where nobody wants one. */
std::string wanted(const ferrite_ipv6 &address)
{
	return control_ipv6_is_zero(&address) ? std::string() : text_of(address);
}

std::string masked(std::uint8_t family, std::uint8_t length, const std::uint8_t *bytes)
{
	ferrite_route_key key{};
	char text[CONTROL_PREFIX_TEXT];

	key.family = family;
	key.length = length;
	std::memcpy(key.prefix, bytes, family == 4 ? 4 : 16);
	control_prefix_mask(&key);
	return {text, control_prefix_format(&key, text)};
}

std::int32_t lower(const control_rule_ports &ports)
{
	return ports.any ? -1 : ports.first;
}

std::int32_t upper(const control_rule_ports &ports)
{
	return ports.any ? -1 : ports.last;
}

template <class Filter>
void write_ports(const control_rule &rule, Filter *out)
{
	out->set_src_port_lower(lower(rule.source_ports));
	out->set_src_port_upper(upper(rule.source_ports));
	out->set_dst_port_lower(lower(rule.destination_ports));
	out->set_dst_port_upper(upper(rule.destination_ports));
}

/* One of every family is told as IPv4's /0: this contract has no word for it. */
void write_rule_prefix(const control_rule_prefix &prefix, dpdkironcore::v1::Prefix *out)
{
	write_address(prefix.family == 6 ? 6 : 4, prefix.bytes, out->mutable_ip());
	out->set_length(prefix.length);
}

void write_rule(const control_rule &rule, dataplane::v1::FirewallRule *out)
{
	out->set_id(rule.id);
	out->set_egress(rule.egress);
	out->set_accept(rule.accept);
	out->set_priority(rule.priority);
	if (rule.source.family != 0)
		out->set_source(masked(rule.source.family, rule.source.length, rule.source.bytes));
	if (rule.destination.family != 0)
		out->set_destination(masked(rule.destination.family, rule.destination.length, rule.destination.bytes));
	out->set_protocol(rule.protocol);
	if (!rule.source_ports.any) {
		out->mutable_source_ports()->set_first(rule.source_ports.first);
		out->mutable_source_ports()->set_last(rule.source_ports.last);
	}
	if (!rule.destination_ports.any) {
		out->mutable_destination_ports()->set_first(rule.destination_ports.first);
		out->mutable_destination_ports()->set_last(rule.destination_ports.last);
	}
	if (rule.icmp_type >= 0)
		out->set_icmp_type(static_cast<std::uint32_t>(rule.icmp_type));
	if (rule.icmp_code >= 0)
		out->set_icmp_code(static_cast<std::uint32_t>(rule.icmp_code));
}

dataplane::v1::FirewallDefault default_of(ferrite_firewall_default value)
{
	return value == FERRITE_ACCEPT ? dataplane::v1::FIREWALL_DEFAULT_ACCEPT
	       : value == FERRITE_DROP ? dataplane::v1::FIREWALL_DEFAULT_DROP
				       : dataplane::v1::FIREWALL_DEFAULT_RULES;
}

} // namespace

void write_prefix(const control_prefix &prefix, dpdkironcore::v1::Prefix *out)
{
	write_address(prefix.key.family, prefix.key.prefix, out->mutable_ip());
	out->set_length(prefix.key.length);
	out->set_underlay_route(text_of(prefix.underlay));
}

void write_nat(const control_nat &nat, dpdkironcore::v1::NatEntry *out)
{
	write_address(nat.primary, out->mutable_nat_ip());
	write_address(nat.ip, out->mutable_actual_nat_ip());
	out->set_min_port(nat.min);
	out->set_max_port(nat.max);
	out->set_underlay_route(text_of(nat.underlay));
	out->set_vni(nat.vni);
}

void write_nat(const ferrite_neighbor_nat &nat, dpdkironcore::v1::NatEntry *out)
{
	write_address(nat.ip, out->mutable_actual_nat_ip());
	out->set_min_port(nat.min);
	out->set_max_port(nat.max);
	out->set_underlay_route(text_of(nat.underlay));
	out->set_vni(nat.vni);
}

void write_port(const ferrite_balancer_port &port, dpdkironcore::v1::LbPort *out)
{
	out->set_port(port.first);
	out->set_protocol(static_cast<dpdkironcore::v1::Protocol>(port.protocol));
}

void write_balancer(const control_balancer &balancer, dpdkironcore::v1::Loadbalancer *out)
{
	out->set_id(balancer.spec.id);
	out->set_vni(balancer.spec.vni);
	write_address(balancer.spec.address.family, balancer.spec.address.bytes, out->mutable_ip());
	for (unsigned i = 0; i < balancer.spec.port_count; ++i)
		write_port(balancer.spec.ports[i], out->add_ports());
	out->set_underlay_route(text_of(balancer.underlay));
}

void write_rule(const control_rule &rule, dpdkironcore::v1::FirewallRule *out)
{
	dpdkironcore::v1::ProtocolFilter *filter = out->mutable_protocol_filter();

	out->set_id(rule.id);
	out->set_direction(rule.egress ? dpdkironcore::v1::EGRESS : dpdkironcore::v1::INGRESS);
	out->set_action(rule.accept ? dpdkironcore::v1::ACCEPT : dpdkironcore::v1::DROP);
	out->set_priority(rule.priority);
	write_rule_prefix(rule.source, out->mutable_source_prefix());
	write_rule_prefix(rule.destination, out->mutable_destination_prefix());
	if (rule.protocol == 6) {
		write_ports(rule, filter->mutable_tcp());
	} else if (rule.protocol == 17) {
		write_ports(rule, filter->mutable_udp());
	} else if (rule.protocol == 1) {
		filter->mutable_icmp()->set_icmp_type(rule.icmp_type);
		filter->mutable_icmp()->set_icmp_code(rule.icmp_code);
	}
}

void write_capture(const control_capture &capture, dpdkironcore::v1::CaptureConfig *out)
{
	write_address(capture.sink, out->mutable_sink_node_ip());
	out->set_udp_src_port(capture.source_port);
	out->set_udp_dst_port(capture.destination_port);
	for (unsigned i = 0; i < capture.interface_count; ++i) {
		dpdkironcore::v1::CapturedInterface *interface = out->add_interfaces();

		if (capture.interfaces[i].uplink) {
			interface->set_interface_type(dpdkironcore::v1::SINGLE_PF);
			interface->set_pf_index(capture.interfaces[i].uplink_index);
		} else {
			interface->set_interface_type(dpdkironcore::v1::SINGLE_VF);
			interface->set_vf_name(capture.interfaces[i].device);
		}
	}
}

void write_prefix(const control_prefix &prefix, dataplane::v1::PrefixState *out)
{
	out->mutable_spec()->set_interface(prefix.interface);
	out->mutable_spec()->set_prefix(masked(prefix.key.family, prefix.key.length, prefix.key.prefix));
	out->mutable_spec()->set_underlay_address(wanted(prefix.preferred));
	out->set_underlay_address(text_of(prefix.underlay));
}

void write_vip(const control_vip &vip, dataplane::v1::VipState *out)
{
	out->mutable_spec()->set_interface(vip.interface);
	out->mutable_spec()->set_ip(text_of(vip.ip));
	out->mutable_spec()->set_underlay_address(wanted(vip.preferred));
	out->set_underlay_address(text_of(vip.underlay));
}

void write_nat(const control_nat &nat, dataplane::v1::NatState *out)
{
	dataplane::v1::NatSpec *spec = out->mutable_spec();

	spec->set_interface(nat.interface);
	spec->set_ip(text_of(nat.ip));
	spec->set_min_port(nat.min);
	spec->set_max_port(nat.max);
	spec->set_underlay_address(wanted(nat.preferred));
	out->set_underlay_address(text_of(nat.underlay));
}

void write_neighbor_nat(const ferrite_neighbor_nat &nat, dataplane::v1::NeighborNatSpec *out)
{
	out->set_vni(nat.vni);
	out->set_ip(text_of(nat.ip));
	out->set_min_port(nat.min);
	out->set_max_port(nat.max);
	out->set_underlay_address(text_of(nat.underlay));
}

void write_balancer(const control_balancer &balancer, dataplane::v1::LoadBalancerState *out)
{
	dataplane::v1::LoadBalancerSpec *spec = out->mutable_spec();
	ferrite_balancer_port ports[FERRITE_MAX_BALANCER_PORTS];
	char text[CONTROL_ADDRESS_TEXT];

	spec->set_id(balancer.spec.id);
	spec->set_vni(balancer.spec.vni);
	spec->set_ip(text, balancer.spec.address.family == 4
				   ? control_ipv4_format(balancer.spec.address.bytes, text)
				   : control_ipv6_format(balancer.spec.address.bytes, text));
	std::memcpy(ports, balancer.spec.ports, sizeof ports);
	std::qsort(ports, balancer.spec.port_count, sizeof *ports, control_balancer_port_order);
	for (unsigned i = 0; i < balancer.spec.port_count; ++i) {
		dataplane::v1::LoadBalancerPort *port = spec->add_ports();

		port->set_protocol(ports[i].protocol);
		port->set_first(ports[i].first);
		port->set_last(ports[i].last);
	}
	for (std::uint32_t i = 0; i < balancer.target_count; ++i)
		spec->add_targets(text_of(balancer.targets[i]));
	spec->set_underlay_address(wanted(balancer.spec.preferred));
	out->set_underlay_address(text_of(balancer.underlay));
}

void write_firewall(const control_firewall &firewall, dataplane::v1::FirewallSpec *out)
{
	out->set_interface(firewall.interface);
	out->set_ingress(default_of(firewall.ingress));
	out->set_egress(default_of(firewall.egress));
	for (unsigned i = 0; i < firewall.rule_count; ++i)
		write_rule(firewall.rules[i], out->add_rules());
}

} // namespace ferrite
