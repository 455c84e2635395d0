#include "dataplane_service.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "apply.hpp"
#include "counters.hpp"
#include "edge.hpp"
#include "read.hpp"
#include "write.hpp"

namespace ferrite {

using dataplane::v1::ApplyRequest;
using dataplane::v1::ApplyResponse;
using dataplane::v1::GetCountersRequest;
using dataplane::v1::GetCountersResponse;
using dataplane::v1::GetStateRequest;
using dataplane::v1::GetStateResponse;
using dataplane::v1::ListAllRequest;
using dataplane::v1::ListAllResponse;
using dataplane::v1::ListBatch;

namespace {

/* A place among a bounded number of streams, given back with the stream. */
class Place {
public:
	Place(std::atomic<int> &taken, int limit) : taken(taken), granted(taken.fetch_add(1) < limit) {}
	~Place() { taken.fetch_sub(1); }
	Place(const Place &) = delete;
	Place &operator=(const Place &) = delete;

	explicit operator bool() const { return granted; }

private:
	std::atomic<int> &taken;
	bool granted;
};

grpc::Status too_many_streams()
{
	return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams of this kind are open"};
}

/* One per Apply call. A batch is read, done on the control thread and answered before the next is read, so a
 * client that sends faster fills its own HTTP/2 window and nothing else. */
class ApplyStream final : public grpc::ServerBidiReactor<ApplyRequest, ApplyResponse> {
public:
	ApplyStream(ServiceContext &shared, std::atomic<int> &streams)
		: shared(shared), place(streams, DataplaneService::max_apply_streams)
	{
		if (place)
			StartRead(&request);
		else
			Finish(too_many_streams());
	}

	void OnReadDone(bool ok) override
	{
		if (!ok)
			return Finish(grpc::Status::OK);
		if (request.operations_size() > DataplaneService::max_operations)
			return Finish(invalid_argument("Too many operations: a batch holds at most 4096"));
		if (!shared.queue.submit([this](struct control *control) { apply(control); }))
			Finish(too_busy());
	}

	void OnWriteDone(bool ok) override
	{
		if (!ok)
			return Finish(grpc::Status::OK);
		request.Clear();
		response.Clear();
		StartRead(&request);
	}

	void OnDone() override { delete this; }

private:
	void apply(struct control *control)
	{
		struct control_state state;

		if (!control_initialized(control))
			return Finish(not_initialized());
		response.set_sequence(request.sequence());
		for (const auto &operation : request.operations())
			apply_operation(control, operation, response.add_results());
		control_read_state(control, &state);
		response.set_digest(state.digest);
		StartWrite(&response);
	}

	ServiceContext &shared;
	Place place;
	ApplyRequest request;
	ApplyResponse response;
};

/* Services as batches, each of a bounded size: built on the control thread, for there are few of them. */
class ServiceBatches {
public:
	template <class Value, class Message>
	void add(Message *(ListBatch::*make)(), const Value &value, void (*write)(const Value &value, Message *out))
	{
		if (batches.empty() || count == max_items || bytes > max_bytes) {
			batches.emplace_back();
			count = 0;
			bytes = 0;
		}
		Message *message = (batches.back().*make)();

		write(value, message);
		count++;
		bytes += message->ByteSizeLong();
	}

	static constexpr std::size_t max_items = 1024;
	static constexpr std::size_t max_bytes = 1 << 20;
	std::deque<ListBatch> batches;

private:
	std::size_t count = 0;
	std::size_t bytes = 0;
};

ServiceBatches copy_services(const struct control *control)
{
	ServiceBatches all;

	control_prefix_each(
		control, nullptr, true,
		[](void *to, const control_prefix *prefix) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_alias_prefixes, *prefix, write_prefix);
		},
		&all);
	control_prefix_each(
		control, nullptr, false,
		[](void *to, const control_prefix *prefix) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_balancer_prefixes, *prefix, write_prefix);
		},
		&all);
	control_vip_each(
		control,
		[](void *to, const control_vip *vip) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_vips, *vip, write_vip);
		},
		&all);
	control_nat_each(
		control,
		[](void *to, const control_nat *nat) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_nats, *nat, write_nat);
		},
		&all);
	control_neighbor_nat_each(
		control,
		[](void *to, const ferrite_neighbor_nat *nat) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_neighbor_nats, *nat, write_neighbor_nat);
		},
		&all);
	control_balancer_each(
		control,
		[](void *to, const control_balancer *balancer) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_load_balancers, *balancer, write_balancer);
		},
		&all);
	control_firewall_each(
		control,
		[](void *to, const control_firewall *firewall) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_firewalls, *firewall, write_firewall);
		},
		&all);
	control_edge_each(
		control,
		[](void *to, const control_edge *edge) {
			static_cast<ServiceBatches *>(to)->add(&ListBatch::add_edges, *edge, write_edge);
		},
		&all);
	return all;
}

