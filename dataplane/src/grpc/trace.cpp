#include "trace.hpp"

#include <cerrno>
#include <cstring>
#include <memory>

#include "../control/address.h"
#include "../control/names.h"
#include "describe_packet.hpp"
#include "flow_names.hpp"
#include "points.hpp"
#include "write.hpp"
#include "flow_text.hpp"

namespace ferrite {

namespace {

using dataplane::v1::TraceRequest;
using dataplane::v1::TraceResponse;
using dataplane::v1::TraceStep;

/* MAC of a sender whom nobody knows yet. */
constexpr ferrite_mac somebody = {{0x02, 0, 0, 0, 0, 0x01}};

bool is_zero(const ferrite_ipv6 &address)
{
	return control_ipv6_is_zero(&address);
}

/* An address that is IPv4 in its first 4 bytes where nothing follows them. */
std::string either_text(const ferrite_ipv6 &address)
{
	static const std::uint8_t zero[12] = {};

	return address_text(std::memcmp(address.bytes + 4, zero, sizeof zero) == 0 ? 4 : 6, address.bytes);
}

std::string prefix_text(const ferrite_route_key &key)
{
	char text[CONTROL_PREFIX_TEXT];

	return {text, control_prefix_format(&key, text)};
}

/* One step into words; `names` has been refreshed. */
class Words {
public:
	/* `vni_before`: of the interface that was named last. */
	Words(const struct control *control, FlowNames &names, const ferrite_trace_step &step, std::uint32_t vni_before,
	      TraceStep &out)
		: control(control), names(names), step(step), out(out), interface(names.interface(step.interface)),
		  vni_before(vni_before)
	{
	}

	void write()
	{
		out.set_interface(interface);
		out.set_egress(step.egress);
		out.set_stage(static_cast<TraceStep::Stage>(step.stage + 1));
		switch (step.stage) {
		case FERRITE_STEP_ARRIVE:
			return arrive();
		case FERRITE_STEP_FLOW:
			return flow();
		case FERRITE_STEP_SERVICE:
			return say("answered", "the gateway answers" + (step.name != nullptr ? " (" + std::string(step.name) + ")" : ""));
		case FERRITE_STEP_FIREWALL:
			return firewall();
		case FERRITE_STEP_ROUTE:
			return route();
		case FERRITE_STEP_NAT:
			return nat();
		case FERRITE_STEP_BALANCER:
			return balancer();
		case FERRITE_STEP_ANSWER:
			return answer();
		case FERRITE_STEP_DROP:
			return say(step.name != nullptr ? step.name : "drop",
				   std::string("dropped: ") + (step.name != nullptr ? step.name : "?"));
		case FERRITE_STEP_SEND:
			return send();
		default:
			return say("?", "?");
		}
	}

private:
	void say(const std::string &decision, const std::string &text)
	{
		out.set_decision(decision);
		out.set_text(text);
	}

	std::string of_interface() const { return interface.empty() ? "" : " of " + interface; }

	void arrive()
	{
		static const char *const types[] = {"a VM", "an interface", "a VIP", "a NAT", "a load balancer",
						    "a load balancer prefix", "an alias prefix", "an edge"};
		char owner[128];

		if (step.decision == 0)
			return say("vm", "from the VM" + of_interface());
		std::string what = step.decision < std::size(types) ? types[step.decision] : "a virtual service";

		if (!is_zero(step.address)) {
			out.set_address(text_of(step.address));
			if (control_underlay_name(control, &step.address, owner, sizeof owner))
				return say("underlay", "from the underlay to " + text_of(step.address) + ", " + owner);
		}
		say("underlay", "from the underlay, to " + what + of_interface());
	}

	void flow()
	{
		static const char *const decisions[] = {"none", "live", "again", "begun", "ended"};
		static const char *const texts[] = {"belongs to no flow", "belongs to a live flow",
						    "belongs to a flow that is decided anew", "begins a flow",
						    "its flow ended"};

		if (step.decision >= std::size(texts))
			return say("?", "?");
		const std::string rule = step.decision == 0 ? "" : names.rule(control, step.interface, step.reference);
		std::string text = texts[step.decision];

		out.set_rule(rule);
		if (step.decision == 1 || step.decision == 2) {
			text += of_interface();
			if (!rule.empty())
				text += ", which rule " + rule + " let pass";
			if (!is_zero(step.address)) {
				out.set_address(either_text(step.address));
				out.set_port(step.port);
				text += "; its originator appears as " + either_text(step.address) +
					(step.port != 0 ? " port " + std::to_string(step.port) : "");
			}
		}
		say(decisions[step.decision], text);
	}

	void firewall()
	{
		const std::string rule = names.rule(control, step.interface, step.reference);
		std::string text = std::string(step.egress ? "egress" : "ingress") + " firewall" + of_interface() +
				   (step.decision == 1 ? " accepts: " : " refuses: ");

		out.set_rule(rule);
		if (!rule.empty())
			text += "rule " + rule;
		else if (step.reference != 0)
			text += "a rule that is gone";
		else
			text += "no rule matches";
		say(step.decision == 1 ? "accepted" : "denied", text);
	}

