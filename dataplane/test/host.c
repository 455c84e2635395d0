/* An engine without its control layer, for end-to-end checks by hand and by script.
 *
 *   engine-host PREFIX "UPLINK [UPLINK]" MTU interface DEVICE VNI IPV4 IPV6 [UNDERLAY] ... route VNI PREFIX/LEN NEXTHOP ...
 *
 * Prints each interface's underlay address, runs until SIGTERM or SIGINT, and prints counters (also on SIGUSR1).
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ferrite/engine.h"

static void show(void *context, const char *name, uint64_t value)
{
	if (value != 0)
		printf("%s %llu\n", name, (unsigned long long)value);
}

static int fail(const char *what, int status, const char *error)
{
	(void)fprintf(stderr, "%s: %s %s\n", what, strerror(-status), error);
	return 1;
}

int main(int count, char **arguments)
{
	char error[FERRITE_ERROR_TEXT] = "";
	struct ferrite_engine_config config = {.name = "host", .start_worker = true};
	struct ferrite_engine *engine;
	if (count < 4)
		return fail("usage", -22, "");
	(void)inet_pton(AF_INET6, arguments[1], config.underlay_prefix.bytes);
	/* "ONE" or "ONE TWO". */
	for (char *save, *word = strtok_r(arguments[2], " ", &save); word != NULL && config.uplink_count < 2;
	     word = strtok_r(NULL, " ", &save))
		config.uplinks[config.uplink_count++] = word;
	config.mtu = (uint16_t)atoi(arguments[3]);
	(void)inet_pton(AF_INET, "192.0.2.53", config.dns4[0].bytes);
	(void)inet_pton(AF_INET6, "2001:db8:53::1", config.dns6[0].bytes);
	config.dns4_count = config.dns6_count = 1;
	sigset_t signals;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	int status = ferrite_engine_start(&config, &engine, error);
	if (status < 0)
		return fail("start", status, error);
	for (int i = 4; i < count;) {
		if (strcmp(arguments[i], "interface") == 0 && i + 4 < count) {
			struct ferrite_interface_config interface = {.vni = (uint32_t)atoi(arguments[i + 2])};
			uint32_t index;
			ferrite_ipv6 underlay;
			(void)snprintf(interface.hostname, sizeof interface.hostname, "vm-%d", i);
			(void)inet_pton(AF_INET, arguments[i + 3], interface.ipv4.bytes);
			(void)inet_pton(AF_INET6, arguments[i + 4], interface.ipv6.bytes);
			status = ferrite_port_open(engine, arguments[i + 1], NULL, &interface.port, error);
			if (status < 0)
				return fail("port", status, error);
			if (i + 5 < count && strchr(arguments[i + 5], ':') != NULL)
				(void)inet_pton(AF_INET6, arguments[i++ + 5], interface.preferred_underlay.bytes);
			status = ferrite_interface_add(engine, &interface, &index, &underlay);
			if (status < 0)
				return fail("interface", status, error);
			char text[64];
			printf("%s\n", inet_ntop(AF_INET6, underlay.bytes, text, sizeof text));
			i += 5;
		} else if (strcmp(arguments[i], "route") == 0 && i + 3 < count) {
			struct ferrite_route route = {.key = {.vni = (uint32_t)atoi(arguments[i + 1])}};
			char *slash = strchr(arguments[i + 2], '/');
			*slash = 0;
			route.key.length = (uint8_t)atoi(slash + 1);
			route.key.family = strchr(arguments[i + 2], ':') != NULL ? 6 : 4;
			(void)inet_pton(route.key.family == 4 ? AF_INET : AF_INET6, arguments[i + 2], route.key.prefix);
			(void)inet_pton(AF_INET6, arguments[i + 3], route.next_hop.bytes);
			status = ferrite_route_put(engine, &route, false);
			if (status < 0)
				return fail("route", status, error);
			i += 4;
		} else {
			return fail(arguments[i], -22, "unknown word");
		}
	}
	(void)fflush(stdout);
	int signal = SIGUSR1;
	while (signal == SIGUSR1) {
		(void)sigwait(&signals, &signal);
		ferrite_counters_each(engine, show, NULL);
		(void)fflush(stdout);
	}
	ferrite_engine_stop(engine);
	return 0;
}
