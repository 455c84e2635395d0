/* grpc.health.v1: SERVING from the moment the server listens, NOT_SERVING from the moment it is told to end.
 *
 * It answers by itself, never by the control thread: whether the program is up must not wait behind a long list.
 */
#pragma once

#include <cstddef>
#include <mutex>
#include <set>

#include "grpc/health/v1/health.grpc.pb.h"

namespace ferrite {

class HealthWatch;

class HealthService final : public grpc::health::v1::Health::CallbackService {
public:
	static constexpr std::size_t max_watches = 256;

	grpc::ServerUnaryReactor *Check(grpc::CallbackServerContext *call,
					const grpc::health::v1::HealthCheckRequest *request,
					grpc::health::v1::HealthCheckResponse *response) override;
	grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse> *
	Watch(grpc::CallbackServerContext *call, const grpc::health::v1::HealthCheckRequest *request) override;

	/* Tells every watcher; there is no way back. */
	void stop_serving();

private:
	friend class HealthWatch;

	grpc::health::v1::HealthCheckResponse::ServingStatus status() const;

	std::mutex mutex;
	bool serving = true;
	std::set<HealthWatch *> watches;
};

} // namespace ferrite