	void route()
	{
		if (step.decision == 0)
			return say("none", "no route in VNI " + std::to_string(vni_before));
		std::string prefix = prefix_text(step.prefix), vni = std::to_string(step.prefix.vni);

		out.set_route(vni + " " + prefix);
		if (step.decision == 1)
			return say("local", "route " + prefix + " of VNI " + vni + ": " +
						    (interface.empty() ? "local" : interface + ", on this host"));
		out.set_address(text_of(step.address));
		say("remote", "route " + prefix + " of VNI " + vni + ": next hop " + text_of(step.address));
	}

	void nat()
	{
		static const char *const decisions[] = {"?", "vip", "nat", "nat64", "neighbor_nat", "virtual_service"};
		const char *kind = step.decision < std::size(decisions) ? decisions[step.decision] : "?";
		std::string address = either_text(step.address);
		std::string place = address + (step.port != 0 ? " port " + std::to_string(step.port) : "");

		out.set_address(address);
		out.set_port(step.port);
		switch (step.decision) {
		case 1:
			return say(kind, "VIP" + of_interface() + ": " + place);
		case 2:
			return say(kind, "NAT" + of_interface() + ": " + place);
		case 3:
			return say(kind, "NAT64" + of_interface() + ": " + place);
		case 4:
			return say(kind, "the port is a neighbour's: relayed to " + place);
		default:
			return say(kind, "virtual service: " + place);
		}
	}

	void balancer()
	{
		const std::string name = names.balancer(control, step.reference);
		std::string target = is_zero(step.address) ? "no target" : "target " + text_of(step.address);

		out.set_load_balancer(name);
		if (!is_zero(step.address))
			out.set_address(text_of(step.address));
		say("target", "load balancer " + name + ": " + target);
	}

	void answer()
	{
		static const char *const texts[] = {"?", "echo", "reset", "icmp"};

		say(step.decision < std::size(texts) ? texts[step.decision] : "?",
		    step.decision == 1	 ? "answered with an echo reply"
		    : step.decision == 2 ? "answered with a TCP reset"
					 : "answered with an ICMP error");
	}

	void send()
	{
		if (step.decision == 1)
			return say("vm", "delivered to the VM" + of_interface());
		if (!is_zero(step.address))
			out.set_address(text_of(step.address));
		say("uplink", std::string("leaves by the uplink") +
				      (is_zero(step.address) ? "" : " to " + text_of(step.address)));
	}

	const struct control *control;
	FlowNames &names;
	const ferrite_trace_step &step;
	TraceStep &out;
	const std::string interface;
	const std::uint32_t vni_before;
};

/* The packet that the request means. */
std::string packet_of(const ServiceContext &shared, const TraceRequest &request, std::uint32_t port, const char *&error)
{
	struct ferrite_port_info info {};
	ferrite_mac guest = somebody;

	if (request.packet_case() == TraceRequest::kBytes)
		return request.bytes();
	if (request.packet_case() != TraceRequest::kDescription) {
		error = "Invalid packet";
		return {};
	}
	if (port == 0)
		return make_outer(request.description(), error);
	(void)ferrite_port_info(shared.engine, port, &info);
	(void)ferrite_port_guest(shared.engine, port, &guest);
	return make_frame(request.description(), info.mac, guest, error);
}

} // namespace

void write_trace(const struct control *control, const ferrite_trace_result &result, TraceResponse &out)
{
	FlowNames names;

	std::uint32_t vni = 0;

	names.refresh(control);
	for (unsigned i = 0; i < result.step_count; ++i) {
		TraceStep *step = out.add_steps();

		Words(control, names, result.steps[i], vni, *step).write();
		if (const control_interface *interface = control_interface_find(control, step->interface().c_str()))
			vni = interface->spec.vni;
		if (result.steps[i].stage == FERRITE_STEP_DROP)
			out.set_drop(step->decision());
	}
	if (result.length == 0)
		return;
	out.set_length(result.length);
	out.set_packet(result.bytes, std::min<std::size_t>(result.length, sizeof result.bytes));
	out.set_to_interface(names.interface(result.interface));
	out.set_by_uplink(result.interface == 0);
}

grpc::Status trace(struct control *control, const ServiceContext &shared, const TraceRequest &request,
		   TraceResponse &response)
{
	std::string error;
	const char *invalid = nullptr;
	Names interfaces, uplinks;

	if (request.interface().empty() == request.uplink().empty())
		return invalid_argument("Invalid interface: one of interface and uplink");
	if (!request.interface().empty())
		*interfaces.Add() = request.interface();
	else
		*uplinks.Add() = request.uplink();
	std::vector<NamedPoint> points = find_points(control, shared.engine, interfaces, uplinks, error);

	if (points.empty())
		return {grpc::StatusCode::NOT_FOUND, error};
	std::uint32_t port = points[0].point.port;
	std::string packet = packet_of(shared, request, port, invalid);

	if (invalid != nullptr)
		return invalid_argument(invalid);
	auto result = std::make_unique<ferrite_trace_result>();
	int failed = ferrite_trace_packet(shared.engine, port, reinterpret_cast<const std::uint8_t *>(packet.data()),
					  static_cast<std::uint32_t>(packet.size()), request.inject(), result.get());

	if (failed == -EINVAL)
		return invalid_argument("Invalid bytes: too short or too long");
	if (failed != 0)
		return {grpc::StatusCode::FAILED_PRECONDITION, std::strerror(-failed)};
	write_trace(control, *result, response);
	return grpc::Status::OK;
}

} // namespace ferrite
