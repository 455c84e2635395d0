#include "command_queue.hpp"

#include <utility>

namespace ferrite {

bool CommandQueue::submit(std::function<void(struct control *)> command)
{
	{
		std::lock_guard<std::mutex> lock(mutex);

		if (closed || commands.size() >= capacity)
			return false;
		commands.push_back(std::move(command));
	}
	wake.notify_one();
	return true;
}

void CommandQueue::run(struct control *control)
{
	std::unique_lock<std::mutex> lock(mutex);

	for (;;) {
		wake.wait(lock, [this] { return closed || !commands.empty(); });
		if (commands.empty())
			return;
		std::function<void(struct control *)> command = std::move(commands.front());

		commands.pop_front();
		lock.unlock();
		command(control);
		lock.lock();
	}
}

void CommandQueue::close()
{
	{
		std::lock_guard<std::mutex> lock(mutex);

		closed = true;
	}
	wake.notify_all();
}

} // namespace ferrite
