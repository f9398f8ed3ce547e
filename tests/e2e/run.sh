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

# Has DIR been made of exactly these FILEs (and this interpreter)?
stamp_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

venv=$root/.venv
python=${PYTHON:-python3}
want=$($python -V)-$(stamp_of "$here/requirements.txt")
if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r "$here/requirements.txt"
    echo "$want" > "$venv/.stamp"
fi

# Without Node the Node cases are skipped, and say why.
if command -v npm > /dev/null 2>&1; then
    want=$(stamp_of "$here/package.json" "$here/package-lock.json")
    if [ "$(cat "$here/node_modules/.stamp" 2>/dev/null)" != "$want" ]; then
        (cd "$here" && npm ci --ignore-scripts --silent)
        echo "$want" > "$here/node_modules/.stamp"
    fi
fi

export FUSOR_BIN="$binary"
cd "$here"
exec "$venv/bin/pytest" --junitxml="$junit" -o junit_family=xunit2 "$@"
