#include "observe_service.hpp"

#include "capture_stream.hpp"
#include "flow_list.hpp"
#include "live_stream.hpp"
#include "trace.hpp"

namespace ferrite {

using dataplane::v1::CaptureRequest;
using dataplane::v1::CaptureResponse;
using dataplane::v1::FlowsRequest;
using dataplane::v1::FlowsResponse;
using dataplane::v1::ListFlowsRequest;
using dataplane::v1::ListFlowsResponse;
using dataplane::v1::TraceLiveRequest;
using dataplane::v1::TraceLiveResponse;
using dataplane::v1::TraceRequest;
using dataplane::v1::TraceResponse;

ObserveService::ObserveService(ServiceContext &shared)
	: shared(shared), slow_thread([this] { slow.run(nullptr); }), flows(shared)
{
}

ObserveService::~ObserveService()
{
	slow.close();
	slow_thread.join();
}

grpc::ServerWriteReactor<CaptureResponse> *ObserveService::Capture(grpc::CallbackServerContext *,
								   const CaptureRequest *request)
{
	return capture_stream(shared, slow, captures, max_captures, *request);
}

grpc::ServerUnaryReactor *ObserveService::Trace(grpc::CallbackServerContext *call, const TraceRequest *request,
						TraceResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit([this, reactor, request, response](struct control *control) {
		reactor->Finish(trace(control, shared, *request, *response));
	});

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

grpc::ServerWriteReactor<FlowsResponse> *ObserveService::Flows(grpc::CallbackServerContext *, const FlowsRequest *request)
{
	return flows.listen(*request);
}

grpc::ServerWriteReactor<TraceLiveResponse> *ObserveService::TraceLive(grpc::CallbackServerContext *,
								       const TraceLiveRequest *request)
{
	return live_stream(shared, slow, live_traces, max_live_traces, *request);
}

grpc::ServerWriteReactor<ListFlowsResponse> *ObserveService::ListFlows(grpc::CallbackServerContext *,
								       const ListFlowsRequest *request)
{
	return flow_list(shared, flow_lists, max_flow_lists, *request);
}

} // namespace ferrite
