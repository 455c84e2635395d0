/* One Capture call: a ring of the engine, read at the pace of its client and written as pcapng. */
#pragma once

#include <atomic>

#include "ferrite/dataplane/v1/observe.grpc.pb.h"
#include "place.hpp"
#include "service_context.hpp"

namespace ferrite {

/* `slow` runs what may take its time. */
grpc::ServerWriteReactor<dataplane::v1::CaptureResponse> *
capture_stream(ServiceContext &shared, CommandQueue &slow, std::atomic<int> &captures, int limit,
	       const dataplane::v1::CaptureRequest &request);

} // namespace ferrite
