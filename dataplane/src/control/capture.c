/* Who may capture what, and when; the capturing itself is somebody else's. */
#include <stddef.h>

#include "state.h"

void control_capture_install(struct control *control, const struct control_capture_ops *ops, void *context)
{
	if (control->capturing)
		control_capture_stop(control, NULL);
	control->capture_ops = ops;
	control->capture_context = context;
}

enum control_status control_capture_start(struct control *control, const struct control_capture *wanted)
{
	struct control_capture capture = *wanted;

	if (control->capture_ops == NULL)
		return CONTROL_NOT_ACTIVE;
	if (control->capturing)
		return CONTROL_ALREADY_ACTIVE;
	if (capture.interface_count > CONTROL_CAPTURE_INTERFACES)
		return CONTROL_LIMIT_REACHED;
	for (unsigned i = 0; i < capture.interface_count; ++i) {
		struct control_capture_interface *interface = &capture.interfaces[i];
		const struct control_port *port =
			interface->uplink ? NULL : control_port_find(&control->ports, interface->device);

		if (interface->uplink ? interface->uplink_index >= control->uplink_count : port == NULL)
			return CONTROL_NOT_FOUND;
		interface->port = port != NULL ? port->handle : 0;
	}
	if (control->capture_ops->start(control->capture_context, &capture) != 0)
		return CONTROL_RTE_RULE_ADD;
	control->capture = capture;
	control->capturing = true;
	return CONTROL_SUCCESS;
}

enum control_status control_capture_stop(struct control *control, unsigned *interfaces)
{
	if (!control->capturing)
		return CONTROL_NOT_ACTIVE;
	control->capture_ops->stop(control->capture_context);
	control->capturing = false;
	if (interfaces != NULL)
		*interfaces = control->capture.interface_count;
	return CONTROL_SUCCESS;
}

const struct control_capture *control_capture_status(const struct control *control)
{
	return control->capturing ? &control->capture : NULL;
}
