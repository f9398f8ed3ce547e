#!/usr/bin/env bash
# Runs each fuzz target of a build directory in turn: tools/fuzz.sh BUILD [NAME]
# What it finds new goes to BUILD/corpus, never into the tree; a crashing input to BUILD/crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?build directory} only=${2:-}
seconds=${FUZZ_SECONDS:-60}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
mkdir -p "$build/crashes"
ran=0 failed=0
for program in "$build"/tests/fuzz/fuzz_*; do
    [[ -f $program && -x $program ]] || continue
    name=${program##*/fuzz_}
    [[ -z $only || $only == "$name" ]] || continue
    mkdir -p "$build/corpus/$name"
    log=$build/crashes/$name.log
    ran=$((ran + 1))
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$build/crashes/$name-" \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        printf '%-16s ok      %s runs in %s s\n' "$name" "$runs" "$seconds"
    else
        failed=$((failed + 1))
        printf '%-16s FAILED  (whole output: %s)\n' "$name" "$log"
        tail -n 40 "$log"
    fi
done
printf '%d targets, %d failed\n' "$ran" "$failed"
[[ $ran -gt 0 && $failed -eq 0 ]]
