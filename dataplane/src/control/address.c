#include "address.h"

#include <arpa/inet.h>
#include <string.h>

/* inet_pton wants a C string: refuse what has a NUL within or cannot be an address by its length. */
static bool as_c_string(const char *text, size_t length, char copy[CONTROL_ADDRESS_TEXT])
{
	if (length == 0 || length >= CONTROL_ADDRESS_TEXT || memchr(text, 0, length) != NULL)
		return false;
	memcpy(copy, text, length);
	copy[length] = 0;
	return true;
}

bool control_ipv4_parse(const char *text, size_t length, ferrite_ipv4 *address)
{
	char copy[CONTROL_ADDRESS_TEXT];

	return as_c_string(text, length, copy) && inet_pton(AF_INET, copy, address->bytes) == 1;
}

bool control_ipv6_parse(const char *text, size_t length, ferrite_ipv6 *address)
{
	char copy[CONTROL_ADDRESS_TEXT];

	return as_c_string(text, length, copy) && inet_pton(AF_INET6, copy, address->bytes) == 1;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

bool control_mac_parse(const char *text, size_t length, ferrite_mac *mac)
{
	if (length != CONTROL_MAC_TEXT - 1)
		return false;
	for (size_t i = 0; i < 6; ++i) {
		int high = hex_digit(text[3 * i]);
		int low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		mac->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool control_ipv4_is_zero(const ferrite_ipv4 *address)
{
	static const ferrite_ipv4 zero;

	return memcmp(address, &zero, sizeof zero) == 0;
}

bool control_ipv6_is_zero(const ferrite_ipv6 *address)
{
	static const ferrite_ipv6 zero;

	return memcmp(address, &zero, sizeof zero) == 0;
}

size_t control_number_format(uint32_t number, char *text)
{
	char digits[10];
	size_t count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	for (size_t i = 0; i < count; ++i)
		text[i] = digits[count - 1 - i];
	text[count] = 0;
	return count;
}

size_t control_ipv4_format(const uint8_t bytes[4], char *text)
{
	size_t at = 0;

	for (size_t i = 0; i < 4; ++i) {
		if (i > 0)
			text[at++] = '.';
		at += control_number_format(bytes[i], text + at);
	}
	return at;
}

static size_t hex_format(uint16_t group, char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (int shift = 12; shift >= 0; shift -= 4)
		if (group >> shift != 0 || shift == 0)
			text[at++] = digits[group >> shift & 15];
	return at;
}

size_t control_ipv6_format(const uint8_t bytes[16], char *text)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	size_t at = 0, best = 8, best_length = 1;
	uint16_t groups[8];

	if (memcmp(bytes, mapped, sizeof mapped) == 0) {
		memcpy(text, "::ffff:", 7);
		return 7 + control_ipv4_format(bytes + 12, text + 7);
	}
	for (size_t i = 0; i < 8; ++i)
		groups[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
	/* The longest run of at least two zero groups, the first of equals. */
	for (size_t i = 0, run = 0; i < 8; ++i) {
		run = groups[i] == 0 ? run + 1 : 0;
		if (run > best_length) {
			best_length = run;
			best = i + 1 - run;
		}
	}
	for (size_t i = 0; i < 8; ++i) {
		if (i == best) {
			text[at++] = ':';
			text[at++] = ':';
			i += best_length - 1;
			continue;
		}
		if (i > 0 && i != best + best_length)
			text[at++] = ':';
		at += hex_format(groups[i], text + at);
	}
	text[at] = 0;
	return at;
}

size_t control_prefix_format(const struct ferrite_route_key *key, char *text)
{
	size_t at = key->family == 4 ? control_ipv4_format(key->prefix, text)
				     : control_ipv6_format(key->prefix, text);

	text[at++] = '/';
	return at + control_number_format(key->length, text + at);
}

size_t control_mac_format(const ferrite_mac *mac, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 6; ++i) {
		text[3 * i] = digits[mac->bytes[i] >> 4];
		text[3 * i + 1] = digits[mac->bytes[i] & 15];
		text[3 * i + 2] = i < 5 ? ':' : 0;
	}
	return CONTROL_MAC_TEXT - 1;
}

unsigned control_family_width(uint8_t family)
{
	return family == 4 ? 32 : 128;
}

void control_prefix_mask(struct ferrite_route_key *key)
{
	unsigned width = control_family_width(key->family);
	unsigned length = key->length < width ? key->length : width;

	for (unsigned i = 0; i < sizeof key->prefix; ++i) {
		unsigned kept = length > 8 * i ? length - 8 * i : 0;

		if (kept < 8)
			key->prefix[i] &= (uint8_t)(0xff00 >> kept);
	}
}

enum control_prefix_error control_prefix_parse(const char *text, size_t length, struct ferrite_route_key *key)
{
	const char *slash = length > 0 ? memchr(text, '/', length) : NULL;
	size_t address_length = slash != NULL ? (size_t)(slash - text) : length;
	unsigned number = 0;
	ferrite_ipv4 ipv4;
	ferrite_ipv6 ipv6;

	memset(key->prefix, 0, sizeof key->prefix);
	if (control_ipv4_parse(text, address_length, &ipv4)) {
		key->family = 4;
		memcpy(key->prefix, ipv4.bytes, sizeof ipv4.bytes);
	} else if (control_ipv6_parse(text, address_length, &ipv6)) {
		key->family = 6;
		memcpy(key->prefix, ipv6.bytes, sizeof ipv6.bytes);
	} else {
		return CONTROL_PREFIX_BAD_IP;
	}
	if (slash == NULL || slash + 1 == text + length)
		return CONTROL_PREFIX_BAD_LENGTH;
	for (const char *digit = slash + 1; digit < text + length; ++digit) {
		if (*digit < '0' || *digit > '9')
			return CONTROL_PREFIX_BAD_LENGTH;
		number = number * 10 + (unsigned)(*digit - '0');
		if (number > 255)
			return CONTROL_PREFIX_BAD_LENGTH;
	}
	key->length = (uint8_t)number;
	control_prefix_mask(key);
	return CONTROL_PREFIX_OK;
}
