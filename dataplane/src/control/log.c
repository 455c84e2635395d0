#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 1024 };

void control_log(const char *level, const char *message, const char *fields, ...)
{
	struct timespec now;
	struct tm utc;
	char line[LINE], stamp[32] = "";
	va_list arguments;
	size_t length;
	int written;

	if (clock_gettime(CLOCK_REALTIME, &now) == 0 && gmtime_r(&now.tv_sec, &utc) != NULL)
		strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
	written = snprintf(line, sizeof line, "%s.%03ldZ level=%s msg=\"%s\"%s", stamp, now.tv_nsec / 1000000, level,
			   message, fields[0] != 0 ? " " : "");
	length = written < 0 ? 0 : (size_t)written;
	if (length < sizeof line - 1) {
		va_start(arguments, fields);
		written = vsnprintf(line + length, sizeof line - length, fields, arguments);
		va_end(arguments);
		length += written < 0 ? 0 : (size_t)written;
	}
	if (length > sizeof line - 2)
		length = sizeof line - 2;
	for (size_t i = 0; i < length; ++i)
		if (line[i] < 0x20 || line[i] > 0x7e)
			line[i] = '?';
	line[length++] = '\n';
	if (write(STDERR_FILENO, line, length) < 0)
		return; /* nobody listens: that must not stop the dataplane */
}
