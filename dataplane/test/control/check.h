/* A test is a function with a name that is a behaviour; a check that fails says where and goes on to the end. */
#ifndef FERRITE_TEST_CHECK_H
#define FERRITE_TEST_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(condition)                                                                          \
	do {                                                                                      \
		if (!(condition)) {                                                               \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);   \
			++check_failures;                                                         \
		}                                                                                 \
	} while (0)

#define CHECK_NUMBER(found, wanted)                                                                               \
	do {                                                                                                      \
		long long check_found = (long long)(found), check_wanted = (long long)(wanted);                  \
		if (check_found != check_wanted) {                                                                \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #found, check_found, \
				check_wanted);                                                                    \
			++check_failures;                                                                         \
		}                                                                                                 \
	} while (0)

#define CHECK_TEXT(found, wanted)                                                                              \
	do {                                                                                                   \
		const char *check_found = (found), *check_wanted = (wanted);                                  \
		if (strcmp(check_found, check_wanted) != 0) {                                                  \
			fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #found,       \
				check_found, check_wanted);                                                    \
			++check_failures;                                                                      \
		}                                                                                              \
	} while (0)

#define RUN(test)                                                            \
	do {                                                                 \
		int check_before = check_failures;                           \
		test();                                                      \
		printf("%s %s\n", check_failures == check_before ? "ok  " : "FAIL", #test); \
	} while (0)

#define CHECK_RESULT() (check_failures == 0 ? 0 : 1)

#endif
