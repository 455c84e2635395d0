/* dpdkironcore.v1.DPDKironcore: the contract of dpservice.
 *
 * Every method runs on the control thread and checks in this order: initialized, well formed, and then what the
 * control layer says. Methods of features that are not there yet answer UNIMPLEMENTED.
 */
#pragma once

#include "dpdkironcore/v1/dpdk.grpc.pb.h"
#include "service_context.hpp"

namespace ferrite {

class IroncoreService final : public dpdkironcore::v1::DPDKironcore::CallbackService {
public:
	explicit IroncoreService(ServiceContext &shared) : shared(shared) {}

#define FERRITE_METHOD(name)                                                                                       \
	grpc::ServerUnaryReactor *name(grpc::CallbackServerContext *call, const dpdkironcore::v1::name##Request *request, \
				       dpdkironcore::v1::name##Response *response) override;

	FERRITE_METHOD(CheckInitialized)
	FERRITE_METHOD(Initialize)
	FERRITE_METHOD(GetVersion)
	FERRITE_METHOD(ListInterfaces)
	FERRITE_METHOD(GetInterface)
	FERRITE_METHOD(CreateInterface)
	FERRITE_METHOD(DeleteInterface)
	FERRITE_METHOD(ListRoutes)
	FERRITE_METHOD(CreateRoute)
	FERRITE_METHOD(DeleteRoute)
	FERRITE_METHOD(CheckVniInUse)
	FERRITE_METHOD(ResetVni)
#undef FERRITE_METHOD

#define FERRITE_LATER(name)                                                                                        \
	grpc::ServerUnaryReactor *name(grpc::CallbackServerContext *call, const dpdkironcore::v1::name##Request *,        \
				       dpdkironcore::v1::name##Response *) override                                       \
	{                                                                                                          \
		return later(call, #name " is not implemented yet");                                                \
	}

	FERRITE_LATER(ListPrefixes)
	FERRITE_LATER(CreatePrefix)
	FERRITE_LATER(DeletePrefix)
	FERRITE_LATER(ListLoadBalancerPrefixes)
	FERRITE_LATER(CreateLoadBalancerPrefix)
	FERRITE_LATER(DeleteLoadBalancerPrefix)
	FERRITE_LATER(CreateVip)
	FERRITE_LATER(GetVip)
	FERRITE_LATER(DeleteVip)
	FERRITE_LATER(CreateLoadBalancer)
	FERRITE_LATER(GetLoadBalancer)
	FERRITE_LATER(DeleteLoadBalancer)
	FERRITE_LATER(ListLoadBalancers)
	FERRITE_LATER(CreateLoadBalancerTarget)
	FERRITE_LATER(ListLoadBalancerTargets)
	FERRITE_LATER(DeleteLoadBalancerTarget)
	FERRITE_LATER(CreateNat)
	FERRITE_LATER(GetNat)
	FERRITE_LATER(DeleteNat)
	FERRITE_LATER(ListLocalNats)
	FERRITE_LATER(CreateNeighborNat)
	FERRITE_LATER(DeleteNeighborNat)
	FERRITE_LATER(ListNeighborNats)
	FERRITE_LATER(ListFirewallRules)
	FERRITE_LATER(CreateFirewallRule)
	FERRITE_LATER(GetFirewallRule)
	FERRITE_LATER(DeleteFirewallRule)
	FERRITE_LATER(CaptureStart)
	FERRITE_LATER(CaptureStop)
	FERRITE_LATER(CaptureStatus)
#undef FERRITE_LATER

private:
	grpc::ServerUnaryReactor *later(grpc::CallbackServerContext *call, const char *text);

	ServiceContext &shared;
};

} // namespace ferrite
