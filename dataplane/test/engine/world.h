/* A small world for packet tests: engines that the test polls, VMs and peers at the far ends of in-process rings. */
#ifndef FERRITE_TEST_WORLD_H
#define FERRITE_TEST_WORLD_H

#include "engine/state.h"
#include "packet/checksum.h"
#include "port/ring.h"

enum { FRAME_ROOM = 70000 };

struct vm {
	struct ferrite_engine *engine;
	struct ring_end *end;
	uint32_t port, index;
	ferrite_mac gateway;
	ferrite_ipv6 underlay;
	uint8_t mac[6], ipv4[4], ipv6[16];
};

/* Of engines that are started after it is set: all they choose can be had again. 0: by chance. */
extern uint32_t world_seed;
/* `host` is the number in fd00:f:HOST::/64. What does not start or open ends the process. */
struct ferrite_engine *world_engine(unsigned host, const char *uplink, uint16_t mtu);
/* A VM with 10.0.0.`number` and 2001:db8::`number`, MAC 02:00:00:00:00:`number`; its ring is named by both. */
void world_vm(struct vm *vm, struct ferrite_engine *engine, unsigned host, uint32_t vni, unsigned number);
void world_vm_leave(struct vm *vm);
void world_route(struct ferrite_engine *engine, uint32_t vni, const struct vm *to);
void world_poll(struct ferrite_engine *one, struct ferrite_engine *other);
uint64_t world_counter(struct ferrite_engine *engine, const char *name);

/* Frames of a VM to its gateway; the length. Payload bytes count up from `seed`. */
uint32_t frame_udp4(uint8_t *frame, const struct vm *from, const uint8_t to[4], uint32_t payload, uint8_t seed);
uint32_t frame_udp6(uint8_t *frame, const struct vm *from, const uint8_t to[16], uint32_t payload, uint8_t seed);
/* Wraps UDP (ports as given) and IPv4 or IPv6 around `length` bytes. */
uint32_t frame_wrap4(uint8_t *frame, const uint8_t mac_to[6], const uint8_t mac_from[6], const uint8_t from[4],
		     const uint8_t to[4], uint16_t source, uint16_t destination, const void *data, uint32_t length);
uint32_t frame_wrap6(uint8_t *frame, const uint8_t mac_to[6], const uint8_t mac_from[6], const uint8_t from[16],
		     const uint8_t to[16], uint16_t source, uint16_t destination, const void *data, uint32_t length);
/* True when IP header and TCP, UDP or ICMP checksum fit. */
bool frame_checks(const uint8_t *ip, uint32_t length);

#endif
