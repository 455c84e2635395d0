#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "address.h"
#include "port/spec.h"

enum { MTU_MIN = 1280, MTU_MAX = 9000, FLOW_CAPACITY_MIN = 1024, FLOW_CAPACITY_MAX = 1 << 26, MAX_WORKERS = 64 };

const char *control_options_help(void)
{
	return "Usage: ferrite-dataplane --underlay PREFIX --uplink UPLINK [options]\n"
	       "\n"
	       "Forwards packets between the interfaces of VMs and the underlay, and is programmed by gRPC\n"
	       "(dpdkironcore.v1, ferrite.dataplane.v1, grpc.health.v1; without TLS).\n"
	       "\n"
	       "Where it is\n"
	       "  --underlay PREFIX   IPv6 /64 of this host, or an address in it; underlay addresses are made below it\n"
	       "  --uplink [NAME=]KIND:DEVICE[,mac=MAC][,gateway=IPV6][,peer=MAC][,weight=N]\n"
	       "                      the way to other hosts; KIND is wire (shared memory with other dataplanes of\n"
	       "                      this machine), eth (a network device), vtap, ring or pci; or \"none\". May be\n"
	       "                      given twice: flows are shared by weight. NAME: that of the device\n"
	       "  --port NAME=KIND:DEVICE[,mac=MAC]\n"
	       "                      a port that is there from the start, named NAME in CreateInterface; KIND is\n"
	       "                      vtap, eth, ring, vhost or pci. May be given up to 256 times. vtap:DEVICE,\n"
	       "                      vhost:PATH and ring:DEVICE are also made on demand by CreateInterface\n"
	       "  --grpc ADDRESS      unix:/path or host:port (default [::]:1337; port 0: any)\n"
	       "  --grpc-port N       the same as --grpc [::]:N\n"
	       "  --metrics HOST:PORT serve GET /metrics for Prometheus; HOST is an IP address (default: not served)\n"
	       "  --name NAME         of this host, for logs and the wire (default: that of the machine)\n"
	       "\n"
	       "What VMs are told\n"
	       "  --mtu BYTES         of interfaces, 1280 to 9000 (default 1500); also --dhcp-mtu\n"
	       "  --dhcp-dns IPV4     name server told by DHCP; may be given up to 8 times\n"
	       "  --dhcpv6-dns IPV6   name server told by DHCPv6; may be given up to 8 times\n"
	       "  --udp-virtsvc IPV4,PORT,IPV6,PORT\n"
	       "  --tcp-virtsvc IPV4,PORT,IPV6,PORT\n"
	       "                      a service of the underlay at an address that VMs reach; up to 256 together\n"
	       "\n"
	       "How packets are judged\n"
	       "  --firewall-default ingress=WHAT,egress=WHAT\n"
	       "                      what becomes of packets that no rule matches, where nobody put other defaults;\n"
	       "                      WHAT is accept, drop or rules (drop once there is a rule). Without it an\n"
	       "                      interface with a rule drops ingress, and egress by rules; others accept\n"
	       "  --flow-timeout S    seconds until a flow that was not established ends, 1 to 86400 (default 30)\n"
	       "  --flow-capacity N   entries of the flow table, two a flow, 1024 to 67108864 (default 1048576)\n"
	       "  --flow-limit N      flows of one interface (default half the table)\n"
	       "  --flow-rate N       new flows a second of one interface (default: no limit)\n"
	       "  --seed N            of every choice by hash (default: random)\n"
	       "  --workers N         threads that move packets, 1 to 64 (default 1)\n"
	       "\n"
	       "Restarts and crashes (docs/handover.md)\n"
	       "  --handover PATH     a unix socket (mode 0600) where a successor takes over tables and devices\n"
	       "  --takeover PATH     take over from the dataplane that has this socket; say the same options as it has\n"
	       "  --active-lockfile PATH\n"
	       "                      of two dataplanes with the same options, the one that has this lock forwards;\n"
	       "                      the other waits, with --handover follows it, and takes its place when it dies\n"
	       "\n"
	       "For compatibility with dpservice\n"
	       "  --ipv6 ADDRESS      the same as --underlay\n"
	       "  --nic-type TYPE, --no-stats, --no-offload, --enable-ipv6-overlay, --graphtrace-loglevel N,\n"
	       "  --log-format FORMAT, --color MODE\n"
	       "                      taken, and without effect: statistics and the IPv6 overlay are always there,\n"
	       "                      logs are text, and packets are moved by the processor\n"
	       "\n"
	       "  --version           print the version and exit\n"
	       "  --help              print this and exit\n";
}

