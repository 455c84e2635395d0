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

void write_address(std::uint8_t family, const std::uint8_t *bytes, dpdkironcore::v1::IpAddress *out);
void write_address(const ferrite_ipv4 &address, dpdkironcore::v1::IpAddress *out);
void write_address(const ferrite_ipv6 &address, dpdkironcore::v1::IpAddress *out);
void write_prefix(const control_prefix &prefix, dpdkironcore::v1::Prefix *out);
/* `actual_nat_ip` is the address of the NAT, `nat_ip` that of the VM. */
void write_nat(const control_nat &nat, dpdkironcore::v1::NatEntry *out);
/* `nat_ip` is not set. */
void write_nat(const ferrite_neighbor_nat &nat, dpdkironcore::v1::NatEntry *out);
/* Of a range of ports the first. */
void write_port(const ferrite_balancer_port &port, dpdkironcore::v1::LbPort *out);
void write_balancer(const control_balancer &balancer, dpdkironcore::v1::Loadbalancer *out);
void write_rule(const control_rule &rule, dpdkironcore::v1::FirewallRule *out);
void write_capture(const control_capture &capture, dpdkironcore::v1::CaptureConfig *out);

void write_interface(const control_interface &interface, dataplane::v1::InterfaceState *out);
void write_route(const control_route &route, dataplane::v1::Route *out);
void write_prefix(const control_prefix &prefix, dataplane::v1::PrefixState *out);
void write_vip(const control_vip &vip, dataplane::v1::VipState *out);
void write_nat(const control_nat &nat, dataplane::v1::NatState *out);
void write_neighbor_nat(const ferrite_neighbor_nat &nat, dataplane::v1::NeighborNatSpec *out);
void write_balancer(const control_balancer &balancer, dataplane::v1::LoadBalancerState *out);
void write_firewall(const control_firewall &firewall, dataplane::v1::FirewallSpec *out);
void write_state(const control_state &state, const ferrite_ipv6 &underlay_prefix,
		 dataplane::v1::GetStateResponse *out);
void write_tables(const struct control *control, dataplane::v1::GetStateResponse *out);

} // namespace ferrite
