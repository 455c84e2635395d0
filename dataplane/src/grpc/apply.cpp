#include "apply.hpp"

#include "edge.hpp"
#include "read.hpp"
#include "write.hpp"

namespace ferrite {

namespace {

using dataplane::v1::Operation;
using dataplane::v1::Result;

/* The number of the gRPC status, where dpdkironcore.v1 would end the call with it. */
constexpr std::uint32_t invalid_argument_code = 3;

void refuse(Invalid invalid, Result *result)
{
	result->set_code(invalid_argument_code);
	result->set_message(invalid);
}

void done(control_status status, Result *result)
{
	result->set_code(static_cast<std::uint32_t>(status));
	result->set_message(control_status_name(status));
}

void create_interface(struct control *control, const dataplane::v1::InterfaceSpec &wanted, Result *result)
{
	const struct control_interface *made = nullptr;
	control_interface_spec spec;
	Invalid invalid = read_interface(wanted, *control_underlay_prefix(control), spec);

	if (invalid != nullptr)
		return refuse(invalid, result);
	control_status status = control_interface_ensure(control, &spec, &made);

	done(status, result);
	if (status == CONTROL_SUCCESS)
		write_interface(*made, result->mutable_interface());
}

void delete_interface(struct control *control, const std::string &wanted, Result *result)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_interface_id(wanted, id);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_interface_delete(control, id), result);
}

void put_route(struct control *control, const dataplane::v1::Route &wanted, Result *result)
{
	bool next_hop_is_ipv4 = false;
	ferrite_hop hops[FERRITE_MAX_HOPS];
	control_route route;
	Invalid invalid = read_route(wanted, route, hops, next_hop_is_ipv4);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(next_hop_is_ipv4 ? CONTROL_BAD_IPVER : control_route_put(control, &route, true), result);
}

void delete_route(struct control *control, const dataplane::v1::Route &wanted, Result *result)
{
	ferrite_route_key key;
	Invalid invalid = read_route_prefix(wanted, key);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_route_delete(control, &key), result);
}

void with_underlay(control_status status, const ferrite_ipv6 &underlay, Result *result)
{
	done(status, result);
	if (status == CONTROL_SUCCESS)
		result->set_underlay_address(text_of(underlay));
}

void put_prefix(struct control *control, const dataplane::v1::PrefixSpec &spec, bool routed, Result *result)
{
	char id[CONTROL_ID_TEXT];
	control_prefix prefix;
	ferrite_ipv6 underlay{};
	Invalid invalid = read_prefix(spec, *control_underlay_prefix(control), id, prefix);

	if (invalid != nullptr)
		return refuse(invalid, result);
	prefix.routed = routed;
	with_underlay(control_prefix_ensure(control, &prefix, &underlay), underlay, result);
}

void delete_prefix(struct control *control, const dataplane::v1::PrefixSpec &spec, bool routed, Result *result)
{
	char id[CONTROL_ID_TEXT];
	dataplane::v1::PrefixSpec identity;
	control_prefix prefix;

	identity.set_interface(spec.interface());
	identity.set_prefix(spec.prefix());
	Invalid invalid = read_prefix(identity, *control_underlay_prefix(control), id, prefix);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_prefix_delete(control, id, &prefix.key, routed), result);
}

void put_vip(struct control *control, const dataplane::v1::VipSpec &spec, Result *result)
{
	char id[CONTROL_ID_TEXT];
	control_address ip;
	ferrite_ipv6 preferred{}, underlay{};
	Invalid invalid = read_vip(spec, *control_underlay_prefix(control), id, ip, preferred);

	if (invalid != nullptr)
		return refuse(invalid, result);
	with_underlay(control_vip_ensure(control, id, &ip, &preferred, &underlay), underlay, result);
}

void put_nat(struct control *control, const dataplane::v1::NatSpec &spec, Result *result)
{
	char id[CONTROL_ID_TEXT];
	control_nat_spec nat;
	ferrite_ipv6 underlay{};
	Invalid invalid = read_nat(spec, *control_underlay_prefix(control), id, nat);

	if (invalid != nullptr)
		return refuse(invalid, result);
	with_underlay(control_nat_ensure(control, &nat, &underlay), underlay, result);
}

/* Something of an interface that has one at most. */
void delete_of(struct control *control, const std::string &interface,
	       control_status (*remove)(struct control *control, const char *interface), Result *result)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_interface_id(interface, id);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(remove(control, id), result);
}