static bool name_is_plain(const char *name, size_t length, const char *also)
{
	if (length == 0 || length > 63)
		return false;
	for (size_t i = 0; i < length; ++i) {
		char letter = name[i];

		if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
		      (letter >= '0' && letter <= '9') || strchr(also, letter) != NULL))
			return false;
	}
	return true;
}

static bool take_grpc(struct control_options *options, const char *value)
{
	const char *colon = strrchr(value, ':');
	char *end;

	options->grpc = value;
	if (strncmp(value, "unix:", 5) == 0)
		return value[5] != 0 && strlen(value + 5) < sizeof ((struct sockaddr_un *)0)->sun_path;
	if (colon == NULL || colon == value || colon[1] < '0' || colon[1] > '9' || strlen(value) > 255)
		return false;
	return strtoul(colon + 1, &end, 10) <= 65535 && *end == 0;
}

/* Decimal digits alone, within the bounds. */
static bool take_number(const char *value, size_t length, uint32_t least, uint32_t most, uint32_t *number)
{
	uint64_t sum = 0;

	if (length == 0 || length > 10)
		return false;
	for (size_t i = 0; i < length; ++i) {
		if (value[i] < '0' || value[i] > '9')
			return false;
		sum = sum * 10 + (uint64_t)(value[i] - '0');
	}
	*number = (uint32_t)sum;
	return sum >= least && sum <= most;
}

static bool take_grpc_port(struct control_options *options, const char *value)
{
	uint32_t port;

	if (!take_number(value, strlen(value), 0, 65535, &port))
		return false;
	snprintf(options->grpc_of_port, sizeof options->grpc_of_port, "[::]:%u", port);
	options->grpc = options->grpc_of_port;
	return true;
}

static bool take_metrics(struct control_options *options, const char *value)
{
	const char *colon = strrchr(value, ':');
	uint32_t port;

	options->metrics = value;
	return colon != NULL && strlen(value) < 64 && take_number(colon + 1, strlen(colon + 1), 0, 65535, &port);
}

static bool take_underlay(struct control_options *options, const char *value)
{
	struct ferrite_route_key key = {0};
	ferrite_ipv6 address;

	if (control_ipv6_parse(value, strlen(value), &address)) {
		key = (struct ferrite_route_key){.family = 6, .length = 64};
		memcpy(key.prefix, address.bytes, sizeof address.bytes);
		control_prefix_mask(&key);
	} else if (control_prefix_parse(value, strlen(value), &key) != CONTROL_PREFIX_OK || key.family != 6 ||
		   key.length != 64) {
		return false;
	}
	memcpy(options->underlay.bytes, key.prefix, sizeof options->underlay.bytes);
	options->has_underlay = !control_ipv6_is_zero(&options->underlay);
	return options->has_underlay;
}

static bool take_uplink(struct control_options *options, const char *value)
{
	char error[FERRITE_ERROR_TEXT];
	struct port_spec spec;

	if (options->uplink_count == FERRITE_MAX_UPLINKS || port_spec_uplink(value, strlen(value), &spec, error) != 0)
		return false;
	/* "none" stands alone, and no two have one name. */
	if (options->uplink_count > 0 && (spec.kind == PORT_NONE || options->uplink_names[0][0] == 0 ||
					  strcmp(options->uplink_names[0], spec.name) == 0))
		return false;
	if (spec.kind != PORT_NONE)
		memcpy(options->uplink_names[options->uplink_count], spec.name, CONTROL_DEVICE_NAME);
	options->uplinks[options->uplink_count++] = value;
	options->uplink = options->uplinks[0];
	return true;
}

static bool take_port(struct control_options *options, const char *value)
{
	struct control_option_port *port = &options->ports[options->port_count];
	char error[FERRITE_ERROR_TEXT];
	struct port_spec spec;

	if (options->port_count == OPTIONS_MAX_PORTS || port_spec_parse(value, strlen(value), &spec, error) != 0 ||
	    !name_is_plain(spec.name, strlen(spec.name), "_-.:") || spec.kind == PORT_NONE || spec.kind == PORT_WIRE ||
	    spec.has_gateway || spec.has_peer || spec.weight != 1)
		return false;
	memset(port, 0, sizeof *port);
	strcpy(port->name, spec.name);
	if (snprintf(port->device, sizeof port->device, "%s:%s", port_kind_name(spec.kind), spec.device) >=
	    (int)sizeof port->device)
		return false;
	port->has_mac = spec.has_mac;
	memcpy(port->mac.bytes, spec.mac, sizeof port->mac.bytes);
	options->port_count++;
	return true;
}

