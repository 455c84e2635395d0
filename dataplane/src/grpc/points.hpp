/* Which ports and uplinks a request means, and what they are called in answers. On the control thread. */
#pragma once

#include <string>
#include <vector>

#include "../control/control.h"
#include "../control/names.h"
#include "ferrite/observe.h"

#include <google/protobuf/repeated_ptr_field.h>

namespace ferrite {

struct NamedPoint {
	ferrite_point point;
	std::string name; /* interface id, or name of a port or uplink */
	std::string device;
	bool uplink;
};

using Names = google::protobuf::RepeatedPtrField<std::string>;

/* Empty lists: everything that is there. Empty `error`: all were found. */
std::vector<NamedPoint> find_points(const struct control *control, const ferrite_engine *engine, const Names &interfaces,
				    const Names &uplinks, std::string &error);
/* Whether a request may mean frames, and outer packets: known before its names are looked up. */
inline bool wants_frames(const Names &interfaces, const Names &uplinks)
{
	return !interfaces.empty() || uplinks.empty();
}
inline bool wants_outer(const Names &interfaces, const Names &uplinks)
{
	return !uplinks.empty() || interfaces.empty();
}

} // namespace ferrite
