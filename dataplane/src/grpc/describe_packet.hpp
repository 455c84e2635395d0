/* Packets made from what somebody says of them. Pure. */
#pragma once

#include <string>

#include "ferrite/dataplane/v1/observe.pb.h"
#include "ferrite/engine.h"

namespace ferrite {

/* A frame between two MACs. Empty: not valid, and `error` says why. */
std::string make_frame(const dataplane::v1::PacketDescription &description, const ferrite_mac &gateway,
		       const ferrite_mac &guest, const char *&error);
/* An outer packet. */
std::string make_outer(const dataplane::v1::PacketDescription &description, const char *&error);

} // namespace ferrite
