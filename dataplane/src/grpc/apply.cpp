#include "apply.hpp"

#include "read.hpp"
#include "write.hpp"

namespace ferrite {

namespace {

using dataplane::v1::Operation;
using dataplane::v1::Result;

/* The number of the gRPC status, where dpdkironcore.v1 would end the call with it. */
constexpr std::uint32_t invalid_argument_code = 3;

void refuse(Invalid invalid, Result *result)
{
	result->set_code(invalid_argument_code);
	result->set_message(invalid);
}

void done(control_status status, Result *result)
{
	result->set_code(static_cast<std::uint32_t>(status));
	result->set_message(control_status_name(status));
}

void create_interface(struct control *control, const dataplane::v1::InterfaceSpec &wanted, Result *result)
{
	const struct control_interface *made = nullptr;
	control_interface_spec spec;
	Invalid invalid = read_interface(wanted, spec);

	if (invalid != nullptr)
		return refuse(invalid, result);
	control_status status = control_interface_ensure(control, &spec, &made);

	done(status, result);
	if (status == CONTROL_SUCCESS)
		write_interface(*made, result->mutable_interface());
}

void delete_interface(struct control *control, const std::string &wanted, Result *result)
{
	char id[CONTROL_ID_TEXT];
	Invalid invalid = read_interface_id(wanted, id);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_interface_delete(control, id), result);
}

void put_route(struct control *control, const dataplane::v1::Route &wanted, Result *result)
{
	bool next_hop_is_ipv4 = false;
	control_route route;
	Invalid invalid = read_route(wanted, route, next_hop_is_ipv4);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(next_hop_is_ipv4 ? CONTROL_BAD_IPVER : control_route_put(control, &route, true), result);
}

void delete_route(struct control *control, const dataplane::v1::Route &wanted, Result *result)
{
	ferrite_route_key key;
	Invalid invalid = read_route_prefix(wanted, key);

	if (invalid != nullptr)
		return refuse(invalid, result);
	done(control_route_delete(control, &key), result);
}

} // namespace

void apply_operation(struct control *control, const Operation &operation, Result *result)
{
	switch (operation.operation_case()) {
	case Operation::kCreateInterface:
		return create_interface(control, operation.create_interface(), result);
	case Operation::kDeleteInterface:
		return delete_interface(control, operation.delete_interface(), result);
	case Operation::kPutRoute:
		return put_route(control, operation.put_route(), result);
	case Operation::kDeleteRoute:
		return delete_route(control, operation.delete_route(), result);
	case Operation::kResetVni:
		control_vni_reset(control, operation.reset_vni());
		return done(CONTROL_SUCCESS, result);
	case Operation::OPERATION_NOT_SET:
		break;
	}
	refuse("Invalid operation", result);
}

} // namespace ferrite
