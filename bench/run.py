#!/usr/bin/env python3
"""make bench: measures fusor, and nginx and no proxy at all beside it, against a mock upstream.

  bench/run.py BUILD [--quick] [--rows chat,burst,...] [--systems direct,nginx,fusor]

Prints one table and leaves it, as JSON too, with all raw results in BUILD/bench-results/. The rows and how
they are measured: docs/performance.md. The gateway has one core for itself; the load tool and the
mock upstream share another. Loopback only."""

import argparse
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import rows  # noqa: E402
import table  # noqa: E402
from rig import Failed, Rig, say  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEMS = ("direct", "nginx", "fusor")


def options():
    p = argparse.ArgumentParser(description="measures fusor against its targets")
    p.add_argument("build", type=pathlib.Path, help="build directory, configured with -Dbench=true")
    p.add_argument("--quick", action="store_true", help="one short repeat: is everything right?")
    p.add_argument("--repeats", type=int, help="3, with --quick 1")
    p.add_argument("--ms", type=int, help="length of one load: 2000, with --quick 400")
    p.add_argument("--rows", default=",".join(rows.ROWS), help=f"of {', '.join(rows.ROWS)}")
    p.add_argument("--systems", default=",".join(SYSTEMS), help="which are measured")
    p.add_argument("--fusor", type=pathlib.Path, help="program to measure (BUILD/src/cli/fusor)")
    p.add_argument("--nginx", help="nginx to measure (the one on this machine)")
    o = p.parse_args()
    o.rows, o.systems = o.rows.split(","), o.systems.split(",")
    for names, known in ((o.rows, rows.ROWS), (o.systems, SYSTEMS)):
        for name in names:
            if name not in known:
                p.error(f"there is no {name}; there are {', '.join(known)}")
    o.repeats = o.repeats or (1 if o.quick else 3)
    o.ms = o.ms or (400 if o.quick else 2000)
    return o


def out(*argv):
    try:
        p = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    except OSError:
        return ""
    return (p.stdout + p.stderr).strip()


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def header(o, rig, nginx):
    load = os.getloadavg()[0]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "source": out("git", "describe", "--always", "--dirty"),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "gateway on core": ",".join(map(str, rig.gateway_cpus)),
        "load tool and upstream on core": ",".join(map(str, rig.tool_cpus)),
        "repeats": f"{o.repeats} of {o.ms} ms, medians",
        "nginx": out(nginx, "-v") if nginx else "none on this machine",
        "load average at start": f"{load:.2f}" + (" (busy: figures are noisy)" if load > 0.5 else ""),
    }


def folder_for(build):
    base = build / "bench-results"
    folder = base / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    latest = base / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
    return folder.resolve()


def find_nginx(o):
    if "nginx" not in o.systems:
        return None
    return o.nginx or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


def main():
    o = options()
    fusor = (o.fusor or o.build / "src/cli/fusor").resolve()
    if not (o.build / "bench/load").exists():
        sys.exit(f"bench: {o.build}/bench/load is missing: "
                 f"meson configure {o.build} -Dbench=true && ninja -C {o.build}")
    with_fusor = "fusor" in o.systems
    if with_fusor and not fusor.exists():
        sys.exit(f"bench: {fusor} is missing: ninja -C {o.build}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    nginx, folder = find_nginx(o), folder_for(o.build)
    rig = Rig(o.build / "bench", fusor, folder)
    try:
        head = header(o, rig, nginx)
        say(f"bench: {len(o.rows)} rows; raw results in {folder}")
        lines = rows.run(rows.Bench(rig, o.systems, nginx, o.repeats, o.ms), o.rows)
        head["CPU used by others"] = rig.others()
    except KeyboardInterrupt:
        sys.exit(130)
    except Failed as e:
        sys.exit(f"bench: {e}")
    finally:
        rig.close()
    print(table.write(folder, head, lines), end="")
    return 1 if any(line.note.startswith("failed") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
