/* What a text says about an uplink or a port. */
#include <errno.h>

#include "control/check.h"
#include "port/spec.h"

static struct port_spec spec;
static char error[FERRITE_ERROR_TEXT];

static int parse(const char *text)
{
	return port_spec_parse(text, strlen(text), &spec, error);
}

static int uplink(const char *text)
{
	return port_spec_uplink(text, strlen(text), &spec, error);
}

static void a_device_needs_no_more_than_its_kind(void)
{
	CHECK_NUMBER(parse("eth:veth0"), 0);
	CHECK_NUMBER(spec.kind, PORT_ETH);
	CHECK_TEXT(spec.device, "veth0");
	CHECK_TEXT(spec.name, "");
	CHECK_NUMBER(spec.weight, 1);
	CHECK(!spec.has_mac && !spec.has_gateway && !spec.has_peer);
	CHECK_NUMBER(parse("none"), 0);
	CHECK_NUMBER(spec.kind, PORT_NONE);
}

static void a_name_and_every_option_are_read(void)
{
	CHECK_NUMBER(uplink("net_tap0=vtap:dtap0,mac=22:22:22:22:22:00,gateway=fe80::9,peer=66:66:66:66:66:0A,weight=70"), 0);
	CHECK_NUMBER(spec.kind, PORT_VTAP);
	CHECK_TEXT(spec.name, "net_tap0");
	CHECK_TEXT(spec.device, "dtap0");
	CHECK(spec.has_mac && memcmp(spec.mac, (const uint8_t[]){0x22, 0x22, 0x22, 0x22, 0x22, 0}, 6) == 0);
	CHECK(spec.has_peer && memcmp(spec.peer, (const uint8_t[]){0x66, 0x66, 0x66, 0x66, 0x66, 10}, 6) == 0);
	CHECK(spec.has_gateway && spec.gateway[0] == 0xfe && spec.gateway[15] == 9);
	CHECK_NUMBER(spec.weight, 70);
}

static void names_of_devices_keep_their_colons_and_arguments(void)
{
	CHECK_NUMBER(uplink("pci:0000:03:00.0_representor_c0pf0vf0"), 0);
	CHECK_TEXT(spec.device, "0000:03:00.0_representor_c0pf0vf0");
	CHECK_TEXT(spec.name, "0000:03:00.0_representor_c0pf0vf0");
	CHECK_NUMBER(uplink("0000:03:00.0=pci:0000:03:00.0,representor=pf0vf[0-3],weight=2,dv_flow_en=1"), 0);
	CHECK_TEXT(spec.name, "0000:03:00.0");
	CHECK_TEXT(spec.device, "0000:03:00.0,representor=pf0vf[0-3],dv_flow_en=1");
	CHECK_NUMBER(spec.weight, 2);
	CHECK_NUMBER(uplink("pci:net_af_packet0,iface=veth1"), 0);
	CHECK_TEXT(spec.device, "net_af_packet0,iface=veth1");
	CHECK_TEXT(spec.name, "net_af_packet0");
	CHECK_NUMBER(uplink("wire:/run/a=b/wire"), 0);
	CHECK_TEXT(spec.device, "/run/a=b/wire");
	CHECK_TEXT(spec.name, "wire");
	CHECK_NUMBER(parse("vm1=vhost:/run/vm1.sock,mac=02:00:00:00:00:01,server"), 0);
	CHECK_TEXT(spec.device, "/run/vm1.sock,server");
	CHECK(spec.has_mac);
}

static void an_uplink_has_only_options_of_its_kind(void)
{
	CHECK_NUMBER(uplink("wire:/run/wire,weight=3"), 0);
	CHECK_NUMBER(uplink("wire:/run/wire,peer=02:00:00:00:00:01"), -EINVAL);
	CHECK_NUMBER(uplink("ring:a,mac=02:00:00:00:00:01"), -EINVAL);
	CHECK_NUMBER(uplink("eth:veth0,mac=02:00:00:00:00:01"), -EINVAL);
	CHECK_NUMBER(uplink("eth:veth0,peer=02:00:00:00:00:01"), 0);
	CHECK_NUMBER(uplink("vhost:/run/x"), -EINVAL);
	CHECK(strstr(error, "vhost is for VMs") != NULL);
}

static void what_is_wrong_is_said(void)
{
	static const char *const bad[] = {
		"", "eth", "eth:", "eth:,weight=1", "=eth:a", "a b=eth:x", "up=foo:bar", "up=", "eth:a,weight=0",
		"eth:a,weight=65536", "eth:a,weight=1x", "eth:a,weight=", "eth:a,gateway=10.0.0.1", "eth:a,gateway=ff02::1",
		"eth:a,gateway=::", "vtap:a,mac=1:2:3:4:5:6", "vtap:a,mac=01:00:00:00:00:00", "vtap:a,mac=00:00:00:00:00:00",
		"vtap:a,mac=02:00:00:00:00:01,mac=02:00:00:00:00:01", "eth:a,color=red", "eth:a,",
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (uplink(bad[i]) != -EINVAL)
			CHECK_TEXT(bad[i], "refused");
		CHECK(error[0] != 0);
	}
	char longest[PORT_SPEC_TEXT + 8] = "eth:";
	memset(longest + 4, 'a', sizeof longest - 5);
	CHECK_NUMBER(parse(longest), -EINVAL);
	longest[4 + FERRITE_DEVICE_TEXT] = 0;
	CHECK_NUMBER(parse(longest), -EINVAL);
	longest[4 + FERRITE_DEVICE_TEXT - 1] = 0;
	CHECK_NUMBER(parse(longest), 0);
	CHECK_NUMBER(port_spec_parse("eth:a\0b", 7, &spec, error), -EINVAL);
}

int main(void)
{
	RUN(a_device_needs_no_more_than_its_kind);
	RUN(a_name_and_every_option_are_read);
	RUN(names_of_devices_keep_their_colons_and_arguments);
	RUN(an_uplink_has_only_options_of_its_kind);
	RUN(what_is_wrong_is_said);
	return CHECK_RESULT();
}
