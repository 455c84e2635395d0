/* Values of the control layer into answers. */
#pragma once

#include <string>

#include "../control/address.h"
#include "../control/control.h"
#include "dpdkironcore/v1/dpdk.pb.h"
#include "ferrite/dataplane/v1/dataplane.pb.h"

namespace ferrite {

std::string text_of(const ferrite_ipv4 &address);
std::string text_of(const ferrite_ipv6 &address);
std::string text_of(const ferrite_mac &mac);

void write_status(control_status code, dpdkironcore::v1::Status *status);
void write_interface(const control_interface &interface, dpdkironcore::v1::Interface *out);
void write_route(const control_route &route, dpdkironcore::v1::Route *out);

void write_interface(const control_interface &interface, dataplane::v1::InterfaceState *out);
void write_route(const control_route &route, dataplane::v1::Route *out);
void write_state(const control_state &state, const ferrite_ipv6 &underlay_prefix,
		 dataplane::v1::GetStateResponse *out);

} // namespace ferrite
