#include "live_stream.hpp"

#include <chrono>
#include <cstring>
#include <grpcpp/alarm.h>
#include <vector>

#include "points.hpp"
#include "trace.hpp"

namespace ferrite {

namespace {

using dataplane::v1::TraceLiveRequest;
using dataplane::v1::TraceLiveResponse;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds pause(20);
constexpr std::uint32_t max_packets = 1000;
constexpr std::uint32_t max_seconds = 3600;
constexpr std::uint32_t usual_seconds = 60;

/* One per call; on one thread after the other, as a capture. Numbers become names on the control thread. */
class LiveStream final : public grpc::ServerWriteReactor<TraceLiveResponse> {
public:
	LiveStream(ServiceContext &shared, CommandQueue &slow, std::atomic<int> &lives, int limit,
		   const TraceLiveRequest &wanted)
		: shared(shared), place(lives, limit), request(wanted)
	{
		if (!place)
			Finish(no_place());
		else if (request.count() > max_packets)
			Finish(invalid_argument("Invalid count: at most 1000"));
		else if (request.seconds() > max_seconds)
			Finish(invalid_argument("Invalid seconds: at most 3600"));
		else if (request.interfaces_size() + request.uplinks_size() > FERRITE_MAX_INTERFACES)
			Finish(invalid_argument("Too many interfaces"));
		else if (!slow.submit([this](struct control *) { compile(); }))
			Finish(too_busy());
	}

	void OnWriteDone(bool ok) override
	{
		if (ok)
			again();
		else
			Finish(grpc::Status::OK);
	}

	void OnCancel() override { cancelled = true; }

	void OnDone() override
	{
		if (live != nullptr)
			ferrite_live_stop(shared.engine, live);
		ferrite_filter_free(filter);
		delete this;
	}

private:
	void compile()
	{
		char error[FERRITE_ERROR_TEXT];

		if (!request.filter().empty()) {
			filter = ferrite_filter_make(request.filter().c_str(), request.filter_inner(),
						     wants_frames(request.interfaces(), request.uplinks()),
						     wants_outer(request.interfaces(), request.uplinks()), error);
			if (filter == nullptr)
				return Finish({grpc::StatusCode::INVALID_ARGUMENT, std::string("Invalid filter: ") + error});
		}
		if (!shared.queue.submit([this](struct control *control) { begin(control); }))
			Finish(too_busy());
	}

	void begin(struct control *control)
	{
		std::string error;
		std::vector<ferrite_point> list;
		ferrite_live_config config{};

		points = find_points(control, shared.engine, request.interfaces(), request.uplinks(), error);
		if (!error.empty())
			return Finish({grpc::StatusCode::NOT_FOUND, error});
		for (const NamedPoint &point : points)
			list.push_back(point.point);
		config.points = list.data();
		config.point_count = static_cast<unsigned>(list.size());
		config.filter = filter;
		config.packet_limit = request.count() > 0 ? request.count() : 1;
		int failed = ferrite_live_start(shared.engine, &config, &live);

		if (failed != 0)
			return Finish(failed == -ENOSPC ? no_place()
							: grpc::Status{grpc::StatusCode::RESOURCE_EXHAUSTED,
								       std::strerror(-failed)});
		filter = nullptr; /* the trace's from now on */
		until = Clock::now() + std::chrono::seconds(request.seconds() > 0 ? request.seconds() : usual_seconds);
		StartSendInitialMetadata();
		wait();
	}

	void wait()
	{
		alarm.Set(std::chrono::system_clock::now() + pause, [this](bool) { again(); });
	}

	void again()
	{
		if (cancelled)
			return Finish(grpc::Status::CANCELLED);
		/* In this order: what was there when it ended is read. */
		bool over = ferrite_live_ended(live) || Clock::now() >= until;
		const ferrite_live_seen *seen = ferrite_live_next(live);

		if (seen == nullptr)
			return over ? Finish(grpc::Status::OK) : wait();
		if (!shared.queue.submit([this, seen](struct control *control) { tell(control, *seen); }))
			Finish(too_busy());
	}

	void tell(struct control *control, const ferrite_live_seen &seen)
	{
		const NamedPoint &point = points[seen.point];

		response.Clear();
		if (point.uplink)
			response.set_uplink(point.name);
		else
			response.set_interface(point.name);
		response.set_time_ns(seen.time_ns);
		response.set_packet(seen.bytes, seen.kept);
		write_trace(control, seen.trace, *response.mutable_trace());
		StartWrite(&response);
	}

	ServiceContext &shared;
	StreamPlace place;
	const TraceLiveRequest request;
	TraceLiveResponse response;
	std::vector<NamedPoint> points;
	ferrite_filter *filter = nullptr;
	ferrite_live *live = nullptr;
	Clock::time_point until;
	std::atomic<bool> cancelled{false};
	grpc::Alarm alarm;
};

} // namespace

grpc::ServerWriteReactor<TraceLiveResponse> *live_stream(ServiceContext &shared, CommandQueue &slow,
							 std::atomic<int> &lives, int limit,
							 const TraceLiveRequest &request)
{
	return new LiveStream(shared, slow, lives, limit, request);
}

} // namespace ferrite
