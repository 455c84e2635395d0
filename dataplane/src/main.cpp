/* ferrite-dataplane: the packet engine and the server that programs it.
 *
 * Three kinds of threads: this one is the control thread, the only one that calls the engine; gRPC's own threads
 * take calls and hand them to it as commands; the engine's worker moves packets. One more waits for signals.
 */
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <unistd.h>

#include "control/log.h"
#include "control/options.h"
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

/* Serves until a signal comes. The signals are blocked in every thread; the waiting one takes them. */
int serve(struct control *control, ferrite::ServiceContext &shared, const control_options &options, const char *name,
	  const sigset_t &signals)
{
	ferrite::Server server(shared);
	ferrite::MetricsServer metrics(shared, name);
	std::string error;

	if (!server.start(options.grpc, error))
		return refuse("cannot serve", error.c_str());
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

	config.start_worker = true;

	/* Before the engine takes devices: a second start must not touch those of the first. */
	if (!ferrite::claim_address(options.grpc, error))
		return refuse("cannot serve", error.c_str());
	shared.underlay_prefix = options.underlay;
	if (ferrite_engine_start(&config, &shared.engine, engine_error) != 0)
		return refuse("the engine did not start",
			      ("--uplink " + std::string(options.uplink) + ": " + engine_error).c_str());
	struct control *control = control_create(shared.engine);
	int failed = set_up(control, shared.engine, options);

	if (failed == 0) {
		log_info("started", "name=%s version=%s uplink=%s mtu=%u", name, ferrite::version, options.uplink,
			 unsigned{options.mtu});
		ferrite::install_mirror(control, shared.engine);
		failed = serve(control, shared, options, name, signals);
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
