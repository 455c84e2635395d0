/* The command line of ferrite-dataplane. */
#ifndef FERRITE_CONTROL_OPTIONS_H
#define FERRITE_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OPTIONS_MAX_PORTS = 256, OPTIONS_ERROR_TEXT = 256 };

struct control_option_port {
	char name[64];
	char device[FERRITE_DEVICE_TEXT];
	bool has_mac;
	ferrite_mac mac;
};

struct control_options {
	const char *grpc; /* "unix:/path" or "host:port" */
	const char *uplink;
	const char *name; /* "": that of the machine */
	bool has_underlay;
	ferrite_ipv6 underlay;
	uint16_t mtu;
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	struct control_option_port ports[OPTIONS_MAX_PORTS];
	unsigned port_count;
};

enum control_options_verdict { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_ERROR };

/* Takes "--flag value" and "--flag=value". On OPTIONS_ERROR `error` names the flag and what it wants. */
enum control_options_verdict control_options_parse(int count, char *const *arguments,
						   struct control_options *options, char error[OPTIONS_ERROR_TEXT]);
/* Static memory. */
const char *control_options_help(void);

#ifdef __cplusplus
}
#endif
#endif
