/* The predecessor's side of a handover: a socket, a thread that waits on it, and the followers.
 *
 * What is told is told on the control thread, so that nothing changes meanwhile. A follower hears of a change within
 * `tick`, or ten times as long as the telling takes, whichever is longer.
 */
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "service_context.hpp"

namespace ferrite {

class HandoverServer {
public:
	/* `lock`: descriptor of the lock of the active one; -1: none. */
	HandoverServer(ServiceContext &shared, int lock) : shared(shared), lock(lock) {}
	~HandoverServer() { stop(); }
	HandoverServer(const HandoverServer &) = delete;
	HandoverServer &operator=(const HandoverServer &) = delete;

	bool start(const std::string &path, std::string &error);
	void stop();

private:
	static constexpr std::chrono::milliseconds tick{20};
	static constexpr std::size_t max_followers = 4;

	void wait();
	void welcome(int connection);
	void give(int connection);
	void follow(struct control *control, int connection);
	void refresh(struct control *control);
	void forget(const char *device);

	ServiceContext &shared;
	int lock;
	int listener = -1;
	int wake = -1;
	std::string socket_path;
	std::thread waiter;
	bool followed = false; /* the waiting thread's */
	/* The control thread's. */
	std::vector<int> followers;
	std::uint64_t told = 0;
	std::chrono::steady_clock::time_point rest_until{};
};

} // namespace ferrite
