#include "status.h"

const char *control_status_name(enum control_status status)
{
	switch (status) {
	case CONTROL_SUCCESS:
		return "Success";
	case CONTROL_NOT_FOUND:
		return "NOT_FOUND";
	case CONTROL_ALREADY_EXISTS:
		return "ALREADY_EXISTS";
	case CONTROL_WRONG_TYPE:
		return "WRONG_TYPE";
	case CONTROL_BAD_IPVER:
		return "BAD_IPVER";
	case CONTROL_NO_VM:
		return "NO_VM";
	case CONTROL_NO_VNI:
		return "NO_VNI";
	case CONTROL_OUT_OF_MEMORY:
		return "OUT_OF_MEMORY";
	case CONTROL_ROUTE_EXISTS:
		return "ROUTE_EXISTS";
	case CONTROL_ROUTE_NOT_FOUND:
		return "ROUTE_NOT_FOUND";
	case CONTROL_ROUTE_INSERT:
		return "ROUTE_INSERT";
	case CONTROL_ROUTE_BAD_PORT:
		return "ROUTE_BAD_PORT";
	case CONTROL_ROUTE_RESET:
		return "ROUTE_RESET";
	case CONTROL_VNI_INIT4:
		return "VNI_INIT4";
	case CONTROL_PORT_START:
		return "PORT_START";
	case CONTROL_PORT_STOP:
		return "PORT_STOP";
	case CONTROL_VNF_INSERT:
		return "VNF_INSERT";
	case CONTROL_VM_HANDLE:
		return "VM_HANDLE";
	}
	return "UNKNOWN";
}
