/* Flows and their events into answers. On the control thread. */
#pragma once

#include "../control/control.h"
#include "ferrite/dataplane/v1/observe.pb.h"
#include "flow_names.hpp"

namespace ferrite {

/* The engine counts milliseconds of a clock of its own. */
class EngineTime {
public:
	EngineTime();
	std::uint64_t epoch_ms(std::uint64_t engine_ms) const { return engine_ms + offset; }

private:
	std::uint64_t offset;
};

/* `bytes`: as in the packet; family 4 or 6. */
std::string address_text(unsigned family, const std::uint8_t *bytes);

void write_flow(const struct control *control, FlowNames &names, const EngineTime &time,
		const ferrite_flow_event &flow, dataplane::v1::Flow *out);

} // namespace ferrite
