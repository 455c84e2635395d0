/* DPDK's libraries are not instrumented: ThreadSanitizer sees neither that a buffer which goes through a pool was given
 * by one thread to another, nor that a grace period passed. Both are done here in code that it sees. */
#include "race.h"

#include <pthread.h>
#include <stdlib.h>

#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>

struct stack {
	pthread_mutex_t lock;
	unsigned count;
	void *objects[];
};

static int pool_alloc(struct rte_mempool *pool)
{
	struct stack *stack = calloc(1, sizeof *stack + pool->size * sizeof(void *));
	if (stack == NULL || pthread_mutex_init(&stack->lock, NULL) != 0)
		return -1;
	pool->pool_data = stack;
	return 0;
}

static void pool_free(struct rte_mempool *pool)
{
	free(pool->pool_data);
}

static int pool_enqueue(struct rte_mempool *pool, void *const *objects, unsigned count)
{
	struct stack *stack = pool->pool_data;
	(void)pthread_mutex_lock(&stack->lock);
	for (unsigned i = 0; i < count; i++)
		stack->objects[stack->count++] = objects[i];
	(void)pthread_mutex_unlock(&stack->lock);
	return 0;
}

static int pool_dequeue(struct rte_mempool *pool, void **objects, unsigned count)
{
	struct stack *stack = pool->pool_data;
	(void)pthread_mutex_lock(&stack->lock);
	bool there = stack->count >= count;
	for (unsigned i = 0; there && i < count; i++)
		objects[i] = stack->objects[--stack->count];
	(void)pthread_mutex_unlock(&stack->lock);
	return there ? 0 : -ENOBUFS;
}

static unsigned pool_count(const struct rte_mempool *pool)
{
	struct stack *stack = pool->pool_data;
	(void)pthread_mutex_lock(&stack->lock);
	unsigned count = stack->count;
	(void)pthread_mutex_unlock(&stack->lock);
	return count;
}

static const struct rte_mempool_ops pool_ops = {
	.name = "race", .alloc = pool_alloc, .free = pool_free, .enqueue = pool_enqueue, .dequeue = pool_dequeue,
	.get_count = pool_count,
};
RTE_MEMPOOL_REGISTER_OPS(pool_ops)

void race_pools(void)
{
	(void)setenv("FERRITE_EAL", "--no-huge --no-shconf -m 96 --mbuf-pool-ops-name race", 1);
}

/* The linker puts this in the place of the library's (--wrap). */
void __wrap_rte_rcu_qsbr_synchronize(struct rte_rcu_qsbr *rcu, unsigned thread);
void __wrap_rte_rcu_qsbr_synchronize(struct rte_rcu_qsbr *rcu, unsigned thread)
{
	uint64_t token = rte_rcu_qsbr_start(rcu);
	if (thread != RTE_QSBR_THRID_INVALID)
		rte_rcu_qsbr_quiescent(rcu, thread);
	(void)rte_rcu_qsbr_check(rcu, token, true);
}
