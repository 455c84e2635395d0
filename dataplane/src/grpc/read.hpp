/* Requests off the wire into values of the control layer.
 *
 * Each function makes the checks of its call in the order of the contract and answers the text of the first that
 * fails, for INVALID_ARGUMENT, or nullptr. The texts are part of the contract: clients match on them.
 */
#pragma once

#include <string>
#include <vector>

#include "../control/address.h"
#include "../control/control.h"
#include "dpdkironcore/v1/dpdk.pb.h"
#include "ferrite/dataplane/v1/dataplane.pb.h"

namespace ferrite {

using Invalid = const char *;

Invalid read_version(const dpdkironcore::v1::GetVersionRequest &request);
/* 1 to 63 bytes. */
Invalid read_interface_id(const std::string &id, char out[CONTROL_ID_TEXT]);
Invalid read_balancer_id(const std::string &id, char out[CONTROL_ID_TEXT]);
Invalid read_interface(const dpdkironcore::v1::CreateInterfaceRequest &request, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out);
/* The prefix of a route: its key. */
Invalid read_route_prefix(std::uint32_t vni, const dpdkironcore::v1::Route &route, ferrite_route_key &out);
/* `next_hop_is_ipv4`: well formed, and yet BAD_IPVER. */
Invalid read_route(std::uint32_t vni, const dpdkironcore::v1::Route &route, control_route &out,
		   bool &next_hop_is_ipv4);
Invalid read_vni_type(dpdkironcore::v1::VniType type);
/* Host bits stay. */
Invalid read_prefix(const dpdkironcore::v1::Prefix &prefix, ferrite_route_key &out);
/* `text`: what to say when it is no address of the family that it names. */
Invalid read_address(const dpdkironcore::v1::IpAddress &address, Invalid text, control_address &out);
/* Likewise, and zero is none. */
Invalid read_real_address(const dpdkironcore::v1::IpAddress &address, Invalid text, control_address &out);
Invalid read_preferred(const std::string &text, const ferrite_ipv6 &underlay_prefix, ferrite_ipv6 &out);
Invalid read_nat(const dpdkironcore::v1::CreateNatRequest &request, const ferrite_ipv6 &underlay_prefix,
		 char id[CONTROL_ID_TEXT], control_nat_spec &out);
/* Also what is IPv6, with `is_ipv6` set. */
Invalid read_neighbor_nat(const dpdkironcore::v1::CreateNeighborNatRequest &request, ferrite_neighbor_nat &out,
			  bool &is_ipv6);
Invalid read_neighbor_nat(const dpdkironcore::v1::DeleteNeighborNatRequest &request, ferrite_neighbor_nat &out,
			  bool &is_ipv6);
Invalid read_balancer(const dpdkironcore::v1::CreateLoadBalancerRequest &request, const ferrite_ipv6 &underlay_prefix,
		      control_balancer_spec &out);
Invalid read_rule_id(const std::string &id, char out[CONTROL_ID_TEXT]);
Invalid read_rule(const dpdkironcore::v1::FirewallRule &rule, control_rule &out);
Invalid read_capture(const dpdkironcore::v1::CaptureConfig &config, control_capture &out);

Invalid read_interface(const dataplane::v1::InterfaceSpec &spec, const ferrite_ipv6 &underlay_prefix,
		       control_interface_spec &out);
Invalid read_route_prefix(const dataplane::v1::Route &route, ferrite_route_key &out);
/* `out` refers to `hops`. */
Invalid read_route(const dataplane::v1::Route &route, control_route &out, ferrite_hop (&hops)[FERRITE_MAX_HOPS],
		   bool &next_hop_is_ipv4);
/* `out` refers to `id`, here and below. */
Invalid read_prefix(const dataplane::v1::PrefixSpec &spec, const ferrite_ipv6 &underlay_prefix,
		    char id[CONTROL_ID_TEXT], control_prefix &out);
Invalid read_vip(const dataplane::v1::VipSpec &spec, const ferrite_ipv6 &underlay_prefix, char id[CONTROL_ID_TEXT],
		 control_address &ip, ferrite_ipv6 &preferred);
Invalid read_nat(const dataplane::v1::NatSpec &spec, const ferrite_ipv6 &underlay_prefix, char id[CONTROL_ID_TEXT],
		 control_nat_spec &out);
/* `with_underlay`: to be made; to be deleted it needs none. */
Invalid read_neighbor_nat(const dataplane::v1::NeighborNatSpec &spec, bool with_underlay, ferrite_neighbor_nat &out,
			  bool &is_ipv6);
Invalid read_balancer(const dataplane::v1::LoadBalancerSpec &spec, const ferrite_ipv6 &underlay_prefix,
		      control_balancer_spec &out, std::vector<ferrite_ipv6> &targets, bool &target_is_ipv4);
/* `out` refers to `id` and `rules`. */
Invalid read_firewall(const dataplane::v1::FirewallSpec &spec, char id[CONTROL_ID_TEXT],
		      std::vector<control_rule> &rules, control_firewall &out);

} // namespace ferrite
