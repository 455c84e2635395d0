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
	CONTROL_UNIMPLEMENTED = 12, /* of ferrite.dataplane.v1 only: the number of gRPC's status */
	CONTROL_NOT_FOUND = 201,
	CONTROL_ALREADY_EXISTS = 202,
	CONTROL_WRONG_TYPE = 203,
	CONTROL_BAD_IPVER = 204,
	CONTROL_NO_VM = 205,
	CONTROL_NO_VNI = 206,
	CONTROL_OUT_OF_MEMORY = 208,
	CONTROL_LIMIT_REACHED = 209,
	CONTROL_ALREADY_ACTIVE = 210,
	CONTROL_NOT_ACTIVE = 211,
	CONTROL_RTE_RULE_ADD = 213,
	CONTROL_ROUTE_EXISTS = 301,
	CONTROL_ROUTE_NOT_FOUND = 302,
	CONTROL_ROUTE_INSERT = 303,
	CONTROL_ROUTE_BAD_PORT = 304,
	CONTROL_ROUTE_RESET = 305,
	CONTROL_DNAT_CREATE = 322,
	CONTROL_DNAT_EXISTS = 323,
	CONTROL_SNAT_NO_DATA = 341,
	CONTROL_SNAT_CREATE = 342,
	CONTROL_SNAT_EXISTS = 343,
	CONTROL_VNI_INIT4 = 361,
	CONTROL_PORT_START = 381,
	CONTROL_PORT_STOP = 382,
	CONTROL_PORT_METER = 383,
	CONTROL_VNF_INSERT = 401,
	CONTROL_VM_HANDLE = 402,
	CONTROL_NO_LB = 422,
	CONTROL_BACKIP_ADD = 423,
	CONTROL_BACKIP_DEL = 424,
};

/* The symbolic name, as "NO_VNI"; "Success" for 0. Static memory. */
const char *control_status_name(enum control_status status);

#ifdef __cplusplus
}
#endif
#endif
