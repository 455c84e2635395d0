/* Status codes of dpdkironcore.v1: what became of a call that was well formed.
 *
 * Clients of dpservice switch on the numbers and show the names, so both are fixed. Only codes that some call
 * of ours can answer are here.
 */
#ifndef FERRITE_CONTROL_STATUS_H
#define FERRITE_CONTROL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum control_status {
	CONTROL_SUCCESS = 0,
	CONTROL_NOT_FOUND = 201,
	CONTROL_ALREADY_EXISTS = 202,
	CONTROL_WRONG_TYPE = 203,
	CONTROL_BAD_IPVER = 204,
	CONTROL_NO_VM = 205,
	CONTROL_NO_VNI = 206,
	CONTROL_OUT_OF_MEMORY = 208,
	CONTROL_ROUTE_EXISTS = 301,
	CONTROL_ROUTE_NOT_FOUND = 302,
	CONTROL_ROUTE_INSERT = 303,
	CONTROL_ROUTE_BAD_PORT = 304,
	CONTROL_ROUTE_RESET = 305,
	CONTROL_VNI_INIT4 = 361,
	CONTROL_PORT_START = 381,
	CONTROL_PORT_STOP = 382,
	CONTROL_VNF_INSERT = 401,
	CONTROL_VM_HANDLE = 402,
};

/* The symbolic name, as "NO_VNI"; "Success" for 0. Static memory. */
const char *control_status_name(enum control_status status);

#ifdef __cplusplus
}
#endif
#endif
