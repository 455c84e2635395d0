/* What a fuzz target gives to a driver: libFuzzer's, or ours where there is no clang. */
#ifndef FERRITE_FUZZ_TARGET_H
#define FERRITE_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __has_feature /* clang */
#if __has_feature(address_sanitizer) && !defined __SANITIZE_ADDRESS__
#define __SANITIZE_ADDRESS__
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A well-formed input to mutate; its length, 0 when there is no n-th. */
size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit);

#endif
