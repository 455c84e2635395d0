/* The gRPC server: four services on one address, without TLS. */
#pragma once

#include <memory>
#include <string>

#include "dataplane_service.hpp"
#include "health_service.hpp"
#include "ironcore_service.hpp"
#include "observe_service.hpp"

namespace ferrite {

class Server {
public:
	explicit Server(ServiceContext &shared) : shared(shared), ironcore(shared), dataplane(shared), observe(shared) {}

	/* `address`: "unix:/path" or "host:port". False: it is taken or cannot be had, and `error` says why. */
	bool start(const std::string &address, std::string &error);
	/* NOT_SERVING to the watchers, then half a second for calls that are under way, then the end of the queue. */
	void stop();

private:
	ServiceContext &shared;
	IroncoreService ironcore;
	DataplaneService dataplane;
	ObserveService observe;
	HealthService health;
	std::string socket_path;
	std::unique_ptr<grpc::Server> server;
};

/* For "unix:/path": false and an `error` when somebody listens there; removes a socket that nobody has. */
bool claim_address(const std::string &address, std::string &error);

} // namespace ferrite
