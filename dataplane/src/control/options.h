/* The command line of ferrite-dataplane. */
#ifndef FERRITE_CONTROL_OPTIONS_H
#define FERRITE_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OPTIONS_MAX_PORTS = 256, OPTIONS_MAX_SERVICES = 256, OPTIONS_ERROR_TEXT = 512, OPTIONS_GRPC_TEXT = 32 };

struct control_option_port {
	char name[64];
	char device[FERRITE_DEVICE_TEXT];
	bool has_mac;
	ferrite_mac mac;
};

struct control_options {
	const char *grpc; /* "unix:/path" or "host:port" */
	const char *metrics; /* "host:port"; NULL: not served */
	char grpc_of_port[OPTIONS_GRPC_TEXT]; /* where --grpc-port said it */
	const char *uplink; /* the first of `uplinks` */
	const char *uplinks[FERRITE_MAX_UPLINKS]; /* as port/spec.h reads them */
	char uplink_names[FERRITE_MAX_UPLINKS][CONTROL_DEVICE_NAME]; /* empty: none */
	unsigned uplink_count;
	const char *name; /* "": that of the machine */
	bool has_underlay;
	ferrite_ipv6 underlay; /* upper 64 bits */
	uint16_t mtu;
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	struct control_option_port ports[OPTIONS_MAX_PORTS];
	unsigned port_count;
	uint32_t flow_timeout, flow_capacity, flow_limit, flow_rate; /* 0: the engine's default */
	bool has_seed;
	uint32_t seed;
	unsigned workers;
	struct ferrite_virtual_service services[OPTIONS_MAX_SERVICES];
	unsigned service_count;
	bool has_firewall_defaults;
	enum ferrite_firewall_default ingress, egress;
	const char *active_lockfile; /* NULL: none */
	const char *handover; /* socket for a successor; NULL: none */
	const char *takeover; /* that of the predecessor; NULL: there is none */
};

enum control_options_verdict { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_ERROR };

/* Takes "--flag value" and "--flag=value". On OPTIONS_ERROR `error` names the flag and what it wants. */
enum control_options_verdict control_options_parse(int count, char *const *arguments,
						   struct control_options *options, char error[OPTIONS_ERROR_TEXT]);
/* What the options say to the engine; its texts are those of `options`. The worker is not started. */
struct ferrite_engine_config control_options_engine(const struct control_options *options, const char *name);
/* What they say to the control layer, which has no interface yet: configuration, uplinks by name, virtual services and
 * ports. Negative, with `error`, where the engine refuses one. */
int control_options_apply(const struct control_options *options, struct ferrite_engine *engine,
			  struct control *control, char error[OPTIONS_ERROR_TEXT]);
/* Static memory. */
const char *control_options_help(void);

#ifdef __cplusplus
}
#endif
#endif
