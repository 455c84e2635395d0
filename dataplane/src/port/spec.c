#include "port/spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[PORT_KINDS] = {
	[PORT_NONE] = "none", [PORT_WIRE] = "wire", [PORT_ETH] = "eth",     [PORT_VTAP] = "vtap",
	[PORT_RING] = "ring", [PORT_PCI] = "pci",   [PORT_VHOST] = "vhost",
};

const char *port_kind_name(enum port_kind kind)
{
	return (unsigned)kind < PORT_KINDS ? kinds[kind] : "none";
}

static int wrong(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(char *error, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	(void)vsnprintf(error, FERRITE_ERROR_TEXT, format, list);
	va_end(list);
	return -EINVAL;
}

/* The kind that the text begins with, and the length of "KIND:"; 0: none. */
static size_t kind_at(const char *text, enum port_kind *kind)
{
	for (unsigned i = PORT_NONE + 1; i < PORT_KINDS; i++) {
		size_t length = strlen(kinds[i]);
		if (strncmp(text, kinds[i], length) == 0 && text[length] == ':') {
			*kind = (enum port_kind)i;
			return length + 1;
		}
	}
	return 0;
}

static bool is_name(const char *text, size_t length)
{
	if (length == 0 || length >= PORT_NAME_TEXT)
		return false;
	for (size_t i = 0; i < length; i++) {
		char letter = text[i];
		if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
		      (letter >= '0' && letter <= '9') || (letter != 0 && strchr("_-.:", letter) != NULL)))
			return false;
	}
	return true;
}

static int digit(char letter)
{
	if (letter >= '0' && letter <= '9')
		return letter - '0';
	if (letter >= 'a' && letter <= 'f')
		return letter - 'a' + 10;
	return letter >= 'A' && letter <= 'F' ? letter - 'A' + 10 : -1;
}

/* Six pairs of digits with colons; a unicast address, and not all zero. */
static bool read_mac(const char *text, uint8_t mac[6])
{
	unsigned any = 0;
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		int high = digit(text[3 * i]), low = digit(text[3 * i + 1]);
		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high * 16 + low);
		any |= mac[i];
	}
	return any != 0 && (mac[0] & 1) == 0;
}

static bool is_host(const uint8_t address[16])
{
	static const uint8_t none[16];
	return address[0] != 0xff && memcmp(address, none, 16) != 0;
}

static bool read_weight(const char *text, uint32_t *weight)
{
	uint32_t value = 0;
	if (*text < '1' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		value = value * 10 + (uint32_t)(*text - '0');
		if (value > PORT_MAX_WEIGHT)
			return false;
	}
	*weight = value;
	return *text == 0;
}

/* One "key=value" of ours. 1: taken, 0: not ours, negative: wrong. */
static int take(struct port_spec *spec, const char *word, char *error)
{
	if (strncmp(word, "mac=", 4) == 0 || strncmp(word, "peer=", 5) == 0) {
		bool mac = word[0] == 'm';
		bool *has = mac ? &spec->has_mac : &spec->has_peer;
		if (*has)
			return wrong(error, "%s: only once", word);
		*has = true;
		return read_mac(strchr(word, '=') + 1, mac ? spec->mac : spec->peer) ? 1 :
			wrong(error, "%s: say a unicast MAC, as 22:22:22:22:22:00", word);
	}
	if (strncmp(word, "gateway=", 8) == 0) {
		if (spec->has_gateway)
			return wrong(error, "%s: only once", word);
		spec->has_gateway = true;
		return inet_pton(AF_INET6, word + 8, spec->gateway) == 1 && is_host(spec->gateway) ? 1 :
			wrong(error, "%s: say the IPv6 address of a host", word);
	}
	if (strncmp(word, "weight=", 7) == 0)
		return read_weight(word + 7, &spec->weight) ? 1 :
			wrong(error, "%s: say a number from 1 to %d", word, PORT_MAX_WEIGHT);
	return 0;
}

