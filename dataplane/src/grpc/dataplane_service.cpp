#include "dataplane_service.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "apply.hpp"
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

/* One per ListAll call. The state is copied at one moment on the control thread, and sent as fast as the client
 * takes it. */
class ListStream final : public grpc::ServerWriteReactor<ListAllResponse> {
public:
	ListStream(ServiceContext &shared, std::atomic<int> &streams)
		: shared(shared), place(streams, DataplaneService::max_list_streams)
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
	void copy(struct control *control)
	{
		if (!control_initialized(control))
			return Finish(not_initialized());
		control_read_state(control, &state);
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
				static_cast<ListStream *>(self)->routes.push_back(*route);
			},
			this);
		next();
	}

	void next()
	{
		response.Clear();
		if (sent < interfaces.size()) {
			write_interface(interfaces[sent], response.mutable_interface());
		} else if (sent < interfaces.size() + routes.size()) {
			write_route(routes[sent - interfaces.size()], response.mutable_route());
		} else {
			write_state(state, shared.underlay_prefix, response.mutable_summary());
			return StartWriteAndFinish(&response, grpc::WriteOptions(), grpc::Status::OK);
		}
		sent++;
		/* No buffer hint: with it the write, and so its OnWriteDone, waits for something else to flush it. */
		StartWrite(&response);
	}

	ServiceContext &shared;
	Place place;
	struct control_state state {};
	std::vector<struct control_interface> interfaces;
	std::vector<struct control_route> routes;
	std::size_t sent = 0;
	ListAllResponse response;
};

} // namespace

grpc::ServerBidiReactor<ApplyRequest, ApplyResponse> *DataplaneService::Apply(grpc::CallbackServerContext *)
{
	return new ApplyStream(shared, apply_streams);
}

grpc::ServerWriteReactor<ListAllResponse> *DataplaneService::ListAll(grpc::CallbackServerContext *,
								     const ListAllRequest *)
{
	return new ListStream(shared, list_streams);
}

grpc::ServerUnaryReactor *DataplaneService::GetState(grpc::CallbackServerContext *call, const GetStateRequest *,
						     GetStateResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit([this, reactor, response](struct control *control) {
		struct control_state state;

		control_read_state(control, &state);
		write_state(state, shared.underlay_prefix, response);
		reactor->Finish(grpc::Status::OK);
	});

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

grpc::ServerUnaryReactor *DataplaneService::GetCounters(grpc::CallbackServerContext *call, const GetCountersRequest *,
							GetCountersResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit([this, reactor, response](struct control *control) {
		if (!control_initialized(control))
			return reactor->Finish(not_initialized());
		ferrite_counters_each(
			shared.engine,
			[](void *list, const char *name, std::uint64_t value) {
				GetCountersResponse::Counter *counter =
					static_cast<GetCountersResponse *>(list)->add_counters();

				counter->set_name(name);
				counter->set_value(value);
			},
			response);
		std::sort(response->mutable_counters()->pointer_begin(), response->mutable_counters()->pointer_end(),
			  [](const auto *one, const auto *other) { return one->name() < other->name(); });
		reactor->Finish(grpc::Status::OK);
	});

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

} // namespace ferrite
