#!/usr/bin/env bash
# Copies the release build into $PREFIX ($DESTDIR before it, for packages): the binary, the example
# configuration, and the local model runtime when it has been fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
to=${DESTDIR:-}${PREFIX:-/usr/local}
install -D -m 755 -s build/src/cli/fusor "$to/bin/fusor"
if [[ -f fusor.example.yaml ]]; then
    install -D -m 644 fusor.example.yaml "$to/share/fusor/fusor.example.yaml"
fi
if [[ -d .runtime ]]; then
    mkdir -p "$to/lib"
    rm -rf "$to/lib/fusor"
    cp -a .runtime "$to/lib/fusor"
fi
printf 'installed %s/bin/fusor\n' "$to"
