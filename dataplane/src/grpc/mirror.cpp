#include "mirror.hpp"

#include "ferrite/observe.h"

namespace ferrite {

namespace {

int start(void *engine, const control_capture *capture)
{
	ferrite_mirror_config config{};

	for (unsigned i = 0; i < capture->interface_count; ++i) {
		const control_capture_interface &interface = capture->interfaces[i];
		ferrite_point point = {interface.port, interface.uplink_index};
		bool twice = false;

		/* One port under two names is mirrored once. */
		for (unsigned j = 0; j < config.point_count; ++j)
			twice |= config.points[j].port == point.port && config.points[j].uplink == point.uplink;
		if (!twice)
			config.points[config.point_count++] = point;
	}
	config.sink = capture->sink;
	config.source_port = capture->source_port;
	config.destination_port = capture->destination_port;
	return ferrite_mirror_start(static_cast<ferrite_engine *>(engine), &config);
}

void stop(void *engine)
{
	ferrite_mirror_stop(static_cast<ferrite_engine *>(engine));
}

constexpr control_capture_ops ops = {start, stop};

} // namespace

void install_mirror(struct control *control, ferrite_engine *engine)
{
	control_capture_install(control, &ops, engine);
}

} // namespace ferrite
