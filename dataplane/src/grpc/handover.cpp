#include "handover.hpp"

#include <cstdlib>
#include <future>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../control/handover.h"
#include "../control/handover_socket.h"
#include "../control/log.h"

namespace ferrite {

bool HandoverServer::start(const std::string &path, std::string &error)
{
	char why[HANDOVER_ERROR_TEXT] = "";

	listener = handover_listen(path.c_str(), why);
	if (listener < 0) {
		error = std::string("--handover: ") + why;
		return false;
	}
	socket_path = path;
	wake = eventfd(0, EFD_CLOEXEC);
	waiter = std::thread([this] { wait(); });
	return true;
}

void HandoverServer::stop()
{
	std::uint64_t one = 1;

	if (listener < 0)
		return;
	(void)!write(wake, &one, sizeof one);
	waiter.join();
	unlink(socket_path.c_str());
	close(listener);
	close(wake);
	listener = -1;
}

void HandoverServer::wait()
{
	for (;;) {
		pollfd waits[2] = {{listener, POLLIN, 0}, {wake, POLLIN, 0}};

		if (poll(waits, 2, followed ? static_cast<int>(tick.count()) : -1) < 0)
			continue;
		if (waits[1].revents != 0)
			return;
		if (waits[0].revents != 0)
			welcome(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
		else
			(void)shared.queue.submit([this](struct control *control) { refresh(control); });
	}
}

void HandoverServer::welcome(int connection)
{
	int wants = connection >= 0 ? handover_greet(connection) : -1;

	if (wants < 0 || (wants == 1 && !shared.queue.submit([this, connection](struct control *control) {
		    follow(control, connection);
	    }))) {
		if (connection >= 0)
			close(connection);
	} else if (wants == 0) {
		give(connection);
	} else {
		followed = true; /* from now on this thread looks for changes */
	}
}

void HandoverServer::give(int connection)
{
	auto done = std::make_shared<std::promise<void>>();
	bool taken = shared.queue.submit([this, connection, done](struct control *control) {
		if (handover_give(control, shared.engine, connection, lock)) {
			/* All that we had is another's: nothing is closed, removed or answered any more. */
			log_info("handed over", "%s", "");
			std::_Exit(0);
		}
		done->set_value();
	});

	if (taken)
		done->get_future().wait();
	close(connection);
}

void HandoverServer::follow(struct control *control, int connection)
{
	if (followers.size() == max_followers || !handover_tell(control, shared.engine, connection)) {
		close(connection);
		return;
	}
	log_info("a standby follows", "count=%zu", followers.size() + 1);
	followers.push_back(connection);
	control_watch_ports(
		control, [](void *self, const char *device) { static_cast<HandoverServer *>(self)->forget(device); }, this);
}

void HandoverServer::refresh(struct control *control)
{
	auto now = std::chrono::steady_clock::now();
	std::uint64_t change = handover_change(control, shared.engine);

	if (change == told || now < rest_until)
		return;
	for (std::size_t i = followers.size(); i-- > 0;) {
		if (handover_tell(control, shared.engine, followers[i]))
			continue;
		log_info("a standby is gone", "%s", "");
		close(followers[i]);
		followers.erase(followers.begin() + static_cast<std::ptrdiff_t>(i));
	}
	told = change;
	auto end = std::chrono::steady_clock::now();

	rest_until = end + 10 * (end - now);
}

void HandoverServer::forget(const char *device)
{
	for (int follower : followers)
		handover_forget(follower, device);
}

} // namespace ferrite
