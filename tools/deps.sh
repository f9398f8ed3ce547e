#!/usr/bin/env bash
# Installs what is missing for one of the Makefile's targets, and nothing else:
#   tools/deps.sh build|unit|test|demo|fuzz|lint|coverage|bench   packages by apt, pinned sources by pip
#   tools/deps.sh which clang|clang-format|...     the name of an LLVM program on this machine
# (tests/e2e/run.sh fetches what the end-to-end tests need beside that.)
# What is there already is never touched, so a second run takes milliseconds and needs no network.
# Without root it prints the command that is needed and stops; it never calls sudo itself.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(build-essential meson ninja-build pkg-config ca-certificates python3 python3-pip
    libuv1-dev libssl-dev libsqlite3-dev libfyaml-dev)
unit_packages=(libcmocka-dev)
test_packages=(python3-venv)

die() {
    printf 'fusor: %s\n' "$*" >&2
    exit 1
}

# LLVM programs by their Debian 12 name, else by the name that newer releases have.
llvm_program() {
    command -v "$1-14" || command -v "$1" || return 1
}

missing_packages() {
    local -A have=()
    local name state
    # One call for all: dpkg-query fails when a name is unknown, and still prints the others.
    while read -r state name; do
        [[ $state == ii* ]] && have[${name%%:*}]=1
    done < <(dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}\n' "$@" 2>/dev/null || true)
    for name in "$@"; do
        [[ -n ${have[$name]:-} ]] || echo "$name"
    done
}

apt_install() {
    if ! command -v dpkg-query >/dev/null; then
        printf 'fusor: not a Debian system; make sure that these are here: %s\n' "$*" >&2
        return
    fi
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    if [[ $(id -u) -ne 0 ]]; then
        printf 'fusor: packages are missing. Run this, then the same make again:\n' >&2
        printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' \
            "${missing[*]}" >&2
        exit 1
    fi
    printf 'fusor: installing %s\n' "${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

sha256_is() { # FILE HASH
    [[ -f $1 ]] && echo "$2  $1" | sha256sum --check --status
}

# Source archives pinned in deps/sources.txt. pip asks the network even for what is there, hence the
# check of our own first.
fetch_sources() {
    local to=subprojects/packagefiles names=() stale=() line name hash
    while read -r line; do
        [[ $line =~ ^([a-z]+)==([0-9.]+)\ --hash=sha256:([0-9a-f]{64})$ ]] || continue
        name=${BASH_REMATCH[1]} hash=${BASH_REMATCH[3]}
        names+=("$name")
        sha256_is "$to/$name-${BASH_REMATCH[2]}.tar.gz" "$hash" || stale+=("$name")
    done <deps/sources.txt
    [[ ${#stale[@]} -gt 0 ]] || return 0
    printf 'fusor: fetching the sources of %s\n' "${stale[*]}"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        --no-binary "$(IFS=,; echo "${names[*]}")" --require-hashes -r deps/sources.txt -d "$to" ||
        die 'could not fetch the pinned sources (deps/sources.txt); is there a network?'
}

# Debian's, unless the machine has its own.
node_packages() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo nodejs npm
    fi
}

need_llvm() { # PROGRAM PACKAGE...: packages without their version
    llvm_program "$1" >/dev/null || llvm_install "${@:2}"
}

llvm_install() {
    local package names=()
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            names+=("$package")
        else
            names+=("${package/-14/}")
        fi
    done
    apt_install "${names[@]}"
}

# clang alone is not enough: the libraries of its sanitizers and of libFuzzer are a package of their own.
links_fuzzers() {
    local clang
    clang=$(llvm_program clang) || return 1
    "$clang" -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null \
        <<<'int LLVMFuzzerTestOneInput(const char *p, long n) { return p && n < 0; }'
}

need_fuzzers() {
    links_fuzzers && return
    llvm_install clang-14 libclang-rt-14-dev
    links_fuzzers ||
        die "$(llvm_program clang || echo clang) cannot link -fsanitize=fuzzer,address: its compiler-rt is missing"
}

# nginx stands beside us in the bench, and is started there only: its package would start it as a
# service at once, on port 80, unless a policy says no.
need_nginx() {
    local policy=/usr/sbin/policy-rc.d made=
    command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] && return
    if [[ $(id -u) -eq 0 && ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made=1
        # shellcheck disable=SC2064 # the path is known now
        trap "rm -f '$policy'" EXIT
    fi
    apt_install nginx-light
    [[ -z $made ]] || rm -f "$policy"
}

case ${1:-build} in
build)
    apt_install "${build_packages[@]}"
    fetch_sources
    ;;
unit)
    apt_install "${build_packages[@]}" "${unit_packages[@]}"
    fetch_sources
    ;;
test)
    # shellcheck disable=SC2046 # words on purpose
    apt_install "${build_packages[@]}" "${unit_packages[@]}" "${test_packages[@]}" $(node_packages)
    fetch_sources
    ;;
demo)
    apt_install "${test_packages[@]}"
    ;;
fuzz)
    apt_install "${build_packages[@]}"
    need_fuzzers
    fetch_sources
    ;;
lint)
    apt_install "${build_packages[@]}" "${unit_packages[@]}"
    need_llvm clang-format clang-format-14
    need_llvm clang-tidy clang-14 clang-tidy-14
    fetch_sources
    ;;
coverage)
    "$0" test
    apt_install gcovr
    ;;
bench)
    apt_install "${build_packages[@]}"
    need_nginx
    fetch_sources
    ;;
which)
    llvm_program "${2:?name}"
    ;;
*)
    die "usage: tools/deps.sh build|unit|test|demo|fuzz|lint|coverage|bench, or which PROGRAM"
    ;;
esac
