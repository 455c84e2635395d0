#include <arpa/inet.h>
#include <stdlib.h>

#include "check.h"
#include "control/address.h"

static const char *canonical(const char *text)
{
	static char out[CONTROL_ADDRESS_TEXT];
	ferrite_ipv6 address;

	CHECK(control_ipv6_parse(text, strlen(text), &address));
	control_ipv6_format(address.bytes, out);
	return out;
}

static void ipv6_is_written_as_rfc_5952_says(void)
{
	CHECK_TEXT(canonical("::"), "::");
	CHECK_TEXT(canonical("::1"), "::1");
	CHECK_TEXT(canonical("1::"), "1::");
	CHECK_TEXT(canonical("FC00:0001:0:0:8000:0:0:1"), "fc00:1::8000:0:0:1");
	CHECK_TEXT(canonical("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
	CHECK_TEXT(canonical("1:0:2:3:4:5:6:7"), "1:0:2:3:4:5:6:7");
	CHECK_TEXT(canonical("::ffff:10.0.0.1"), "::ffff:10.0.0.1");
	CHECK_TEXT(canonical("::1:0"), "::1:0");
	CHECK_TEXT(canonical("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void ipv6_is_written_as_the_c_library_does(void)
{
	srand(1);
	for (int i = 0; i < 100000; ++i) {
		char mine[CONTROL_ADDRESS_TEXT], theirs[INET6_ADDRSTRLEN];
		ferrite_ipv6 address;

		for (int b = 0; b < 16; ++b)
			address.bytes[b] = (uint8_t)(rand() % 3 == 0 ? rand() : 0);
		address.bytes[0] = 0x20; /* the deprecated "::a.b.c.d" is where they differ */
		CHECK_NUMBER(control_ipv6_format(address.bytes, mine), strlen(mine));
		inet_ntop(AF_INET6, address.bytes, theirs, sizeof theirs);
		CHECK_TEXT(mine, theirs);
	}
}

static void text_that_is_no_address_is_refused(void)
{
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;
	ferrite_mac mac;

	CHECK(!control_ipv4_parse("", 0, &ipv4));
	CHECK(!control_ipv4_parse("10.0.0.1\0x", 10, &ipv4));
	CHECK(!control_ipv4_parse("10.0.0", 6, &ipv4));
	CHECK(!control_ipv4_parse("10.0.0.256", 10, &ipv4));
	CHECK(!control_ipv4_parse("::1", 3, &ipv4));
	CHECK(!control_ipv6_parse("", 0, &ipv6));
	CHECK(!control_ipv6_parse("10.0.0.1", 8, &ipv6));
	CHECK(!control_ipv6_parse("fe80::1%eth0", 12, &ipv6));
	CHECK(!control_ipv6_parse("0000000000000000000000000000000000000000000000000000000000000", 60, &ipv6));
	CHECK(control_mac_parse("02:aB:00:00:00:ff", 17, &mac) && mac.bytes[1] == 0xab && mac.bytes[5] == 0xff);
	CHECK(!control_mac_parse("02:ab:00:00:00:f", 16, &mac));
	CHECK(!control_mac_parse("02-ab-00-00-00-ff", 17, &mac));
}

static enum control_prefix_error parse(const char *text, char *canonical_text)
{
	struct ferrite_route_key key = {0};
	enum control_prefix_error error = control_prefix_parse(text, strlen(text), &key);

	if (error == CONTROL_PREFIX_OK)
		control_prefix_format(&key, canonical_text);
	return error;
}

static void host_bits_of_a_prefix_are_cleared(void)
{
	char text[CONTROL_PREFIX_TEXT];

	CHECK_NUMBER(parse("10.1.2.3/0", text), CONTROL_PREFIX_OK);
	CHECK_TEXT(text, "0.0.0.0/0");
	CHECK_NUMBER(parse("10.255.2.3/13", text), CONTROL_PREFIX_OK);
	CHECK_TEXT(text, "10.248.0.0/13");
	CHECK_NUMBER(parse("10.1.2.3/32", text), CONTROL_PREFIX_OK);
	CHECK_TEXT(text, "10.1.2.3/32");
	CHECK_NUMBER(parse("fd00:ffff::1/20", text), CONTROL_PREFIX_OK);
	CHECK_TEXT(text, "fd00:f000::/20");
	CHECK_NUMBER(parse("::1/128", text), CONTROL_PREFIX_OK);
	CHECK_TEXT(text, "::1/128");
}

static void a_malformed_prefix_says_which_part(void)
{
	char text[CONTROL_PREFIX_TEXT];

	CHECK_NUMBER(parse("", text), CONTROL_PREFIX_BAD_IP);
	CHECK_NUMBER(parse("/24", text), CONTROL_PREFIX_BAD_IP);
	CHECK_NUMBER(parse("10.0.0/24", text), CONTROL_PREFIX_BAD_IP);
	CHECK_NUMBER(parse("10.0.0.0", text), CONTROL_PREFIX_BAD_LENGTH);
	CHECK_NUMBER(parse("10.0.0.0/", text), CONTROL_PREFIX_BAD_LENGTH);
	CHECK_NUMBER(parse("10.0.0.0/ 8", text), CONTROL_PREFIX_BAD_LENGTH);
	CHECK_NUMBER(parse("10.0.0.0/-1", text), CONTROL_PREFIX_BAD_LENGTH);
	CHECK_NUMBER(parse("10.0.0.0/256", text), CONTROL_PREFIX_BAD_LENGTH);
	CHECK_NUMBER(parse("10.0.0.0/99999999999999999999", text), CONTROL_PREFIX_BAD_LENGTH);
}

static void any_bytes_parse_or_not_and_nothing_else(void)
{
	static const char alphabet[] = "0123456789abcdef:./\0 %-";

	srand(2);
	for (int i = 0; i < 200000; ++i) {
		size_t length = (size_t)rand() % 64;
		char *text = malloc(length + 1); /* exact, so that the sanitizer sees a byte too far */
		struct ferrite_route_key key;
		ferrite_ipv6 ipv6;

		for (size_t at = 0; at < length; ++at)
			text[at] = alphabet[(size_t)rand() % sizeof alphabet];
		control_prefix_parse(text, length, &key);
		control_ipv6_parse(text, length, &ipv6);
		free(text);
	}
}

int main(void)
{
	RUN(ipv6_is_written_as_rfc_5952_says);
	RUN(ipv6_is_written_as_the_c_library_does);
	RUN(text_that_is_no_address_is_refused);
	RUN(host_bits_of_a_prefix_are_cleared);
	RUN(a_malformed_prefix_says_which_part);
	RUN(any_bytes_parse_or_not_and_nothing_else);
	return CHECK_RESULT();
}
