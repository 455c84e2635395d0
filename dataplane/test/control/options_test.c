#include "check.h"
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
	RUN(an_error_names_the_flag);
	RUN(help_and_version_need_nothing_else);
	return CHECK_RESULT();
}
