/* One operation of a batch, on the control thread. */
#pragma once

#include "../control/control.h"
#include "ferrite/dataplane/v1/dataplane.pb.h"

namespace ferrite {

void apply_operation(struct control *control, const dataplane::v1::Operation &operation,
		     dataplane::v1::Result *result);

} // namespace ferrite
