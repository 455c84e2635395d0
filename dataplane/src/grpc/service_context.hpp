/* What every service of the program shares, and the planes on which a call can fail.
 *
 * A call that is malformed, early or too much ends with a gRPC status; a call that is well formed always ends
 * with OK and tells in Status.code what became of it.
 */
#pragma once

#include <grpcpp/grpcpp.h>

#include "../control/control.h"
#include "command_queue.hpp"

namespace ferrite {

struct ServiceContext {
	CommandQueue queue;
	ferrite_ipv6 underlay_prefix{};
	ferrite_engine *engine = nullptr;
};

/* Bounds of one message, both ways. */
constexpr int max_receive_bytes = 16 << 20;
constexpr int max_send_bytes = 64 << 20;

inline grpc::Status not_initialized()
{
	return {grpc::StatusCode::ABORTED, "not initialized"};
}

inline grpc::Status invalid_argument(const char *text)
{
	return {grpc::StatusCode::INVALID_ARGUMENT, text};
}

inline grpc::Status too_busy()
{
	return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting for the control thread"};
}

} // namespace ferrite
