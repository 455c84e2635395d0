/* Requests of ferrite.dataplane.v1. */
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../control/digest.h"
#include "read_text.hpp"

namespace ferrite {

Invalid read_interface(const dataplane::v1::InterfaceSpec &spec, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out)
{
	out = {};
	out.vni = spec.vni();
	if (!has_id_charset(spec.id()) || !copy_text(spec.id(), 1, out.id, sizeof out.id))
		return "Invalid interface_id";
	if (!spec.ipv4().empty() && !read_ipv4(spec.ipv4(), out.ipv4))
		return "Invalid ipv4_config.primary_address";
	if (!spec.ipv6().empty() && !read_ipv6(spec.ipv6(), out.ipv6))
		return "Invalid ipv6_config.primary_address";
	if (control_ipv4_is_zero(&out.ipv4) && control_ipv6_is_zero(&out.ipv6))
		return "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination";
	if (!copy_text(spec.device(), 1, out.device, sizeof out.device))
		return "Invalid device_name";
	if (!copy_text(spec.hostname(), 0, out.hostname, sizeof out.hostname))
		return "Invalid hostname";
	if (!spec.pxe_server().empty() || !spec.pxe_file().empty()) {
		Invalid invalid = read_pxe(spec.pxe_server(), spec.pxe_file(), out);

		if (invalid != nullptr)
			return invalid;
	}
	out.total_rate = spec.total_rate();
	out.public_rate = spec.public_rate();
	out.spoof_check_off = spec.spoof_check_off();
	out.flow_limit = spec.flow_limit();
	out.flow_rate = spec.flow_rate();
	return read_preferred(spec.underlay_address(), underlay_prefix, out.preferred_underlay);
}

Invalid read_route_prefix(const dataplane::v1::Route &route, ferrite_route_key &out)
{
	out = {};
	out.vni = route.vni();
	switch (control_prefix_parse(route.prefix().data(), route.prefix().size(), &out)) {
	case CONTROL_PREFIX_OK:
		return nullptr;
	case CONTROL_PREFIX_BAD_IP:
		return "Invalid route.prefix.ip";
	case CONTROL_PREFIX_BAD_LENGTH:
		break;
	}
	return "Invalid route.prefix.length";
}

static Invalid read_hop(const dataplane::v1::Hop &hop, ferrite_hop &out, bool &is_ipv4)
{
	ferrite_ipv4 ipv4;

	out = {};
	if (read_ipv4(hop.address(), ipv4))
		is_ipv4 = true;
	else if (!read_ipv6(hop.address(), out.address))
		return "Invalid route.nexthop_address";
	if (hop.weight() > 256)
		return "Invalid route.hops.weight";
	out.vni = hop.vni();
	out.weight = static_cast<std::uint16_t>(hop.weight() == 0 ? 1 : hop.weight());
	return nullptr;
}

static int hop_order(const void *one, const void *other)
{
	return std::memcmp(&static_cast<const ferrite_hop *>(one)->address,
			   &static_cast<const ferrite_hop *>(other)->address, sizeof(ferrite_ipv6));
}

static Invalid read_hops(const dataplane::v1::Route &route, control_route &out, ferrite_hop (&hops)[FERRITE_MAX_HOPS],
			 bool &is_ipv4)
{
	unsigned count = 0;

	if (route.hops_size() > FERRITE_MAX_HOPS)
		return "Too many route.hops";
	for (const auto &hop : route.hops()) {
		Invalid invalid = read_hop(hop, hops[count++], is_ipv4);

		if (invalid != nullptr)
			return invalid;
	}
	if (is_ipv4)
		return nullptr;
	std::qsort(hops, count, sizeof *hops, hop_order);
	for (unsigned i = 1; i < count; ++i)
		if (hop_order(&hops[i - 1], &hops[i]) == 0)
			return "Duplicate route.hops entry";
	out.next_hop = hops[0].address;
	out.next_hop_vni = hops[0].vni;
	out.hop_count = count;
	out.hops = hops;
	return nullptr;
}

Invalid read_route(const dataplane::v1::Route &route, control_route &out, ferrite_hop (&hops)[FERRITE_MAX_HOPS],
		   bool &next_hop_is_ipv4)
{
	ferrite_ipv4 ipv4;

	out = {};
	next_hop_is_ipv4 = false;
	Invalid invalid = read_route_prefix(route, out.key);

	if (invalid != nullptr)
		return invalid;
	if (route.hops_size() > 0)
		return read_hops(route, out, hops, next_hop_is_ipv4);
	out.next_hop_vni = route.next_hop_vni();
	next_hop_is_ipv4 = read_ipv4(route.next_hop(), ipv4);
	return next_hop_is_ipv4 || read_ipv6(route.next_hop(), out.next_hop) ? nullptr
									     : "Invalid route.nexthop_address";
}

/* An address of either family, and not zero. */
static bool read_either(const std::string &text, control_address &out)
{
	static const std::uint8_t zero[16] = {};
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;

	out = {};
	if (read_ipv4(text, ipv4)) {
		out.family = 4;
		std::memcpy(out.bytes, ipv4.bytes, sizeof ipv4.bytes);
	} else if (read_ipv6(text, ipv6)) {
		out.family = 6;
		std::memcpy(out.bytes, ipv6.bytes, sizeof ipv6.bytes);
	}
	return out.family != 0 && std::memcmp(out.bytes, zero, sizeof zero) != 0;
}

Invalid read_prefix(const dataplane::v1::PrefixSpec &spec, const ferrite_ipv6 &underlay_prefix,
		    char id[CONTROL_ID_TEXT], control_prefix &out)
{
	out = {};
	out.interface = id;
	Invalid invalid = read_interface_id(spec.interface(), id);

	if (invalid != nullptr)
		return invalid;
	switch (control_prefix_parse(spec.prefix().data(), spec.prefix().size(), &out.key)) {
	case CONTROL_PREFIX_OK:
		return read_preferred(spec.underlay_address(), underlay_prefix, out.preferred);
	case CONTROL_PREFIX_BAD_IP:
		return "Invalid prefix.ip";
	case CONTROL_PREFIX_BAD_LENGTH:
		break;
	}
	return "Invalid prefix.length";
}

Invalid read_vip(const dataplane::v1::VipSpec &spec, const ferrite_ipv6 &underlay_prefix, char id[CONTROL_ID_TEXT],
		 control_address &ip, ferrite_ipv6 &preferred)
{
	Invalid invalid = read_interface_id(spec.interface(), id);

	if (invalid != nullptr)
		return invalid;
	return read_either(spec.ip(), ip) ? read_preferred(spec.underlay_address(), underlay_prefix, preferred)
					  : "Invalid vip_ip";
}

static Invalid read_range(const std::string &ip, std::uint32_t min, std::uint32_t max, control_address &out)
{
	if (!read_either(ip, out))
		return "Invalid nat_ip";
	if (min > 65535)
		return "Invalid min_port";
	if (max > 65536)
		return "Invalid max_port";
	return min < max ? nullptr : "Invalid port range";
}

Invalid read_nat(const dataplane::v1::NatSpec &spec, const ferrite_ipv6 &underlay_prefix, char id[CONTROL_ID_TEXT],
		 control_nat_spec &out)
{
	out = {};
	out.interface = id;
	out.min = spec.min_port();
	out.max = spec.max_port();
	Invalid invalid = read_interface_id(spec.interface(), id);

	if (invalid == nullptr)
		invalid = read_range(spec.ip(), out.min, out.max, out.ip);
	return invalid != nullptr ? invalid : read_preferred(spec.underlay_address(), underlay_prefix, out.preferred);
}

Invalid read_neighbor_nat(const dataplane::v1::NeighborNatSpec &spec, bool with_underlay, ferrite_neighbor_nat &out,
			  bool &is_ipv6)
{
	control_address ip{};
	Invalid invalid = read_range(spec.ip(), spec.min_port(), spec.max_port(), ip);

	out = {};
	out.vni = spec.vni();
	out.min = spec.min_port();
	out.max = spec.max_port();
	is_ipv6 = ip.family == 6;
	std::memcpy(out.ip.bytes, ip.bytes, sizeof out.ip.bytes);
	if (invalid != nullptr || !with_underlay)
		return invalid;
	return read_ipv6(spec.underlay_address(), out.underlay) ? nullptr : "Invalid underlay_route";
}

static Invalid read_balancer_ports(const dataplane::v1::LoadBalancerSpec &spec, control_balancer_spec &out)
{
	if (spec.ports_size() > FERRITE_MAX_BALANCER_PORTS)
		return "Too many loadbalanced_ports";
	for (const auto &port : spec.ports()) {
		std::uint32_t last = port.last() == 0 ? port.first() : port.last();

		if (port.first() < 1 || last > 65535 || last < port.first())
			return "Invalid loadbalanced_ports.port";
		if (port.protocol() != 6 && port.protocol() != 17)
			return "Invalid loadbalanced_ports.protocol";
		out.ports[out.port_count].protocol = static_cast<std::uint8_t>(port.protocol());
		out.ports[out.port_count].first = static_cast<std::uint16_t>(port.first());
		out.ports[out.port_count++].last = static_cast<std::uint16_t>(last);
	}
	std::qsort(out.ports, out.port_count, sizeof *out.ports, control_balancer_port_order);
	for (unsigned i = 1; i < out.port_count; ++i)
		if (out.ports[i - 1].protocol == out.ports[i].protocol && out.ports[i - 1].last >= out.ports[i].first)
			return "Duplicate loadbalanced_ports entry";
	return nullptr;
}

static Invalid read_targets(const dataplane::v1::LoadBalancerSpec &spec, std::vector<ferrite_ipv6> &out,
			    bool &target_is_ipv4)
{
	auto before = [](const ferrite_ipv6 &one, const ferrite_ipv6 &other) {
		return std::memcmp(&one, &other, sizeof one) < 0;
	};

	target_is_ipv4 = false;
	out.clear();
	for (const std::string &text : spec.targets()) {
		control_address address;

		if (!read_either(text, address))
			return "Invalid target_ip";
		target_is_ipv4 |= address.family == 4;
		std::memcpy(out.emplace_back().bytes, address.bytes, sizeof address.bytes);
	}
	std::sort(out.begin(), out.end(), before);
	for (std::size_t i = 1; i < out.size(); ++i)
		if (!before(out[i - 1], out[i]))
			return "Duplicate target_ip";
	return nullptr;
}

Invalid read_balancer(const dataplane::v1::LoadBalancerSpec &spec, const ferrite_ipv6 &underlay_prefix,
		      control_balancer_spec &out, std::vector<ferrite_ipv6> &targets, bool &target_is_ipv4)
{
	out = {};
	out.vni = spec.vni();
	Invalid invalid = read_balancer_id(spec.id(), out.id);

	if (invalid != nullptr)
		return invalid;
	if (spec.vni() > 0xffffff)
		return "VNI exceeds 24-bit range";
	if (!read_either(spec.ip(), out.address))
		return "Invalid loadbalanced_ip";
	invalid = read_balancer_ports(spec, out);
	if (invalid == nullptr)
		invalid = read_targets(spec, targets, target_is_ipv4);
	return invalid != nullptr ? invalid : read_preferred(spec.underlay_address(), underlay_prefix, out.preferred);
}

} // namespace ferrite
