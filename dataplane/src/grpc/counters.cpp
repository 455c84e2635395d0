#include "counters.hpp"

#include <algorithm>
#include <cstring>

#include "../control/names.h"
#include "ferrite/observe.h"

namespace ferrite {

namespace {

using Visit = std::function<void(const Counter &counter)>;

/* Names are bytes that somebody chose; in a dotted name they are printable, and have no blanks. */
std::string plain(const char *name)
{
	static const char digits[] = "0123456789abcdef";
	std::string out;

	for (; *name != 0; ++name) {
		auto byte = static_cast<unsigned char>(*name);

		if (byte > 0x20 && byte < 0x7f && byte != '%')
			out += *name;
		else
			out += {'%', digits[byte >> 4], digits[byte & 15]};
	}
	return out;
}

/* "port.DEVICE.rx_packets": the device may have dots, what is counted has none. */
Counter of_port(const std::string &name, std::uint64_t value)
{
	std::size_t first = name.find('.'), last = name.rfind('.');

	if (last == first)
		return {name, name, {}, value};
	return {name, "port" + name.substr(last), {{"device", name.substr(first + 1, last - first - 1)}}, value};
}

Counter of_uplink(const ferrite_engine *engine, const std::string &name, std::uint64_t value)
{
	for (unsigned i = 0; i < ferrite_uplink_count(engine); ++i) {
		std::string uplink = ferrite_uplink_name(engine, i), prefix = "uplink." + uplink + ".";

		if (name.compare(0, prefix.size(), prefix) == 0)
			return {name, "uplink." + name.substr(prefix.size()), {{"uplink", uplink}}, value};
	}
	return {name, name, {}, value};
}

struct Engine {
	const ferrite_engine *engine;
	const Visit &visit;
};

void visit_engine(void *context, const char *name, std::uint64_t value)
{
	const auto &[engine, visit] = *static_cast<const Engine *>(context);

	if (std::strncmp(name, "port.", 5) == 0)
		visit(of_port(name, value));
	else if (std::strncmp(name, "uplink.", 7) == 0)
		visit(of_uplink(engine, name, value));
	else
		visit({name, name, {}, value});
}

struct Interface {
	std::string id; /* plain */
	const Visit &visit;
};

void visit_interface(void *context, const char *name, std::uint64_t value)
{
	const auto &[id, visit] = *static_cast<const Interface *>(context);

	if (value != 0 || std::strncmp(name, "drop.", 5) != 0)
		visit({"interface." + id + "." + name, std::string("interface.") + name, {{"interface", id}}, value});
}

struct All {
	ferrite_engine *engine;
	const Visit &visit;
};

void visit_point(void *context, const control_point *point)
{
	const auto &[engine, visit] = *static_cast<const All *>(context);

	if (point->interface == nullptr)
		return;
	Interface interface{plain(point->interface), visit};

	(void)ferrite_interface_counters(engine, point->index, visit_interface, &interface);
}

struct Rules {
	const struct control *control;
	const Visit &visit;
};

void visit_firewall(void *context, const control_firewall *firewall)
{
	const auto &[control, visit] = *static_cast<const Rules *>(context);
	std::string interface = plain(firewall->interface);

	for (unsigned i = 0; i < firewall->rule_count; ++i) {
		std::string rule = plain(firewall->rules[i].id);

		visit({"firewall." + interface + "." + rule + ".packets",
		       "firewall.packets",
		       {{"interface", interface}, {"rule", rule}},
		       control_rule_hits(control, firewall->interface, firewall->rules[i].id)});
	}
	visit({"firewall." + interface + ".rules", "firewall.rules", {{"interface", interface}}, firewall->rule_count});
}

void visit_nat(void *context, const control_nat *nat)
{
	static const char *const protocols[] = {"tcp", "udp", "icmp"};
	const auto &[control, engine, visit] =
		*static_cast<const std::tuple<const struct control *, ferrite_engine *, const Visit &> *>(context);
	std::string interface = plain(nat->interface);
	control_point point;
	std::uint32_t used[3] = {};

	if (!control_point_find(control, nat->interface, &point))
		return;
	ferrite_nat_usage(engine, point.index, used);
	for (unsigned i = 0; i < 3; ++i)
		visit({"nat." + interface + "." + protocols[i] + ".ports",
		       "nat.ports",
		       {{"interface", interface}, {"protocol", protocols[i]}},
		       used[i]});
	visit({"nat." + interface + ".range", "nat.range", {{"interface", interface}}, nat->max - nat->min});
}

void each_table(const struct control *control, const Visit &visit)
{
	control_table_use uses[CONTROL_TABLES];

	control_tables(control, uses);
	for (const control_table_use &use : uses) {
		std::string table = use.name;

		visit({"table." + table + ".used", "table.used", {{"table", table}}, use.used});
		visit({"table." + table + ".capacity", "table.capacity", {{"table", table}}, use.capacity});
	}
}

} // namespace

void each_counter(const struct control *control, ferrite_engine *engine, bool totals, const Visit &visit)
{
	Engine of_engine{engine, visit};
	All all{engine, visit};
	Rules rules{control, visit};
	std::tuple<const struct control *, ferrite_engine *, const Visit &> nats{control, engine, visit};

	ferrite_counters_each(engine, visit_engine, &of_engine);
	each_table(control, visit);
	if (totals)
		return;
	control_point_each(control, visit_point, &all);
	control_firewall_each(control, visit_firewall, &rules);
	control_nat_each(control, visit_nat, &nats);
}

void write_counters(const struct control *control, ferrite_engine *engine, bool totals,
		    dataplane::v1::GetCountersResponse *response)
{
	each_counter(control, engine, totals, [response](const Counter &counter) {
		auto *out = response->add_counters();

		out->set_name(counter.name);
		out->set_value(counter.value);
		out->set_family(counter.family);
		for (const auto &[label, value] : counter.labels)
			(*out->mutable_labels())[label] = value;
	});
	std::sort(response->mutable_counters()->pointer_begin(), response->mutable_counters()->pointer_end(),
		  [](const auto *one, const auto *other) { return one->name() < other->name(); });
}

} // namespace ferrite
