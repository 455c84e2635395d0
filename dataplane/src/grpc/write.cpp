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

/* Empty where nobody wants one. */
static std::string wanted(const ferrite_ipv6 &address)
{
	return control_ipv6_is_zero(&address) ? std::string() : text_of(address);
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

void write_address(std::uint8_t family, const std::uint8_t *bytes, dpdkironcore::v1::IpAddress *out)
{
	char text[CONTROL_ADDRESS_TEXT];

	out->set_ipver(family == 4 ? dpdkironcore::v1::IPV4 : dpdkironcore::v1::IPV6);
	out->set_address(text, family == 4 ? control_ipv4_format(bytes, text) : control_ipv6_format(bytes, text));
}

void write_address(const ferrite_ipv4 &address, dpdkironcore::v1::IpAddress *out)
{
	write_address(4, address.bytes, out);
}

void write_address(const ferrite_ipv6 &address, dpdkironcore::v1::IpAddress *out)
{
	write_address(6, address.bytes, out);
}

void write_interface(const control_interface &interface, dpdkironcore::v1::Interface *out)
{
	out->set_id(interface.spec.id);
	out->set_vni(interface.spec.vni);
	out->set_primary_ipv4(text_of(interface.spec.ipv4));
	out->set_primary_ipv6(text_of(interface.spec.ipv6));
	out->set_underlay_route(text_of(interface.underlay));
	out->set_pci_name(interface.spec.device);
	out->mutable_meteringparams()->set_total_rate(interface.spec.total_rate);
	out->mutable_meteringparams()->set_public_rate(interface.spec.public_rate);
	out->set_hostname(interface.spec.hostname);
}

void write_route(const control_route &route, dpdkironcore::v1::Route *out)
{
	write_address(route.key.family, route.key.prefix, out->mutable_prefix()->mutable_ip());
	out->mutable_prefix()->set_length(route.key.length);
	out->set_nexthop_vni(route.next_hop_vni);
	write_address(route.next_hop, out->mutable_nexthop_address());
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
	spec->set_total_rate(interface.spec.total_rate);
	spec->set_public_rate(interface.spec.public_rate);
	spec->set_pxe_server(interface.spec.pxe_server);
	spec->set_pxe_file(interface.spec.pxe_file);
	spec->set_spoof_check_off(interface.spec.spoof_check_off);
	spec->set_flow_limit(interface.spec.flow_limit);
	spec->set_flow_rate(interface.spec.flow_rate);
	spec->set_underlay_address(wanted(interface.spec.preferred_underlay));
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
	for (unsigned i = 0; route.hop_count > 1 && i < route.hop_count; ++i) {
		dataplane::v1::Hop *hop = out->add_hops();

		hop->set_address(text_of(route.hops[i].address));
		hop->set_vni(route.hops[i].vni);
		hop->set_weight(route.hops[i].weight);
	}
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

void write_tables(const struct control *control, dataplane::v1::GetStateResponse *out)
{
	control_table_use uses[CONTROL_TABLES];

	control_tables(control, uses);
	for (const control_table_use &use : uses) {
		dataplane::v1::TableUse *table = out->add_tables();

		table->set_name(use.name);
		table->set_used(use.used);
		table->set_capacity(use.capacity);
	}
}

} // namespace ferrite
