/* Names of what flows belong to. On the control thread.
 *
 * An event says numbers, and by the time that it is told the thing may be gone: so the last name of a number is kept.
 */
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "../control/control.h"

namespace ferrite {

class FlowNames {
public:
	/* Looks at what is there now; before the names of a batch are asked for. */
	void refresh(const struct control *control);
	/* Empty: never heard of. */
	const std::string &interface(std::uint32_t index) const;
	const std::string &balancer(const struct control *control, std::uint32_t index);
	const std::string &rule(const struct control *control, std::uint32_t index, std::uint32_t tag);

private:
	/* Rules are many, so only those that were asked for; forgotten when they are too many. */
	static constexpr std::size_t max_rules = 1 << 16;

	const std::string none;
	std::unordered_map<std::uint32_t, std::string> interfaces;
	std::unordered_map<std::uint32_t, std::string> balancers;
	std::unordered_map<std::uint32_t, std::string> rules;
};

} // namespace ferrite