static bool take_flow_timeout(struct control_options *options, const char *value)
{
	return take_number(value, strlen(value), 1, 86400, &options->flow_timeout);
}

static bool take_flow_capacity(struct control_options *options, const char *value)
{
	return take_number(value, strlen(value), FLOW_CAPACITY_MIN, FLOW_CAPACITY_MAX, &options->flow_capacity);
}

static bool take_flow_limit(struct control_options *options, const char *value)
{
	return take_number(value, strlen(value), 1, UINT32_MAX, &options->flow_limit);
}

static bool take_flow_rate(struct control_options *options, const char *value)
{
	return take_number(value, strlen(value), 1, UINT32_MAX, &options->flow_rate);
}

static bool take_seed(struct control_options *options, const char *value)
{
	options->has_seed = take_number(value, strlen(value), 0, UINT32_MAX, &options->seed);
	return options->has_seed;
}

static bool take_workers(struct control_options *options, const char *value)
{
	uint32_t workers;

	if (!take_number(value, strlen(value), 1, MAX_WORKERS, &workers))
		return false;
	options->workers = workers;
	return true;
}

/* "IPV4,PORT,IPV6,PORT" */
static bool take_service(struct control_options *options, const char *value, uint8_t protocol)
{
	struct ferrite_virtual_service *service = &options->services[options->service_count];
	const char *parts[4] = {value, NULL, NULL, NULL};
	size_t lengths[4];
	uint32_t ports[2];

	for (unsigned i = 1; i < 4; ++i) {
		const char *comma = strchr(parts[i - 1], ',');

		if (comma == NULL)
			return false;
		lengths[i - 1] = (size_t)(comma - parts[i - 1]);
		parts[i] = comma + 1;
	}
	lengths[3] = strlen(parts[3]);
	if (options->service_count == OPTIONS_MAX_SERVICES ||
	    !control_ipv4_parse(parts[0], lengths[0], &service->ip) ||
	    !take_number(parts[1], lengths[1], 1, 65535, &ports[0]) ||
	    !control_ipv6_parse(parts[2], lengths[2], &service->target) ||
	    !take_number(parts[3], lengths[3], 1, 65535, &ports[1]))
		return false;
	service->protocol = protocol;
	service->port = (uint16_t)ports[0];
	service->target_port = (uint16_t)ports[1];
	options->service_count++;
	return true;
}

static bool take_udp_service(struct control_options *options, const char *value)
{
	return take_service(options, value, 17);
}

static bool take_tcp_service(struct control_options *options, const char *value)
{
	return take_service(options, value, 6);
}

static bool take_default(const char *value, size_t length, const char *direction, enum ferrite_firewall_default *out)
{
	static const char *const names[] = {[FERRITE_ACCEPT] = "accept", [FERRITE_DROP] = "drop", [FERRITE_RULES] = "rules"};
	size_t before = strlen(direction);

	if (length <= before || strncmp(value, direction, before) != 0)
		return false;
	for (int i = 0; i < 3; ++i)
		if (strlen(names[i]) == length - before && strncmp(value + before, names[i], length - before) == 0) {
			*out = (enum ferrite_firewall_default)i;
			return true;
		}
	return false;
}

static bool take_firewall_default(struct control_options *options, const char *value)
{
	const char *comma = strchr(value, ',');
	size_t first = comma != NULL ? (size_t)(comma - value) : 0;

	options->has_firewall_defaults = true;
	if (comma == NULL)
		return false;
	return (take_default(value, first, "ingress=", &options->ingress) &&
		take_default(comma + 1, strlen(comma + 1), "egress=", &options->egress)) ||
	       (take_default(value, first, "egress=", &options->egress) &&
		take_default(comma + 1, strlen(comma + 1), "ingress=", &options->ingress));
}

static bool take_active_lockfile(struct control_options *options, const char *value)
{
	options->active_lockfile = value;
	return value[0] != 0;
}

