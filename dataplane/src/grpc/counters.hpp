/* Everything that is counted, with names that say what it belongs to. On the control thread.
 *
 * The engine has flat names, as port.ftap-1.rx_packets; here parts of them that name things become labels, and what the
 * control layer knows by name is added: interfaces, rules, NATs, tables.
 */
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "../control/control.h"
#include "ferrite/dataplane/v1/dataplane.pb.h"

namespace ferrite {

struct Counter {
	std::string name;   /* whole: interface.vm-a.rx_packets */
	std::string family; /* without names: interface.rx_packets; equal to `name` where there are no labels */
	std::vector<std::pair<std::string, std::string>> labels;
	std::uint64_t value;
};

/* `totals`: without those of interfaces, rules and NATs. An interface's drops are told where there are any. */
void each_counter(const struct control *control, ferrite_engine *engine, bool totals,
		  const std::function<void(const Counter &counter)> &visit);

/* Sorted by name. */
void write_counters(const struct control *control, ferrite_engine *engine, bool totals,
		    dataplane::v1::GetCountersResponse *response);

} // namespace ferrite
