#!/bin/sh
# End-to-end tests of one binary: tests/e2e/run.sh BINARY JUNIT_XML [PYTEST OPTIONS...]
# Installs what the lock files name into .venv and node_modules first; when both are as locked,
# nothing is fetched and no network is needed. Exit code: pytest's.
set -eu

[ $# -ge 2 ] || { echo "usage: tests/e2e/run.sh BINARY JUNIT_XML [PYTEST OPTIONS...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(realpath "$1")
junit=$(realpath -m "$2")
shift 2

# A stamp holds the hash of the file that the folder was made from (tools/deps.sh writes the same).
stamped() { [ -f "$1" ] && echo "$(cat "$1")  $2" | sha256sum --check --status; }
stamp() { sha256sum "$2" | cut -d ' ' -f 1 > "$1"; }

venv=$root/.venv
list=$here/requirements.txt
if ! stamped "$venv/.stamp" "$list"; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r "$list"
    stamp "$venv/.stamp" "$list"
fi

# Without Node the Node cases are skipped, and say why.
lock=$here/package-lock.json
if command -v npm > /dev/null 2>&1 && ! stamped "$here/node_modules/.stamp" "$lock"; then
    (cd "$here" && npm ci --ignore-scripts --silent --no-audit --no-fund)
    stamp "$here/node_modules/.stamp" "$lock"
fi

export FUSOR_BIN="$binary"
cd "$here"
exec "$venv/bin/python" -m pytest --junitxml="$junit" -o junit_family=xunit2 "$@"
