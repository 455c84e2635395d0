#include "read.hpp"

#include <cstring>

#include "read_text.hpp"

namespace ferrite {

Invalid read_version(const dpdkironcore::v1::GetVersionRequest &request)
{
	char text[64];

	if (!copy_text(request.client_protocol(), 1, text, sizeof text))
		return "Invalid client_protocol";
	if (!copy_text(request.client_name(), 1, text, sizeof text))
		return "Invalid client_name";
	if (!copy_text(request.client_version(), 1, text, sizeof text))
		return "Invalid client_version";
	return nullptr;
}

Invalid read_interface_id(const std::string &id, char out[CONTROL_ID_TEXT])
{
	return copy_text(id, 1, out, CONTROL_ID_TEXT) ? nullptr : "Invalid interface_id";
}

Invalid read_balancer_id(const std::string &id, char out[CONTROL_ID_TEXT])
{
	return copy_text(id, 1, out, CONTROL_ID_TEXT) ? nullptr : "Invalid loadbalancer_id";
}

Invalid read_preferred(const std::string &text, const ferrite_ipv6 &underlay_prefix, ferrite_ipv6 &out)
{
	return read_preferred_underlay(text, underlay_prefix, out) ? nullptr : "Invalid preferred_underlay_route";
}

Invalid read_interface(const dpdkironcore::v1::CreateInterfaceRequest &request, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out)
{
	out = {};
	out.vni = request.vni();
	if (!has_id_charset(request.interface_id()))
		return "Invalid interface_id";
	if (!read_ipv4(request.ipv4_config().primary_address(), out.ipv4))
		return "Invalid ipv4_config.primary_address";
	if (!read_ipv6(request.ipv6_config().primary_address(), out.ipv6))
		return "Invalid ipv6_config.primary_address";
	if (control_ipv4_is_zero(&out.ipv4) && control_ipv6_is_zero(&out.ipv6))
		return "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination";
	if (!request.pxe_config().next_server().empty()) {
		Invalid invalid =
			read_pxe(request.pxe_config().next_server(), request.pxe_config().boot_filename(), out);

		if (invalid != nullptr)
			return invalid;
	}
	if (!copy_text(request.device_name(), 1, out.device, sizeof out.device))
		return "Invalid device_name";
	if (!copy_text(request.interface_id(), 1, out.id, sizeof out.id))
		return "Invalid interface_id";
	if (!copy_text(request.hostname(), 0, out.hostname, sizeof out.hostname))
		return "Invalid hostname";
	out.total_rate = request.metering_parameters().total_rate();
	out.public_rate = request.metering_parameters().public_rate();
	/* dpservice takes a total of 0 for a number here, and not for "no limit". */
	out.rates_refused = out.public_rate > out.total_rate;
	return read_preferred(request.preferred_underlay_route(), underlay_prefix, out.preferred_underlay);
}

Invalid read_route_prefix(std::uint32_t vni, const dpdkironcore::v1::Route &route, ferrite_route_key &out)
{
	out = {};
	if (route.prefix().length() > 255)
		return "Invalid route.prefix.length";
	out.vni = vni;
	out.length = static_cast<std::uint8_t>(route.prefix().length());
	out.family = read_family(route.prefix().ip(), out.prefix);
	return out.family != 0 ? nullptr : "Invalid route.prefix.ip";
}

Invalid read_route(std::uint32_t vni, const dpdkironcore::v1::Route &route, control_route &out, bool &next_hop_is_ipv4)
{
	out = {};
	Invalid invalid = read_route_prefix(vni, route, out.key);

	if (invalid != nullptr)
		return invalid;
	std::uint8_t family = read_family(route.nexthop_address(), out.next_hop.bytes);

	next_hop_is_ipv4 = family == 4;
	out.next_hop_vni = route.nexthop_vni();
	return family != 0 ? nullptr : "Invalid route.nexthop_address";
}

Invalid read_vni_type(dpdkironcore::v1::VniType type)
{
	return dpdkironcore::v1::VniType_IsValid(type) ? nullptr : "Invalid type";
}

Invalid read_prefix(const dpdkironcore::v1::Prefix &prefix, ferrite_route_key &out)
{
	out = {};
	out.family = read_family(prefix.ip(), out.prefix);
	if (out.family == 0)
		return "Invalid prefix.ip";
	if (prefix.length() > 255)
		return "Invalid prefix.length";
	out.length = static_cast<std::uint8_t>(prefix.length());
	return nullptr;
}

Invalid read_address(const dpdkironcore::v1::IpAddress &address, Invalid text, control_address &out)
{
	out.family = read_family(address, out.bytes);
	return out.family != 0 ? nullptr : text;
}

Invalid read_real_address(const dpdkironcore::v1::IpAddress &address, Invalid text, control_address &out)
{
	static const std::uint8_t zero[16] = {};
	Invalid invalid = read_address(address, text, out);

	return invalid == nullptr && std::memcmp(out.bytes, zero, sizeof zero) == 0 ? text : invalid;
}

/* [min, max) of ports. */
static Invalid read_ports(std::uint32_t min, std::uint32_t max)
{
	if (min > 65535)
		return "Invalid min_port";
	if (max > 65535)
		return "Invalid max_port";
	return min < max ? nullptr : "Invalid port range";
}

Invalid read_nat(const dpdkironcore::v1::CreateNatRequest &request, const ferrite_ipv6 &underlay_prefix,
		 char id[CONTROL_ID_TEXT], control_nat_spec &out)
{
	out = {};
	Invalid invalid = read_interface_id(request.interface_id(), id);

	if (invalid == nullptr)
		invalid = read_real_address(request.nat_ip(), "Invalid nat_ip", out.ip);
	if (invalid == nullptr)
		invalid = read_ports(request.min_port(), request.max_port());
	out.interface = id;
	out.min = request.min_port();
	out.max = request.max_port();
	return invalid != nullptr ? invalid
				  : read_preferred(request.preferred_underlay_route(), underlay_prefix, out.preferred);
}

template <class Request>
static Invalid read_neighbor_range(const Request &request, ferrite_neighbor_nat &out, bool &is_ipv6)
{
	control_address ip{};
	Invalid invalid = read_real_address(request.nat_ip(), "Invalid nat_ip", ip);

	out = {};
	if (invalid == nullptr)
		invalid = read_ports(request.min_port(), request.max_port());
	is_ipv6 = ip.family == 6;
	std::memcpy(out.ip.bytes, ip.bytes, sizeof out.ip.bytes);
	out.vni = request.vni();
	out.min = request.min_port();
	out.max = request.max_port();
	return invalid;
}

Invalid read_neighbor_nat(const dpdkironcore::v1::CreateNeighborNatRequest &request, ferrite_neighbor_nat &out,
			  bool &is_ipv6)
{
	Invalid invalid = read_neighbor_range(request, out, is_ipv6);

	if (invalid != nullptr)
		return invalid;
	return read_ipv6(request.underlay_route(), out.underlay) ? nullptr : "Invalid underlay_route";
}

Invalid read_neighbor_nat(const dpdkironcore::v1::DeleteNeighborNatRequest &request, ferrite_neighbor_nat &out,
			  bool &is_ipv6)
{
	return read_neighbor_range(request, out, is_ipv6);
}

/* A port 0 is checked like others, and then left out: it matches nothing. */
static Invalid read_balancer_port(const dpdkironcore::v1::LbPort &port, control_balancer_spec &out)
{
	if (port.port() > 65535)
		return "Invalid loadbalanced_ports.port";
	if (port.protocol() != dpdkironcore::v1::TCP && port.protocol() != dpdkironcore::v1::UDP)
		return "Invalid loadbalanced_ports.protocol";
	ferrite_balancer_port wanted{};

	wanted.protocol = static_cast<std::uint8_t>(port.protocol());
	wanted.first = wanted.last = static_cast<std::uint16_t>(port.port());
	for (unsigned i = 0; i < out.port_count; ++i)
		if (out.ports[i].protocol == wanted.protocol && out.ports[i].first == wanted.first)
			return "Duplicate loadbalanced_ports entry";
	out.ports[out.port_count++] = wanted;
	return nullptr;
}

Invalid read_balancer(const dpdkironcore::v1::CreateLoadBalancerRequest &request, const ferrite_ipv6 &underlay_prefix,
		      control_balancer_spec &out)
{
	out = {};
	out.vni = request.vni();
	Invalid invalid = read_balancer_id(request.loadbalancer_id(), out.id);

	if (invalid != nullptr)
		return invalid;
	if (request.vni() > 0xffffff)
		return "VNI exceeds 24-bit range";
	invalid = read_address(request.loadbalanced_ip(), "Invalid loadbalanced_ip", out.address);
	if (invalid != nullptr)
		return invalid;
	if (request.loadbalanced_ports_size() >= 16)
		return "Too many loadbalanced_ports";
	invalid = read_preferred(request.preferred_underlay_route(), underlay_prefix, out.preferred);
	for (const auto &port : request.loadbalanced_ports())
		if (invalid == nullptr)
			invalid = read_balancer_port(port, out);
	unsigned kept = 0;

	for (unsigned i = 0; i < out.port_count; ++i)
		if (out.ports[i].first != 0)
			out.ports[kept++] = out.ports[i];
	for (unsigned i = kept; i < out.port_count; ++i)
		out.ports[i] = {};
	out.port_count = kept;
	return invalid;
}

Invalid read_capture(const dpdkironcore::v1::CaptureConfig &config, control_capture &out)
{
	using namespace dpdkironcore::v1;

	out = {};
	if (config.udp_src_port() > 65535)
		return "Invalid udp_src_port";
	if (config.udp_dst_port() > 65535)
		return "Invalid udp_dst_port";
	out.source_port = static_cast<std::uint16_t>(config.udp_src_port());
	out.destination_port = static_cast<std::uint16_t>(config.udp_dst_port());
	if (!read_ipv6(config.sink_node_ip().address(), out.sink))
		return "Invalid sink_node_ip";
	if (config.interfaces_size() > CONTROL_CAPTURE_INTERFACES)
		return "Too many interfaces to be captured";
	for (const CapturedInterface &wanted : config.interfaces()) {
		control_capture_interface &interface = out.interfaces[out.interface_count++];

		if (!CaptureInterfaceType_IsValid(wanted.interface_type()))
			return "Invalid interfaces.interface_type";
		interface.uplink = wanted.interface_type() == SINGLE_PF;
		if (interface.uplink) {
			if (wanted.pf_index() > 255)
				return "Invalid pf_index";
			interface.uplink_index = wanted.pf_index();
		} else if (!copy_text(wanted.vf_name(), 1, interface.device, sizeof interface.device)) {
			return "Invalid interface_id";
		}
	}
	return nullptr;
}

} // namespace ferrite
