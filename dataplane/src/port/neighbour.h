/* The kernel's neighbour table, as far as an uplink asks: the MAC of a gateway on one device.
 *
 * By netlink, once a second from the tick. Answers of a dump are there when the question was sent, so nothing waits.
 */
#ifndef FERRITE_PORT_NEIGHBOUR_H
#define FERRITE_PORT_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -1: there is none to be had. */
int neighbour_socket(void);
/* The MAC of `address` (NULL: of any neighbour that is a router) on the device; false: the kernel knows none. */
bool neighbour_find(int socket, int device, const uint8_t *address, uint8_t mac[6]);

/* One read of answers. True: `mac` was found in it. `done`: no more will come. */
bool neighbour_parse(const void *answers, size_t length, int device, const uint8_t *address, uint8_t mac[6], bool *done);

#endif
