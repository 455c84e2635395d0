/* Runs a target without libFuzzer: FILE... are replayed, and every file of a DIRECTORY (one that does not exist is
 * empty); then bounded random mutations of the target's seeds.
 *
 *   frame_fuzz [--rounds N] [--seconds N] [--seed S] [--write DIRECTORY] [FILE|DIRECTORY...]
 *
 * --seconds ends the rounds early.
 * --write leaves the seeds as files, for libFuzzer to begin with.
 *
 * When one crashes: FUZZ_VERBOSE=1 names the round, FUZZ_ROUND=N runs only that one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "target.h"

enum { LIMIT = 4096 };

static uint64_t state;

static uint32_t chance(uint32_t below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(state >> 33) % below;
}

static size_t mutate(uint8_t *data, size_t size)
{
	static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, 40, 20};
	for (uint32_t i = chance(6); i > 0 && size > 0; i--) {
		switch (chance(6)) {
		case 0: data[chance((uint32_t)size)] = (uint8_t)chance(256); break;
		case 1: data[chance((uint32_t)size)] ^= (uint8_t)(1u << chance(8)); break;
		case 2: data[chance((uint32_t)size)] = edges[chance(sizeof edges)]; break;
		case 3: size = chance((uint32_t)size) + 1; break;
		case 4: { /* repeat a piece */
			size_t from = chance((uint32_t)size), to = chance((uint32_t)size);
			size_t most = size - (from > to ? from : to);
			memmove(data + to, data + from, most > 0 ? chance((uint32_t)most + 1) : 0);
			break;
		}
		default: /* grow */
			for (uint32_t more = chance(64); more > 0 && size < LIMIT; more--)
				data[size++] = (uint8_t)chance(256);
		}
	}
	return size;
}

static void replay(const char *path)
{
	static uint8_t data[1 << 17];
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	size_t size = fread(data, 1, sizeof data, file);
	(void)fclose(file);
	(void)LLVMFuzzerTestOneInput(data, size);
}

static void replay_all(const char *path)
{
	char name[4096];
	DIR *directory = opendir(path);
	if (directory == NULL) {
		if (errno != ENOENT)
			replay(path);
		return;
	}
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		replay(name);
	}
	(void)closedir(directory);
}

static void write_seed(const char *directory, unsigned n, const uint8_t *data, size_t size)
{
	char name[4096];
	(void)snprintf(name, sizeof name, "%s/seed-%02u", directory, n);
	FILE *file = fopen(name, "wb");
	if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
		perror(name);
		exit(1);
	}
}

int main(int count, char **arguments)
{
	uint8_t data[LIMIT + 64];
	unsigned long rounds = 20000, seed = 1, seconds = 3600, done = 0;
	time_t begun = time(NULL);
	const char *directory = NULL;
	for (int i = 1; i < count; i++) {
		if (strcmp(arguments[i], "--rounds") == 0 && i + 1 < count)
			rounds = strtoul(arguments[++i], NULL, 10);
		else if (strcmp(arguments[i], "--seconds") == 0 && i + 1 < count)
			seconds = strtoul(arguments[++i], NULL, 10);
		else if (strcmp(arguments[i], "--seed") == 0 && i + 1 < count)
			seed = strtoul(arguments[++i], NULL, 10);
		else if (strcmp(arguments[i], "--write") == 0 && i + 1 < count)
			directory = arguments[++i];
		else
			replay_all(arguments[i]);
	}
	unsigned seeds = 0;
	for (size_t size; (size = fuzz_seed(seeds, data, LIMIT)) > 0; seeds++)
		if (directory != NULL)
			write_seed(directory, seeds, data, size);
	for (unsigned long round = 0; round < rounds; round++) {
		if (round % 64 == 0 && time(NULL) - begun >= (time_t)seconds)
			break;
		state = (uint64_t)seed * 0x9e3779b97f4a7c15ULL + round; /* each round can be replayed by itself */
		(void)chance(2);
		size_t size = fuzz_seed(round < seeds ? (unsigned)round : chance(seeds), data, LIMIT);
		if (round >= seeds)
			size = mutate(data, size);
		const char *only = getenv("FUZZ_ROUND");
		if (only != NULL && strtoul(only, NULL, 10) != round)
			continue;
		if (getenv("FUZZ_VERBOSE") != NULL)
			(void)fprintf(stderr, "seed %lu round %lu, %zu bytes\n", seed, round, size);
		(void)LLVMFuzzerTestOneInput(data, size);
		done++;
	}
	printf("%lu rounds, %u seeds\n", done, seeds);
	return 0;
}
