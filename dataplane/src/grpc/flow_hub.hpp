/* Beginnings and ends of flows, from the engine's one list to everybody who listens.
 *
 * While somebody does, the control thread takes what there is every tenth of a second and lays it out for each listener,
 * in a queue of bounded length. Cardinality: one, and a listener per Flows call.
 */
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>

#include <grpcpp/alarm.h>

#include "ferrite/dataplane/v1/observe.grpc.pb.h"
#include "flow_names.hpp"
#include "service_context.hpp"

namespace ferrite {

class FlowStream;

class FlowHub {
public:
	static constexpr std::size_t max_streams = 16;
	static constexpr std::size_t max_waiting = 1 << 14; /* events of one listener */

	explicit FlowHub(ServiceContext &shared) : shared(shared) {}
	~FlowHub();

	grpc::ServerWriteReactor<dataplane::v1::FlowsResponse> *listen(const dataplane::v1::FlowsRequest &request);

private:
	friend class FlowStream;

	/* The lock is held. */
	void later();
	void next_tick(bool again);
	void leave(FlowStream *stream);
	/* On the control thread. */
	void drain(struct control *control);
	std::uint64_t lost_by_engine() const;

	ServiceContext &shared;
	std::mutex mutex;
	std::set<FlowStream *> streams;
	bool ticking = false;       /* an alarm is set, or a drain waits or runs */
	std::condition_variable still;
	grpc::Alarm alarm;
	FlowNames names;            /* control thread */
	std::uint64_t engine_lost = 0;
};

} // namespace ferrite
