/* GET /metrics over HTTP, for Prometheus: a thread of its own, and the control thread for the numbers. */
#pragma once

#include <memory>
#include <string>

#include "service_context.hpp"

struct MHD_Daemon;

namespace ferrite {

class MetricsServer {
public:
	MetricsServer(ServiceContext &shared, const std::string &host) : shared(shared), host(host) {}
	~MetricsServer();

	/* `address`: "host:port", "[host]:port" or ":port" for every address; a host is an IP address. False: it cannot be
	 * had, and `error` says why. */
	bool start(const std::string &address, std::string &error);
	/* Nobody is answered after it. */
	void stop();
	/* Waits for the control thread; empty: it did not come to it. */
	std::string text();
	/* That it listens on: of port 0 any. */
	unsigned port() const;

private:
	ServiceContext &shared;
	const std::string host;
	MHD_Daemon *daemon = nullptr;
};

/* False: not of the form above. */
bool metrics_address_is_valid(const char *address);

} // namespace ferrite
