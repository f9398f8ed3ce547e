#!/usr/bin/env bash
# tools/lint.sh         format, layers, words, sizes
# tools/lint.sh fmt     formats every C file in place
# tools/lint.sh tidy    clang-tidy over src/ (needs build-tidy)
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs -r ls 2>/dev/null)

case ${1:-check} in
check)
    ok=0
    if out=$("$(tools/deps.sh which clang-format)" --dry-run -Werror "${files[@]}" 2>&1); then
        echo 'format: fine'
    else
        echo 'not formatted (make fmt):'
        sed -nE 's/^([^:]+):[0-9]+:[0-9]+: error:.*/  \1/p' <<<"$out" | sort | uniq -c
        ok=1
    fi
    python3 tools/lint.py || ok=1
    exit "$ok"
    ;;
fmt)
    "$(tools/deps.sh which clang-format)" -i "${files[@]}"
    ;;
tidy)
    mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep '^src/.*\.c$')
    tidy=$(tools/deps.sh which clang-tidy)
    printf '%s\0' "${sources[@]}" | xargs -0 -n 4 -P "$(nproc)" "$tidy" -p build-tidy --quiet
    ;;
*)
    echo 'usage: tools/lint.sh [check|fmt|tidy]' >&2
    exit 2
    ;;
esac
