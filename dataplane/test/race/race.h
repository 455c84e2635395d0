/* What ThreadSanitizer cannot see of DPDK's compiled libraries, brought by the test itself. */
#ifndef FERRITE_TEST_RACE_H
#define FERRITE_TEST_RACE_H

/* Before the engine starts: packet pools hand buffers from thread to thread by a lock that is seen. */
void race_pools(void);

#endif
