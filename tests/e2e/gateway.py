"""The program under test as a process: its configuration, its start, its end, what it said.

Every server ends with SIGTERM and must end with 0: a sanitizer's finding, a leak included, is
another code, and fails the test that stops it.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

import yaml

from wire import Reply, Wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FUSOR_BIN", ROOT / "build/fusor")).resolve()
KEY = "sk-mock-4f1c9a77d2e84b0c"  # the provider's key: nobody but the provider may see it
HELLO = re.compile(r"fusor (\S+) listens on (https?)://127\.0\.0\.1:(\d+)")


@functools.cache
def sanitizer() -> str:
    """What the binary was built with: address, thread, or nothing."""
    data = BIN.read_bytes()
    return "thread" if b"__tsan_init" in data else "address" if b"__asan_init" in data else ""


@functools.cache
def slow() -> float:
    """How much longer things may take than in a release build."""
    return {"": 1.0, "address": 2.5, "thread": 5.0}[sanitizer()]


def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def provider(mock, **more) -> dict:
    """A provider entry that leads to the mock."""
    timeouts = {"connect": "2s", "first_byte": "20s", "idle": "20s", "total": "60s"}
    entry = {
        "kind": "openai",
        "base_url": mock.url,
        "key": "env:MOCK_KEY",
        "price": {"input": 1.5, "cached_input": 0.25, "output": 7.5},
        "timeouts": timeouts,
    }
    return {k: v for k, v in (entry | more).items() if v is not None}


def quick(mock, **more) -> dict:
    """One that is given up soon: for time-outs."""
    ms = int(300 * slow())
    times = {"connect": f"{ms}ms", "first_byte": f"{ms}ms", "idle": f"{ms}ms", "total": "60s"}
    return provider(mock, timeouts=times, **more)


def settings(mock, **more) -> dict:
    """The configuration that most tests use; `more` replaces whole entries of the top."""
    # fmt: off
    base = {
        "listen": "127.0.0.1:0", "workers": 2, "drain": "20s",
        "providers": {
            "mock": provider(mock),
            "free": provider(mock, price="free"),
            "unpriced": provider(mock, price=None),
            "quick": quick(mock),
            "one": provider(mock, max_concurrency=1, max_queue=2),
            "refused": provider(mock, base_url=f"http://127.0.0.1:{closed_port()}/v1"),
        },
        "models": {
            "alpha": {"provider": "mock", "id": "say:text=alpha%20says%20hello", "context": 32768},
            "beta": {"provider": "mock", "id": "say:text=beta%20says%20hello"},
            "gamma": {"provider": "mock", "id": "say:text=gamma%20says%20hello"},
            "arbiter": {"provider": "mock", "id": "judge:pick=beta"},
            "writer": {"provider": "mock", "id": "merge"},
        },
        "fusions": {
            "trio": {"mode": "merge", "panel": ["alpha", "beta", "gamma"], "judge": "writer"},
            # these two wait for all three, so that what they pick from is always the same
            "best": {"mode": "best_of", "panel": ["alpha", "beta", "gamma"], "judge": "arbiter",
                     "quorum": 3},
            "poll": {"mode": "vote", "panel": ["alpha", "beta", "gamma"], "judge": "arbiter",
                     "quorum": 3},
            "fusion": {"mode": "merge", "panel": ["alpha", "beta"], "judge": "writer"},
        },
    }
    # fmt: on
    return base | more


def environment(home: pathlib.Path, **more) -> dict:
    """A clean one: what the person who runs the tests has set must not matter."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "MOCK_KEY": KEY}
    env |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
    return env | {k: v for k, v in more.items() if v is not None}


class Gateway:
    """`fusor serve` with a configuration of its own, in a directory of its own."""

    def __init__(self, home: pathlib.Path, config: dict, **env):
        self.home = home
        self.state = home / "state"
        self.file = home / "fusor.yaml"
        self.errors = home / "stderr.txt"
        self.env = environment(home, **env)
        self.write(config)

    def write(self, config: dict | str):
        """The configuration file; a running server keeps the old one until it is told."""
        if isinstance(config, dict):
            self.config = {"state_dir": str(self.state)} | config
            config = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        self.file.write_text(config)

    def __enter__(self) -> "Gateway":
        return self.start()

    def __exit__(self, kind, *rest):
        code = self.stop()
        if kind is None:
            assert code == 0, f"ended with {code}:\n{self.said()[-6000:]}"

    def start(self) -> "Gateway":
        with open(self.errors, "ab") as err:
            self.process = subprocess.Popen(
                [BIN, "serve", "-c", self.file],
                env=self.env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stderr=err,
            )
        hello = self.wait(
            lambda: HELLO.search(self.said()) or self.process.poll() is not None,
            20,
            "the server to listen",
        )
        assert hello is not True, f"ended with {self.process.returncode}:\n{self.said()}"
        self.version, self.port = hello.group(1), int(hello.group(3))
        return self

    def stop(self, how: int = signal.SIGTERM, timeout: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end:\n{self.said()[-4000:]}") from None

    def said(self) -> str:
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def log(self, event: str | None = None) -> list[dict]:
        """The JSON lines of the log, those of one event."""
        lines = [json.loads(x) for x in self.said().splitlines() if x.startswith("{")]
        return [x for x in lines if event is None or event in (x.get("event"), x.get("msg"))]

    def wait(self, what, timeout: float = 10.0, why: str = "the gateway"):
        end = time.monotonic() + timeout * slow()
        while True:
            got = what()
            if got:
                return got
            assert time.monotonic() < end, f"timed out waiting for {why}:\n{self.said()[-3000:]}"
            time.sleep(0.005)

    # --- talking to it ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def socket(self) -> str:
        return str(self.state / "fusor.sock")

    def wire(self, timeout: float = 20.0) -> Wire:
        return Wire(self.port, timeout=timeout * slow())

    def ask(self, method: str, path: str, body=None, headers: dict | None = None) -> Reply:
        with self.wire() as w:
            return w.ask(method, path, body, headers)

    def chat(
        self, model: str, stream: bool = False, headers: dict | None = None, prompt="Hi", **more
    ) -> Reply:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]} | more
        if stream:
            body["stream"] = True
        return self.ask("POST", "/v1/chat/completions", body, headers)

    def run(self, *args: str, stdin: str | None = None, timeout: float = 30, **env):
        """Another command of the program, beside the server."""
        env = self.env | {k: v for k, v in env.items() if v is not None}
        return subprocess.run(
            [BIN, *args],
            env=env,
            cwd=self.home,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout * slow(),
        )

    def ledger(self, sql: str = "SELECT * FROM call ORDER BY seq") -> list[sqlite3.Row]:
        return self.rows("ledger.db", sql)

    def rows(self, name: str, sql: str) -> list[sqlite3.Row]:
        """Rows of a database: of a copy, as the server lets nobody else open its own."""
        with tempfile.TemporaryDirectory() as copy:
            for file in (name, f"{name}-wal"):
                if (self.state / file).exists():
                    shutil.copy(self.state / file, copy)
            with contextlib.closing(sqlite3.connect(f"{copy}/{name}")) as db:
                db.row_factory = sqlite3.Row
                return db.execute(sql).fetchall()
