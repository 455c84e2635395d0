/* One line per event to stderr: time level=info msg="interface created" id=vm-1 vni=100
 *
 * A line is one write, at most 1 KiB, of printable ASCII: what a client sent cannot forge a second line.
 */
#ifndef FERRITE_CONTROL_LOG_H
#define FERRITE_CONTROL_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

/* `fields`: printf format of "name=value" pairs, "" for none. */
void control_log(const char *level, const char *message, const char *fields, ...)
	__attribute__((format(printf, 3, 4)));

#define log_info(message, ...) control_log("info", message, __VA_ARGS__)
#define log_warn(message, ...) control_log("warn", message, __VA_ARGS__)
#define log_error(message, ...) control_log("error", message, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
