#include "check.h"
#include "world.h"
#include "control/options.h"

static struct control_options options;
static char error[OPTIONS_ERROR_TEXT];

#define PARSE(...)                                                                                       \
	control_options_parse((int)(sizeof((char *[]){"ferrite-dataplane", __VA_ARGS__}) / sizeof(char *)), \
			      (char *[]){"ferrite-dataplane", __VA_ARGS__}, &options, error)
#define REQUIRED "--underlay", "fd00:f:1::/64", "--uplink", "none"

static void two_flags_are_enough(void)
{
	CHECK_NUMBER(PARSE(REQUIRED), OPTIONS_RUN);
	CHECK_TEXT(options.grpc, "[::]:1337");
	CHECK_TEXT(options.uplink, "none");
	CHECK_NUMBER(options.mtu, 1500);
	CHECK_NUMBER(options.port_count, 0);
	CHECK_NUMBER(options.underlay.bytes[5], 1);
}

static void every_flag_is_taken(void)
{
	CHECK_NUMBER(PARSE(REQUIRED, "--grpc=unix:/run/x.sock", "--port", "vm0=vtap:ftap0,mac=02:00:00:00:00:01",
			   "--port=up=eth:enp1s0", "--mtu", "9000", "--dhcp-dns", "8.8.8.8", "--dhcp-dns", "9.9.9.9",
			   "--dhcpv6-dns", "fd00::53", "--name", "host-1"),
		     OPTIONS_RUN);
	CHECK_TEXT(options.grpc, "unix:/run/x.sock");
	CHECK_NUMBER(options.port_count, 2);
	CHECK_TEXT(options.ports[0].name, "vm0");
	CHECK_TEXT(options.ports[0].device, "vtap:ftap0");
	CHECK(options.ports[0].has_mac && options.ports[0].mac.bytes[5] == 1);
	CHECK_TEXT(options.ports[1].device, "eth:enp1s0");
	CHECK(!options.ports[1].has_mac);
	CHECK_NUMBER(options.dns4_count, 2);
	CHECK_NUMBER(options.dns6_count, 1);
	CHECK_TEXT(options.name, "host-1");
}

static void every_flag_of_a_standalone_dataplane_is_taken(void)
{
	struct ferrite_engine_config config;

	CHECK_NUMBER(PARSE("--ipv6", "fd00:f:1::5", "--uplink", "pf0=eth:enp1s0,gateway=fe80::1,weight=3",
			   "--uplink=pf1=ring:up", "--grpc-port", "1400", "--dhcp-mtu", "1400",
			   "--flow-timeout", "5", "--flow-capacity", "4096", "--flow-limit", "100", "--flow-rate", "7",
			   "--seed", "9", "--workers", "2", "--udp-virtsvc", "1.2.3.4,53,fd00::53,5353",
			   "--tcp-virtsvc=1.2.3.4,80,fd00::80,8080", "--firewall-default", "ingress=drop,egress=rules",
			   "--active-lockfile", "/run/lock", "--port", "vm0=vhost:/run/vm0.sock"),
		     OPTIONS_RUN);
	CHECK_TEXT(options.grpc, "[::]:1400");
	CHECK(options.underlay.bytes[5] == 1 && options.underlay.bytes[15] == 0);
	CHECK_NUMBER(options.uplink_count, 2);
	CHECK_TEXT(options.uplink_names[0], "pf0");
	CHECK_TEXT(options.uplink_names[1], "pf1");
	CHECK_TEXT(options.ports[0].device, "vhost:/run/vm0.sock");
	CHECK_TEXT(options.active_lockfile, "/run/lock");
	CHECK(options.has_firewall_defaults && options.ingress == FERRITE_DROP && options.egress == FERRITE_RULES);
	CHECK_NUMBER(options.service_count, 2);
	CHECK(options.services[0].protocol == 17 && options.services[0].port == 53 &&
	      options.services[0].target_port == 5353);
	CHECK_NUMBER(options.services[1].protocol, 6);
	config = control_options_engine(&options, "host");
	CHECK_NUMBER(config.mtu, 1400);
	CHECK_NUMBER(config.uplink_count, 2);
	CHECK_TEXT(config.uplinks[1], "pf1=ring:up");
	CHECK(config.flow_timeout_seconds == 5 && config.flow_capacity == 4096 && config.flow_limit == 100 &&
	      config.flow_rate == 7 && config.has_seed && config.seed == 9 && config.workers == 2);
}

static void flags_of_dpservice_are_taken(void)
{
	CHECK_NUMBER(PARSE(REQUIRED, "--no-stats", "--no-offload", "--nic-type", "tap", "--enable-ipv6-overlay",
			   "--graphtrace-loglevel=1", "--log-format", "json", "--color=never", "--mtu", "1400"),
		     OPTIONS_RUN);
	CHECK_NUMBER(options.mtu, 1400);
	CHECK_NUMBER(PARSE(REQUIRED, "--no-stats=1"), OPTIONS_ERROR);
}

