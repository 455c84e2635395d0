/* What CaptureStart of dpdkironcore.v1 starts: the engine's mirror. */
#pragma once

#include "../control/control.h"

namespace ferrite {

/* The engine must outlive the control layer. */
void install_mirror(struct control *control, ferrite_engine *engine);

} // namespace ferrite
