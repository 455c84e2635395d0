#include "describe_packet.hpp"

#include <array>
#include <cstdint>
#include <cstring>

#include "../control/address.h"

namespace ferrite {

namespace {

using dataplane::v1::PacketDescription;

enum : unsigned { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58, SCTP = 132 };
constexpr unsigned max_payload = 8192;
constexpr std::uint32_t tcp_syn = 2;

struct Address {
	unsigned family = 0; /* 4 or 6; 0: not an address */
	std::array<std::uint8_t, 16> bytes{};

	std::size_t size() const { return family == 4 ? 4 : 16; }
};

Address parse(const std::string &text)
{
	Address address;
	ferrite_ipv4 four;
	ferrite_ipv6 six;

	if (control_ipv4_parse(text.data(), text.size(), &four)) {
		address.family = 4;
		std::memcpy(address.bytes.data(), four.bytes, 4);
	} else if (control_ipv6_parse(text.data(), text.size(), &six)) {
		address.family = 6;
		std::memcpy(address.bytes.data(), six.bytes, 16);
	}
	return address;
}

void put8(std::string &out, std::uint32_t value)
{
	out.push_back(static_cast<char>(value & 0xff));
}

void put16(std::string &out, std::uint32_t value)
{
	put8(out, value >> 8);
	put8(out, value);
}

void put32(std::string &out, std::uint32_t value)
{
	put16(out, value >> 16);
	put16(out, value);
}

void put(std::string &out, const Address &address)
{
	out.append(reinterpret_cast<const char *>(address.bytes.data()), address.size());
}

std::uint32_t sum(const std::string &bytes, std::uint32_t total = 0)
{
	for (std::size_t i = 0; i < bytes.size(); ++i)
		total += static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[i])) << (i % 2 == 0 ? 8 : 0);
	return total;
}

void put_checksum(std::string &bytes, std::size_t at, std::uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	bytes[at] = static_cast<char>(~total >> 8 & 0xff);
	bytes[at + 1] = static_cast<char>(~total & 0xff);
}

/* What stands behind the IP header, but for its checksum; `checksum`: where that is, 0: it has none. */
std::string transport(const PacketDescription &wanted, unsigned protocol, std::size_t &checksum)
{
	std::string out;

	checksum = 0;
	switch (protocol) {
	case TCP:
		put16(out, wanted.source_port());
		put16(out, wanted.destination_port());
		put32(out, 1);
		put32(out, 0);
		put8(out, 5 << 4);
		put8(out, wanted.tcp_flags() != 0 ? wanted.tcp_flags() : tcp_syn);
		put16(out, 65535);
		put32(out, 0);
		checksum = 16;
		break;
	case UDP:
		put16(out, wanted.source_port());
		put16(out, wanted.destination_port());
		put16(out, 8 + wanted.payload_length());
		put16(out, 0);
		checksum = 6;
		break;
	case SCTP: /* without its CRC, which nobody here looks at */
		put16(out, wanted.source_port());
		put16(out, wanted.destination_port());
		put32(out, 0);
		put32(out, 0);
		break;
	case ICMP:
	case ICMPV6:
		put8(out, protocol == ICMP ? 8 : 128);
		put8(out, 0);
		put16(out, 0);
		put16(out, wanted.source_port());
		put16(out, 1);
		checksum = 2;
		break;
	default:
		break;
	}
	out.append(wanted.payload_length(), 'f');
	return out;
}

std::string ip(const Address &source, const Address &destination, unsigned protocol, unsigned hops,
	       const std::string &payload)
{
	std::string out;

	if (source.family == 4) {
		put16(out, 0x4500);
		put16(out, static_cast<std::uint32_t>(20 + payload.size()));
		put32(out, 0x00004000);
		put8(out, hops);
		put8(out, protocol);
		put16(out, 0);
	} else {
		put32(out, 0x60000000);
		put16(out, static_cast<std::uint32_t>(payload.size()));
		put8(out, protocol);
		put8(out, hops);
	}
	put(out, source);
	put(out, destination);
	if (source.family == 4)
		put_checksum(out, 10, sum(out));
	return out + payload;
}

std::string inner(const PacketDescription &wanted, unsigned &family, const char *&error)
{
	Address source = parse(wanted.source()), destination = parse(wanted.destination());
	unsigned protocol = wanted.protocol() != 0 ? wanted.protocol() : source.family == 4 ? ICMP : ICMPV6;

	family = source.family;
	if (source.family == 0)
		error = "Invalid source";
	else if (destination.family == 0)
		error = "Invalid destination";
	else if (source.family != destination.family)
		error = "Invalid destination: not of the source's family";
	else if (wanted.protocol() > 255)
		error = "Invalid protocol";
	else if (wanted.source_port() > 65535)
		error = "Invalid source_port";
	else if (wanted.destination_port() > 65535)
		error = "Invalid destination_port";
	else if (wanted.tcp_flags() > 255)
		error = "Invalid tcp_flags";
	else if (wanted.payload_length() > max_payload)
		error = "Invalid payload_length: at most 8192";
	else if (wanted.hop_limit() > 255)
		error = "Invalid hop_limit";
	if (error != nullptr)
		return {};
	std::size_t checksum;
	std::string payload = transport(wanted, protocol, checksum);

	if (checksum > 0) {
		std::string pseudo;

		if (protocol != ICMP) {
			put(pseudo, source);
			put(pseudo, destination);
			put32(pseudo, static_cast<std::uint32_t>(payload.size()));
			put32(pseudo, protocol);
		}
		put_checksum(payload, checksum, sum(payload, sum(pseudo)));
	}
	return ip(source, destination, protocol, wanted.hop_limit() != 0 ? wanted.hop_limit() : 64, payload);
}

} // namespace

std::string make_frame(const PacketDescription &wanted, const ferrite_mac &gateway, const ferrite_mac &guest,
		       const char *&error)
{
	unsigned family = 0;
	ferrite_mac source = guest;

	error = nullptr;
	if (!wanted.source_mac().empty() &&
	    !control_mac_parse(wanted.source_mac().data(), wanted.source_mac().size(), &source)) {
		error = "Invalid source_mac";
		return {};
	}
	std::string packet = inner(wanted, family, error);
	std::string out;

	if (error != nullptr)
		return {};
	out.append(reinterpret_cast<const char *>(gateway.bytes), sizeof gateway.bytes);
	out.append(reinterpret_cast<const char *>(source.bytes), sizeof source.bytes);
	put16(out, family == 4 ? 0x0800 : 0x86dd);
	return out + packet;
}

std::string make_outer(const PacketDescription &wanted, const char *&error)
{
	Address source = parse(wanted.outer_source()), destination = parse(wanted.outer_destination());
	unsigned family = 0;

	error = nullptr;
	std::string packet = inner(wanted, family, error);

	if (error == nullptr && source.family != 6)
		error = "Invalid outer_source: an IPv6 address";
	if (error == nullptr && destination.family != 6)
		error = "Invalid outer_destination: an IPv6 address";
	return error != nullptr ? std::string() : ip(source, destination, family == 4 ? 4 : 41, 64, packet);
}

} // namespace ferrite
