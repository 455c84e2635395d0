#include "port/port.h"

#include <errno.h>

int pci_open_access(struct ferrite_engine *engine, const char *rest, struct port **port, char *error)
{
	return port_error(error, ENOTSUP, "pci: not yet");
}

int pci_open_uplink(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	return port_error(error, ENOTSUP, "pci: not yet");
}
