#include "points.hpp"

#include <algorithm>

namespace ferrite {

namespace {

NamedPoint named(const control_point &found)
{
	return {{found.handle, 0}, found.interface != nullptr ? found.interface : found.port, found.device, false};
}

void add_uplinks(const ferrite_engine *engine, const std::string &wanted, std::vector<NamedPoint> &all)
{
	for (unsigned i = 0; i < ferrite_uplink_count(engine); ++i) {
		const char *name = ferrite_uplink_name(engine, i);

		if (wanted == name || wanted == "all")
			all.push_back({{0, i}, name, "uplink", true});
	}
}

void add_ports(const struct control *control, std::vector<NamedPoint> &all)
{
	control_point_each(
		control,
		[](void *list, const control_point *point) {
			static_cast<std::vector<NamedPoint> *>(list)->push_back(named(*point));
		},
		&all);
}

/* An interface by its id and by its port's name is one point. */
void drop_doubles(std::vector<NamedPoint> &all)
{
	auto key = [](const NamedPoint &point) { return std::make_pair(point.point.port, point.point.uplink); };

	std::stable_sort(all.begin(), all.end(),
			 [&](const NamedPoint &one, const NamedPoint &other) { return key(one) < key(other); });
	all.erase(std::unique(all.begin(), all.end(),
			      [&](const NamedPoint &one, const NamedPoint &other) { return key(one) == key(other); }),
		  all.end());
}

} // namespace

std::vector<NamedPoint> find_points(const struct control *control, const ferrite_engine *engine, const Names &interfaces,
				    const Names &uplinks, std::string &error)
{
	std::vector<NamedPoint> all;

	if (interfaces.empty() && uplinks.empty()) {
		add_ports(control, all);
		add_uplinks(engine, "all", all);
	}
	for (const std::string &name : interfaces) {
		control_point found;

		if (!control_point_find(control, name.c_str(), &found)) {
			error = "there is no interface or port " + name;
			return {};
		}
		all.push_back(named(found));
	}
	for (const std::string &name : uplinks) {
		std::size_t before = all.size();

		add_uplinks(engine, name, all);
		if (all.size() == before) {
			error = "there is no uplink " + name;
			return {};
		}
	}
	drop_doubles(all);
	return all;
}

} // namespace ferrite
