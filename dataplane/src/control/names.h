/* From the engine's numbers back to the names that people know, and the other way round: for what is observed. */
#ifndef FERRITE_CONTROL_NAMES_H
#define FERRITE_CONTROL_NAMES_H

#include "control.h"

#ifdef __cplusplus
extern "C" {
#endif

struct control_point {
	const char *interface; /* id; NULL: a port without one */
	const char *port;      /* name of the port */
	const char *device;
	uint32_t index;        /* of the interface in the engine; 0: none */
	uint32_t handle;       /* of the port in the engine */
};

/* By interface id, else by name or device of a port. */
bool control_point_find(const struct control *control, const char *name, struct control_point *point);
/* Every port that is there, in order. */
void control_point_each(const struct control *control,
			void (*visit)(void *context, const struct control_point *point), void *context);
/* Id of the rule with a tag; NULL: there is none. `interface` (may be NULL): where it is looked for first. */
const char *control_rule_name(const struct control *control, const char *interface, uint32_t tag);
/* Id of the load balancer with an index in the engine; NULL: there is none. */
const char *control_balancer_name(const struct control *control, uint32_t index);
/* What has an underlay address, in words: "interface vm-a", "NAT of vm-a". False: nothing here has. */
bool control_underlay_name(const struct control *control, const ferrite_ipv6 *address, char *text, size_t room);

#ifdef __cplusplus
}
#endif
#endif
