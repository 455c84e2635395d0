#include "capture_stream.hpp"

#include <chrono>
#include <grpcpp/alarm.h>
#include <vector>

#include "../observe/pcapng.h"
#include "points.hpp"
#include "version.hpp"

namespace ferrite {

namespace {

using dataplane::v1::CaptureRequest;
using dataplane::v1::CaptureResponse;
using Clock = std::chrono::steady_clock;

constexpr std::size_t max_piece = 256u << 10;
constexpr std::chrono::milliseconds pause(10);
constexpr std::uint32_t max_seconds = 86'400;

std::uint64_t now_ns()
{
	return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
						  std::chrono::system_clock::now().time_since_epoch())
						  .count());
}

/* One per call. It goes through its life on one thread after the other, never on two at once: made by gRPC, filter
 * compiled on the slow thread, begun on the control thread, then by turns of writes and pauses until it finishes. */
class CaptureStream final : public grpc::ServerWriteReactor<CaptureResponse> {
public:
	CaptureStream(ServiceContext &shared, CommandQueue &slow, std::atomic<int> &captures, int limit,
		      const CaptureRequest &wanted)
		: shared(shared), place(captures, limit), request(wanted)
	{
		if (!place)
			Finish(no_place());
		else if (!CaptureDirection_IsValid(request.direction()))
			Finish(invalid_argument("Invalid direction"));
		else if (request.snap_length() > FERRITE_SNAP_MAX)
			Finish(invalid_argument("Invalid snap_length: at most 65535"));
		else if (request.seconds() > max_seconds)
			Finish(invalid_argument("Invalid seconds: at most 86400"));
		else if (request.interfaces_size() + request.uplinks_size() > FERRITE_MAX_INTERFACES)
			Finish(invalid_argument("Too many interfaces"));
		else if (!slow.submit([this](struct control *) { compile(); }))
			Finish(too_busy());
	}

	void OnWriteDone(bool ok) override
	{
		if (ok)
			pump();
		else
			Finish(grpc::Status::OK);
	}

	void OnCancel() override { cancelled = true; }

	void OnDone() override
	{
		if (capture != nullptr)
			ferrite_capture_stop(shared.engine, capture);
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

		points = find_points(control, shared.engine, request.interfaces(), request.uplinks(), error);
		if (!error.empty())
			return Finish({grpc::StatusCode::NOT_FOUND, error});
		std::vector<ferrite_point> list;

		for (const NamedPoint &point : points)
			list.push_back(point.point);
		ferrite_capture_config config{};

		config.points = list.data();
		config.point_count = static_cast<unsigned>(list.size());
		config.in = request.direction() != dataplane::v1::CAPTURE_DIRECTION_OUT;
		config.out = request.direction() != dataplane::v1::CAPTURE_DIRECTION_IN;
		config.filter = filter;
		config.snap_length = snap_length();
		config.packet_limit = request.packet_limit();
		config.byte_limit = request.byte_limit();
		int failed = ferrite_capture_start(shared.engine, &config, &capture);

		if (failed != 0)
			return Finish(failed == -ENOSPC ? no_place()
							: grpc::Status{grpc::StatusCode::RESOURCE_EXHAUSTED,
								       std::strerror(-failed)});
		filter = nullptr; /* the capture's from now on */
		began_ns = now_ns();
		until = Clock::now() + std::chrono::seconds(request.seconds());
		write_head();
	}

	std::uint32_t snap_length() const
	{
		return request.snap_length() > 0 ? request.snap_length() : std::uint32_t{FERRITE_SNAP_MAX};
	}

	/* Even where no packet comes, so that the client knows that it began. */
	void write_head()
	{
		const std::string application = std::string("ferrite-dataplane ") + version;

		fit(PCAPNG_TEXT * 2, [&](std::uint8_t *out, std::size_t room) {
			return pcapng_section(out, room, application.c_str());
		});
		for (const NamedPoint &point : points)
			fit(PCAPNG_TEXT * 4, [&](std::uint8_t *out, std::size_t room) {
				return pcapng_interface(out, room, point.uplink ? PCAPNG_IPV6 : PCAPNG_ETHERNET,
							snap_length(), point.name.c_str(), point.device.c_str(),
							request.filter().c_str());
			});
		StartWrite(&response);
	}

	/* Adds a block of at most `most` bytes. */
	template <class Write> void fit(std::size_t most, Write write)
	{
		std::string &piece = *response.mutable_pcapng();
		std::size_t before = piece.size();

		piece.resize(before + most);
		piece.resize(before + write(reinterpret_cast<std::uint8_t *>(piece.data()) + before, most));
	}

	bool is_over() const
	{
		return ferrite_capture_ended(capture) || (request.seconds() > 0 && Clock::now() >= until);
	}

	void pump()
	{
		if (cancelled)
			return Finish(grpc::Status::CANCELLED);
		/* In this order: what was there when it ended is read. */
		bool over = is_over();
		ferrite_captured packet;

		response.Clear();
		while (response.pcapng().size() < max_piece - FERRITE_SNAP_MAX - PCAPNG_OVERHEAD &&
		       ferrite_capture_next(capture, &packet))
			fit(packet.kept + PCAPNG_OVERHEAD, [&](std::uint8_t *out, std::size_t room) {
				return pcapng_packet(out, room, &packet);
			});
		if (!response.pcapng().empty())
			return StartWrite(&response);
		if (!over) {
			alarm.Set(std::chrono::system_clock::now() + pause, [this](bool) { pump(); });
			return;
		}
		write_end();
	}

	void write_end()
	{
		std::uint64_t ended_ns = now_ns();

		for (unsigned i = 0; i < points.size(); ++i)
			fit(PCAPNG_OVERHEAD, [&](std::uint8_t *out, std::size_t room) {
				ferrite_capture_count count;

				ferrite_capture_counts(capture, i, &count);
				return pcapng_statistics(out, room, i, began_ns, ended_ns, &count);
			});
		StartWriteAndFinish(&response, grpc::WriteOptions(), grpc::Status::OK);
	}

	ServiceContext &shared;
	StreamPlace place;
	const CaptureRequest request;
	CaptureResponse response;
	std::vector<NamedPoint> points;
	ferrite_filter *filter = nullptr;
	ferrite_capture *capture = nullptr;
	std::uint64_t began_ns = 0;
	Clock::time_point until;
	std::atomic<bool> cancelled{false};
	grpc::Alarm alarm;
};

} // namespace

grpc::ServerWriteReactor<CaptureResponse> *capture_stream(ServiceContext &shared, CommandQueue &slow,
							  std::atomic<int> &captures, int limit,
							  const CaptureRequest &request)
{
	return new CaptureStream(shared, slow, captures, limit, request);
}

} // namespace ferrite