static bool take_path(const char *value)
{
	return value[0] != 0 && strlen(value) < sizeof ((struct sockaddr_un *)0)->sun_path;
}

static bool take_handover(struct control_options *options, const char *value)
{
	options->handover = value;
	return take_path(value);
}

static bool take_takeover(struct control_options *options, const char *value)
{
	options->takeover = value;
	return take_path(value);
}

static bool take_nothing(struct control_options *options, const char *value)
{
	(void)options;
	(void)value;
	return true;
}

static bool take_mtu(struct control_options *options, const char *value)
{
	char *end;
	unsigned long mtu = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end != 0 || mtu < MTU_MIN || mtu > MTU_MAX)
		return false;
	options->mtu = (uint16_t)mtu;
	return true;
}

static bool take_dns4(struct control_options *options, const char *value)
{
	return options->dns4_count < FERRITE_MAX_DNS &&
	       control_ipv4_parse(value, strlen(value), &options->dns4[options->dns4_count++]);
}

static bool take_dns6(struct control_options *options, const char *value)
{
	return options->dns6_count < FERRITE_MAX_DNS &&
	       control_ipv6_parse(value, strlen(value), &options->dns6[options->dns6_count++]);
}

static bool take_name(struct control_options *options, const char *value)
{
	options->name = value;
	return name_is_plain(value, strlen(value), "_-.");
}

static const struct flag {
	const char *name;
	bool (*take)(struct control_options *options, const char *value);
	const char *wants;
	bool alone; /* without a value */
} flags[] = {
	{"--grpc", take_grpc, "unix:/path (at most 107 bytes) or host:port", false},
	{"--underlay", take_underlay, "an IPv6 prefix of length 64, as fd00:f:1::/64, or an address in it", false},
	{"--uplink", take_uplink,
	 "[NAME=]KIND:DEVICE with KIND wire, eth, vtap, ring or pci, at most twice and with two names, or none", false},
	{"--metrics", take_metrics, "HOST:PORT with an IP address, as [::1]:9064, or :PORT", false},
	{"--grpc-port", take_grpc_port, "a number from 0 to 65535", false},
	{"--ipv6", take_underlay, "an IPv6 address, whose upper 64 bits are this host's", false},
	{"--port", take_port, "NAME=KIND:DEVICE[,mac=MAC] with KIND vtap, eth, ring, vhost or pci, at most 256 times", false},
	{"--mtu", take_mtu, "a number from 1280 to 9000", false},
	{"--dhcp-mtu", take_mtu, "a number from 1280 to 9000", false},
	{"--dhcp-dns", take_dns4, "an IPv4 address, at most 8 times", false},
	{"--dhcpv6-dns", take_dns6, "an IPv6 address, at most 8 times", false},
	{"--name", take_name, "1 to 63 of A-Z a-z 0-9 _ - .", false},
	{"--flow-timeout", take_flow_timeout, "a number from 1 to 86400", false},
	{"--flow-capacity", take_flow_capacity, "a number from 1024 to 67108864", false},
	{"--flow-limit", take_flow_limit, "a number from 1", false},
	{"--flow-rate", take_flow_rate, "a number from 1", false},
	{"--seed", take_seed, "a number of 32 bits", false},
	{"--workers", take_workers, "a number from 1 to 64", false},
	{"--udp-virtsvc", take_udp_service, "IPV4,PORT,IPV6,PORT, at most 256 times", false},
	{"--tcp-virtsvc", take_tcp_service, "IPV4,PORT,IPV6,PORT, at most 256 times", false},
	{"--firewall-default", take_firewall_default, "ingress=WHAT,egress=WHAT with WHAT accept, drop or rules", false},
	{"--active-lockfile", take_active_lockfile, "a path", false},
	{"--handover", take_handover, "a path of at most 107 bytes", false},
	{"--takeover", take_takeover, "a path of at most 107 bytes", false},
	{"--nic-type", take_nothing, "a type", false},
	{"--graphtrace-loglevel", take_nothing, "a number", false},
	{"--log-format", take_nothing, "text or json", false},
	{"--color", take_nothing, "never, always or auto", false},
	{"--no-stats", take_nothing, "no value", true},
	{"--no-offload", take_nothing, "no value", true},
	{"--enable-ipv6-overlay", take_nothing, "no value", true},
};

