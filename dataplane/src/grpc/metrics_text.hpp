/* Counters in the text format of Prometheus (version 0.0.4). */
#pragma once

#include <string>
#include <vector>

#include "counters.hpp"

namespace ferrite {

std::string metrics_text(const std::vector<Counter> &counters, const std::string &host);

} // namespace ferrite
