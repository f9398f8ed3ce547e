#!/usr/bin/env python3
"""Runs all tests of a build directory and sums them up.

Three kinds: unit tests (cmocka programs) and corpus replays, both as Meson knows them, and the
end-to-end tests (pytest, which also drives the Node ones). Each test case counts, not each program.
The whole output of each program is kept in BUILD/logs; only that of failures is printed. The last
line is always "N passed, N failed"; before it stands "N skipped (reasons)" when any was.

With a second build directory, made with the thread sanitizer, the programs of its target `race` and
the end-to-end tests marked `race` run there as well.

    tests/run.py BUILD [--race BUILD] [--unit-only] [--only NAME] [--torture]
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
E2E_TIMEOUT_S = 1800
TAIL_LINES = 60
SHOWN_FAILURES = 20  # of one program in full; the others by name
CASE_LINE = re.compile(r"\[ +(RUN|OK|FAILED|SKIPPED|ERROR) +\] (\w+)\s*$")
MEMORY_CASE = re.compile(r"out_of_memory|no_memory|nomem|torture|alloc")


class Result:
    """Of one program: what passed, what failed and why, what was skipped and why."""

    def __init__(self, name, log):
        self.name = name
        self.log = log
        self.passed = []
        self.failed = []  # (case, text)
        self.skipped = []  # (case, reason)
        self.seconds = 0.0


def sanitizer_env():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1")
    env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    env["CMOCKA_MESSAGE_OUTPUT"] = "stdout"
    return env


def run_logged(cmd, log, timeout, env, cwd):
    """Returns the exit status (negative: signal, None: timed out); all output goes to the log."""
    with open(log, "wb") as out:
        proc = subprocess.Popen(cmd, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                env=env, cwd=cwd, start_new_session=True)
        try:
            return proc.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:  # whatever it has left behind
                os.killpg(proc.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            proc.wait()


def tail(text):
    lines = text.rstrip().splitlines()
    cut = len(lines) - TAIL_LINES
    return "\n".join(lines if cut <= 0 else [f"... {cut} lines before"] + lines[cut:])


def how_it_ended(status, timeout):
    if status is None:
        return f"timed out after {timeout} s"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def text_of_case(text, case):
    start = text.rfind(f"[ RUN      ] {case}\n")
    end = text.find("[ RUN      ]", start + 1)
    return tail(text[max(start, 0):end if end > 0 else len(text)])


def read_cmocka(result, text, status, timeout):
    state = {}
    for line in text.splitlines():
        found = CASE_LINE.search(line)
        if found:
            word, case = found.groups()
            if word == "RUN" or state.get(case) == "RUN":
                state[case] = word
    for case, word in state.items():
        if word == "OK":
            result.passed.append(case)
        elif word == "SKIPPED":
            result.skipped.append((case, f"{case}: not possible on this machine"))
        elif word == "RUN":
            result.failed.append((case, f"{how_it_ended(status, timeout)}\n" + tail(text)))
        else:
            result.failed.append((case, text_of_case(text, case)))
    if not result.failed and (status != 0 or not state):
        result.failed.append(("(program)", f"{how_it_ended(status, timeout)}\n" + tail(text)))


def read_replay(result, text, status, timeout):
    inputs = [line for line in text.splitlines() if line.startswith("/")]
    if status == 0:
        result.passed = inputs
    else:
        result.passed = inputs[:-1]
        case = os.path.basename(inputs[-1]) if inputs else "(program)"
        result.failed.append((case, f"{how_it_ended(status, timeout)}\n" + tail(text)))


def run_program(test, logs):
    suite = test["suite"][0].split(":")[-1]
    result = Result(f"{suite} {test['name']}", logs / f"{suite}-{test['name']}.log")
    env = sanitizer_env()
    env.update(test["env"])
    began = time.monotonic()
    status = run_logged(test["cmd"], result.log, test["timeout"], env, test["workdir"] or ROOT)
    result.seconds = time.monotonic() - began
    text = result.log.read_text(errors="replace")
    (read_replay if suite == "replay" else read_cmocka)(result, text, status, test["timeout"])
    return result


def junit_name(case):
    name = f"{case.get('classname', '')}::{case.get('name', '')}"
    return re.sub(r"^tests\.e2e\.", "", name)


def read_junit(result, path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        bad = [c for c in case if c.tag in ("failure", "error")]
        skips = [c for c in case if c.tag == "skipped"]
        if bad:
            text = "\n".join(f"{c.get('message') or ''}\n{c.text or ''}" for c in bad)
            result.failed.append((junit_name(case), tail(text)))
        elif skips:
            result.skipped.append((junit_name(case), skips[0].get("message") or "no reason given"))
        else:
            result.passed.append(junit_name(case))


def run_e2e(name, build, select):
    logs = logs_of(build)
    result = Result(name, logs / "e2e.log")
    report = logs / "e2e.xml"
    report.unlink(missing_ok=True)
    binary = build / "src/cli/fusor"
    if not binary.exists():
        result.failed.append(("(binary)", f"{binary} has not been built"))
        return result
    cmd = ["tests/e2e/run.sh", str(binary), str(report), "-q", *select]
    env = sanitizer_env()
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    print(f"{name}: running, see {os.path.relpath(result.log)}", flush=True)
    began = time.monotonic()
    status = run_logged(cmd, result.log, E2E_TIMEOUT_S, env, ROOT)
    result.seconds = time.monotonic() - began
    if report.exists():
        read_junit(result, report)
    total = len(result.passed) + len(result.failed) + len(result.skipped)
    if not result.failed and (status != 0 or total == 0):
        text = tail(result.log.read_text(errors="replace"))
        result.failed.append(("(pytest)", f"{how_it_ended(status, E2E_TIMEOUT_S)}\n{text}"))
    return result


def show(result, verbose_cases=None):
    counts = f"{len(result.passed):4d} passed"
    if result.skipped:
        counts += f", {len(result.skipped)} skipped"
    if result.failed:
        counts += f", {len(result.failed)} FAILED"
    print(f"{result.name:<28} {counts:<28} {result.seconds:6.1f} s", flush=True)
    for case, text in result.failed[:SHOWN_FAILURES]:
        print(f"\n--- {result.name}: {case}  (whole output: {os.path.relpath(result.log)})")
        print(text, end="\n\n", flush=True)
    for case, _ in result.failed[SHOWN_FAILURES:]:
        print(f"--- {result.name}: {case}")
    for case in verbose_cases or []:
        print(f"    {case}")


def meson_tests(build):
    out = subprocess.run(["meson", "introspect", "--tests", str(build)], check=True,
                         capture_output=True, text=True).stdout
    return sorted(json.loads(out), key=lambda t: (t["suite"], t["name"]))


def logs_of(build):
    logs = build / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs


def race_tests(build):
    return [t for t in meson_tests(build) if any(s.endswith(":race") for s in t["suite"])]


def chosen(tests, only):
    if not only:
        return tests
    return [t for t in tests if t["name"] == only or pathlib.Path(t["cmd"][0]).name == only]


def run_programs(tests, logs):
    """Longest first would need a memory of times; two at once on two cores is near enough."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        yield from pool.map(lambda test: run_program(test, logs), tests)


