/* A place among a bounded number of streams, given back with the stream. */
#pragma once

#include <atomic>

#include <grpcpp/grpcpp.h>

namespace ferrite {

class StreamPlace {
public:
	StreamPlace(std::atomic<int> &taken, int limit) : taken(taken), granted(taken.fetch_add(1) < limit) {}
	~StreamPlace() { taken.fetch_sub(1); }
	StreamPlace(const StreamPlace &) = delete;
	StreamPlace &operator=(const StreamPlace &) = delete;

	explicit operator bool() const { return granted; }

private:
	std::atomic<int> &taken;
	bool granted;
};

inline grpc::Status no_place()
{
	return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams of this kind are open"};
}

} // namespace ferrite
