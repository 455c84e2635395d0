/* How fast a dataplane is told routes: `programming_bench ADDRESS [ROUTES [BATCH [IN-FLIGHT]]]` against a running
 * ferrite-dataplane (unix:/path or host:port), by one Apply stream of ferrite.dataplane.v1.
 *
 * Makes 16 VNIs with an interface each (on in-process ports), from 7,000,000 on. Puts ROUTES (100,000) /32 routes in
 * them, in batches of BATCH (1,024) operations with IN-FLIGHT (16) of them unanswered; puts them again with another next
 * hop, and takes them away. Each result is looked at.
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "dpdkironcore/v1/dpdk.grpc.pb.h"
#include "ferrite/dataplane/v1/dataplane.grpc.pb.h"

namespace wire = ferrite::dataplane::v1;

namespace {

constexpr unsigned kVnis = 16, kFirstVni = 7000000;

std::string prefix_of(unsigned number)
{
	unsigned within = number / kVnis;
	return "10." + std::to_string(within >> 16 & 255) + "." + std::to_string(within >> 8 & 255) + "." +
		std::to_string(within & 255) + "/32";
}

void fill(wire::Operation *operation, unsigned number, unsigned round)
{
	wire::Route *route = round == 2 ? operation->mutable_delete_route() : operation->mutable_put_route();
	route->set_vni(kFirstVni + number % kVnis);
	route->set_prefix(prefix_of(number));
	if (round == 2)
		return;
	char hop[64];
	(void)snprintf(hop, sizeof hop, "fd00:f:%x::d001:0:%x", 0x900 + round, number % 0xffff + 1);
	route->set_next_hop(hop);
	route->set_next_hop_vni(route->vni());
}

/* Routes are of VNIs that have an interface here. */
bool interfaces(wire::DataplaneService::Stub &stub, bool there)
{
	grpc::ClientContext context;
	auto stream = stub.Apply(&context);
	wire::ApplyRequest request;
	wire::ApplyResponse response;
	request.set_sequence(1);
	for (unsigned i = 0; i < kVnis; ++i) {
		const std::string id = "programming-bench-" + std::to_string(i);
		if (!there) {
			request.add_operations()->set_delete_interface(id);
			continue;
		}
		wire::InterfaceSpec *spec = request.add_operations()->mutable_create_interface();
		spec->set_id(id);
		spec->set_vni(kFirstVni + i);
		spec->set_ipv4("192.0.2.1");
		spec->set_device("ring:" + id);
	}
	bool good = stream->Write(request) && stream->Read(&response);
	for (const auto &result : response.results()) {
		if (result.code() != 0)
			std::fprintf(stderr, "interface: %u %s\n", result.code(), result.message().c_str());
		good = good && result.code() == 0;
	}
	(void)stream->WritesDone();
	return stream->Finish().ok() && good;
}

bool run(wire::DataplaneService::Stub &stub, unsigned routes, unsigned batch, unsigned in_flight, unsigned round)
{
	static const char *const names[3] = {"put", "put again, another next hop", "deleted"};
	grpc::ClientContext context;
	auto stream = stub.Apply(&context);
	const unsigned batches = (routes + batch - 1) / batch;
	unsigned long bad = 0, answered = 0;
	const auto begun = std::chrono::steady_clock::now();
	wire::ApplyRequest request;
	wire::ApplyResponse response;
	auto take = [&] {
		if (!stream->Read(&response))
			return false;
		for (const auto &result : response.results())
			if (result.code() != 0 && bad++ == 0)
				std::fprintf(stderr, "refused: %u %s\n", result.code(), result.message().c_str());
		answered += static_cast<unsigned long>(response.results_size());
		return true;
	};
	for (unsigned i = 0; i < batches; ++i) {
		request.Clear();
		request.set_sequence(i + 1);
		for (unsigned at = i * batch; at < routes && at < (i + 1) * batch; ++at)
			fill(request.add_operations(), at, round);
		if (!stream->Write(request) || (i >= in_flight && !take()))
			break;
	}
	(void)stream->WritesDone();
	while (take())
		continue;
	const grpc::Status status = stream->Finish();
	const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
	std::printf("%-30s %8lu routes %8.2f s %10.0f routes/s, %lu refused\n", names[round], answered, seconds,
		    static_cast<double>(answered) / seconds, bad);
	if (!status.ok())
		std::fprintf(stderr, "%s\n", status.error_message().c_str());
	return status.ok() && bad == 0 && answered == routes;
}

}

int main(int count, char **arguments)
{
	if (count < 2) {
		std::fprintf(stderr, "programming_bench ADDRESS [ROUTES [BATCH [IN-FLIGHT]]]\n");
		return 2;
	}
	auto number = [&](int at, unsigned otherwise) {
		return count > at ? static_cast<unsigned>(std::strtoul(arguments[at], nullptr, 10)) : otherwise;
	};
	const unsigned routes = number(2, 100000), batch = number(3, 1024), in_flight = number(4, 16);
	if (batch == 0 || batch > 4096 || in_flight == 0)
		return 2;
	auto channel = grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials());
	auto compatible = dpdkironcore::v1::DPDKironcore::NewStub(channel);
	grpc::ClientContext context;
	dpdkironcore::v1::InitializeResponse initialized;
	const grpc::Status status = compatible->Initialize(&context, {}, &initialized);
	if (!status.ok()) {
		std::fprintf(stderr, "%s: %s\n", arguments[1], status.error_message().c_str());
		return 1;
	}
	auto stub = wire::DataplaneService::NewStub(channel);
	bool good = interfaces(*stub, true);
	for (unsigned round = 0; good && round < 3; ++round)
		good = run(*stub, routes, batch, in_flight, round);
	return interfaces(*stub, false) && good ? 0 : 1;
}
