#include "digest.h"

#include <string.h>

#include "address.h"

enum { DIGEST_TEXT = 512 };

/* The widest form: three names of 63, two addresses, a number and the separators. */
_Static_assert(2 + CONTROL_ID_TEXT + 11 + 2 * CONTROL_ADDRESS_TEXT + CONTROL_DEVICE_NAME + FERRITE_HOSTNAME_TEXT + 8 <
		       DIGEST_TEXT,
	       "the text of an interface fits");

uint64_t control_fnv1a(const char *text, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < length; ++i)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
	return hash;
}

static size_t put_name(char *text, const char *name, size_t bound)
{
	size_t length = strnlen(name, bound);

	memcpy(text, name, length);
	return length;
}

uint64_t control_digest_interface(const struct control_interface_spec *spec)
{
	char text[DIGEST_TEXT];
	size_t at = 0;

	text[at++] = 'i';
	text[at++] = '|';
	at += put_name(text + at, spec->id, sizeof spec->id);
	text[at++] = '|';
	at += control_number_format(spec->vni, text + at);
	text[at++] = '|';
	if (!control_ipv4_is_zero(&spec->ipv4))
		at += control_ipv4_format(spec->ipv4.bytes, text + at);
	text[at++] = '|';
	if (!control_ipv6_is_zero(&spec->ipv6))
		at += control_ipv6_format(spec->ipv6.bytes, text + at);
	text[at++] = '|';
	at += put_name(text + at, spec->device, sizeof spec->device);
	text[at++] = '|';
	at += put_name(text + at, spec->hostname, sizeof spec->hostname);
	return control_fnv1a(text, at);
}

uint64_t control_digest_route(const struct ferrite_route_key *key, const ferrite_ipv6 *next_hop, uint32_t next_hop_vni)
{
	char text[DIGEST_TEXT];
	size_t at = 0;

	text[at++] = 'r';
	text[at++] = '|';
	at += control_number_format(key->vni, text + at);
	text[at++] = '|';
	at += control_prefix_format(key, text + at);
	text[at++] = '|';
	at += control_ipv6_format(next_hop->bytes, text + at);
	text[at++] = '|';
	at += control_number_format(next_hop_vni, text + at);
	return control_fnv1a(text, at);
}