def torture(tests, logs):
    """The cases that fail each allocation in turn; names the programs that have none."""
    without, failed, passed = [], 0, 0
    for result in run_programs([t for t in tests if "replay" not in t["suite"][0]], logs):
        result.passed = [c for c in result.passed if MEMORY_CASE.search(c)]
        result.failed = [f for f in result.failed if MEMORY_CASE.search(f[0]) or "(" in f[0]]
        passed += len(result.passed)
        failed += len(result.failed)
        if result.passed or result.failed:
            show(result, result.passed)
        else:
            without.append(result.name.split()[-1])
    if without:
        print(f"no allocation is failed in: {', '.join(without)}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


def summary(results):
    reasons = collections.Counter(reason for r in results for _, reason in r.skipped)
    if reasons:
        listed = "; ".join(f"{n} {why}" for why, n in reasons.most_common())
        print(f"{sum(reasons.values())} skipped ({listed})")
    passed = sum(len(r.passed) for r in results)
    failed = sum(len(r.failed) for r in results)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


def run_all(build, race, opts):
    results = []
    only, _, expression = (opts.only or "").partition(":")
    e2e_wanted = not opts.unit_only and only in ("", "e2e")

    def add(result, prefix=""):
        result.name = prefix + result.name
        show(result)
        results.append(result)

    for result in run_programs(chosen(meson_tests(build), opts.only), logs_of(build)):
        add(result)
    if e2e_wanted:
        add(run_e2e("e2e", build, ["-k", expression] if expression else []))
    if race:
        for result in run_programs(chosen(race_tests(race), opts.only), logs_of(race)):
            add(result, "race: ")
        if e2e_wanted and not expression:
            add(run_e2e("race: e2e", race, ["-m", "race"]))
    return results


def main():
    args = argparse.ArgumentParser(description="Run the tests of a build directory.")
    args.add_argument("build", nargs="?", default="build-test", type=pathlib.Path)
    args.add_argument("--race", type=pathlib.Path, help="a build with the thread sanitizer")
    args.add_argument("--unit-only", action="store_true", help="no end-to-end tests")
    args.add_argument("--only", metavar="NAME", help="one unit test, replay, e2e or e2e:EXPRESSION")
    args.add_argument("--torture", action="store_true", help="only cases that fail allocations")
    opts = args.parse_args()
    build = opts.build.resolve()
    if opts.torture:
        return torture(chosen(meson_tests(build), opts.only), logs_of(build))
    results = run_all(build, opts.race and opts.race.resolve(), opts)
    if not results:
        print(f"there is no test named {opts.only}", file=sys.stderr)
    return summary(results)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
