/* ferrite.dataplane.v1.DataplaneService: the same state as dpdkironcore.v1, in batches and with a digest. */
#pragma once

#include <atomic>

#include "ferrite/dataplane/v1/dataplane.grpc.pb.h"
#include "service_context.hpp"

namespace ferrite {

class DataplaneService final : public dataplane::v1::DataplaneService::CallbackService {
public:
	static constexpr int max_operations = 4096;
	static constexpr int max_apply_streams = 64;
	/* Each holds a snapshot: up to 80 MB with a million routes. */
	static constexpr int max_list_streams = 4;

	explicit DataplaneService(ServiceContext &shared) : shared(shared) {}

	grpc::ServerBidiReactor<dataplane::v1::ApplyRequest, dataplane::v1::ApplyResponse> *
	Apply(grpc::CallbackServerContext *call) override;
	grpc::ServerWriteReactor<dataplane::v1::ListAllResponse> *
	ListAll(grpc::CallbackServerContext *call, const dataplane::v1::ListAllRequest *request) override;
	grpc::ServerUnaryReactor *GetState(grpc::CallbackServerContext *call,
					   const dataplane::v1::GetStateRequest *request,
					   dataplane::v1::GetStateResponse *response) override;
	grpc::ServerUnaryReactor *GetCounters(grpc::CallbackServerContext *call,
					      const dataplane::v1::GetCountersRequest *request,
					      dataplane::v1::GetCountersResponse *response) override;

private:
	ServiceContext &shared;
	std::atomic<int> apply_streams{0};
	std::atomic<int> list_streams{0};
};

} // namespace ferrite