static void options_reach_the_control_layer(void)
{
	struct world world = world_open();
	char text[OPTIONS_ERROR_TEXT] = "";

	CHECK_NUMBER(PARSE("--underlay", "fd00:f:1::/64", "--uplink", "pf0=ring:up", "--port", "vm0=ring:vm0",
			   "--udp-virtsvc", "1.2.3.4,53,fd00::53,53"),
		     OPTIONS_RUN);
	CHECK_NUMBER(control_options_apply(&options, world.engine, world.control, text), 0);
	CHECK_NUMBER(world_create(&world, "vm-1", 1, "10.0.0.1", NULL, "pf0"), CONTROL_ALREADY_EXISTS);
	CHECK_NUMBER(world_create(&world, "vm-1", 1, "10.0.0.1", NULL, "vm0"), CONTROL_SUCCESS);
	CHECK(control_options_apply(&options, world.engine, world.control, text) != 0);
	CHECK(strstr(text, "--uplink") != NULL);
	world_close(&world);
}

static void an_error_names_the_flag(void)
{
#define REFUSES(flag, ...)                                     \
	do {                                                   \
		CHECK_NUMBER(PARSE(__VA_ARGS__), OPTIONS_ERROR); \
		CHECK(strstr(error, flag) != NULL);            \
	} while (0)
	REFUSES("--underlay", "--uplink", "none");
	REFUSES("--uplink", "--underlay", "fd00:f:1::/64");
	REFUSES("--underlay", "--underlay", "10.0.0.0/8");
	REFUSES("--underlay", "--underlay", "fd00::/48");
	REFUSES("--uplink", REQUIRED, "--uplink", "wire:");
	REFUSES("--uplink", REQUIRED, "--uplink");
	REFUSES("--uplink", REQUIRED, "--uplink", "eth:enp1s0");
	REFUSES("--uplink", "--underlay", "fd00:f:1::/64", "--uplink", "a=ring:x", "--uplink", "a=ring:y");
	REFUSES("--uplink", "--underlay", "fd00:f:1::/64", "--uplink", "a=ring:x", "--uplink", "b=ring:y", "--uplink",
		"c=ring:z");
	REFUSES("--underlay", "--underlay", "::");
	REFUSES("--ipv6", "--ipv6", "10.0.0.1");
	REFUSES("--grpc-port", REQUIRED, "--grpc-port", "65536");
	REFUSES("--flow-timeout", REQUIRED, "--flow-timeout", "0");
	REFUSES("--flow-capacity", REQUIRED, "--flow-capacity", "1023");
	REFUSES("--seed", REQUIRED, "--seed", "4294967296");
	REFUSES("--seed", REQUIRED, "--seed", "-1");
	REFUSES("--workers", REQUIRED, "--workers", "65");
	REFUSES("--udp-virtsvc", REQUIRED, "--udp-virtsvc", "1.2.3.4,53,fd00::53");
	REFUSES("--udp-virtsvc", REQUIRED, "--udp-virtsvc", "1.2.3.4,0,fd00::53,53");
	REFUSES("--tcp-virtsvc", REQUIRED, "--tcp-virtsvc", "fd00::1,53,fd00::53,53");
	REFUSES("--firewall-default", REQUIRED, "--firewall-default", "ingress=drop");
	REFUSES("--firewall-default", REQUIRED, "--firewall-default", "ingress=drop,egress=deny");
	REFUSES("--port", REQUIRED, "--port", "vm0=ring:a,weight=2");
	REFUSES("--mtu", REQUIRED, "--mtu", "1279");
	REFUSES("--mtu", REQUIRED, "--mtu", "1500x");
	REFUSES("--grpc", REQUIRED, "--grpc", "nowhere");
	REFUSES("--grpc", REQUIRED, "--grpc", "host:65536");
	REFUSES("--port", REQUIRED, "--port", "vm0");
	REFUSES("--port", REQUIRED, "--port", "vm0=usb:1");
	REFUSES("--port", REQUIRED, "--port", "vm 0=vtap:a");
	REFUSES("--port", REQUIRED, "--port", "vm0=vtap:a,mac=1");
	REFUSES("--dhcp-dns", REQUIRED, "--dhcp-dns", "fd00::1");
	REFUSES("--dhcpv6-dns", REQUIRED, "--dhcpv6-dns", "8.8.8.8");
	REFUSES("--name", REQUIRED, "--name", "a b");
	REFUSES("--bogus", REQUIRED, "--bogus");
}

static void help_and_version_need_nothing_else(void)
{
	CHECK_NUMBER(PARSE("--help"), OPTIONS_HELP);
	CHECK_NUMBER(PARSE("--version"), OPTIONS_VERSION);
	CHECK(strstr(control_options_help(), "--underlay") != NULL);
}

int main(void)
{
	RUN(two_flags_are_enough);
	RUN(every_flag_is_taken);
	RUN(every_flag_of_a_standalone_dataplane_is_taken);
	RUN(flags_of_dpservice_are_taken);
	RUN(options_reach_the_control_layer);
	RUN(an_error_names_the_flag);
	RUN(help_and_version_need_nothing_else);
	return CHECK_RESULT();
}
