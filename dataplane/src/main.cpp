/* ferrite-dataplane: the packet engine and the server that programs it.
 *
 * Three kinds of threads: this one is the control thread, the only one that calls the engine; gRPC's own threads
 * take calls and hand them to it as commands; the engine's worker moves packets. One more waits for signals.
 */
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "control/handover.h"
#include "control/handover_socket.h"
#include "control/log.h"
#include "control/options.h"
#include "grpc/handover.hpp"
#include "grpc/metrics_server.hpp"
#include "grpc/mirror.hpp"
#include "grpc/server.hpp"
#include "grpc/version.hpp"

namespace {

int refuse(const char *what, const char *why)
{
	log_error(what, "error=\"%s\"", why);
	return 1;
}

int set_up(struct control *control, ferrite_engine *engine, const control_options &options)
{
	char error[OPTIONS_ERROR_TEXT] = "";

	if (control == nullptr)
		return refuse("the control layer did not start", "no memory");
	if (control_options_apply(&options, engine, control, error) != 0)
		return refuse("an option is refused", error);
	for (unsigned i = 0; i < options.port_count; ++i)
		log_info("port", "name=%s device=%s", options.ports[i].name, options.ports[i].device);
	return 0;
}

/* How this process comes to its tables and devices. */
struct Start {
	handover_told told;
	bool heir = false;       /* somebody had them before */
	bool after_crash = false; /* and died */
	int connection = -1;     /* to the predecessor, where it lives */
	int lock = -1;           /* of the active one */
};

bool try_lock(int lock)
{
	return flock(lock, LOCK_EX | LOCK_NB) == 0;
}

/* The active one is followed until it dies: then its lock is ours, and what it told last is what there is. */
void follow_active(const control_options &options, Start &start)
{
	char error[HANDOVER_ERROR_TEXT] = "";
	int connection = -1;

	log_info("standing by", "lock=%s", options.active_lockfile);
	while (!try_lock(start.lock)) {
		if (options.handover == nullptr) {
			usleep(10'000);
			continue;
		}
		if (connection < 0)
			connection = handover_connect(options.handover, true, error);
		if (connection < 0) {
			usleep(10'000);
			continue;
		}
		int heard = handover_hear(connection, &start.told, 1000, error);

		if (heard > 0)
			log_info("following", "devices=%u bytes=%zu", start.told.inheritance.device_count,
				 start.told.length);
		/* What it told is kept until another tells more. The kernel closes the lock a little later than the socket. */
		for (int i = 0; heard < 0 && i < 200; ++i) {
			if (try_lock(start.lock)) {
				close(connection);
				start.heir = start.after_crash = start.told.state != nullptr;
				return;
			}
			usleep(500);
		}
		if (heard < 0) {
			close(connection);
			connection = -1;
		}
	}
	if (connection >= 0)
		close(connection);
	start.heir = start.after_crash = start.told.state != nullptr;
}

/* Before anything of this process is there that others can see. */
bool find_predecessor(const control_options &options, Start &start)
{
	char error[FERRITE_ERROR_TEXT] = "";

	handover_told_init(&start.told);
	if (options.active_lockfile != nullptr) {
		start.lock = open(options.active_lockfile, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (start.lock < 0)
			return refuse("no lock", std::strerror(errno)) == 0;
	}
	bool standby = options.takeover == nullptr && start.lock >= 0 && !try_lock(start.lock);

	if (options.takeover == nullptr && !standby)
		return true;
	if (ferrite_engine_prepare(error) != 0)
		return refuse("the engine did not start", error) == 0;
	if (standby) {
		follow_active(options, start);
		return true;
	}
	start.connection = handover_connect(options.takeover, false, error);
	if (start.connection < 0 || handover_hear(start.connection, &start.told, 10'000, error) != 1)
		return refuse("cannot take over", error) == 0;
	start.heir = true;
	return true;
}

/* Everything that was another's, from the state it told to the worker. False: this process must end as it is. */
bool inherit(struct control *control, ferrite_engine *engine, Start &start)
{
	char error[HANDOVER_ERROR_TEXT] = "";
	std::uint64_t flows = 0, refused = 0;

	if (!control_handover_restore(control, start.told.state, start.told.length, error)) {
		log_error("cannot take over", "error=\"%s\"", error);
		return false;
	}
	if (!ferrite_handover_inherits(engine))
		log_warn("flows are not taken over", "why=\"the tables of the predecessor look different\"");
	if (start.after_crash) {
		if (ferrite_handover_wire_listen(engine, error) != 0)
			log_error("the wire", "error=\"%s\"", error);
		flows = ferrite_handover_adopt(engine, true, &refused);
	} else if (!handover_switch(start.connection, engine, &flows, error)) {
		log_error("cannot take over", "error=\"%s\"", error);
		return false;
	}
	if (ferrite_engine_begin(engine, error) != 0) {
		log_error("the worker did not start", "error=\"%s\"", error);
		return false;
	}
	if (start.connection >= 0) {
		handover_wait_end(start.connection, 5000);
		close(start.connection);
	}
	if (start.told.lock >= 0) {
		if (start.lock >= 0)
			close(start.lock);
		start.lock = start.told.lock;
		start.told.lock = -1;
	} else if (start.lock >= 0 && !start.after_crash && !try_lock(start.lock)) {
		log_warn("another dataplane has the lock", "%s", "");
	}
	handover_told_free(&start.told);
	log_info("took over", "flows=%llu dropped=%llu after_crash=%d", static_cast<unsigned long long>(flows),
		 static_cast<unsigned long long>(refused), start.after_crash);
	return true;
}

/* Serves until a signal comes. The signals are blocked in every thread; the waiting one takes them. */
int serve(struct control *control, ferrite::ServiceContext &shared, const control_options &options, const char *name,
	  const sigset_t &signals, const Start &start)
{
	ferrite::Server server(shared);
	ferrite::MetricsServer metrics(shared, name);
	ferrite::HandoverServer handover(shared, start.lock);
	std::string error;
	bool served = server.start(options.grpc, error);

	/* Packets flow: nothing is so urgent that they should stop. */
	for (int i = 0; start.heir && !served && i < 100; ++i) {
		usleep(100'000);
		served = server.start(options.grpc, error);
	}
	if (!served)
		return refuse("cannot serve", error.c_str());
	if (options.handover != nullptr && !handover.start(options.handover, error)) {
		server.stop();
		return refuse("cannot serve", error.c_str());
	}
	if (options.metrics != nullptr && !metrics.start(options.metrics, error)) {
		server.stop();
		return refuse("cannot serve", error.c_str());
	}
	std::thread waiter([&] {
		int signal = 0;

		sigwait(&signals, &signal);
		log_info("stopping", "signal=%d", signal);
		/* Whoever signals twice does not want to wait. */
		std::signal(SIGTERM, SIG_DFL);
		std::signal(SIGINT, SIG_DFL);
		pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
		handover.stop();
		metrics.stop();
		server.stop();
	});

	shared.queue.run(control);
	waiter.join();
	return 0;
}

int run(const control_options &options)
{
	ferrite::ServiceContext shared;
	char hostname[64] = "ferrite";
	char engine_error[FERRITE_ERROR_TEXT] = "";
	std::string error;
	sigset_t signals;

	std::signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, nullptr);
	gethostname(hostname, sizeof hostname - 1);
	const char *name = options.name[0] != 0 ? options.name : hostname;
	ferrite_engine_config config = control_options_engine(&options, name);

	static Start start;

	if (!find_predecessor(options, start))
		return 1;
	config.start_worker = !start.heir;
	config.inheritance = start.heir ? &start.told.inheritance : nullptr;

	/* Before the engine takes devices: a second start must not touch those of the first. */
	if (!start.heir && !ferrite::claim_address(options.grpc, error))
		return refuse("cannot serve", error.c_str());
	shared.underlay_prefix = options.underlay;
	if (ferrite_engine_start(&config, &shared.engine, engine_error) != 0)
		return refuse("the engine did not start",
			      ("--uplink " + std::string(options.uplink) + ": " + engine_error).c_str());
	struct control *control = control_create(shared.engine);
	int failed = set_up(control, shared.engine, options);

	/* Whatever was the predecessor's is left as it is. */
	if (start.heir && (failed != 0 || !inherit(control, shared.engine, start)))
		std::_Exit(1);
	if (failed == 0) {
		log_info("started", "name=%s version=%s uplink=%s mtu=%u", name, ferrite::version, options.uplink,
			 unsigned{options.mtu});
		ferrite::install_mirror(control, shared.engine);
		failed = serve(control, shared, options, name, signals, start);
		(void)control_capture_stop(control, nullptr);
	}
	control_destroy(control);
	ferrite_engine_stop(shared.engine);
	log_info("stopped", "name=%s", name);
	return failed;
}

} // namespace

int main(int count, char **arguments)
{
	static control_options options;
	char error[OPTIONS_ERROR_TEXT];

	switch (control_options_parse(count, arguments, &options, error)) {
	case OPTIONS_RUN:
		return run(options);
	case OPTIONS_HELP:
		std::fputs(control_options_help(), stdout);
		return 0;
	case OPTIONS_VERSION:
		std::printf("ferrite-dataplane %s\n", ferrite::version);
		return 0;
	case OPTIONS_ERROR:
		break;
	}
	std::fprintf(stderr, "ferrite-dataplane: %s\n", error);
	return 2;
}
