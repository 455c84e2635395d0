#include "flow_list.hpp"

#include <deque>

#include "../control/address.h"
#include "../control/names.h"
#include "ferrite/observe.h"
#include "flow_text.hpp"

namespace ferrite {

namespace {

using dataplane::v1::ListFlowsRequest;
using dataplane::v1::ListFlowsResponse;

constexpr std::uint32_t usual_flows = 10'000;
constexpr std::uint32_t max_flows = 100'000; /* some 30 MB */
constexpr int max_at_once = 512;             /* flows of one message */

/* An address, or a prefix. */
bool read_address(const std::string &text, ferrite_flow_query &query)
{
	ferrite_ipv4 four;
	ferrite_ipv6 six;
	ferrite_route_key key{};

	if (control_ipv4_parse(text.data(), text.size(), &four)) {
		query.family = 4;
		query.length = 32;
		std::memcpy(query.prefix, four.bytes, 4);
	} else if (control_ipv6_parse(text.data(), text.size(), &six)) {
		query.family = 6;
		query.length = 128;
		std::memcpy(query.prefix, six.bytes, 16);
	} else if (control_prefix_parse(text.data(), text.size(), &key) == CONTROL_PREFIX_OK) {
		query.family = key.family;
		query.length = key.length;
		std::memcpy(query.prefix, key.prefix, 16);
	} else {
		return false;
	}
	return true;
}

class FlowList final : public grpc::ServerWriteReactor<ListFlowsResponse> {
public:
	FlowList(ServiceContext &shared, std::atomic<int> &lists, int limit, const ListFlowsRequest &wanted)
		: shared(shared), place(lists, limit), request(wanted)
	{
		if (!place)
			Finish(no_place());
		else if (request.limit() > max_flows)
			Finish(invalid_argument("Invalid limit: at most 100000"));
		else if (request.protocol() > 255)
			Finish(invalid_argument("Invalid protocol"));
		else if (request.port() > 65535)
			Finish(invalid_argument("Invalid port"));
		else if (!request.address().empty() && !read_address(request.address(), query))
			Finish(invalid_argument("Invalid address"));
		else if (!shared.queue.submit([this](struct control *control) { copy(control); }))
			Finish(too_busy());
	}

	void OnWriteDone(bool ok) override
	{
		if (ok)
			next();
		else
			Finish(grpc::Status::OK);
	}

	void OnDone() override { delete this; }

private:
	void copy(struct control *of)
	{
		control_point point;

		control = of;
		if (!request.interface().empty()) {
			if (!control_point_find(control, request.interface().c_str(), &point) || point.index == 0)
				return Finish({grpc::StatusCode::NOT_FOUND, "there is no interface " + request.interface()});
			query.interface = point.index;
		}
		query.protocol = static_cast<std::uint8_t>(request.protocol());
		query.port = static_cast<std::uint16_t>(request.port());
		left = request.limit() > 0 ? request.limit() : usual_flows;
		names.refresh(control);
		(void)ferrite_flow_each(
			shared.engine, &query,
			[](void *self, const struct ferrite_flow *flow) {
				return static_cast<FlowList *>(self)->add(*flow);
			},
			this);
		if (responses.empty())
			responses.emplace_back();
		responses.back().set_more(more);
		next();
	}

	bool add(const struct ferrite_flow &flow)
	{
		if (left-- == 0) {
			more = true;
			return false;
		}
		if (responses.empty() || responses.back().flows_size() == max_at_once)
			responses.emplace_back();
		auto *out = responses.back().add_flows();

		write_flow(control, names, time, flow.about, out);
		out->set_established(flow.established);
		return true;
	}

	void next()
	{
		if (responses.empty())
			return Finish(grpc::Status::OK);
		response = std::move(responses.front());
		responses.pop_front();
		StartWrite(&response);
	}

	ServiceContext &shared;
	StreamPlace place;
	const ListFlowsRequest request;
	ferrite_flow_query query{};
	const struct control *control = nullptr;
	FlowNames names;
	EngineTime time;
	std::uint32_t left = 0;
	bool more = false;
	std::deque<ListFlowsResponse> responses;
	ListFlowsResponse response;
};

} // namespace

grpc::ServerWriteReactor<ListFlowsResponse> *flow_list(ServiceContext &shared, std::atomic<int> &lists, int limit,
						       const ListFlowsRequest &request)
{
	return new FlowList(shared, lists, limit, request);
}

} // namespace ferrite
