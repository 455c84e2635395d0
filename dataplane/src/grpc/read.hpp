/* Requests off the wire into values of the control layer.
 *
 * Each function makes the checks of its call in the order of the contract and answers the text of the first that
 * fails, for INVALID_ARGUMENT, or nullptr. The texts are part of the contract: clients match on them.
 */
#pragma once

#include <string>

#include "../control/address.h"
#include "../control/control.h"
#include "dpdkironcore/v1/dpdk.pb.h"
#include "ferrite/dataplane/v1/dataplane.pb.h"

namespace ferrite {

using Invalid = const char *;

Invalid read_version(const dpdkironcore::v1::GetVersionRequest &request);
/* 1 to 63 bytes. */
Invalid read_interface_id(const std::string &id, char out[CONTROL_ID_TEXT]);
Invalid read_interface(const dpdkironcore::v1::CreateInterfaceRequest &request, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out);
/* The prefix of a route: its key. */
Invalid read_route_prefix(std::uint32_t vni, const dpdkironcore::v1::Route &route, ferrite_route_key &out);
/* `next_hop_is_ipv4`: well formed, and yet BAD_IPVER. */
Invalid read_route(std::uint32_t vni, const dpdkironcore::v1::Route &route, control_route &out,
		   bool &next_hop_is_ipv4);
Invalid read_vni_type(dpdkironcore::v1::VniType type);

Invalid read_interface(const dataplane::v1::InterfaceSpec &spec, control_interface_spec &out);
Invalid read_route_prefix(const dataplane::v1::Route &route, ferrite_route_key &out);
Invalid read_route(const dataplane::v1::Route &route, control_route &out, bool &next_hop_is_ipv4);

} // namespace ferrite
