/* A double of the packet engine for unit tests of the layer above: engine.h over plain arrays.
 *
 * It keeps what it is told and forwards nothing. A test can make the next call of a kind fail, and count what is
 * open, so that it sees that a rollback left nothing behind.
 */
#ifndef FERRITE_FAKE_ENGINE_H
#define FERRITE_FAKE_ENGINE_H

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum fake_call { FAKE_PORT_OPEN, FAKE_PORT_CLOSE, FAKE_INTERFACE_ADD, FAKE_INTERFACE_REMOVE, FAKE_ROUTE_PUT, FAKE_CALLS };

/* The next call of this kind answers `error` (negative errno) and does nothing. */
void fake_engine_fail_next(struct ferrite_engine *engine, enum fake_call call, int error);
unsigned fake_engine_ports(const struct ferrite_engine *engine);
unsigned fake_engine_interfaces(const struct ferrite_engine *engine);
/* Local ones too. */
unsigned fake_engine_routes(const struct ferrite_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
