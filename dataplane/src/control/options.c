#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "address.h"

enum { MTU_MIN = 1280, MTU_MAX = 9000 };

const char *control_options_help(void)
{
	return "Usage: ferrite-dataplane --underlay PREFIX --uplink UPLINK [options]\n"
	       "\n"
	       "Forwards packets between the interfaces of VMs and the underlay, and is programmed by gRPC\n"
	       "(dpdkironcore.v1, ferrite.dataplane.v1, grpc.health.v1; without TLS).\n"
	       "\n"
	       "  --underlay PREFIX   IPv6 /64 of this host; underlay addresses of interfaces are made below it\n"
	       "  --uplink UPLINK     wire:DIRECTORY (shared memory with other dataplanes of this machine),\n"
	       "                      eth:DEVICE[,gateway=IPV6] (a network device), ring:NAME, or none\n"
	       "  --grpc ADDRESS      unix:/path or host:port (default [::]:1337; port 0: any)\n"
	       "  --port NAME=KIND:DEVICE[,mac=MAC]\n"
	       "                      a port that is there from the start, named NAME in CreateInterface; KIND is\n"
	       "                      vtap, eth or ring. May be given up to 256 times. vtap:DEVICE and ring:DEVICE\n"
	       "                      are also made on demand by CreateInterface\n"
	       "  --mtu BYTES         of interfaces, 1280 to 9000 (default 1500)\n"
	       "  --dhcp-dns IPV4     name server told by DHCP; may be given up to 8 times\n"
	       "  --dhcpv6-dns IPV6   name server told by DHCPv6; may be given up to 8 times\n"
	       "  --name NAME         of this host, for logs and the wire (default: that of the machine)\n"
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

static bool take_underlay(struct control_options *options, const char *value)
{
	struct ferrite_route_key key = {0};

	if (control_prefix_parse(value, strlen(value), &key) != CONTROL_PREFIX_OK || key.family != 6 ||
	    key.length != 64)
		return false;
	memcpy(options->underlay.bytes, key.prefix, sizeof options->underlay.bytes);
	options->has_underlay = !control_ipv6_is_zero(&options->underlay);
	return options->has_underlay;
}

static bool take_uplink(struct control_options *options, const char *value)
{
	static const char *const kinds[] = {"wire:", "eth:", "ring:"};

	options->uplink = value;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
		if (strncmp(value, kinds[i], strlen(kinds[i])) == 0)
			return value[strlen(kinds[i])] != 0;
	return strcmp(value, "none") == 0;
}

static bool take_port(struct control_options *options, const char *value)
{
	struct control_option_port *port = &options->ports[options->port_count];
	const char *equals = strchr(value, '=');
	const char *device = equals != NULL ? equals + 1 : value;
	const char *comma = strstr(device, ",mac=");
	size_t length = comma != NULL ? (size_t)(comma - device) : strlen(device);

	if (options->port_count == OPTIONS_MAX_PORTS || equals == NULL ||
	    !name_is_plain(value, (size_t)(equals - value), "_-.:") || length >= sizeof port->device ||
	    (strncmp(device, "vtap:", 5) != 0 && strncmp(device, "eth:", 4) != 0 && strncmp(device, "ring:", 5) != 0))
		return false;
	memset(port, 0, sizeof *port);
	memcpy(port->name, value, (size_t)(equals - value));
	memcpy(port->device, device, length);
	port->has_mac = comma != NULL;
	options->port_count++;
	return comma == NULL || control_mac_parse(comma + 5, strlen(comma + 5), &port->mac);
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
} flags[] = {
	{"--grpc", take_grpc, "unix:/path (at most 107 bytes) or host:port"},
	{"--underlay", take_underlay, "an IPv6 prefix of length 64, as fd00:f:1::/64"},
	{"--uplink", take_uplink, "wire:DIRECTORY, eth:DEVICE[,gateway=IPV6], ring:NAME or none"},
	{"--port", take_port, "NAME=KIND:DEVICE[,mac=MAC] with KIND vtap, eth or ring, at most 256 times"},
	{"--mtu", take_mtu, "a number from 1280 to 9000"},
	{"--dhcp-dns", take_dns4, "an IPv4 address, at most 8 times"},
	{"--dhcpv6-dns", take_dns6, "an IPv6 address, at most 8 times"},
	{"--name", take_name, "1 to 63 of A-Z a-z 0-9 _ - ."},
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
	*options = (struct control_options){.grpc = "[::]:1337", .name = "", .mtu = 1500};
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
		if (value == NULL && i + 1 < count)
			value = arguments[++i];
		if (value == NULL || !flag->take(options, value)) {
			snprintf(error, OPTIONS_ERROR_TEXT, "%s wants %s, not \"%.64s\"", flag->name, flag->wants,
				 value != NULL ? value : "");
			return OPTIONS_ERROR;
		}
	}
	if (!options->has_underlay || options->uplink == NULL) {
		const struct flag *missing = !options->has_underlay ? &flags[1] : &flags[2];

		snprintf(error, OPTIONS_ERROR_TEXT, "%s is missing: it wants %s", missing->name, missing->wants);
		return OPTIONS_ERROR;
	}
	return OPTIONS_RUN;
}
