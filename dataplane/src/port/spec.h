/* What a text says about an uplink or a port: "[NAME=]KIND:DEVICE[,mac=MAC][,gateway=IPV6][,peer=MAC][,weight=N]".
 *
 * Pure, and without the engine: the options and the engine read the same text by it. A text that begins with a kind has
 * no name, so that paths and devices may hold "=". What stands between the kind and the first option is the device; a
 * pci device may bring arguments of its driver ("net_af_packet0,iface=veth1"), which stay in it as they are.
 */
#ifndef FERRITE_PORT_SPEC_H
#define FERRITE_PORT_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"

enum port_kind { PORT_NONE, PORT_WIRE, PORT_ETH, PORT_VTAP, PORT_RING, PORT_PCI, PORT_VHOST, PORT_KINDS };

enum {
	PORT_NAME_TEXT = 64,
	PORT_MAX_WEIGHT = 65535,
	PORT_SPEC_TEXT = 512, /* the longest text that is read, with its end */
};

struct port_spec {
	enum port_kind kind;                /* PORT_NONE: "none", and nothing else is set */
	char name[PORT_NAME_TEXT];          /* empty: none was said */
	char device[FERRITE_DEVICE_TEXT];   /* what stands after "KIND:", without the options below */
	bool has_mac, has_gateway, has_peer;
	uint8_t mac[6];                     /* of our own side of the link */
	uint8_t peer[6];                    /* where every packet goes */
	uint8_t gateway[16];
	uint32_t weight;                    /* 1 to PORT_MAX_WEIGHT; 1 where nothing is said */
};

/* 0, or -EINVAL with one line for people in `error`. `text` need not end after `length`. */
int port_spec_parse(const char *text, size_t length, struct port_spec *spec, char error[FERRITE_ERROR_TEXT]);

/* The same, and it must say an uplink: one of wire, eth, vtap, ring, pci, with the options that the kind has; or
 * "none". Without a name it gets that of its device (behind the last slash, up to the first comma, 63 characters). */
int port_spec_uplink(const char *text, size_t length, struct port_spec *spec, char error[FERRITE_ERROR_TEXT]);

/* "vtap"; "none" for PORT_NONE. */
const char *port_kind_name(enum port_kind kind);

#endif
