#include <thread>
#include <vector>

#include "check.h"
#include "grpc/command_queue.hpp"

static void commands_run_in_the_order_in_which_they_came()
{
	ferrite::CommandQueue queue;
	std::vector<int> seen;

	for (int i = 0; i < 100; ++i)
		CHECK(queue.submit([&seen, i](struct control *) { seen.push_back(i); }));
	queue.close();
	queue.run(nullptr);
	CHECK_NUMBER(seen.size(), 100);
	for (int i = 0; i < 100; ++i)
		CHECK_NUMBER(seen[static_cast<std::size_t>(i)], i);
}

static void a_full_queue_refuses_and_takes_again_when_there_is_room()
{
	ferrite::CommandQueue queue;
	std::size_t run = 0;

	for (std::size_t i = 0; i < ferrite::CommandQueue::capacity; ++i)
		CHECK(queue.submit([&](struct control *) {
			/* The first that runs makes room for one. */
			if (run++ == 0) {
				CHECK(queue.submit([&](struct control *) { queue.close(); }));
				CHECK(!queue.submit([](struct control *) {}));
			}
		}));
	CHECK(!queue.submit([](struct control *) {}));
	queue.run(nullptr);
	CHECK_NUMBER(run, ferrite::CommandQueue::capacity);
	CHECK(!queue.submit([](struct control *) {}));
}

static void commands_of_many_threads_all_run()
{
	ferrite::CommandQueue queue;
	std::vector<std::thread> threads;
	int run = 0;

	for (int thread = 0; thread < 4; ++thread)
		threads.emplace_back([&] {
			for (int i = 0; i < 5000; ++i)
				while (!queue.submit([&](struct control *) { ++run; }))
					std::this_thread::yield();
		});
	std::thread closer([&] {
		for (std::thread &thread : threads)
			thread.join();
		queue.close();
	});
	queue.run(nullptr);
	closer.join();
	CHECK_NUMBER(run, 20000);
}

int main()
{
	RUN(commands_run_in_the_order_in_which_they_came);
	RUN(a_full_queue_refuses_and_takes_again_when_there_is_room);
	RUN(commands_of_many_threads_all_run);
	return CHECK_RESULT();
}
