#!/usr/bin/env python3
"""Breaks the lines of tools/mutations.txt one at a time and expects the named unit test to fail.

Works on a copy of the tree in build-mutate/tree, never on the tree itself; what a test is built from
is rebuilt incrementally. A mutation that does not compile proves nothing and counts as an error, as
does a line that is not there (or stands there twice). Ends with 1 unless every mutation was caught.

    tools/mutate.py [--only TEXT]      mutations whose file, line or test holds TEXT
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tools/mutations.txt"
WORK = ROOT / "build-mutate"
TREE = WORK / "tree"
BUILD = WORK / "build"
GREEN_TIMEOUT_S = 120


class Mutation:
    def __init__(self, at, text):
        parts = [part.strip() for part in text.split("|||")]
        if len(parts) != 4:
            sys.exit(f"{LIST.name}:{at}: expected file ||| line ||| replacement ||| test")
        self.at = at
        self.file, self.line, self.replacement, self.test = parts

    def apply(self):
        """Returns the original text, or None when the line is not there exactly once."""
        path = TREE / self.file
        before = path.read_text() if path.exists() else ""
        lines = before.split("\n")
        places = [i for i, line in enumerate(lines) if line.strip() == self.line]
        if len(places) != 1:
            return None
        old = lines[places[0]]
        indent = old[:len(old) - len(old.lstrip())]
        lines[places[0]] = indent + self.replacement
        path.write_text("\n".join(lines))
        return before


def read_list(only):
    mutations = []
    for at, line in enumerate(LIST.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#") and (not only or only in line):
            mutations.append(Mutation(at, line))
    return mutations


def copy_if_changed(src, dst):
    """Keeps the times of equal files, so that the copy builds incrementally too."""
    if dst.exists() and dst.read_bytes() == src.read_bytes():
        return
    dst.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(src, dst)


def copy_tree():
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         cwd=ROOT, check=True, capture_output=True).stdout
    wanted = {pathlib.Path(p.decode()) for p in out.split(b"\0") if p}
    wanted |= {p.relative_to(ROOT) for p in (ROOT / "subprojects/packagefiles").glob("*.tar.gz")}
    for path in wanted:
        if (ROOT / path).is_file():
            copy_if_changed(ROOT / path, TREE / path)
    for old in TREE.glob("src/**/*"):
        if old.is_file() and old.relative_to(TREE) not in wanted:
            old.unlink()


def set_up():
    copy_tree()
    if not (BUILD / "build.ninja").exists():
        run(["meson", "setup", str(BUILD), str(TREE), "-Dtests=true", "-Dwerror=false",
             "--buildtype=debugoptimized", "-Db_sanitize=address,undefined"], check=True)


def run(cmd, check=False, timeout=None):
    """Exit status; a time-out counts as a failure of what was run."""
    try:
        done = subprocess.run(cmd, cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout)
    except subprocess.TimeoutExpired:
        return -1
    if check and done.returncode != 0:
        sys.exit(done.stdout.decode(errors="replace"))
    return done.returncode


def build(test):
    return run(["ninja", "-C", str(BUILD), f"tests/unit/test_{test}"]) == 0


def test_passes(test, timeout):
    return run([str(BUILD / f"tests/unit/test_{test}")], timeout=timeout) == 0


def try_one(mutation, timeout):
    before = mutation.apply()
    if before is None:
        return "ERROR: the line is not there exactly once"
    try:
        if not build(mutation.test):
            return "ERROR: does not compile"
        return "SURVIVED" if test_passes(mutation.test, timeout) else "caught"
    finally:
        (TREE / mutation.file).write_text(before)


def green_before(tests):
    """Unbroken, every test must pass, else its failing later means nothing. Returns how long each
    may take when broken: a mutation often makes a test wait for ever."""
    timeouts = {}
    for test in tests:
        if not build(test):
            sys.exit(f"test_{test} does not build")
        began = time.monotonic()
        if not test_passes(test, GREEN_TIMEOUT_S):
            sys.exit(f"test_{test} fails without any mutation")
        timeouts[test] = 5 + 5 * (time.monotonic() - began)
    return timeouts


def main():
    args = argparse.ArgumentParser(description="Break named lines, expect red tests.")
    args.add_argument("--only", metavar="TEXT")
    mutations = read_list(args.parse_args().only)
    os.environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1")
    set_up()
    timeouts = green_before(sorted({m.test for m in mutations}))
    bad = 0
    for mutation in mutations:
        verdict = try_one(mutation, timeouts[mutation.test])
        bad += verdict != "caught"
        where = f"{mutation.file} ({mutation.test})"
        print(f"{verdict:<9} {where:<50} {mutation.line[:70]}", flush=True)
    print(f"{len(mutations)} mutations, {len(mutations) - bad} caught, {bad} not")
    return 1 if bad or not mutations else 0


if __name__ == "__main__":
    sys.exit(main())
