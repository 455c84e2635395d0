#include "metrics_server.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <future>
#include <microhttpd.h>
#include <netinet/in.h>

#include "../control/log.h"
#include "metrics_text.hpp"

namespace ferrite {

namespace {

constexpr unsigned max_connections = 16;
constexpr unsigned max_seconds = 10;      /* without a word on a connection */
constexpr std::size_t max_memory = 32768; /* of a connection, for what it asks */
constexpr std::chrono::seconds patience(5);

bool read_port(const std::string &text, std::uint16_t &port)
{
	if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos ||
	    std::stoul(text) > 65535)
		return false;
	port = static_cast<std::uint16_t>(std::stoul(text));
	return true;
}

bool read_address(const std::string &text, sockaddr_storage &out)
{
	std::size_t colon = text.rfind(':');
	std::uint16_t port = 0;

	out = {};
	if (colon == std::string::npos || !read_port(text.substr(colon + 1), port))
		return false;
	std::string host = text.substr(0, colon);
	auto *four = reinterpret_cast<sockaddr_in *>(&out);
	auto *six = reinterpret_cast<sockaddr_in6 *>(&out);

	if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return true;
	}
	if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
		host = host.substr(1, host.size() - 2);
	else if (!host.empty())
		return false;
	out = {};
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return host.empty() || inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1;
}

enum MHD_Result answer(MHD_Connection *connection, unsigned status, const std::string &text, const char *type)
{
	MHD_Response *response = MHD_create_response_from_buffer(
		text.size(), const_cast<char *>(text.data()), MHD_RESPMEM_MUST_COPY);

	if (response == nullptr)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, status, response);

	MHD_destroy_response(response);
	return result;
}

enum MHD_Result on_request(void *self, MHD_Connection *connection, const char *url, const char *method, const char *,
			   const char *, std::size_t *body, void **)
{
	constexpr const char *plain = "text/plain; charset=utf-8";

	if (*body != 0)
		return MHD_NO;
	if (std::strcmp(method, "GET") != 0 && std::strcmp(method, "HEAD") != 0)
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n", plain);
	if (std::strcmp(url, "/metrics") != 0)
		return answer(connection, MHD_HTTP_NOT_FOUND, "look at /metrics\n", plain);
	std::string text = static_cast<MetricsServer *>(self)->text();

	if (text.empty())
		return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too busy\n", plain);
	return answer(connection, MHD_HTTP_OK, text, "text/plain; version=0.0.4; charset=utf-8");
}

} // namespace

bool metrics_address_is_valid(const char *address)
{
	sockaddr_storage unused;

	return read_address(address, unused);
}

bool MetricsServer::start(const std::string &address, std::string &error)
{
	sockaddr_storage where;

	if (!read_address(address, where)) {
		error = "--metrics: " + address + " is no address; say HOST:PORT with an IP address";
		return false;
	}
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;

	if (where.ss_family == AF_INET6)
		flags |= MHD_USE_DUAL_STACK;
	daemon = MHD_start_daemon(flags, 0, nullptr, nullptr, on_request, this, MHD_OPTION_SOCK_ADDR, &where,
				  MHD_OPTION_CONNECTION_LIMIT, max_connections, MHD_OPTION_CONNECTION_TIMEOUT, max_seconds,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, max_memory, MHD_OPTION_END);
	if (daemon == nullptr) {
		error = "--metrics: cannot listen on " + address + ": " + std::strerror(errno);
		return false;
	}
	log_info("metrics", "address=%s port=%u", address.c_str(), port());
	return true;
}

unsigned MetricsServer::port() const
{
	const MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info != nullptr ? info->port : 0;
}

void MetricsServer::stop()
{
	if (daemon != nullptr)
		MHD_stop_daemon(daemon);
	daemon = nullptr;
}

MetricsServer::~MetricsServer()
{
	stop();
}

std::string MetricsServer::text()
{
	/* Outlives this call: the control thread may come to it when nobody waits any more. */
	auto promise = std::make_shared<std::promise<std::vector<Counter>>>();
	std::future<std::vector<Counter>> counters = promise->get_future();
	ferrite_engine *engine = shared.engine;
	bool taken = shared.queue.submit([promise, engine](struct control *control) {
		std::vector<Counter> all;

		each_counter(control, engine, false, [&](const Counter &counter) { all.push_back(counter); });
		promise->set_value(std::move(all));
	});

	if (!taken || counters.wait_for(patience) != std::future_status::ready)
		return {};
	return metrics_text(counters.get(), host);
}

} // namespace ferrite
