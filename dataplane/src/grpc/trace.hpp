/* What one packet meets, in words. On the control thread. */
#pragma once

#include "ferrite/dataplane/v1/observe.pb.h"
#include "service_context.hpp"

namespace ferrite {

grpc::Status trace(struct control *control, const ServiceContext &shared, const dataplane::v1::TraceRequest &request,
		   dataplane::v1::TraceResponse &response);

/* Steps of the engine with the names that the control layer knows. */
void write_trace(const struct control *control, const ferrite_trace_result &result,
		 dataplane::v1::TraceResponse &out);

} // namespace ferrite
