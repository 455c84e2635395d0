/* ferrite.dataplane.v1.ObserveService: captures, traces and flows.
 *
 * Nothing of it runs on the control thread for long: filters are compiled on a thread of their own, for libpcap may look
 * up a host name; rings are read by gRPC's threads; the control thread only gives names to numbers. */
#pragma once

#include <atomic>
#include <thread>

#include "ferrite/dataplane/v1/observe.grpc.pb.h"
#include "ferrite/observe.h"
#include "flow_hub.hpp"
#include "service_context.hpp"

namespace ferrite {

class ObserveService final : public dataplane::v1::ObserveService::CallbackService {
public:
	static constexpr int max_captures = FERRITE_CAPTURES;
	static constexpr int max_live_traces = FERRITE_LIVE_TRACES;
	static constexpr int max_flow_lists = 4;

	explicit ObserveService(ServiceContext &shared);
	~ObserveService();

	grpc::ServerWriteReactor<dataplane::v1::CaptureResponse> *
	Capture(grpc::CallbackServerContext *call, const dataplane::v1::CaptureRequest *request) override;
	grpc::ServerUnaryReactor *Trace(grpc::CallbackServerContext *call, const dataplane::v1::TraceRequest *request,
					dataplane::v1::TraceResponse *response) override;
	grpc::ServerWriteReactor<dataplane::v1::TraceLiveResponse> *
	TraceLive(grpc::CallbackServerContext *call, const dataplane::v1::TraceLiveRequest *request) override;
	grpc::ServerWriteReactor<dataplane::v1::ListFlowsResponse> *
	ListFlows(grpc::CallbackServerContext *call, const dataplane::v1::ListFlowsRequest *request) override;
	grpc::ServerWriteReactor<dataplane::v1::FlowsResponse> *
	Flows(grpc::CallbackServerContext *call, const dataplane::v1::FlowsRequest *request) override;

private:
	ServiceContext &shared;
	CommandQueue slow; /* what may take its time; the command's argument is nothing */
	std::thread slow_thread;
	std::atomic<int> captures{0};
	std::atomic<int> live_traces{0};
	std::atomic<int> flow_lists{0};
	FlowHub flows;
};

} // namespace ferrite
