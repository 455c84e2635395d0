#include "read.hpp"

#include <cstring>

namespace ferrite {

namespace {

/* Names are C strings below: what does not fit one with its NUL is refused. */
bool copy_text(const std::string &text, std::size_t least, char *out, std::size_t capacity)
{
	if (text.size() < least || text.size() >= capacity || text.find('\0') != std::string::npos)
		return false;
	std::memset(out, 0, capacity);
	std::memcpy(out, text.data(), text.size());
	return true;
}

bool has_id_charset(const std::string &id)
{
	for (char letter : id)
		if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
		      (letter >= '0' && letter <= '9') || letter == '-' || letter == '_'))
			return false;
	return true;
}

bool read_ipv4(const std::string &text, ferrite_ipv4 &out)
{
	return control_ipv4_parse(text.data(), text.size(), &out);
}

bool read_ipv6(const std::string &text, ferrite_ipv6 &out)
{
	return control_ipv6_parse(text.data(), text.size(), &out);
}

/* An address as its family says: 4 or 6 bytes of `out` are set; 0 when it is none. */
std::uint8_t read_address(const dpdkironcore::v1::IpAddress &address, std::uint8_t out[16])
{
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;

	std::memset(out, 0, 16);
	if (address.ipver() == dpdkironcore::v1::IPV4 && read_ipv4(address.address(), ipv4)) {
		std::memcpy(out, ipv4.bytes, sizeof ipv4.bytes);
		return 4;
	}
	if (address.ipver() == dpdkironcore::v1::IPV6 && read_ipv6(address.address(), ipv6)) {
		std::memcpy(out, ipv6.bytes, sizeof ipv6.bytes);
		return 6;
	}
	return 0;
}

/* Empty and "::" ask for a generated one; others lie in the host's /64 and carry the mark of foreign ones. */
bool read_preferred_underlay(const std::string &text, const ferrite_ipv6 &prefix, ferrite_ipv6 &out)
{
	out = {};
	if (text.empty())
		return true;
	if (!read_ipv6(text, out))
		return false;
	return control_ipv6_is_zero(&out) ||
	       (std::memcmp(out.bytes, prefix.bytes, 8) == 0 && (out.bytes[10] & 0x80) != 0);
}

} // namespace

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

Invalid read_interface(const dpdkironcore::v1::CreateInterfaceRequest &request, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out)
{
	char boot_filename[32];
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;

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
		const std::string &next_server = request.pxe_config().next_server();

		if (control_ipv6_is_zero(&out.ipv6) ? !read_ipv4(next_server, ipv4) : !read_ipv6(next_server, ipv6))
			return "Invalid pxe_config.next_server";
		if (!copy_text(request.pxe_config().boot_filename(), 1, boot_filename, sizeof boot_filename))
			return "Invalid pxe_config.boot_filename";
	}
	if (!copy_text(request.device_name(), 1, out.device, sizeof out.device))
		return "Invalid device_name";
	if (!copy_text(request.interface_id(), 1, out.id, sizeof out.id))
		return "Invalid interface_id";
	if (!copy_text(request.hostname(), 0, out.hostname, sizeof out.hostname))
		return "Invalid hostname";
	if (!read_preferred_underlay(request.preferred_underlay_route(), underlay_prefix, out.preferred_underlay))
		return "Invalid preferred_underlay_route";
	return nullptr;
}

Invalid read_route_prefix(std::uint32_t vni, const dpdkironcore::v1::Route &route, ferrite_route_key &out)
{
	out = {};
	if (route.prefix().length() > 255)
		return "Invalid route.prefix.length";
	out.vni = vni;
	out.length = static_cast<std::uint8_t>(route.prefix().length());
	out.family = read_address(route.prefix().ip(), out.prefix);
	return out.family != 0 ? nullptr : "Invalid route.prefix.ip";
}

Invalid read_route(std::uint32_t vni, const dpdkironcore::v1::Route &route, control_route &out, bool &next_hop_is_ipv4)
{
	out = {};
	Invalid invalid = read_route_prefix(vni, route, out.key);

	if (invalid != nullptr)
		return invalid;
	std::uint8_t family = read_address(route.nexthop_address(), out.next_hop.bytes);

	next_hop_is_ipv4 = family == 4;
	out.next_hop_vni = route.nexthop_vni();
	return family != 0 ? nullptr : "Invalid route.nexthop_address";
}

Invalid read_vni_type(dpdkironcore::v1::VniType type)
{
	return dpdkironcore::v1::VniType_IsValid(type) ? nullptr : "Invalid type";
}

Invalid read_interface(const dataplane::v1::InterfaceSpec &spec, control_interface_spec &out)
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
	return nullptr;
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

Invalid read_route(const dataplane::v1::Route &route, control_route &out, bool &next_hop_is_ipv4)
{
	ferrite_ipv4 ipv4;

	out = {};
	Invalid invalid = read_route_prefix(route, out.key);

	if (invalid != nullptr)
		return invalid;
	out.next_hop_vni = route.next_hop_vni();
	next_hop_is_ipv4 = read_ipv4(route.next_hop(), ipv4);
	return next_hop_is_ipv4 || read_ipv6(route.next_hop(), out.next_hop) ? nullptr
									     : "Invalid route.nexthop_address";
}

} // namespace ferrite
