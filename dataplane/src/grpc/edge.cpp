#include "edge.hpp"

#include <cstring>

#include "read_text.hpp"
#include "write.hpp"

namespace ferrite {

namespace {

/* "ADDRESS" or "ADDRESS/LENGTH", where host bits say who on the link it is. Empty and zero: none. */
template <class Address>
bool read_own(const std::string &text, Address &out, std::uint8_t &length, bool (*parse)(const std::string &, Address &))
{
	const unsigned width = sizeof out.bytes * 8;
	const auto slash = text.find('/');
	unsigned number = 0;

	length = static_cast<std::uint8_t>(width);
	out = {};
	if (text.empty())
		return true;
	if (!parse(text.substr(0, slash), out))
		return false;
	if (slash == std::string::npos)
		return true;
	const std::string digits = text.substr(slash + 1);

	if (digits.empty() || digits.size() > 3 || digits[0] == '0')
		return false;
	for (char digit : digits) {
		if (digit < '0' || digit > '9')
			return false;
		number = number * 10 + static_cast<unsigned>(digit - '0');
	}
	length = static_cast<std::uint8_t>(number);
	return number <= width;
}

template <class Address> std::string write_own(const Address &address, std::uint8_t length)
{
	std::string text = text_of(address);

	if (length < sizeof address.bytes * 8)
		text += "/" + std::to_string(length);
	return text;
}

template <class Address> bool is_none(const Address &address)
{
	static const Address none{};

	return std::memcmp(&address, &none, sizeof none) == 0;
}

} // namespace

Invalid read_edge_name(const std::string &name, char out[CONTROL_ID_TEXT])
{
	return copy_text(name, 1, out, CONTROL_ID_TEXT) ? nullptr : "Invalid edge name";
}

Invalid read_edge(const dataplane::v1::EdgeSpec &spec, const ferrite_ipv6 &underlay_prefix, control_edge_spec &out)
{
	out = {};
	out.vni = spec.vni();
	if (!has_id_charset(spec.name()) || read_edge_name(spec.name(), out.name) != nullptr)
		return "Invalid edge name";
	if (!copy_text(spec.device(), 1, out.device, sizeof out.device))
		return "Invalid device_name";
	if (!read_own(spec.outside_ipv4(), out.ipv4, out.length4, read_ipv4))
		return "Invalid outside_ipv4";
	if (!read_own(spec.outside_ipv6(), out.ipv6, out.length6, read_ipv6))
		return "Invalid outside_ipv6";
	if (!spec.gateway_ipv4().empty() && !read_ipv4(spec.gateway_ipv4(), out.gateway4))
		return "Invalid gateway_ipv4";
	if (!spec.gateway_ipv6().empty() && !read_ipv6(spec.gateway_ipv6(), out.gateway6))
		return "Invalid gateway_ipv6";
	if (!spec.gateway_mac().empty() &&
	    (!control_mac_parse(spec.gateway_mac().data(), spec.gateway_mac().size(), &out.gateway_mac) ||
	     (out.gateway_mac.bytes[0] & 1) != 0))
		return "Invalid gateway_mac";
	if (is_none(out.ipv4))
		out.length4 = 32;
	if (is_none(out.ipv6))
		out.length6 = 128;
	return read_preferred(spec.underlay_address(), underlay_prefix, out.preferred);
}

void write_edge(const control_edge &edge, dataplane::v1::EdgeState *out)
{
	dataplane::v1::EdgeSpec *spec = out->mutable_spec();

	spec->set_name(edge.spec.name);
	spec->set_vni(edge.spec.vni);
	spec->set_device(edge.spec.device);
	if (!is_none(edge.spec.ipv4))
		spec->set_outside_ipv4(write_own(edge.spec.ipv4, edge.spec.length4));
	if (!is_none(edge.spec.ipv6))
		spec->set_outside_ipv6(write_own(edge.spec.ipv6, edge.spec.length6));
	if (!is_none(edge.spec.gateway4))
		spec->set_gateway_ipv4(text_of(edge.spec.gateway4));
	if (!is_none(edge.spec.gateway6))
		spec->set_gateway_ipv6(text_of(edge.spec.gateway6));
	if (!is_none(edge.spec.gateway_mac))
		spec->set_gateway_mac(text_of(edge.spec.gateway_mac));
	if (!is_none(edge.spec.preferred))
		spec->set_underlay_address(text_of(edge.spec.preferred));
	out->set_underlay_address(text_of(edge.underlay));
	out->set_device(edge.port.device);
}

} // namespace ferrite
