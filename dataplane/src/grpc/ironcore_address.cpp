/* Prefixes, VIPs and NATs in dpdkironcore.v1. */
#include "ironcore_call.hpp"

namespace ferrite {

using namespace dpdkironcore::v1;

#define METHOD(name)                                                                                               \
	grpc::ServerUnaryReactor *IroncoreService::name(grpc::CallbackServerContext *call,                          \
							const name##Request *request, name##Response *response)

namespace {

template <class Request, class Response>
grpc::Status create_prefix(struct control *control, const Request &request, bool routed, Response *response)
{
	char id[CONTROL_ID_TEXT];
	control_prefix prefix{};
	ferrite_ipv6 underlay{};
	Invalid invalid = read_interface_id(request.interface_id(), id);

	if (invalid == nullptr)
		invalid = read_prefix(request.prefix(), prefix.key);
	if (invalid == nullptr)
		invalid = read_preferred(request.preferred_underlay_route(), *control_underlay_prefix(control),
					 prefix.preferred);
	if (invalid != nullptr)
		return invalid_argument(invalid);
	prefix.interface = id;
	prefix.routed = routed;
	return done_with_underlay(control_prefix_create(control, &prefix, &underlay), underlay, response);
}

template <class Request, class Response>
grpc::Status delete_prefix(struct control *control, const Request &request, bool routed, Response *response)
{
	char id[CONTROL_ID_TEXT];
	ferrite_route_key key;
	Invalid invalid = read_interface_id(request.interface_id(), id);

	if (invalid == nullptr)
		invalid = read_prefix(request.prefix(), key);
	return invalid != nullptr ? invalid_argument(invalid)
				  : done(control_prefix_delete(control, id, &key, routed), response);
}

template <class Request, class Response>
grpc::Status list_prefixes(struct control *control, const Request &request, bool routed, Response *response)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_interface_id(request.interface_id(), id);

	if (invalid != nullptr)
		return invalid_argument(invalid);
	control_status status = control_prefix_each(
		control, id, routed,
		[](void *list, const control_prefix *prefix) {
			write_prefix(*prefix, static_cast<Response *>(list)->add_prefixes());
		},
		response);

	return status == CONTROL_SUCCESS ? done_with_list(response) : done(status, response);
}

/* Calls with nothing but an interface. */
template <class Request, class Response>
grpc::Status delete_of(struct control *control, const Request &request,
		       control_status (*remove)(struct control *control, const char *interface), Response *response)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_interface_id(request.interface_id(), id);

	return invalid != nullptr ? invalid_argument(invalid) : done(remove(control, id), response);
}

/* A list of one address, or of all of them for 0.0.0.0. */
struct NatFilter {
	ferrite_ipv4 ip{};
	bool all = false;

	bool takes(const ferrite_ipv4 &other) const { return all || std::memcmp(&ip, &other, sizeof ip) == 0; }
};

Invalid read_filter(const IpAddress &wanted, NatFilter &filter, bool &is_ipv6)
{
	control_address address{};
	Invalid invalid = read_address(wanted, "Invalid nat_ip", address);

	is_ipv6 = address.family == 6;
	std::memcpy(filter.ip.bytes, address.bytes, sizeof filter.ip.bytes);
	filter.all = control_ipv4_is_zero(&filter.ip);
	return invalid;
}

template <class Response>
struct NatList {
	NatFilter filter;
	Response *response;
};

} // namespace

METHOD(ListPrefixes)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return list_prefixes(control, *request, true, response);
	});
}

METHOD(CreatePrefix)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return create_prefix(control, *request, true, response);
	});
}

METHOD(DeletePrefix)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return delete_prefix(control, *request, true, response);
	});
}

METHOD(ListLoadBalancerPrefixes)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return list_prefixes(control, *request, false, response);
	});
}

METHOD(CreateLoadBalancerPrefix)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return create_prefix(control, *request, false, response);
	});
}

METHOD(DeleteLoadBalancerPrefix)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return delete_prefix(control, *request, false, response);
	});
}

METHOD(CreateVip)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_address ip;
		ferrite_ipv6 preferred, underlay{};
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid == nullptr)
			invalid = read_real_address(request->vip_ip(), "Invalid vip_ip", ip);
		if (invalid == nullptr)
			invalid = read_preferred(request->preferred_underlay_route(), *control_underlay_prefix(control),
						 preferred);
		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done_with_underlay(control_vip_create(control, id, &ip, &preferred, &underlay), underlay, response);
	});
}

METHOD(GetVip)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_vip vip;
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_vip_get(control, id, &vip);

		if (status == CONTROL_SUCCESS) {
			write_address(vip.ip, response->mutable_vip_ip());
			response->set_underlay_route(text_of(vip.underlay));
		}
		return done(status, response);
	});
}

METHOD(DeleteVip)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return delete_of(control, *request, control_vip_delete, response);
	});
}

METHOD(CreateNat)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_nat_spec nat;
		ferrite_ipv6 underlay{};
		Invalid invalid = read_nat(*request, *control_underlay_prefix(control), id, nat);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done_with_underlay(control_nat_create(control, &nat, &underlay), underlay, response);
	});
}

METHOD(GetNat)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_nat nat;
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_nat_get(control, id, &nat);

		if (status == CONTROL_SUCCESS) {
			write_address(nat.ip, response->mutable_nat_ip());
			response->set_min_port(nat.min);
			response->set_max_port(nat.max);
			response->set_underlay_route(text_of(nat.underlay));
		}
		return done(status, response);
	});
}

METHOD(DeleteNat)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		return delete_of(control, *request, control_nat_delete, response);
	});
}

METHOD(ListLocalNats)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		NatList<ListLocalNatsResponse> list{{}, response};
		bool is_ipv6 = false;
		Invalid invalid = read_filter(request->nat_ip(), list.filter, is_ipv6);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		if (is_ipv6)
			return done(CONTROL_BAD_IPVER, response);
		control_nat_each(
			control,
			[](void *context, const control_nat *nat) {
				auto *into = static_cast<NatList<ListLocalNatsResponse> *>(context);

				if (into->filter.takes(nat->ip))
					write_nat(*nat, into->response->add_nat_entries());
			},
			&list);
		return done_with_list(response);
	});
}

METHOD(CreateNeighborNat)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		ferrite_neighbor_nat nat;
		bool is_ipv6 = false;
		Invalid invalid = read_neighbor_nat(*request, nat, is_ipv6);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done(is_ipv6 ? CONTROL_BAD_IPVER : control_neighbor_nat_create(control, &nat), response);
	});
}

METHOD(DeleteNeighborNat)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		ferrite_neighbor_nat nat;
		bool is_ipv6 = false;
		Invalid invalid = read_neighbor_nat(*request, nat, is_ipv6);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done(is_ipv6 ? CONTROL_BAD_IPVER : control_neighbor_nat_delete(control, &nat), response);
	});
}

METHOD(ListNeighborNats)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		NatList<ListNeighborNatsResponse> list{{}, response};
		bool is_ipv6 = false;
		Invalid invalid = read_filter(request->nat_ip(), list.filter, is_ipv6);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		if (is_ipv6)
			return done(CONTROL_BAD_IPVER, response);
		control_neighbor_nat_each(
			control,
			[](void *context, const ferrite_neighbor_nat *nat) {
				auto *into = static_cast<NatList<ListNeighborNatsResponse> *>(context);

				if (into->filter.takes(nat->ip))
					write_nat(*nat, into->response->add_nat_entries());
			},
			&list);
		return done_with_list(response);
	});
}

#undef METHOD

} // namespace ferrite
