/* The way from gRPC's threads to the one control thread.
 *
 * Calls come in on gRPC's threads and become commands here; the control thread runs them one after the other, so
 * every call is serialised and sees the effect of those before it. The bound is told to clients as
 * RESOURCE_EXHAUSTED: a queue that is full for long means a client that does not wait for answers.
 */
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

struct control;

namespace ferrite {

class CommandQueue {
public:
	static constexpr std::size_t capacity = 1024;

	/* False: full or closed, and the command is dropped. Any thread. */
	bool submit(std::function<void(struct control *)> command);
	/* Runs commands until the queue is closed and empty. The control thread. */
	void run(struct control *control);
	/* No more commands; those that are there are still run. Any thread. */
	void close();

private:
	std::mutex mutex;
	std::condition_variable wake;
	std::deque<std::function<void(struct control *)>> commands;
	bool closed = false;
};

} // namespace ferrite
