#include "flow_names.hpp"

#include "../control/names.h"

namespace ferrite {

void FlowNames::refresh(const struct control *control)
{
	control_point_each(
		control,
		[](void *self, const control_point *point) {
			if (point->interface != nullptr)
				static_cast<FlowNames *>(self)->interfaces[point->index] = point->interface;
		},
		this);
}

const std::string &FlowNames::interface(std::uint32_t index) const
{
	auto found = interfaces.find(index);

	return found != interfaces.end() ? found->second : none;
}

const std::string &FlowNames::balancer(const struct control *control, std::uint32_t index)
{
	if (index == 0)
		return none;
	const char *now = control_balancer_name(control, index);

	if (now != nullptr)
		return balancers[index] = now;
	auto found = balancers.find(index);

	return found != balancers.end() ? found->second : none;
}

const std::string &FlowNames::rule(const struct control *control, std::uint32_t index, std::uint32_t tag)
{
	if (tag == 0)
		return none;
	auto found = rules.find(tag);

	if (found != rules.end())
		return found->second;
	const char *now = control_rule_name(control, interface(index).c_str(), tag);

	if (now == nullptr)
		return none;
	if (rules.size() >= max_rules)
		rules.clear();
	return rules[tag] = now;
}

} // namespace ferrite
