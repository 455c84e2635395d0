#!/bin/sh
# Every fuzz target for so many seconds (60), as many at a time as there are processors:
#   dataplane/fuzz/run.sh [SECONDS [TARGET...]]
# With clang-16 by libFuzzer, guided by coverage; else by the tests' own driver. Address and undefined behaviour are
# sanitized. What is found stays in dataplane/build-fuzz/found, the corpus in dataplane/build-fuzz/corpus.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-60}
[ $# -eq 0 ] || shift
build=${FERRITE_FUZZ_BUILD:-$here/../build-fuzz}
kind=fuzz
if command -v clang-16 >/dev/null && command -v clang++-16 >/dev/null; then
	kind=libfuzzer
	export CC=clang-16 CXX=clang++-16
fi
[ -f "$build/build.ninja" ] ||
	meson setup "$build" "$here/.." -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false -Doptimization=1
build=$(cd "$build" && pwd)
all=$(ninja -C "$build" -t targets all | sed -n "s|^fuzz/\([a-z0-9]*\)_$kind:.*|\1|p" | sort -u)
[ $# -gt 0 ] || set -- $all
ninja -C "$build" $(for name; do echo "fuzz/${name}_$kind"; done)
mkdir -p "$build/found"
export FERRITE_FUZZ="$build" FERRITE_SEEDS="$here/seeds" FERRITE_SECONDS="$seconds" FERRITE_KIND="$kind"
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
# One line each, and the end of the log of what failed.
for name; do echo "$name"; done | xargs -P "$(nproc)" -I NAME sh -c '
	name=NAME corpus="$FERRITE_FUZZ/corpus/$name" seeds="$FERRITE_SEEDS/$name" log="$FERRITE_FUZZ/found/$name.log"
	mkdir -p "$corpus"
	[ -d "$seeds" ] || seeds=
	if [ "$FERRITE_KIND" = libfuzzer ]; then
		set -- -max_total_time="$FERRITE_SECONDS" -timeout=20 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1 \
			-artifact_prefix="$FERRITE_FUZZ/found/$name-" "$corpus" $seeds
	else
		set -- --rounds 1000000000 --seconds "$FERRITE_SECONDS" --seed "$(date +%s)" $seeds
	fi
	if "$FERRITE_FUZZ/fuzz/${name}_$FERRITE_KIND" "$@" >"$log" 2>&1; then
		echo "ok     $name $(sed -n "s/.*number_of_executed_units: *\(.*\)/\1 inputs/p; s/^\([0-9]* rounds\),.*/\1/p" "$log")"
	else
		echo "FAILED $name: $log"
		tail -n 30 "$log"
		exit 1
	fi'