static int append(struct port_spec *spec, const char *word, char *error)
{
	size_t have = strlen(spec->device), more = strlen(word), comma = have > 0;
	if (have + comma + more >= sizeof spec->device)
		return wrong(error, "the device name is longer than %zu", sizeof spec->device - 1);
	if (comma)
		spec->device[have] = ',';
	memcpy(spec->device + have + comma, word, more + 1);
	return 0;
}

/* The device, and words after it: options of ours, or a driver's arguments. */
static int read_device(struct port_spec *spec, char *text, char *error)
{
	/* A socket's path and a ring's name may hold anything but an option of ours. */
	bool open = spec->kind == PORT_PCI || spec->kind == PORT_VHOST;
	if (*text == 0 || *text == ',')
		return wrong(error, "%s: names no device", kinds[spec->kind]);
	for (bool first = true; text != NULL; first = false) {
		char *comma = strchr(text, ',');
		if (comma != NULL)
			*comma = 0;
		int taken = first ? 0 : take(spec, text, error);
		if (taken == 0 && !first && !open)
			return wrong(error, "\"%s\" after %s:%s: only mac=, gateway=, peer= and weight= can follow it",
				     text, kinds[spec->kind], spec->device);
		if (taken == 0)
			taken = append(spec, text, error);
		if (taken < 0)
			return taken;
		text = comma != NULL ? comma + 1 : NULL;
	}
	return 0;
}

int port_spec_parse(const char *text, size_t length, struct port_spec *spec, char error[FERRITE_ERROR_TEXT])
{
	char copy[PORT_SPEC_TEXT];
	*spec = (struct port_spec){.weight = 1};
	error[0] = 0;
	if (length >= sizeof copy || memchr(text, 0, length) != NULL)
		return wrong(error, "it is longer than %d characters, or holds a zero", PORT_SPEC_TEXT - 1);
	memcpy(copy, text, length);
	copy[length] = 0;
	char *at = copy, *equals = strchr(copy, '=');
	if (strcmp(copy, "none") == 0)
		return 0;
	size_t skip = kind_at(at, &spec->kind);
	if (skip == 0 && equals != NULL) {
		*equals = 0;
		if (!is_name(copy, (size_t)(equals - copy)))
			return wrong(error, "\"%.64s\" is no name: 1 to 63 of A-Z a-z 0-9 _ - . :", copy);
		memcpy(spec->name, copy, (size_t)(equals - copy) + 1);
		at = equals + 1;
		skip = kind_at(at, &spec->kind);
	}
	if (skip == 0)
		return wrong(error, "\"%.64s\": say KIND:DEVICE with KIND wire, eth, vtap, ring, pci or vhost", at);
	return read_device(spec, at + skip, error);
}

int port_spec_uplink(const char *text, size_t length, struct port_spec *spec, char error[FERRITE_ERROR_TEXT])
{
	int status = port_spec_parse(text, length, spec, error);
	if (status < 0 || spec->kind == PORT_NONE)
		return status;
	const char *kind = kinds[spec->kind];
	bool links = spec->kind == PORT_ETH || spec->kind == PORT_VTAP || spec->kind == PORT_PCI;
	if (spec->kind == PORT_VHOST)
		return wrong(error, "vhost is for VMs: an uplink is wire, eth, vtap, ring or pci");
	if (!links && (spec->has_mac || spec->has_peer || spec->has_gateway))
		return wrong(error, "%s has no link addresses: mac=, gateway= and peer= are for eth, vtap and pci", kind);
	if (spec->kind == PORT_ETH && spec->has_mac)
		return wrong(error, "eth: the MAC of a network device is its own; mac= is for vtap and pci");
	if (spec->name[0] == 0) {
		const char *slash = strrchr(spec->device, '/');
		const char *plain = slash != NULL && slash[1] != 0 ? slash + 1 : spec->device;
		size_t until = strcspn(plain, ",");
		(void)snprintf(spec->name, sizeof spec->name, "%.*s", (int)until, plain);
	}
	return 0;
}
