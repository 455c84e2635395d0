#include "ironcore_service.hpp"

#include "../control/log.h"
#include "ironcore_call.hpp"
#include "version.hpp"

namespace ferrite {

using namespace dpdkironcore::v1;

grpc::ServerUnaryReactor *IroncoreService::CheckInitialized(grpc::CallbackServerContext *call,
							    const CheckInitializedRequest *,
							    CheckInitializedResponse *response)
{
	return when_initialized(shared, call, [response](struct control *control) {
		control_state state;

		control_read_state(control, &state);
		response->set_uuid(state.uuid);
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::Initialize(grpc::CallbackServerContext *call, const InitializeRequest *,
						      InitializeResponse *response)
{
	return on_control_thread(shared, call, [response](struct control *control) {
		control_state state;

		control_initialize(control);
		control_read_state(control, &state);
		log_info("initialized", "uuid=%s interfaces=%u", state.uuid, state.interfaces);
		response->set_uuid(state.uuid);
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::GetVersion(grpc::CallbackServerContext *call,
						      const GetVersionRequest *request, GetVersionResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *) {
		Invalid invalid = read_version(*request);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		log_info("client", "name=%s version=%s protocol=%s", request->client_name().c_str(),
			 request->client_version().c_str(), request->client_protocol().c_str());
		response->set_service_protocol(version);
		response->set_service_version(version);
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::ListInterfaces(grpc::CallbackServerContext *call,
							  const ListInterfacesRequest *,
							  ListInterfacesResponse *response)
{
	return when_initialized(shared, call, [response](struct control *control) {
		control_interface_each(
			control,
			[](void *list, const struct control_interface *interface) {
				write_interface(*interface, static_cast<ListInterfacesResponse *>(list)->add_interfaces());
			},
			response);
		return done_with_list(response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::GetInterface(grpc::CallbackServerContext *call,
							const GetInterfaceRequest *request,
							GetInterfaceResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		Invalid invalid = read_interface_id(request->interface_id(), id);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		const struct control_interface *interface = control_interface_find(control, id);

		if (interface == nullptr)
			return done(CONTROL_NOT_FOUND, response);
		write_interface(*interface, response->mutable_interface());
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::CreateInterface(grpc::CallbackServerContext *call,
							   const CreateInterfaceRequest *request,
							   CreateInterfaceResponse *response)
{
	return when_initialized(shared, call, [this, request, response](struct control *control) {
		const struct control_interface *made = nullptr;
		control_interface_spec spec;
		Invalid invalid = read_interface(*request, shared.underlay_prefix, spec);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		control_status status = control_interface_create(control, &spec, &made);

		if (status != CONTROL_SUCCESS)
			return done(status, response);
		response->set_underlay_route(text_of(made->underlay));
		response->mutable_vf()->set_name(made->port.device);
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::DeleteInterface(grpc::CallbackServerContext *call,
							   const DeleteInterfaceRequest *request,
							   DeleteInterfaceResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		char id[CONTROL_ID_TEXT];
		Invalid invalid = read_interface_id(request->interface_id(), id);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_interface_delete(control, id), response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::ListRoutes(grpc::CallbackServerContext *call,
						      const ListRoutesRequest *request, ListRoutesResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		control_status status = control_route_each(
			control, request->vni(),
			[](void *list, const struct control_route *route) {
				write_route(*route, static_cast<ListRoutesResponse *>(list)->add_routes());
			},
			response);

		return status == CONTROL_SUCCESS ? done_with_list(response) : done(status, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::CreateRoute(grpc::CallbackServerContext *call,
						       const CreateRouteRequest *request,
						       CreateRouteResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		control_route route;
		bool next_hop_is_ipv4 = false;
		Invalid invalid = read_route(request->vni(), request->route(), route, next_hop_is_ipv4);

		if (invalid != nullptr)
			return invalid_argument(invalid);
		return done(next_hop_is_ipv4 ? CONTROL_BAD_IPVER : control_route_put(control, &route, false), response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::DeleteRoute(grpc::CallbackServerContext *call,
						       const DeleteRouteRequest *request,
						       DeleteRouteResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		ferrite_route_key key;
		Invalid invalid = read_route_prefix(request->vni(), request->route(), key);

		return invalid != nullptr ? invalid_argument(invalid)
					  : done(control_route_delete(control, &key), response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::CheckVniInUse(grpc::CallbackServerContext *call,
							 const CheckVniInUseRequest *request,
							 CheckVniInUseResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		Invalid invalid = read_vni_type(request->type());

		if (invalid != nullptr)
			return invalid_argument(invalid);
		if (request->type() == VNI_BOTH)
			return done(CONTROL_WRONG_TYPE, response);
		response->set_in_use(control_vni_in_use(control, request->vni()));
		return done(CONTROL_SUCCESS, response);
	});
}

grpc::ServerUnaryReactor *IroncoreService::ResetVni(grpc::CallbackServerContext *call, const ResetVniRequest *request,
						    ResetVniResponse *response)
{
	return when_initialized(shared, call, [request, response](struct control *control) {
		Invalid invalid = read_vni_type(request->type());

		if (invalid != nullptr)
			return invalid_argument(invalid);
		if (request->type() != VNI_BOTH)
			return done(CONTROL_WRONG_TYPE, response);
		control_vni_reset(control, request->vni());
		return done(CONTROL_SUCCESS, response);
	});
}

} // namespace ferrite