void neighbor_nat(struct control *control, const dataplane::v1::NeighborNatSpec &spec, bool put, Result *result)
{
	ferrite_neighbor_nat nat;
	bool is_ipv6 = false;
	Invalid invalid = read_neighbor_nat(spec, put, nat, is_ipv6);

	if (invalid != nullptr)
		return refuse(invalid, result);
	if (is_ipv6)
		return done(CONTROL_BAD_IPVER, result);
	done(put ? control_neighbor_nat_ensure(control, &nat) : control_neighbor_nat_delete(control, &nat), result);
}

void put_load_balancer(struct control *control, const dataplane::v1::LoadBalancerSpec &spec, Result *result)
{
	control_balancer_spec balancer;
	std::vector<ferrite_ipv6> targets;
	bool target_is_ipv4 = false;
	ferrite_ipv6 underlay{};
	Invalid invalid =
		read_balancer(spec, *control_underlay_prefix(control), balancer, targets, target_is_ipv4);

	if (invalid != nullptr)
		return refuse(invalid, result);
	if (target_is_ipv4)
		return done(CONTROL_BAD_IPVER, result);
	with_underlay(control_balancer_ensure(control, &balancer, targets.data(), static_cast<unsigned>(targets.size()),
					      &underlay),
		      underlay, result);
}

void delete_load_balancer(struct control *control, const std::string &wanted, Result *result)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_balancer_id(wanted, id);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_balancer_delete(control, id), result);
}

void put_firewall(struct control *control, const dataplane::v1::FirewallSpec &spec, Result *result)
{
	char id[CONTROL_ID_TEXT];
	std::vector<control_rule> rules;
	control_firewall firewall;
	Invalid invalid = read_firewall(spec, id, rules, firewall);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_firewall_put(control, &firewall), result);
}

void put_edge(struct control *control, const dataplane::v1::EdgeSpec &spec, Result *result)
{
	control_edge_spec edge;
	ferrite_ipv6 underlay{};
	Invalid invalid = read_edge(spec, *control_underlay_prefix(control), edge);

	if (invalid != nullptr)
		return refuse(invalid, result);
	with_underlay(control_edge_ensure(control, &edge, &underlay), underlay, result);
}

void delete_edge(struct control *control, const std::string &wanted, Result *result)
{
	char name[CONTROL_ID_TEXT];
	Invalid invalid = read_edge_name(wanted, name);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_edge_delete(control, name), result);
}

} // namespace

void apply_operation(struct control *control, const Operation &operation, Result *result)
{
	switch (operation.operation_case()) {
	case Operation::kCreateInterface:
		return create_interface(control, operation.create_interface(), result);
	case Operation::kDeleteInterface:
		return delete_interface(control, operation.delete_interface(), result);
	case Operation::kPutRoute:
		return put_route(control, operation.put_route(), result);
	case Operation::kDeleteRoute:
		return delete_route(control, operation.delete_route(), result);
	case Operation::kResetVni:
		control_vni_reset(control, operation.reset_vni());
		return done(CONTROL_SUCCESS, result);
	case Operation::kPutAliasPrefix:
		return put_prefix(control, operation.put_alias_prefix(), true, result);
	case Operation::kDeleteAliasPrefix:
		return delete_prefix(control, operation.delete_alias_prefix(), true, result);
	case Operation::kPutBalancerPrefix:
		return put_prefix(control, operation.put_balancer_prefix(), false, result);
	case Operation::kDeleteBalancerPrefix:
		return delete_prefix(control, operation.delete_balancer_prefix(), false, result);
	case Operation::kPutVip:
		return put_vip(control, operation.put_vip(), result);
	case Operation::kDeleteVip:
		return delete_of(control, operation.delete_vip(), control_vip_delete, result);
	case Operation::kPutNat:
		return put_nat(control, operation.put_nat(), result);
	case Operation::kDeleteNat:
		return delete_of(control, operation.delete_nat(), control_nat_delete, result);
	case Operation::kPutNeighborNat:
		return neighbor_nat(control, operation.put_neighbor_nat(), true, result);
	case Operation::kDeleteNeighborNat:
		return neighbor_nat(control, operation.delete_neighbor_nat(), false, result);
	case Operation::kPutLoadBalancer:
		return put_load_balancer(control, operation.put_load_balancer(), result);
	case Operation::kDeleteLoadBalancer:
		return delete_load_balancer(control, operation.delete_load_balancer(), result);
	case Operation::kPutFirewall:
		return put_firewall(control, operation.put_firewall(), result);
	case Operation::kDeleteFirewall:
		return delete_of(control, operation.delete_firewall(), control_firewall_delete, result);
	case Operation::kPutEdge:
		return put_edge(control, operation.put_edge(), result);
	case Operation::kDeleteEdge:
		return delete_edge(control, operation.delete_edge(), result);
	case Operation::OPERATION_NOT_SET:
		break;
	}
	refuse("Invalid operation", result);
}

} // namespace ferrite
