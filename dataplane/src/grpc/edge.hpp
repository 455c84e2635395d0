/* Edges, off the wire and onto it. */
#pragma once

#include "../control/edge.h"
#include "read.hpp"

namespace ferrite {

Invalid read_edge(const dataplane::v1::EdgeSpec &spec, const ferrite_ipv6 &underlay_prefix, control_edge_spec &out);
Invalid read_edge_name(const std::string &name, char out[CONTROL_ID_TEXT]);
void write_edge(const control_edge &edge, dataplane::v1::EdgeState *out);

} // namespace ferrite
