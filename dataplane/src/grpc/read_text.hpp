/* Texts off the wire: names, addresses, preferred underlay addresses. For the files that read requests. */
#pragma once

#include <cstring>
#include <string>

#include "read.hpp"

namespace ferrite {

/* Names are C strings below: what does not fit one with its NUL is refused. */
inline bool copy_text(const std::string &text, std::size_t least, char *out, std::size_t capacity)
{
	if (text.size() < least || text.size() >= capacity || text.find('\0') != std::string::npos)
		return false;
	std::memset(out, 0, capacity);
	std::memcpy(out, text.data(), text.size());
	return true;
}

inline bool has_id_charset(const std::string &id)
{
	for (char letter : id)
		if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
		      (letter >= '0' && letter <= '9') || letter == '-' || letter == '_'))
			return false;
	return true;
}

inline bool read_ipv4(const std::string &text, ferrite_ipv4 &out)
{
	return control_ipv4_parse(text.data(), text.size(), &out);
}

inline bool read_ipv6(const std::string &text, ferrite_ipv6 &out)
{
	return control_ipv6_parse(text.data(), text.size(), &out);
}

/* An address as its family says: 4 or 6 bytes of `out` are set; 0 when it is none. */
inline std::uint8_t read_family(const dpdkironcore::v1::IpAddress &address, std::uint8_t out[16])
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
inline bool read_preferred_underlay(const std::string &text, const ferrite_ipv6 &prefix, ferrite_ipv6 &out)
{
	out = {};
	if (text.empty())
		return true;
	if (!read_ipv6(text, out))
		return false;
	return control_ipv6_is_zero(&out) ||
	       (std::memcmp(out.bytes, prefix.bytes, 8) == 0 && (out.bytes[10] & 0x80) != 0);
}

/* A next server is an address of the family that the VM boots by, and brings the name of a file. */
inline Invalid read_pxe(const std::string &server, const std::string &file, control_interface_spec &out)
{
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;
	char name[CONTROL_PXE_FILE + 1];

	if (control_ipv6_is_zero(&out.ipv6)) {
		if (!read_ipv4(server, ipv4))
			return "Invalid pxe_config.next_server";
		control_ipv4_format(ipv4.bytes, out.pxe_server);
	} else {
		if (!read_ipv6(server, ipv6))
			return "Invalid pxe_config.next_server";
		control_ipv6_format(ipv6.bytes, out.pxe_server);
	}
	if (!copy_text(file, 1, name, sizeof name))
		return "Invalid pxe_config.boot_filename";
	std::memcpy(out.pxe_file, name, sizeof name);
	return nullptr;
}

} // namespace ferrite
