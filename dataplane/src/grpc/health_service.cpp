#include "health_service.hpp"

namespace ferrite {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

bool is_known(const std::string &service)
{
	return service.empty() || service == "dpdkironcore.v1.DPDKironcore" ||
	       service == "ferrite.dataplane.v1.DataplaneService";
}

/* A stream that ends before it begins. */
class Refusal final : public grpc::ServerWriteReactor<HealthCheckResponse> {
public:
	explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
	void OnDone() override { delete this; }
};

} // namespace

/* One per Watch call; lives until the client or the server ends it. At most one write is under way, and at most
 * one status waits behind it. */
class HealthWatch final : public grpc::ServerWriteReactor<HealthCheckResponse> {
public:
	explicit HealthWatch(HealthService &service) : service(service) {}

	/* The service's lock is held. */
	void tell(HealthCheckResponse::ServingStatus status)
	{
		wanted = status;
		next();
	}

	void OnWriteDone(bool ok) override
	{
		std::lock_guard<std::mutex> lock(service.mutex);

		writing = false;
		if (ok)
			next();
		else
			end();
	}

	void OnCancel() override
	{
		std::lock_guard<std::mutex> lock(service.mutex);

		end();
	}

	void OnDone() override { delete this; }

private:
	void next()
	{
		if (writing || finished || wanted == response.status())
			return;
		writing = true;
		response.set_status(wanted);
		StartWrite(&response);
	}

	void end()
	{
		if (finished)
			return;
		finished = true;
		service.watches.erase(this);
		Finish({grpc::StatusCode::CANCELLED, "the watch ended"});
	}

	HealthService &service;
	HealthCheckResponse response;
	HealthCheckResponse::ServingStatus wanted = HealthCheckResponse::UNKNOWN;
	bool writing = false;
	bool finished = false;
};

HealthCheckResponse::ServingStatus HealthService::status() const
{
	return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::ServerUnaryReactor *HealthService::Check(grpc::CallbackServerContext *call, const HealthCheckRequest *request,
					       HealthCheckResponse *response)
{
	grpc::ServerUnaryReactor *reactor = call->DefaultReactor();
	{
		std::lock_guard<std::mutex> lock(mutex);

		response->set_status(is_known(request->service()) ? status() : HealthCheckResponse::SERVICE_UNKNOWN);
	}
	reactor->Finish(grpc::Status::OK);
	return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse> *HealthService::Watch(grpc::CallbackServerContext *,
								    const HealthCheckRequest *request)
{
	if (!is_known(request->service()))
		return new Refusal({grpc::StatusCode::NOT_FOUND, "unknown service"});
	std::lock_guard<std::mutex> lock(mutex);

	if (watches.size() >= max_watches)
		return new Refusal({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watches"});
	HealthWatch *watch = new HealthWatch(*this);

	watches.insert(watch);
	watch->tell(status());
	return watch;
}

void HealthService::stop_serving()
{
	std::lock_guard<std::mutex> lock(mutex);

	serving = false;
	for (HealthWatch *watch : watches)
		watch->tell(status());
}

} // namespace ferrite
