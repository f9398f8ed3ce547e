"""The command line: answers on stdout, the rest on stderr, exit codes that scripts can trust."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from decimal import Decimal

import pytest

from gateway import BIN, Gateway, settings, slow
from money import nusd, sum_of_calls

COMMANDS = ["serve", "ask", "plan", "models", "config", "reload", "init", "doctor"]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def alone(provider, tmp_path):
    """A configuration without a running server."""
    return Gateway(tmp_path, settings(provider))


@pytest.fixture(params=["alone", "beside a server"])
def place(request, alone, server):
    """With and without a server: the same command, the same answer."""
    return alone if request.param == "alone" else server


def ask(g: Gateway, *args: str, **more) -> subprocess.CompletedProcess:
    return g.run("ask", "-c", str(g.file), *args, **more)


# --- help, usage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(alone, command):
    for flag in ("--help", "-h"):
        done = alone.run(command, flag)
        assert done.returncode == 0 and done.stderr == ""
        assert f"usage: fusor {command}" in done.stdout
        assert re.search(rf"example.*fusor {command}", done.stdout, re.S | re.I)
        assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_programs_own_help(alone):
    done = alone.run("--help")
    assert done.returncode == 0 and all(c in done.stdout for c in COMMANDS)
    assert alone.run("--version").stdout.startswith("fusor ")
    assert alone.run().returncode == 2


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["ask"],
        ["ask", "--no-such-flag", "x"],
        ["ask", "-m"],
        ["config"],
        ["config", "frobnicate"],
        ["reload", "x"],
        ["models", "a", "b", "c"],
        ["plan"],
        ["ask", "--max-cost", "cheap", "hi"],
        ["ask", "--max-tokens", "1.5", "hi"],
        ["ask", "-m", "alpha", "--mode", "merge", "hi"],
        ["plan", "-m", "alpha", "hi"],
    ],
    ids=" ".join,
)
def test_usage_is_2(alone, mock, args):
    if args[0] in ("ask", "plan") and len(args) > 1:
        args = [*args, "-c", str(alone.file)] if args[-1] != "-m" else args
    done = alone.run(*args, stdin="")
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and done.stderr.startswith(("fusor", "usage"))
    assert mock.calls_now() == []


@pytest.mark.parametrize("command", ["serve", "ask", "plan", "models", "reload", "doctor"])
def test_configuration_is_3(alone, command):
    alone.write("providers: {p: {kind: openai, base_url: 'ftp://x'}}\n")
    args = ["hi"] if command in ("ask", "plan") else []
    done = alone.run(command, "-c", str(alone.file), *args)
    assert done.returncode in ((1, 3) if command == "doctor" else (3,))
    assert re.search(r"fusor\.yaml:1:\d+", done.stderr + done.stdout)
    missing = alone.run(command, "-c", "/nowhere/fusor.yaml", *args)
    assert missing.returncode == 3 or command == "doctor"
    assert "/nowhere/fusor.yaml" in missing.stderr + missing.stdout


# --- ask -----------------------------------------------------------------------------------------


def test_ask(place, mock):
    done = ask(place, "-m", "trio", "Which is best?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MERGED:") and done.stdout.endswith("]\n")
    for word in ("alpha", "beta", "gamma", "writer", "$0."):
        assert word in done.stderr
    assert not CONTROL.search(done.stdout + done.stderr)  # a pipe gets no control codes
    assert len(mock.calls_now()) == 4


def test_ask_reads_stdin_and_a_system_prompt(place, mock):
    done = ask(place, "-m", "mock/echo", "--system", "Be kind.", "-", stdin="from a pipe\n")
    assert done.returncode == 0 and done.stdout.strip() == "from a pipe"
    assert mock.calls_now()[0].body["messages"][0]["content"] == "Be kind."


def test_ask_flags(place, mock):
    done = ask(
        place,
        "-m",
        "trio",
        "--mode",
        "best_of",
        "--panel",
        "alpha,beta",
        "--judge",
        "arbiter",
        "--max-tokens",
        "50",
        "--temperature",
        "0.25",
        "--max-cost",
        "2",
        "Hi",
    )
    assert (done.returncode, done.stdout) == (0, "beta says hello\n"), done.stderr
    calls = mock.calls_now("say")
    assert {c.body["max_tokens"] for c in calls} == {50}
    assert {c.body["temperature"] for c in calls} == {0.25} and len(calls) == 2


def test_ask_json(place):
    done = ask(place, "-m", "trio", "--json", "Hi")
    assert done.returncode == 0
    reply = json.loads(done.stdout, parse_float=Decimal)
    assert reply["choices"][0]["message"]["content"].startswith("MERGED:")
    assert len(reply["usage"]["fusion"]["members"]) == 3
    assert nusd(reply["usage"]["cost"]) == sum_of_calls(reply["usage"]) > 0


def test_ask_trace_and_a_plain_model(place):
    done = ask(place, "-m", "trio", "--trace", "Hi")
    assert done.returncode == 0 and re.search(r"fus_\w+", done.stderr)
    done = ask(place, "-m", "beta", "Hi")
    assert (done.returncode, done.stdout) == (0, "beta says hello\n")


def test_ask_books_in_the_same_ledger(place):
    before = len(place.ledger()) if place.state.exists() else 0
    assert ask(place, "-m", "alpha", "Hi").returncode == 0
    place.wait(lambda: len(place.ledger()) == before + 1, why="the row")


@pytest.mark.parametrize(
    "model, code, said",
    [
        ("mock/status:code=500", 1, "upstream"),
        ("mock/say:rst_head=1", 1, "mock"),
        ("alhpa", 1, "alpha"),
        ("mock/say:n=4,cut=2", 1, "mock"),
    ],
)
def test_ask_fails_with_1(place, model, code, said):
    done = ask(place, "-m", model, "Hi")
    assert done.returncode == code and said in done.stderr
    assert "fusor:" in done.stderr


def test_over_its_cost_it_is_4(place, mock):
    for command in ("ask", "plan"):
        done = place.run(
            command, "-c", str(place.file), "-m", "trio", "--max-cost", "0.0000001", "Hi"
        )
        assert done.returncode == 4, done.stderr
    assert mock.calls_now() == []


HOSTILE = "say:text=%1B%5B31mred%1B%5D0;title%07%20%E2%80%AEtxet%20plain%0Aline"


def test_model_output_is_made_visible(alone):
    done = ask(alone, "-m", f"mock/{HOSTILE}", "Hi")
    assert not CONTROL.search(done.stdout) and "plain\nline" in done.stdout
    raw = ask(alone, "-m", f"mock/{HOSTILE}", "--raw", "Hi")
    assert "\x1b[31mred" in raw.stdout


def terminal(g: Gateway, *args: str, interrupt_after: bytes | None = None, **env):
    """Runs a command on a terminal of its own. Returns exit code and all that it showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(g.home)
        os.execve(BIN, [str(BIN), *args], g.env | {"TERM": "xterm"} | env)
    shown, end = b"", time.monotonic() + 20 * slow()
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError as e:
            assert e.errno == errno.EIO
            break
        if not data:
            break
        shown += data
        if interrupt_after and interrupt_after in shown:
            os.write(fd, b"\x03")
            interrupt_after = None
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def test_on_a_terminal(alone, mock):
    ask_args = ("ask", "-c", str(alone.file), "-m")
    slowly = mock.script("script-slowly", "say:n=5,gap=50")
    code, shown = terminal(alone, *ask_args, "trio", "--panel", f"mock/{slowly},alpha", "Hi")
    assert code == 0 and "w4" in shown
    assert "\x1b[" in shown  # progress is drawn live
    code, shown = terminal(alone, "models", "-c", str(alone.file))
    assert "\x1b[1m" in shown
    code, shown = terminal(alone, "models", "-c", str(alone.file), NO_COLOR="1")
    assert code == 0 and "\x1b[" not in shown
    code, shown = terminal(alone, *ask_args, f"mock/{HOSTILE}", "Hi")
    assert "\x1b[31m" not in shown and "\x1b]0;" not in shown  # hostile text stays text
    code, shown = terminal(alone, *ask_args, "alpha", "--raw", "Hi")
    assert code == 2  # raw bytes are for a pipe


