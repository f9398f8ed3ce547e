"""Runs a file of Node tests and gives each of its cases by name."""

import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
OK = re.compile(r"^(not ok|ok) \d+ - (.*?)( # .*)?$")


def node() -> str | None:
    """The pinned one: what Debian 12 brings is too old for some of the libraries."""
    pinned = sorted((HERE / "node_modules").glob("node-linux-*/bin/node"))
    return str(pinned[0]) if pinned else shutil.which("node")


def missing(*libraries: str) -> str | None:
    """Why Node tests cannot run here."""
    if not node():
        return "node is not installed"
    absent = [x for x in libraries if not (HERE / "node_modules" / x).exists()]
    return f"not installed: {', '.join(absent)}" if absent else None


def run(file: str, home, timeout: float = 120, **env) -> dict[str, tuple[bool, str]]:
    """Name -> (passed, what it said)."""
    env |= {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", HERE / "node" / file],
        env=env,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    found, lines = {}, [x.strip() for x in done.stdout.splitlines()]
    for i, line in enumerate(lines):
        if m := OK.match(line):
            name = m.group(2).replace("\\#", "#")
            found[name] = (m.group(1) == "ok", "\n".join(lines[i : i + 25]))
    assert found, done.stdout + done.stderr
    return found
