/* One ListFlows call: a copy of the flows that are asked for, sent as fast as the client takes it. */
#pragma once

#include <atomic>

#include "ferrite/dataplane/v1/observe.grpc.pb.h"
#include "place.hpp"
#include "service_context.hpp"

namespace ferrite {

grpc::ServerWriteReactor<dataplane::v1::ListFlowsResponse> *
flow_list(ServiceContext &shared, std::atomic<int> &lists, int limit, const dataplane::v1::ListFlowsRequest &request);

} // namespace ferrite
