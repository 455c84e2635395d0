/* One TraceLive call: packets that pass, each with its steps in words. */
#pragma once

#include <atomic>

#include "ferrite/dataplane/v1/observe.grpc.pb.h"
#include "place.hpp"
#include "service_context.hpp"

namespace ferrite {

/* `slow` runs what may take its time. */
grpc::ServerWriteReactor<dataplane::v1::TraceLiveResponse> *
live_stream(ServiceContext &shared, CommandQueue &slow, std::atomic<int> &lives, int limit,
	    const dataplane::v1::TraceLiveRequest &request);

} // namespace ferrite
