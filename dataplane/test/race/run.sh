#!/bin/sh
# Control against worker under ThreadSanitizer, for as long as you like:
#   dataplane/test/race/run.sh [SECONDS [SEED [WORKERS]]]
# Builds the engine into dataplane/build-race (or $FERRITE_RACE_BUILD) first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${FERRITE_RACE_BUILD:-$here/../../build-race}
[ -f "$build/build.ninja" ] || meson setup "$build" "$here/../.." -Db_sanitize=thread -Db_lundef=false
ninja -C "$build" test/race/race_test
TSAN_OPTIONS="suppressions=$here/thread.supp:exitcode=66:history_size=7" exec "$build/test/race/race_test" "${1:-60}" "${2:-$(date +%s)}" "${3:-1}"
