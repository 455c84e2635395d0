#include "flow_hub.hpp"

#include <chrono>
#include <cstring>
#include <vector>

#include "flow_text.hpp"

namespace ferrite {

using dataplane::v1::FlowEvent;
using dataplane::v1::FlowEventKind;
using dataplane::v1::FlowsRequest;
using dataplane::v1::FlowsResponse;

namespace {

constexpr std::chrono::milliseconds tick(100);
constexpr int max_at_once = 512; /* events of one message */

FlowEventKind kind_of(const ferrite_flow_event &event)
{
	switch (event.reason) {
	case FERRITE_FLOW_BEGUN:
		return dataplane::v1::FLOW_EVENT_KIND_BEGUN;
	case FERRITE_FLOW_REFUSED:
		return dataplane::v1::FLOW_EVENT_KIND_REFUSED;
	default:
		return dataplane::v1::FLOW_EVENT_KIND_ENDED;
	}
}

const char *reason_of(const ferrite_flow_event &event)
{
	switch (event.reason) {
	case FERRITE_FLOW_EXPIRED:
		return "expired";
	case FERRITE_FLOW_CLOSED:
		return "closed";
	case FERRITE_FLOW_DENIED:
		return "denied";
	case FERRITE_FLOW_TRANSLATION_GONE:
		return "translation_gone";
	case FERRITE_FLOW_TARGET_GONE:
		return "target_gone";
	case FERRITE_FLOW_EVICTED:
		return "evicted";
	case FERRITE_FLOW_INTERFACE_GONE:
		return "interface_gone";
	default:
		return "";
	}
}

} // namespace

/* One per Flows call. At most one write is under way; the hub's lock guards it. */
class FlowStream final : public grpc::ServerWriteReactor<FlowsResponse> {
public:
	FlowStream(FlowHub &hub, const FlowsRequest &request) : hub(hub), interface(request.interface())
	{
		for (int kind : request.kinds())
			kinds |= 1u << kind;
	}

	bool wants(const FlowEvent &event) const
	{
		return (kinds == 0 || (kinds & (1u << event.kind())) != 0) &&
		       (interface.empty() || interface == event.flow().interface());
	}

	/* The lock is held in all of these. */
	void give(const std::shared_ptr<const FlowEvent> &event)
	{
		if (waiting.size() < FlowHub::max_waiting)
			waiting.push_back(event);
		else
			lost++;
	}
	void lose(std::uint64_t count) { lost += count; }

	void next()
	{
		if (writing || finished || (waiting.empty() && lost == told))
			return;
		response.Clear();
		for (int i = 0; i < max_at_once && !waiting.empty(); ++i) {
			*response.add_events() = *waiting.front();
			waiting.pop_front();
		}
		response.set_lost(lost);
		told = lost;
		writing = true;
		StartWrite(&response);
	}

	void OnWriteDone(bool ok) override
	{
		std::lock_guard<std::mutex> lock(hub.mutex);

		writing = false;
		if (ok)
			next();
		else
			end();
	}

	void OnCancel() override
	{
		std::lock_guard<std::mutex> lock(hub.mutex);

		end();
	}

	void OnDone() override { delete this; }

	void refuse(grpc::Status status)
	{
		finished = true;
		Finish(std::move(status));
	}

private:
	void end()
	{
		if (finished)
			return;
		finished = true;
		hub.leave(this);
		Finish(grpc::Status::CANCELLED);
	}

	FlowHub &hub;
	const std::string interface;
	unsigned kinds = 0;
	std::deque<std::shared_ptr<const FlowEvent>> waiting;
	std::uint64_t lost = 0, told = 0;
	FlowsResponse response;
	bool writing = false;
	bool finished = false;
};

grpc::ServerWriteReactor<FlowsResponse> *FlowHub::listen(const FlowsRequest &request)
{
	FlowStream *stream = new FlowStream(*this, request);
	std::lock_guard<std::mutex> lock(mutex);

	for (int kind : request.kinds())
		if (kind < 1 || kind > 3) {
			stream->refuse(invalid_argument("Invalid kinds"));
			return stream;
		}
	if (streams.size() >= max_streams) {
		stream->refuse({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams of this kind are open"});
		return stream;
	}
	streams.insert(stream);
	/* Says that it listens, and to the engine that somebody does. */
	stream->StartSendInitialMetadata();
	if (!ticking) {
		ticking = true;
		later();
	}
	return stream;
}

void FlowHub::leave(FlowStream *stream)
{
	streams.erase(stream);
}

void FlowHub::later()
{
	alarm.Set(std::chrono::system_clock::now() + tick, [this](bool ok) {
		if (ok && shared.queue.submit([this](struct control *control) { drain(control); }))
			return;
		std::lock_guard<std::mutex> lock(mutex);

		/* Too busy now; again, unless the program ends. */
		next_tick(ok);
	});
}

void FlowHub::next_tick(bool again)
{
	ticking = again && !streams.empty();
	if (ticking)
		later();
	else
		still.notify_all();
}

FlowHub::~FlowHub()
{
	std::unique_lock<std::mutex> lock(mutex);

	alarm.Cancel();
	still.wait(lock, [this] { return !ticking; });
}

std::uint64_t FlowHub::lost_by_engine() const
{
	std::uint64_t lost = 0;

	ferrite_counters_each(
		shared.engine,
		[](void *found, const char *name, std::uint64_t value) {
			if (std::strcmp(name, "flows.events_lost") == 0)
				*static_cast<std::uint64_t *>(found) = value;
		},
		&lost);
	return lost;
}

void FlowHub::drain(struct control *control)
{
	static ferrite_flow_event events[1024]; /* the control thread's own */
	std::vector<std::shared_ptr<const FlowEvent>> batch;
	EngineTime time;
	unsigned count = 0;

	names.refresh(control);
	do {
		count = ferrite_flow_events(shared.engine, events, std::size(events));
		for (unsigned i = 0; i < count; ++i) {
			auto event = std::make_shared<FlowEvent>();

			event->set_kind(kind_of(events[i]));
			event->set_reason(reason_of(events[i]));
			event->set_time_ms(time.epoch_ms(events[i].time_ms));
			write_flow(control, names, time, events[i], event->mutable_flow());
			batch.push_back(std::move(event));
		}
	} while (count == std::size(events) && batch.size() < FERRITE_FLOW_EVENTS);
	/* Looking at all counters is dear, and events are lost only where they are many. */
	std::uint64_t lost = batch.size() >= FERRITE_FLOW_EVENTS / 2 ? lost_by_engine() : engine_lost;
	std::lock_guard<std::mutex> lock(mutex);

	for (FlowStream *stream : streams) {
		for (const auto &event : batch)
			if (stream->wants(*event))
				stream->give(event);
		stream->lose(lost - engine_lost);
		stream->next();
	}
	engine_lost = lost;
	next_tick(true);
}

} // namespace ferrite
