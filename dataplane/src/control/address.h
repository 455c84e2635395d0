/* Addresses as text: parsed strictly, written canonically (RFC 5952).
 *
 * Every function takes a pointer and a length, for text that comes off the wire may hold anything, a NUL too.
 */
#ifndef FERRITE_CONTROL_ADDRESS_H
#define FERRITE_CONTROL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	CONTROL_ADDRESS_TEXT = 48, /* the longest IPv6 text and its NUL */
	CONTROL_PREFIX_TEXT = 56,  /* with "/128" */
	CONTROL_MAC_TEXT = 18,
};

bool control_ipv4_parse(const char *text, size_t length, ferrite_ipv4 *address);
bool control_ipv6_parse(const char *text, size_t length, ferrite_ipv6 *address);
bool control_mac_parse(const char *text, size_t length, ferrite_mac *mac);
bool control_ipv4_is_zero(const ferrite_ipv4 *address);
bool control_ipv6_is_zero(const ferrite_ipv6 *address);

/* Each writes a NUL-terminated text, of at most the size named after it, and answers its length. */
size_t control_ipv4_format(const uint8_t bytes[4], char *text);
size_t control_ipv6_format(const uint8_t bytes[16], char *text);
size_t control_prefix_format(const struct ferrite_route_key *key, char *text);
size_t control_mac_format(const ferrite_mac *mac, char *text);
/* Decimal; the buffer holds 11 bytes. */
size_t control_number_format(uint32_t number, char *text);

enum control_prefix_error { CONTROL_PREFIX_OK, CONTROL_PREFIX_BAD_IP, CONTROL_PREFIX_BAD_LENGTH };

/* "ADDRESS/LENGTH" to family, length and prefix of the key; host bits are cleared. A length above 255 or not
 * decimal is BAD_LENGTH; one that is above the width of the family is for the caller to judge. */
enum control_prefix_error control_prefix_parse(const char *text, size_t length, struct ferrite_route_key *key);

/* Clears the bits behind `length` and the bytes behind the family's width. */
void control_prefix_mask(struct ferrite_route_key *key);

/* 32 or 128. */
unsigned control_family_width(uint8_t family);

#ifdef __cplusplus
}
#endif
#endif