@pytest.mark.parametrize("model", ["mock/say:n=1000,gap=20", "trio"])
def test_ctrl_c_closes_upstream_calls_and_tells_the_cost(place, mock, model):
    hang = mock.script("script-hang", "say:n=1000,gap=20")
    panel = ["--panel", f"mock/{hang},mock/{hang}"] if model == "trio" else []
    args = [BIN, "ask", "-c", place.file, "-m", model, *panel, "Hi"]
    with subprocess.Popen(
        args,
        env=place.env,
        cwd=place.home,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as p:
        count = 2 if panel else 1
        mock.wait(
            lambda: (
                len(mock.calls_now()) == count and all(len(c.sent) > 5 for c in mock.calls_now())
            )
        )
        began = time.monotonic()
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=20)
    for call in mock.calls_now():
        mock.wait(lambda c=call: c.ended)
        assert call.end == "left" and call.ended - began < 0.2 * slow()
    assert p.returncode in (1, 130)
    assert "cancelled" in err
    # the sum, or that it is not known here: never a wrong nothing
    assert re.search(r"\$0\.\d+|unknown", err) and not re.search(r"\$0(?![.\d])", err), err


def test_a_closed_pipe_is_no_crash(alone, mock):
    with subprocess.Popen(
        [BIN, "ask", "-c", alone.file, "-m", "mock/say:n=200,gap=5", "Hi"],
        env=alone.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as p:
        assert p.stdout.read(3)
        p.stdout.close()
        p.stderr.read()
        assert p.wait(20 * slow()) in (0, 1)


# --- plan, models, config, doctor ------------------------------------------------------------


def test_plan(place, mock):
    done = place.run("plan", "-c", str(place.file), "-m", "trio", "--json", "Hi")
    plan = json.loads(done.stdout, parse_float=Decimal)
    assert done.returncode == 0 and plan["fits"] is True and plan["mode"] == "merge"
    done = place.run("plan", "-c", str(place.file), "-m", "trio", "Hi")
    shown = done.stdout + done.stderr
    assert done.returncode == 0 and "alpha" in shown and "$" in shown
    assert mock.calls_now() == []


def test_models(place):
    done = place.run("models", "-c", str(place.file))
    assert done.returncode == 0 and "trio" in done.stdout and "alpha" in done.stdout
    assert not CONTROL.search(done.stdout)
    listed = json.loads(place.run("models", "-c", str(place.file), "--json").stdout)
    assert {"trio", "alpha"} <= {m["id"] for m in listed}


def test_config_check_and_show(place):
    done = place.run("config", "check", str(place.file))
    assert done.returncode == 0 and "is right" in done.stdout
    shown = place.run("config", "show", "-c", str(place.file))
    assert shown.returncode == 0
    again = place.run("config", "check", "-", stdin=shown.stdout)
    assert again.returncode == 0, again.stderr
    bad = place.run("config", "check", "-", stdin="listen: 127.0.0.1:1\nmodells: {}\n")
    assert bad.returncode == 3 and re.search(r"\(stdin\):2:\d+: .*models", bad.stderr)


def test_the_file_is_found(alone):
    for env in ({"FUSOR_CONFIG": str(alone.file)}, {}):  # the second: ./fusor.yaml
        done = alone.run("ask", "-m", "alpha", "Hi", **env)
        assert (done.returncode, done.stdout) == (0, "alpha says hello\n"), done.stderr


def test_reload_without_a_server_says_so(alone):
    done = alone.run("reload", "-c", str(alone.file))
    assert done.returncode == 1 and "fusor serve" in done.stderr


def test_a_remote_server_by_url_and_key(alone, start):
    g = start(key="env:FUSOR_API_KEY", _env={"FUSOR_API_KEY": "remote-key-123"})
    env = {"FUSOR_URL": f"http://127.0.0.1:{g.port}/v1", "FUSOR_KEY": "remote-key-123"}
    done = ask(alone, "-m", "trio", "Hi", **env)
    assert done.returncode == 0 and done.stdout.startswith("MERGED:"), done.stderr
    done = ask(alone, "-m", "trio", "Hi", **(env | {"FUSOR_KEY": "wrong"}))
    assert done.returncode == 1 and "remote-key" not in done.stderr


def test_doctor(place):
    done = place.run("doctor", "-c", str(place.file))
    text = done.stdout + done.stderr
    assert done.returncode in (0, 1) and "refused" in text  # a provider that nobody listens for
    assert not CONTROL.search(text)
