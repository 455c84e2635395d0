/* Rules of firewalls, in both contracts. */
#include <cstring>

#include "read_text.hpp"

namespace ferrite {

namespace {

bool is_port(std::int32_t port)
{
	return port >= -1 && port <= 65535;
}

/* Texts of one protocol: "Invalid tcp.src_port_lower" and so on. */
struct PortTexts {
	Invalid source_lower, destination_lower, source_upper, destination_upper, source_range, destination_range;
};

constexpr PortTexts tcp_texts = {"Invalid tcp.src_port_lower", "Invalid tcp.dst_port_lower", "Invalid tcp.src_port_upper",
				 "Invalid tcp.dst_port_upper", "Invalid tcp.src_port range", "Invalid tcp.dst_port range"};
constexpr PortTexts udp_texts = {"Invalid udp.src_port_lower", "Invalid udp.dst_port_lower", "Invalid udp.src_port_upper",
				 "Invalid udp.dst_port_upper", "Invalid udp.src_port range", "Invalid udp.dst_port range"};

control_rule_ports ports_of(std::int32_t lower, std::int32_t upper)
{
	if (lower == -1)
		return {true, 0, 0};
	return {false, static_cast<std::uint16_t>(lower), static_cast<std::uint16_t>(upper)};
}

template <class Filter>
Invalid read_port_filter(const Filter &filter, const PortTexts &texts, control_rule &out)
{
	if (!is_port(filter.src_port_lower()))
		return texts.source_lower;
	if (!is_port(filter.dst_port_lower()))
		return texts.destination_lower;
	if (!is_port(filter.src_port_upper()))
		return texts.source_upper;
	if (!is_port(filter.dst_port_upper()))
		return texts.destination_upper;
	if (filter.src_port_lower() != -1 && filter.src_port_upper() < filter.src_port_lower())
		return texts.source_range;
	if (filter.dst_port_lower() != -1 && filter.dst_port_upper() < filter.dst_port_lower())
		return texts.destination_range;
	out.source_ports = ports_of(filter.src_port_lower(), filter.src_port_upper());
	out.destination_ports = ports_of(filter.dst_port_lower(), filter.dst_port_upper());
	return nullptr;
}

bool is_icmp(std::int32_t number)
{
	return number >= -1 && number <= 255;
}

Invalid read_filter(const dpdkironcore::v1::ProtocolFilter &filter, control_rule &out)
{
	switch (filter.filter_case()) {
	case dpdkironcore::v1::ProtocolFilter::kTcp:
		out.protocol = 6;
		return read_port_filter(filter.tcp(), tcp_texts, out);
	case dpdkironcore::v1::ProtocolFilter::kUdp:
		out.protocol = 17;
		return read_port_filter(filter.udp(), udp_texts, out);
	case dpdkironcore::v1::ProtocolFilter::kIcmp:
		out.protocol = 1;
		if (!is_icmp(filter.icmp().icmp_type()))
			return "Invalid icmp.icmp_type";
		if (!is_icmp(filter.icmp().icmp_code()))
			return "Invalid icmp.icmp_code";
		out.icmp_type = static_cast<std::int16_t>(filter.icmp().icmp_type());
		out.icmp_code = static_cast<std::int16_t>(filter.icmp().icmp_code());
		return nullptr;
	case dpdkironcore::v1::ProtocolFilter::FILTER_NOT_SET:
		break;
	}
	return nullptr;
}

struct PrefixTexts {
	Invalid version, ip, length, length6;
};

constexpr PrefixTexts source_texts = {"Invalid source_prefix.ip.ipver", "Invalid source_prefix.ip",
				      "Invalid source_prefix.length", "Invalid ip6 source_prefix.length"};
constexpr PrefixTexts destination_texts = {"Invalid destination_prefix.ip.ipver", "Invalid destination_prefix.ip",
					   "Invalid destination_prefix.length", "Invalid ip6 destination_prefix.length"};

Invalid read_rule_prefix(const dpdkironcore::v1::Prefix &prefix, const PrefixTexts &texts, control_rule_prefix &out)
{
	if (!dpdkironcore::v1::IpVersion_IsValid(prefix.ip().ipver()))
		return texts.version;
	out.family = read_family(prefix.ip(), out.bytes);
	if (out.family == 0)
		return texts.ip;
	if (prefix.length() > control_family_width(out.family))
		return out.family == 4 ? texts.length : texts.length6;
	out.length = static_cast<std::uint8_t>(prefix.length());
	return nullptr;
}

/* Empty: every address. */
Invalid read_rule_prefix(const std::string &text, const PrefixTexts &texts, control_rule_prefix &out)
{
	ferrite_route_key key{};

	if (text.empty())
		return nullptr;
	switch (control_prefix_parse(text.data(), text.size(), &key)) {
	case CONTROL_PREFIX_OK:
		break;
	case CONTROL_PREFIX_BAD_IP:
		return texts.ip;
	case CONTROL_PREFIX_BAD_LENGTH:
		return texts.length;
	}
	if (key.length > control_family_width(key.family))
		return key.family == 4 ? texts.length : texts.length6;
	out.family = key.family;
	out.length = key.length;
	std::memcpy(out.bytes, key.prefix, sizeof out.bytes);
	return nullptr;
}

bool read_range(bool present, const dataplane::v1::PortRange &range, control_rule_ports &out)
{
	if (!present)
		return true;
	if (range.first() > 65535 || range.last() > 65535 || range.last() < range.first())
		return false;
	out = {false, static_cast<std::uint16_t>(range.first()), static_cast<std::uint16_t>(range.last())};
	return true;
}

Invalid read_protocol(const dataplane::v1::FirewallRule &rule, control_rule &out)
{
	bool has_ports = rule.has_source_ports() || rule.has_destination_ports();
	bool has_icmp = rule.has_icmp_type() || rule.has_icmp_code();
	std::uint32_t protocol = rule.protocol();

	/* ICMPv6 is ICMP in an IPv6 rule: one number for both, so that a rule for every family can be said. */
	if (protocol > 255 || protocol == 58 || (has_ports && protocol != 6 && protocol != 17 && protocol != 132) ||
	    (has_icmp && protocol != 1))
		return "Invalid protocol";
	out.protocol = static_cast<std::uint8_t>(protocol);
	if (!read_range(rule.has_source_ports(), rule.source_ports(), out.source_ports))
		return "Invalid source_ports";
	if (!read_range(rule.has_destination_ports(), rule.destination_ports(), out.destination_ports))
		return "Invalid destination_ports";
	if (rule.icmp_type() > 255)
		return "Invalid icmp.icmp_type";
	if (rule.icmp_code() > 255)
		return "Invalid icmp.icmp_code";
	if (rule.has_icmp_type())
		out.icmp_type = static_cast<std::int16_t>(rule.icmp_type());
	if (rule.has_icmp_code())
		out.icmp_code = static_cast<std::int16_t>(rule.icmp_code());
	return nullptr;
}

void begin_rule(control_rule &out)
{
	out = {};
	out.source_ports.any = out.destination_ports.any = true;
	out.icmp_type = out.icmp_code = -1;
}

void every_address_of(std::uint8_t family, control_rule_prefix &prefix)
{
	if (prefix.family == 0)
		prefix.family = family;
}

Invalid read_rule(const dataplane::v1::FirewallRule &rule, control_rule &out)
{
	begin_rule(out);
	if (!copy_text(rule.id(), 1, out.id, sizeof out.id))
		return "Invalid rule id";
	Invalid invalid = read_rule_prefix(rule.source(), source_texts, out.source);

	if (invalid == nullptr)
		invalid = read_rule_prefix(rule.destination(), destination_texts, out.destination);
	if (invalid != nullptr)
		return invalid;
	every_address_of(out.destination.family, out.source);
	every_address_of(out.source.family, out.destination);
	if (out.source.family != out.destination.family)
		return destination_texts.version;
	if (rule.priority() > 65535)
		return "Invalid priority";
	out.egress = rule.egress();
	out.accept = rule.accept();
	out.priority = static_cast<std::uint16_t>(rule.priority());
	return read_protocol(rule, out);
}

bool read_default(dataplane::v1::FirewallDefault value, ferrite_firewall_default &out)
{
	switch (value) {
	case dataplane::v1::FIREWALL_DEFAULT_ACCEPT:
		out = FERRITE_ACCEPT;
		return true;
	case dataplane::v1::FIREWALL_DEFAULT_DROP:
		out = FERRITE_DROP;
		return true;
	case dataplane::v1::FIREWALL_DEFAULT_RULES:
		out = FERRITE_RULES;
		return true;
	default:
		return false;
	}
}

} // namespace

Invalid read_rule_id(const std::string &id, char out[CONTROL_ID_TEXT])
{
	return copy_text(id, 1, out, CONTROL_ID_TEXT) ? nullptr : "Invalid rule_id";
}

Invalid read_rule(const dpdkironcore::v1::FirewallRule &rule, control_rule &out)
{
	begin_rule(out);
	if (!copy_text(rule.id(), 1, out.id, sizeof out.id))
		return "Invalid rule id";
	Invalid invalid = read_rule_prefix(rule.source_prefix(), source_texts, out.source);

	if (invalid == nullptr)
		invalid = read_rule_prefix(rule.destination_prefix(), destination_texts, out.destination);
	if (invalid != nullptr)
		return invalid;
	if (!dpdkironcore::v1::TrafficDirection_IsValid(rule.direction()))
		return "Invalid direction";
	if (!dpdkironcore::v1::FirewallAction_IsValid(rule.action()))
		return "Invalid action";
	if (rule.priority() > 65535)
		return "Invalid priority";
	out.egress = rule.direction() == dpdkironcore::v1::EGRESS;
	out.accept = rule.action() == dpdkironcore::v1::ACCEPT;
	out.priority = static_cast<std::uint16_t>(rule.priority());
	return read_filter(rule.protocol_filter(), out);
}

Invalid read_firewall(const dataplane::v1::FirewallSpec &spec, char id[CONTROL_ID_TEXT],
		      std::vector<control_rule> &rules, control_firewall &out)
{
	out = {};
	out.interface = id;
	Invalid invalid = read_interface_id(spec.interface(), id);

	if (invalid != nullptr)
		return invalid;
	if (!read_default(spec.ingress(), out.ingress) || !read_default(spec.egress(), out.egress))
		return "Invalid default";
	if (spec.rules_size() > FERRITE_MAX_RULES)
		return "Too many rules";
	rules.resize(static_cast<std::size_t>(spec.rules_size()));
	for (int i = 0; i < spec.rules_size(); ++i) {
		invalid = read_rule(spec.rules(i), rules[static_cast<std::size_t>(i)]);
		if (invalid != nullptr)
			return invalid;
	}
	out.rules = rules.data();
	out.rule_count = static_cast<unsigned>(rules.size());
	return nullptr;
}

} // namespace ferrite
