/* dpdkironcore.v1.DPDKironcore: the contract of dpservice.
 *
 * Every method runs on the control thread and checks in this order: initialized, well formed, and then what the
 * control layer says. In ironcore_service.cpp: the service itself, interfaces, routes and VNIs; in ironcore_address.cpp:
 * prefixes, VIPs and NATs; in ironcore_balancer.cpp: load balancers, firewall rules and capture.
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
	FERRITE_METHOD(ListPrefixes)
	FERRITE_METHOD(CreatePrefix)
	FERRITE_METHOD(DeletePrefix)
	FERRITE_METHOD(ListLoadBalancerPrefixes)
	FERRITE_METHOD(CreateLoadBalancerPrefix)
	FERRITE_METHOD(DeleteLoadBalancerPrefix)
	FERRITE_METHOD(CreateVip)
	FERRITE_METHOD(GetVip)
	FERRITE_METHOD(DeleteVip)
	FERRITE_METHOD(CreateLoadBalancer)
	FERRITE_METHOD(GetLoadBalancer)
	FERRITE_METHOD(DeleteLoadBalancer)
	FERRITE_METHOD(ListLoadBalancers)
	FERRITE_METHOD(CreateLoadBalancerTarget)
	FERRITE_METHOD(ListLoadBalancerTargets)
	FERRITE_METHOD(DeleteLoadBalancerTarget)
	FERRITE_METHOD(CreateNat)
	FERRITE_METHOD(GetNat)
	FERRITE_METHOD(DeleteNat)
	FERRITE_METHOD(ListLocalNats)
	FERRITE_METHOD(CreateNeighborNat)
	FERRITE_METHOD(DeleteNeighborNat)
	FERRITE_METHOD(ListNeighborNats)
	FERRITE_METHOD(ListFirewallRules)
	FERRITE_METHOD(CreateFirewallRule)
	FERRITE_METHOD(GetFirewallRule)
	FERRITE_METHOD(DeleteFirewallRule)
	FERRITE_METHOD(CaptureStart)
	FERRITE_METHOD(CaptureStop)
	FERRITE_METHOD(CaptureStatus)
#undef FERRITE_METHOD

private:
	ServiceContext &shared;
};

} // namespace ferrite
