#include "port/wire_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "packet/headers.h"

static int map(struct wire_ring *ring, int descriptor)
{
	uint8_t *base = mmap(NULL, WIRE_HEAD_BYTES + 2u * WIRE_BYTES, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	const int access = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_FIXED;
	if (mmap(base, WIRE_HEAD_BYTES + WIRE_BYTES, access, how, descriptor, 0) == MAP_FAILED ||
	    mmap(base + WIRE_HEAD_BYTES + WIRE_BYTES, WIRE_BYTES, access, how, descriptor, WIRE_HEAD_BYTES) ==
		    MAP_FAILED) {
		int code = errno;
		(void)munmap(base, WIRE_HEAD_BYTES + 2u * WIRE_BYTES);
		return -code;
	}
	*ring = (struct wire_ring){
		.shared = (struct wire_shared *)(void *)base, .data = base + WIRE_HEAD_BYTES,
		.kept = fcntl(descriptor, F_DUPFD_CLOEXEC, 0) + 1,
	};
	return 0;
}

int wire_ring_make(struct wire_ring *ring, int *descriptor)
{
	int fd = memfd_create("ferrite-wire", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int status = 0;
	if (ftruncate(fd, WIRE_HEAD_BYTES + WIRE_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		status = -errno;
	if (status == 0)
		status = map(ring, fd);
	if (status < 0) {
		close(fd);
		return status;
	}
	*descriptor = fd;
	return 0;
}

int wire_ring_map(struct wire_ring *ring, int descriptor)
{
	struct stat file;
	int seals = fcntl(descriptor, F_GET_SEALS);
	/* Without the seal a peer could shrink it under us: SIGBUS. */
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(descriptor, &file) < 0 ||
	    file.st_size != WIRE_HEAD_BYTES + WIRE_BYTES)
		return -EPROTO;
	int status = map(ring, descriptor);
	if (status < 0)
		return status;
	ring->position = __atomic_load_n(&ring->shared->head, __ATOMIC_ACQUIRE);
	ring->other = __atomic_load_n(&ring->shared->tail, __ATOMIC_ACQUIRE);
	if (ring->position % WIRE_ALIGN != 0 || ring->position - ring->other > WIRE_BYTES) {
		wire_ring_free(ring);
		return -EPROTO;
	}
	return 0;
}

int wire_ring_adopt(struct wire_ring *ring, int descriptor, bool receiver)
{
	int status = wire_ring_map(ring, descriptor);
	if (status == 0 && receiver)
		ring->position = ring->other;
	return status;
}

void wire_ring_free(struct wire_ring *ring)
{
	if (ring->kept > 0)
		close(ring->kept - 1);
	if (ring->shared != NULL)
		(void)munmap(ring->shared, WIRE_HEAD_BYTES + 2u * WIRE_BYTES);
	*ring = (struct wire_ring){0};
}

static uint64_t record_bytes(uint32_t length)
{
	return ((uint64_t)sizeof(struct wire_record) + length + WIRE_ALIGN - 1) & ~(uint64_t)(WIRE_ALIGN - 1);
}

enum wire_status wire_ring_write(struct wire_ring *ring, const struct rte_mbuf *buffer)
{
	uint64_t need = record_bytes(buffer->pkt_len);
	if (ring->position + need - ring->other > WIRE_BYTES) {
		ring->other = __atomic_load_n(&ring->shared->tail, __ATOMIC_ACQUIRE);
		if (ring->position - ring->other > WIRE_BYTES)
			return WIRE_BROKEN;
		if (ring->position + need - ring->other > WIRE_BYTES)
			return WIRE_FULL;
	}
	uint8_t *at = ring->data + ring->position % WIRE_BYTES;
	struct wire_record record = {.length = buffer->pkt_len};
	offload_write(&packet_of(buffer)->offload, &record.vnet, packet_of(buffer)->ip_offset);
	memcpy(at, &record, sizeof record);
	(void)packet_copy_out(buffer, at + sizeof record, buffer->pkt_len);
	ring->position += need;
	return WIRE_OK;
}

bool wire_ring_publish(struct wire_ring *ring)
{
	__atomic_store_n(&ring->shared->head, ring->position, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->shared->sleeping, __ATOMIC_RELAXED) != 0 &&
		__atomic_exchange_n(&ring->shared->sleeping, 0, __ATOMIC_ACQ_REL) != 0;
}

bool wire_ring_read(struct wire_ring *ring, struct rte_mbuf **burst, unsigned limit, unsigned *count,
		    struct port_counters *counters)
{
	uint64_t head = __atomic_load_n(&ring->shared->head, __ATOMIC_ACQUIRE);
	bool good = head - ring->position <= WIRE_BYTES && head % WIRE_ALIGN == 0;
	uint64_t start = ring->position;
	*count = 0;
	while (good && *count < limit && ring->position != head) {
		struct wire_record record;
		const uint8_t *at = ring->data + ring->position % WIRE_BYTES;
		memcpy(&record, at, sizeof record);
		if (record.length < IPV6_LENGTH || record.length > PACKET_LIMIT ||
		    record_bytes(record.length) > head - ring->position) {
			good = false;
			break;
		}
		struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
		if (buffer == NULL) {
			counters->rx_no_memory++;
			break;
		}
		ring->position += record_bytes(record.length);
		struct packet *packet = packet_of(buffer);
		if (!offload_read(&packet->offload, &record.vnet, IPV6_LENGTH, record.length)) {
			counters->rx_errors++;
			rte_pktmbuf_free(buffer);
			continue;
		}
		if (!packet_copy_in(buffer, at + sizeof record, record.length)) {
			counters->rx_no_memory++;
			rte_pktmbuf_free(buffer);
			continue;
		}
		packet->ip_offset = IPV6_LENGTH;
		counters->rx_bytes += record.length;
		burst[(*count)++] = buffer;
	}
	if (ring->position != start)
		__atomic_store_n(&ring->shared->tail, ring->position, __ATOMIC_RELEASE);
	return good;
}

bool wire_ring_sleep(struct wire_ring *ring, bool asleep)
{
	__atomic_store_n(&ring->shared->sleeping, asleep ? 1 : 0, __ATOMIC_RELEASE);
	if (!asleep)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->shared->head, __ATOMIC_ACQUIRE) != ring->position;
}
