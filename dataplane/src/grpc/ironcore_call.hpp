/* How a method of dpdkironcore.v1 runs: on the control thread, once initialized, to a status. */
#pragma once

#include <cstring>
#include <utility>

#include "ironcore_service.hpp"
#include "read.hpp"
#include "write.hpp"

namespace ferrite {

/* Runs `work` on the control thread and ends the call with what it answers. */
template <class Work>
grpc::ServerUnaryReactor *on_control_thread(ServiceContext &shared, grpc::CallbackServerContext *call, Work work)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	bool taken = shared.queue.submit(
		[reactor, work = std::move(work)](struct control *control) { reactor->Finish(work(control)); });

	if (!taken)
		reactor->Finish(too_busy());
	return reactor;
}

/* The same after the check that all methods but Initialize make first. */
template <class Work>
grpc::ServerUnaryReactor *when_initialized(ServiceContext &shared, grpc::CallbackServerContext *call, Work work)
{
	return on_control_thread(shared, call, [work = std::move(work)](struct control *control) {
		return control_initialized(control) ? work(control) : not_initialized();
	});
}

template <class Response>
grpc::Status done(control_status status, Response *response)
{
	write_status(status, response->mutable_status());
	return grpc::Status::OK;
}

/* What was made, with the underlay address that it got. */
template <class Response>
grpc::Status done_with_underlay(control_status status, const ferrite_ipv6 &underlay, Response *response)
{
	if (status == CONTROL_SUCCESS)
		response->set_underlay_route(text_of(underlay));
	return done(status, response);
}

/* A list that does not fit one message is OUT_OF_MEMORY, whole or not at all. */
template <class Response>
grpc::Status done_with_list(Response *response)
{
	if (response->ByteSizeLong() > static_cast<std::size_t>(max_send_bytes)) {
		response->Clear();
		return done(CONTROL_OUT_OF_MEMORY, response);
	}
	return done(CONTROL_SUCCESS, response);
}

} // namespace ferrite
