/* Two names for what the exporter of dpservice tells too, so that its dashboards go on: those, and ours. Ours are made by
 * rule from the family of a counter: ferrite_ and its parts, _total unless it can go down. */
#include "metrics_text.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace ferrite {

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

bool starts(const std::string &text, const char *with)
{
	return text.rfind(with, 0) == 0;
}

bool ends(const std::string &text, const std::string &with)
{
	return text.size() >= with.size() && text.compare(text.size() - with.size(), with.size(), with) == 0;
}

/* What goes down, too. */
bool is_gauge(const std::string &family)
{
	static const char *const gauges[] = {
		"flows.active",	  "flows.capacity", "routes.count",  "buffers.small_in_use", "buffers.big_in_use",
		"uplink.up",	  "uplink.weight",  "uplink.mtu",    "interface.flows",	     "nat.ports",
		"nat.range",	  "table.used",	    "table.capacity", "firewall.rules",
	};

	return std::any_of(std::begin(gauges), std::end(gauges), [&](const char *gauge) { return family == gauge; });
}

std::string quoted(const std::string &value)
{
	std::string out;

	for (char letter : value) {
		if (letter == '\\' || letter == '"')
			out += '\\';
		out += letter == '\n' ? ' ' : letter;
	}
	return out;
}

/* Lines by metric: the format wants those of one together. */
class Text {
public:
	explicit Text(const std::string &host) : host(host) {}

	void add(const std::string &metric, bool gauge, const Labels &labels, const std::string &value)
	{
		std::string line = metric + "{node_name=\"" + quoted(host) + "\"";

		for (const auto &[name, text] : labels)
			line += "," + name + "=\"" + quoted(text) + "\"";
		auto &found = metrics[metric];

		found.first = gauge;
		found.second += line + "} " + value + "\n";
	}

	std::string text() const
	{
		std::string out;

		for (const auto &[metric, lines] : metrics)
			out += "# TYPE " + metric + (lines.first ? " gauge\n" : " counter\n") + lines.second;
		return out;
	}

private:
	const std::string host;
	std::map<std::string, std::pair<bool, std::string>> metrics;
};

void add_ours(Text &text, const Counter &counter)
{
	std::string family = counter.family;
	Labels labels = counter.labels;

	if (starts(family, "drop.")) {
		labels.emplace_back("reason", family.substr(5));
		family = "drops";
	} else if (starts(family, "interface.drop.")) {
		labels.emplace_back("reason", family.substr(15));
		family = "interface.drops";
	} else if (starts(family, "stage.") && ends(family, ".packets")) {
		labels.emplace_back("stage", family.substr(6, family.size() - 6 - 8));
		family = "stage.packets";
	} else if (starts(family, "uplink.") && labels.empty()) {
		return; /* the sum of what each of them tells */
	}
	bool gauge = is_gauge(counter.family);
	std::string metric = "ferrite_" + family + (gauge ? "" : "_total");

	for (char &letter : metric)
		if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9')))
			letter = '_';
	text.add(metric, gauge, labels, std::to_string(counter.value));
}

/* Of a device: what it counts under the names of DPDK's devices. */
void add_device(Text &text, const Counter &counter, const std::string &what)
{
	static const struct {
		const char *what, *metric, *label, *value;
	} known[] = {
		{"rx_packets", "dpdk_ethdev_packets_total", "direction", "received"},
		{"tx_packets", "dpdk_ethdev_packets_total", "direction", "transmitted"},
		{"rx_bytes", "dpdk_ethdev_bytes_total", "direction", "received"},
		{"tx_bytes", "dpdk_ethdev_bytes_total", "direction", "transmitted"},
		{"rx_errors", "dpdk_ethdev_errors_total", "direction", "received"},
		{"tx_errors", "dpdk_ethdev_errors_total", "direction", "transmitted"},
	};

	for (const auto &one : known)
		if (what == one.what)
			text.add(one.metric, false,
				 {{"interface", counter.labels[0].second}, {one.label, one.value}},
				 std::to_string(counter.value));
	if (what == "up")
		text.add("dpdk_ethdev_link_status", true, {{"interface", counter.labels[0].second}},
			 std::to_string(counter.value));
}

void add_theirs(Text &text, const Counter &counter)
{
	const std::string &family = counter.family;

	if (counter.labels.size() == 1 && (starts(family, "port.") || starts(family, "uplink.")))
		add_device(text, counter, family.substr(family.find('.') + 1));
	else if (family == "firewall.rules")
		text.add("dps_firewall_rules_count", true, counter.labels, std::to_string(counter.value));
	else if (starts(family, "stage.") && ends(family, ".packets"))
		text.add("dps_graph_call_count", false, {{"graph_node", family.substr(6, family.size() - 6 - 8)}},
			 std::to_string(counter.value));
}

/* What they tell as one number and we as several. */
class Sums {
public:
	void take(const Counter &counter)
	{
		if (counter.family == "nat.ports")
			nat_ports[counter.labels[0].second] += counter.value;
		else if (counter.family == "table.used")
			tables[counter.labels[0].second].first = counter.value;
		else if (counter.family == "table.capacity")
			tables[counter.labels[0].second].second = counter.value;
		else if (counter.family == "flows.active")
			tables["flows"].first = counter.value;
		else if (counter.family == "flows.capacity")
			tables["flows"].second = counter.value;
	}

	void add(Text &text) const
	{
		for (const auto &[interface, used] : nat_ports)
			text.add("dps_nat_used_ports_count", true, {{"interface", interface}}, std::to_string(used));
		for (const auto &[table, fill] : tables)
			if (fill.second > 0)
				text.add("dps_hash_table_saturation", true, {{"table_name", table}},
					 std::to_string(100.0 * static_cast<double>(fill.first) /
							static_cast<double>(fill.second)));
	}

private:
	std::map<std::string, std::uint64_t> nat_ports;
	std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> tables;
};

} // namespace

std::string metrics_text(const std::vector<Counter> &counters, const std::string &host)
{
	Text text(host);
	Sums sums;

	for (const Counter &counter : counters) {
		add_ours(text, counter);
		add_theirs(text, counter);
		sums.take(counter);
	}
	sums.add(text);
	return text.text();
}

} // namespace ferrite
