#include "write.hpp"

#include "version.hpp"

namespace ferrite {

std::string text_of(const ferrite_ipv4 &address)
{
	char text[CONTROL_ADDRESS_TEXT];

	return {text, control_ipv4_format(address.bytes, text)};
}

std::string text_of(const ferrite_ipv6 &address)
{
	char text[CONTROL_ADDRESS_TEXT];

	return {text, control_ipv6_format(address.bytes, text)};
}

std::string text_of(const ferrite_mac &mac)
{
	char text[CONTROL_MAC_TEXT];

	return {text, control_mac_format(&mac, text)};
}

void write_status(control_status code, dpdkironcore::v1::Status *status)
{
	status->set_code(static_cast<std::uint32_t>(code));
	status->set_message(control_status_name(code));
}

void write_interface(const control_interface &interface, dpdkironcore::v1::Interface *out)
{
	out->set_id(interface.spec.id);
	out->set_vni(interface.spec.vni);
	out->set_primary_ipv4(text_of(interface.spec.ipv4));
	out->set_primary_ipv6(text_of(interface.spec.ipv6));
	out->set_underlay_route(text_of(interface.underlay));
	out->set_pci_name(interface.spec.device);
	out->mutable_meteringparams(); /* always there; zeros until metering is */
	out->set_hostname(interface.spec.hostname);
}

void write_route(const control_route &route, dpdkironcore::v1::Route *out)
{
	char text[CONTROL_ADDRESS_TEXT];
	dpdkironcore::v1::IpAddress *ip = out->mutable_prefix()->mutable_ip();

	if (route.key.family == 4) {
		ip->set_ipver(dpdkironcore::v1::IPV4);
		ip->set_address(text, control_ipv4_format(route.key.prefix, text));
	} else {
		ip->set_ipver(dpdkironcore::v1::IPV6);
		ip->set_address(text, control_ipv6_format(route.key.prefix, text));
	}
	out->mutable_prefix()->set_length(route.key.length);
	out->set_nexthop_vni(route.next_hop_vni);
	out->mutable_nexthop_address()->set_ipver(dpdkironcore::v1::IPV6);
	out->mutable_nexthop_address()->set_address(text, control_ipv6_format(route.next_hop.bytes, text));
}

void write_interface(const control_interface &interface, dataplane::v1::InterfaceState *out)
{
	dataplane::v1::InterfaceSpec *spec = out->mutable_spec();

	spec->set_id(interface.spec.id);
	spec->set_vni(interface.spec.vni);
	if (!control_ipv4_is_zero(&interface.spec.ipv4))
		spec->set_ipv4(text_of(interface.spec.ipv4));
	if (!control_ipv6_is_zero(&interface.spec.ipv6))
		spec->set_ipv6(text_of(interface.spec.ipv6));
	spec->set_device(interface.spec.device);
	spec->set_hostname(interface.spec.hostname);
	out->set_underlay_address(text_of(interface.underlay));
	out->set_device(interface.port.device);
	out->set_gateway_mac(text_of(interface.port.mac));
}

void write_route(const control_route &route, dataplane::v1::Route *out)
{
	char text[CONTROL_PREFIX_TEXT];

	out->set_vni(route.key.vni);
	out->set_prefix(text, control_prefix_format(&route.key, text));
	out->set_next_hop(text, control_ipv6_format(route.next_hop.bytes, text));
	out->set_next_hop_vni(route.next_hop_vni);
}

void write_state(const control_state &state, const ferrite_ipv6 &underlay_prefix,
		 dataplane::v1::GetStateResponse *out)
{
	out->set_uuid(state.uuid);
	out->set_initialized(state.initialized);
	out->set_digest(state.digest);
	out->set_interfaces(state.interfaces);
	out->set_routes(state.routes);
	out->set_underlay_prefix(text_of(underlay_prefix) + "/64");
	out->set_version(version);
}

} // namespace ferrite
