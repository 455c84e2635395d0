#include "port/port.h"

#include <errno.h>

int eth_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	return port_error(error, ENOTSUP, "eth ports are not there yet");
}

int eth_open_uplink(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	return port_error(error, ENOTSUP, "eth ports are not there yet");
}