static const struct flag *flag_of(const char *argument, size_t length)
{
	for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i)
		if (strlen(flags[i].name) == length && strncmp(argument, flags[i].name, length) == 0)
			return &flags[i];
	return NULL;
}

enum control_options_verdict control_options_parse(int count, char *const *arguments,
						   struct control_options *options, char error[OPTIONS_ERROR_TEXT])
{
	*options = (struct control_options){.grpc = "[::]:1337", .name = "", .mtu = 1500, .workers = 1};
	for (int i = 1; i < count; ++i) {
		const char *argument = arguments[i];
		const char *equals = strchr(argument, '=');
		size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
		const struct flag *flag = flag_of(argument, length);
		const char *value = equals != NULL ? equals + 1 : NULL;

		if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
			return OPTIONS_HELP;
		if (strcmp(argument, "--version") == 0)
			return OPTIONS_VERSION;
		if (flag == NULL) {
			snprintf(error, OPTIONS_ERROR_TEXT, "unknown argument %.64s; --help lists what there is", argument);
			return OPTIONS_ERROR;
		}
		if (flag->alone && value == NULL)
			continue;
		if (value == NULL && i + 1 < count)
			value = arguments[++i];
		if (flag->alone || value == NULL || !flag->take(options, value)) {
			snprintf(error, OPTIONS_ERROR_TEXT, "%s wants %s, not \"%.64s\"", flag->name, flag->wants,
				 value != NULL ? value : "");
			return OPTIONS_ERROR;
		}
	}
	if (!options->has_underlay || options->uplink_count == 0) {
		const struct flag *missing = !options->has_underlay ? &flags[1] : &flags[2];

		snprintf(error, OPTIONS_ERROR_TEXT, "%s is missing: it wants %s", missing->name, missing->wants);
		return OPTIONS_ERROR;
	}
	return OPTIONS_RUN;
}

struct ferrite_engine_config control_options_engine(const struct control_options *options, const char *name)
{
	struct ferrite_engine_config config = {
		.name = name,
		.underlay_prefix = options->underlay,
		.uplink = options->uplink,
		.uplink_count = options->uplink_count,
		.mtu = options->mtu,
		.dns4_count = options->dns4_count,
		.dns6_count = options->dns6_count,
		.flow_capacity = options->flow_capacity,
		.flow_timeout_seconds = options->flow_timeout,
		.flow_limit = options->flow_limit,
		.flow_rate = options->flow_rate,
		.has_seed = options->has_seed,
		.seed = options->seed,
		.workers = options->workers,
		.keep_tables = options->handover != NULL,
	};

	memcpy(config.dns4, options->dns4, sizeof config.dns4);
	memcpy(config.dns6, options->dns6, sizeof config.dns6);
	memcpy(config.uplinks, options->uplinks, sizeof config.uplinks);
	return config;
}

int control_options_apply(const struct control_options *options, struct ferrite_engine *engine,
			  struct control *control, char error[OPTIONS_ERROR_TEXT])
{
	struct control_config config = {
		.underlay_prefix = options->underlay,
		.has_firewall_defaults = options->has_firewall_defaults,
		.ingress = options->ingress,
		.egress = options->egress,
	};
	const size_t room = OPTIONS_ERROR_TEXT;

	control_configure(control, &config);
	for (unsigned i = 0; i < options->uplink_count; ++i)
		if (options->uplink_names[i][0] != 0 && !control_uplink_add(control, options->uplink_names[i])) {
			snprintf(error, room, "--uplink: the name %s is taken", options->uplink_names[i]);
			return -EEXIST;
		}
	for (unsigned i = 0; i < options->service_count; ++i) {
		int failed = ferrite_virtual_service_add(engine, &options->services[i]);

		if (failed != 0) {
			snprintf(error, room, "--%s-virtsvc number %u: %s",
				 options->services[i].protocol == 6 ? "tcp" : "udp", i + 1, strerror(-failed));
			return failed;
		}
	}
	for (unsigned i = 0; i < options->port_count; ++i) {
		const struct control_option_port *port = &options->ports[i];
		char why[FERRITE_ERROR_TEXT] = "";
		int failed =
			control_port_add(control, port->name, port->device, port->has_mac ? &port->mac : NULL, why);

		if (failed != 0) {
			snprintf(error, room, "--port %.63s=%.127s: %s", port->name, port->device, why);
			return failed;
		}
	}
	return 0;
}
