#include "server.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "../control/log.h"

namespace ferrite {

namespace {

constexpr std::chrono::milliseconds grace(500);
constexpr std::size_t memory_bytes = 512u << 20;

std::string path_of(const std::string &address)
{
	return address.rfind("unix:", 0) == 0 ? address.substr(5) : std::string();
}

/* What gRPC has to say becomes lines of ours; what a client sent wrong is no event of the dataplane. */
void log_of_grpc(gpr_log_func_args *event)
{
	std::string text = event->message;

	std::replace(text.begin(), text.end(), '"', '\'');
	if (event->severity == GPR_LOG_SEVERITY_ERROR)
		log_warn("grpc", "text=\"%s\"", text.c_str());
}

} // namespace

bool claim_address(const std::string &address, std::string &error)
{
	std::string path = path_of(address);
	struct stat found;
	struct sockaddr_un name = {};

	if (path.empty() || lstat(path.c_str(), &found) != 0)
		return true;
	if (!S_ISSOCK(found.st_mode)) {
		error = "--grpc: " + path + " is there and is no socket";
		return false;
	}
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	name.sun_family = AF_UNIX;
	std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
	bool alive = probe >= 0 && connect(probe, reinterpret_cast<struct sockaddr *>(&name), sizeof name) == 0;

	if (probe >= 0)
		::close(probe);
	if (alive) {
		error = "--grpc: another program listens on " + path;
		return false;
	}
	if (unlink(path.c_str()) != 0 && errno != ENOENT) {
		error = "--grpc: the stale socket " + path + " cannot be removed: " + std::strerror(errno);
		return false;
	}
	return true;
}

bool Server::start(const std::string &address, std::string &error)
{
	grpc::ServerBuilder builder;
	int port = -1;

	if (!claim_address(address, error))
		return false;
	gpr_set_log_function(log_of_grpc);
	google::protobuf::SetLogHandler(nullptr);
	/* Two dataplanes on one port would share its calls without a word. */
	builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
	builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 15'000);
	builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
	builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
	builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
	/* For all clients together; above it gRPC slows reading and closes what is idle. */
	builder.SetResourceQuota(grpc::ResourceQuota("ferrite").Resize(memory_bytes));
	builder.SetMaxReceiveMessageSize(max_receive_bytes);
	builder.SetMaxSendMessageSize(max_send_bytes);
	builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
	builder.RegisterService(&ironcore);
	builder.RegisterService(&dataplane);
	builder.RegisterService(&observe);
	builder.RegisterService(&health);
	server = builder.BuildAndStart();
	if (server == nullptr || port == 0) {
		error = "--grpc: cannot listen on " + address + "; it is taken, or not an address of this machine";
		return false;
	}
	socket_path = path_of(address);
	if (!socket_path.empty())
		chmod(socket_path.c_str(), 0660);
	log_info("listening", "grpc=%s port=%d", address.c_str(), port);
	return true;
}

void Server::stop()
{
	if (server == nullptr)
		return;
	health.stop_serving();
	/* Watchers read it before their streams end. */
	std::this_thread::sleep_for(std::chrono::milliseconds(100));
	server->Shutdown(std::chrono::system_clock::now() + grace);
	server->Wait();
	if (!socket_path.empty())
		unlink(socket_path.c_str());
	shared.queue.close();
}

} // namespace ferrite