/* One per ListAll call. The state is copied at one moment on the control thread, and sent as fast as the client
 * takes it. */
class ListStream final : public grpc::ServerWriteReactor<ListAllResponse> {
public:
	ListStream(ServiceContext &shared, std::atomic<int> &streams, bool batched)
		: shared(shared), place(streams, DataplaneService::max_list_streams), batched(batched)
	{
		if (!place)
			Finish(too_many_streams());
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
	/* A route whose hops, where they are several, begin at a place in `hops`. */
	void copy_route(const struct control_route &route)
	{
		routes.push_back(route);
		if (route.hop_count < 2)
			return;
		first_hops.emplace_back(routes.size() - 1, hops.size());
		hops.insert(hops.end(), route.hops, route.hops + route.hop_count);
	}

	void copy(struct control *control)
	{
		control_state state;

		if (!control_initialized(control))
			return Finish(not_initialized());
		control_read_state(control, &state);
		write_state(state, shared.underlay_prefix, &summary);
		write_tables(control, &summary);
		interfaces.reserve(state.interfaces);
		routes.reserve(state.routes);
		control_interface_each(
			control,
			[](void *self, const struct control_interface *interface) {
				static_cast<ListStream *>(self)->interfaces.push_back(*interface);
			},
			this);
		control_route_each(
			control, 0,
			[](void *self, const struct control_route *route) {
				static_cast<ListStream *>(self)->copy_route(*route);
			},
			this);
		/* Now that the vector of hops does not move any more. */
		for (const auto &[route, hop] : first_hops)
			routes[route].hops = &hops[hop];
		services = copy_services(control);
		next();
	}

	std::size_t items_at_once() const { return batched ? ServiceBatches::max_items : 1; }

	/* Some interfaces, or else some routes, or else services; false when all of them are sent. */
	bool fill()
	{
		if (sent < interfaces.size()) {
			for (std::size_t room = items_at_once(); room > 0 && sent < interfaces.size(); --room)
				write_interface(interfaces[sent++], batched ? response.mutable_batch()->add_interfaces()
									    : response.mutable_interface());
			return true;
		}
		if (sent < interfaces.size() + routes.size()) {
			for (std::size_t room = items_at_once(); room > 0 && sent < interfaces.size() + routes.size(); --room)
				write_route(routes[sent++ - interfaces.size()],
					    batched ? response.mutable_batch()->add_routes() : response.mutable_route());
			return true;
		}
		if (services.batches.empty())
			return false;
		*response.mutable_batch() = std::move(services.batches.front());
		services.batches.pop_front();
		return true;
	}

	void next()
	{
		response.Clear();
		if (!fill()) {
			*response.mutable_summary() = std::move(summary);
			return StartWriteAndFinish(&response, grpc::WriteOptions(), grpc::Status::OK);
		}
		/* No buffer hint: with it the write, and so its OnWriteDone, waits for something else to flush it. */
		StartWrite(&response);
	}

	ServiceContext &shared;
	Place place;
	bool batched;
	std::vector<struct control_interface> interfaces;
	std::vector<struct control_route> routes;
	std::vector<ferrite_hop> hops;
	std::vector<std::pair<std::size_t, std::size_t>> first_hops;
	ServiceBatches services;
	GetStateResponse summary;
	std::size_t sent = 0;
	ListAllResponse response;
};

} // namespace

grpc::ServerBidiReactor<ApplyRequest, ApplyResponse> *DataplaneService::Apply(grpc::CallbackServerContext *)
{
	return new ApplyStream(shared, apply_streams);
}

grpc::ServerWriteReactor<ListAllResponse> *DataplaneService::ListAll(grpc::CallbackServerContext *,
								     const ListAllRequest *request)
{
	return new ListStream(shared, list_streams, request->batched());
}

grpc::ServerUnaryReactor *DataplaneService::GetState(grpc::CallbackServerContext *call, const GetStateRequest *,
						     GetStateResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit([this, reactor, response](struct control *control) {
		struct control_state state;

		control_read_state(control, &state);
		write_state(state, shared.underlay_prefix, response);
		write_tables(control, response);
		reactor->Finish(grpc::Status::OK);
	});

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

grpc::ServerUnaryReactor *DataplaneService::GetCounters(grpc::CallbackServerContext *call, const GetCountersRequest *request,
							GetCountersResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit([this, reactor, request, response](struct control *control) {
		if (!control_initialized(control))
			return reactor->Finish(not_initialized());
		write_counters(control, shared.engine, request->totals(), response);
		reactor->Finish(grpc::Status::OK);
	});

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

} // namespace ferrite
