/* Whatever a text says about an uplink: it is refused with a line, or every field is within its bounds. */
#include <stdlib.h>
#include <string.h>

#include "port/spec.h"
#include "target.h"

static void judge(const char *text, size_t size, int read(const char *, size_t, struct port_spec *, char *))
{
	struct port_spec spec;
	char error[FERRITE_ERROR_TEXT];
	memset(error, 0x55, sizeof error);
	if (read(text, size, &spec, error) < 0) {
		if (error[0] == 0 || memchr(error, 0, sizeof error) == NULL)
			abort();
		return;
	}
	if ((unsigned)spec.kind >= PORT_KINDS || memchr(spec.name, 0, sizeof spec.name) == NULL ||
	    memchr(spec.device, 0, sizeof spec.device) == NULL || spec.weight < 1 || spec.weight > PORT_MAX_WEIGHT ||
	    (spec.kind != PORT_NONE && spec.device[0] == 0) || (spec.has_mac && (spec.mac[0] & 1) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);
	memcpy(copy, data, size);
	judge(copy, size, port_spec_parse);
	judge(copy, size, port_spec_uplink);
	free(copy);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	static const char *const seeds[] = {
		"eth:veth0,gateway=fe80::1", "net_tap0=vtap:dtap0,mac=22:22:22:22:22:00,peer=66:66:66:66:66:00,weight=10",
		"wire:/run/ferrite/wire", "none", "a=pci:0000:03:00.0,representor=pf0vf[0-3],weight=65535",
		"vhost:/run/vm.sock,mac=02:00:00:00:00:01", "ring:a",
	};
	if (n >= sizeof seeds / sizeof *seeds)
		return 0;
	memcpy(data, seeds[n], strlen(seeds[n]));
	return strlen(seeds[n]);
}
