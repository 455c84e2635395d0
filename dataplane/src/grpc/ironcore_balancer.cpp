/* Load balancers, firewall rules and capture in dpdkironcore.v1. */
#include "ironcore_call.hpp"

namespace ferrite {

using namespace dpdkironcore::v1;

#define METHOD(name)                                                                                               \
	grpc::ServerUnaryReactor *IroncoreService::name(grpc::CallbackServerContext *call,                          \
							const name##Request *request, name##Response *response)

namespace {

void write_targets(const control_balancer &balancer, ListLoadBalancerTargetsResponse *response)
{
	for (std::uint32_t i = 0; i < balancer.target_count; ++i)
		write_address(balancer.targets[i], response->add_target_ips());
}

template <class Request>
Invalid read_target(const Request &request, char id[CONTROL_ID_TEXT], control_address &target)
{
	Invalid invalid = read_balancer_id(request.loadbalancer_id(), id);

	return invalid != nullptr ? invalid : read_address(request.target_ip(), "Invalid target_ip", target);
}

template <class Request>
Invalid read_rule_of(const Request &request, char interface[CONTROL_ID_TEXT], char rule[CONTROL_ID_TEXT])
{
	Invalid invalid = read_interface_id(request.interface_id(), interface);

	return invalid != nullptr ? invalid : read_rule_id(request.rule_id(), rule);
}

} // namespace

METHOD(CreateLoadBalancer)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		control_balancer_spec balancer;
		ferrite_ipv6 underlay{};
		Invalid invalid = read_balancer(*request, *control_underlay_prefix(control), balancer);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done_with_underlay(control_balancer_create(control, &balancer, &underlay), underlay, response);
	});
}

METHOD(GetLoadBalancer)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		Invalid invalid = read_balancer_id(request->loadbalancer_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		const control_balancer *balancer = control_balancer_find(control, id);

		if (balancer == nullptr)
			return done(CONTROL_NOT_FOUND, response);
		write_address(balancer->spec.address.family, balancer->spec.address.bytes,
			      response->mutable_loadbalanced_ip());
		response->set_vni(balancer->spec.vni);
		for (unsigned i = 0; i < balancer->spec.port_count; ++i)
			write_port(balancer->spec.ports[i], response->add_loadbalanced_ports());
		response->set_underlay_route(text_of(balancer->underlay));
		return done(CONTROL_SUCCESS, response);
	});
}

METHOD(DeleteLoadBalancer)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		Invalid invalid = read_balancer_id(request->loadbalancer_id(), id);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_balancer_delete(control, id), response);
	});
}

METHOD(ListLoadBalancers)
{
	(void)request;
	return when_initialized(shared, call, [response](struct control *control) {
		control_balancer_each(
			control,
			[](void *list, const control_balancer *balancer) {
				write_balancer(*balancer,
					       static_cast<ListLoadBalancersResponse *>(list)->add_loadbalancers());
			},
			response);
		return done_with_list(response);
	});
}

METHOD(CreateLoadBalancerTarget)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_address target;
		Invalid invalid = read_target(*request, id, target);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_target_create(control, id, &target), response);
	});
}

METHOD(ListLoadBalancerTargets)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];

		if (request->loadbalancer_id().empty()) {
			control_balancer_each(
				control,
				[](void *list, const control_balancer *balancer) {
					write_targets(*balancer, static_cast<ListLoadBalancerTargetsResponse *>(list));
				},
				response);
			return done_with_list(response);
		}
		Invalid invalid = read_balancer_id(request->loadbalancer_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		const control_balancer *balancer = control_balancer_find(control, id);

		if (balancer == nullptr)
			return done(CONTROL_NO_LB, response);
		write_targets(*balancer, response);
		return done_with_list(response);
	});
}

METHOD(DeleteLoadBalancerTarget)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_address target;
		Invalid invalid = read_target(*request, id, target);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_target_delete(control, id, &target), response);
	});
}

METHOD(ListFirewallRules)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_firewall firewall;
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_firewall_get(control, id, &firewall);

		if (status != CONTROL_SUCCESS)
			return done(status, response);
		for (unsigned i = 0; i < firewall.rule_count; ++i)
			write_rule(firewall.rules[i], response->add_rules());
		return done_with_list(response);
	});
}

METHOD(CreateFirewallRule)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		control_rule rule;
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid == nullptr)
			invalid = read_rule(request->rule(), rule);
		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_rule_create(control, id, &rule);

		if (status == CONTROL_SUCCESS)
			response->set_rule_id(rule.id);
		return done(status, response);
	});
}

METHOD(GetFirewallRule)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char interface[CONTROL_ID_TEXT], id[CONTROL_ID_TEXT];
		control_rule rule;
		Invalid invalid = read_rule_of(*request, interface, id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_rule_get(control, interface, id, &rule);

		if (status == CONTROL_SUCCESS)
			write_rule(rule, response->mutable_rule());
		return done(status, response);
	});
}

METHOD(DeleteFirewallRule)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char interface[CONTROL_ID_TEXT], id[CONTROL_ID_TEXT];
		Invalid invalid = read_rule_of(*request, interface, id);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_rule_delete(control, interface, id), response);
	});
}

METHOD(CaptureStart)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		control_capture capture;
		Invalid invalid = read_capture(request->capture_config(), capture);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_capture_start(control, &capture), response);
	});
}

METHOD(CaptureStop)
{
	(void)request;
	return when_initialized(shared, call, [response](struct control *control) {
		unsigned stopped = 0;
		control_status status = control_capture_stop(control, &stopped);

		if (status == CONTROL_SUCCESS)
			response->set_stopped_interface_cnt(stopped);
		return done(status, response);
	});
}

METHOD(CaptureStatus)
{
	(void)request;
	return when_initialized(shared, call, [response](struct control *control) {
		const control_capture *capture = control_capture_status(control);

		response->set_is_active(capture != nullptr);
		if (capture != nullptr)
			write_capture(*capture, response->mutable_capture_config());
		return done(CONTROL_SUCCESS, response);
	});
}

#undef METHOD

} // namespace ferrite
