"""fusor doctor: what can be wrong has its line, what to do about it, and the exit code."""

import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

import delivery
from gateway import BIN, KEY, Gateway, closed_port
from mock import Mock
from terminal import Terminal

LINE = re.compile(r"(ok  |warn|bad )  ([^:]+): .+")
LAST = re.compile(r"(\d+) ok, (\d+) warnings?, (\d+) problems?")
HOST = {"disk space", "file system", "open files"}  # of the machine that the tests run on


@pytest.fixture
def mock():
    """A provider that knows one key and lists what `sound` uses."""
    with Mock(key=KEY, refuses=True) as m:
        m.models = ["alpha-1", "beta-1"]
        yield m
    assert not [c.findings for c in m.calls if c.findings]


@pytest.fixture
def sound(tmp_path, mock) -> Gateway:
    """A set-up in which nothing is wrong, and no server."""
    home = tmp_path / "home"
    home.mkdir()
    key = home / "lab.key"
    key.touch(mode=0o600)
    key.write_text(f"{KEY}\n")
    lab = {"kind": "openai", "base_url": mock.url, "key": f"file:{key}"}
    lab["price"] = {"input": 1, "output": 2}
    config = {
        "listen": f"127.0.0.1:{closed_port()}",
        "providers": {"lab": lab},
        "models": {
            "alpha": {"provider": "lab", "id": "alpha-1"},
            "beta": {"provider": "lab", "id": "beta-1"},
        },
        "fusions": {"duo": {"panel": ["alpha", "beta"], "judge": "alpha", "max_cost_usd": 0.1}},
    }
    return Gateway(home, config, FUSOR_RUNTIME="/nowhere")


@pytest.fixture
def running(sound):
    with sound:
        yield sound


@pytest.fixture(params=["alone", "beside a server"])
def place(request, sound):
    if request.param == "alone":
        yield sound
        return
    with sound:
        yield sound


class Report:
    """What `doctor --json` says, by name; of several lines of a name the worst, then the last."""

    def __init__(self, g: Gateway, *args: str, **more):
        done = g.run("doctor", "-c", str(g.file), "--json", *args, **more)
        assert KEY not in done.stdout + done.stderr
        assert done.stderr == ""
        self.code, self.said = done.returncode, json.loads(done.stdout)
        self.checks = self.said["checks"]
        assert all(set(c) == {"name", "status", "message", "fix"} for c in self.checks)
        self.lines = {}
        order = ["ok", "warn", "bad"]
        for c in self.checks:
            have = self.lines.get(c["name"])
            if not have or order.index(c["status"]) >= order.index(have["status"]):
                self.lines[c["name"]] = c

    def is_sound(self) -> bool:
        wrong = [c for c in self.checks if c["status"] != "ok" and c["name"] not in HOST]
        assert not wrong, wrong
        return self.code == 0

    def shows(self, name: str, status: str, message: str, fix: str | None = None):
        """One line as told; the exit code is that of the report's worst line."""
        line = self.lines[name]
        assert line["status"] == status, line
        assert re.search(message, line["message"]), line
        assert (line["fix"] is None) if fix is None else re.search(fix, line["fix"]), line
        worst = any(c["status"] == "bad" for c in self.checks)
        assert self.code == (1 if worst else 0)


def change(g: Gateway, **more):
    """Entries of the top replaced; a dict is merged into the entry of that name."""
    config = json.loads(json.dumps(g.config))
    for key, value in more.items():
        old = config.get(key)
        config[key] = old | value if isinstance(value, dict) and isinstance(old, dict) else value
    g.write(config)


def lab(g: Gateway, **more) -> dict:
    entry = g.config["providers"]["lab"] | more
    return {"lab": {k: v for k, v in entry.items() if v is not None}}


# --- the report ----------------------------------------------------------------------------------


def test_nothing_is_wrong(place, mock):
    report = Report(place)
    assert report.is_sound()
    names = ["configuration", "state directory", "disk space", "server", "listen", "files", "clock"]
    names += ["open files", "provider lab", "recipe duo", "recipe fusion"]
    if hasattr(place, "process"):
        names.insert(names.index("listen"), "upstreams")
    assert [c["name"] for c in report.checks] == names
    assert [(c.method, c.path) for c in mock.calls] == [("GET", "/v1/models")]  # no model is asked
    text = place.run("doctor", "-c", str(place.file))
    *lines, empty, last = text.stdout.splitlines()
    assert text.returncode == 0 and empty == "" and all(map(LINE.fullmatch, lines))
    counts = [report.said[k] for k in ("ok", "warnings", "problems")]
    assert [int(n) for n in LAST.fullmatch(last).groups()] == counts and counts[0] == len(lines)


def test_it_changes_nothing(sound):
    before = sorted(sound.home.rglob("*"))
    assert Report(sound).lines["state directory"]["message"].endswith("the first start makes")
    assert sorted(sound.home.rglob("*")) == before


def test_problems_as_text(sound):
    change(sound, providers=lab(sound, base_url=f"http://127.0.0.1:{closed_port()}/v1"))
    text = sound.run("doctor", "-c", str(sound.file))
    assert text.returncode == 1 and text.stderr == ""
    assert re.search(r"\nbad   provider lab: .*refused\n      .*curl -sS http://", text.stdout)
    assert LAST.fullmatch(text.stdout.splitlines()[-1]).group(3) != "0"


def test_on_a_terminal(sound):
    (sound.home / "lab.key").chmod(0o644)
    for env, codes in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(sound, "doctor", "-c", str(sound.file), **env) as t:
            assert t.end() == 0
        assert ("\x1b[1;33mwarn\x1b[0m" in t.shown) is codes and ("\x1b" in t.shown) is codes


def test_hostile_text_is_made_visible(sound, mock):
    mock.script("/v1/models", "status:code=404,message=%1B%5B31mred%07")
    report = Report(sound)
    assert "\\x1B[31mred\\x07" in report.lines["provider lab"]["message"]
    text = sound.run("doctor", "-c", "no\x1b[31m.yaml")
    assert text.returncode == 3 and "\x1b" not in text.stdout and "no\\x1B[31m.yaml" in text.stdout


def test_offline(sound, mock):
    report = Report(sound, "--offline")
    assert report.is_sound() and mock.calls == []
    assert not {"provider lab", "recipe duo"} & report.lines.keys()  # nobody can tell
    change(sound, providers=lab(sound, price=None))
    Report(sound, "--offline").shows("recipe duo", "bad", "the price of alpha", "price:")


def test_usage(sound):
    assert sound.run("doctor", "x").returncode == 2


# --- configuration -------------------------------------------------------------------------------


def test_no_file(sound):
    sound.file = sound.home / "not here.yaml"
    report = Report(sound)
    assert report.code == 3 and report.lines["configuration"]["status"] == "bad"
    assert f"fusor init -c '{sound.file}'" in report.lines["configuration"]["fix"]
    quotes = sound.run("doctor", "-c", "'" * 9).stdout  # as a shell takes it
    assert "fusor init -c '" + r"'\''" * 9 + "'` writes one" in quotes
    assert {"runtime", "clock"} <= report.lines.keys()  # what can be told without it


def test_the_defaults(sound):
    sound.file.unlink()
    done = sound.run("doctor", "--offline")
    assert done.returncode == 1  # the local model is all there is, and it is not installed
    assert "no file, so the defaults" in done.stdout and "runtime/setup.sh" in done.stdout


def test_a_mistake_in_the_file(sound):
    sound.write("listen: 127.0.0.1:1\nmodells: {}\n")
    report = Report(sound)
    assert report.code == 3
    assert re.search(r"fusor\.yaml:2:\d+: .*models", report.lines["configuration"]["message"])
    assert f"fusor config check {sound.file}" in report.lines["configuration"]["fix"]


# --- state directory, server ---------------------------------------------------------------------


def test_state_directory_that_cannot_be(sound):
    (sound.home / "plain").touch()
    change(sound, state_dir=f"{sound.home}/plain/state")
    Report(sound).shows("state directory", "bad", "plain", "state_dir")
    change(sound, state_dir=f"{sound.home}/{'x' * 120}")
    Report(sound).shows("state directory", "bad", "too long for the socket", r"at most 9\d bytes")


def test_state_directory_that_is_open(sound):
    sound.state.mkdir(mode=0o755)
    report = Report(sound)
    report.shows("state directory", "warn", r"open to others \(mode 0755\)", "^chmod 700 ")
    subprocess.run(report.lines["state directory"]["fix"], shell=True, check=True)
    assert Report(sound).is_sound()


@pytest.mark.skipif(
    subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode != 0,
    reason="no small disk can be mounted here",
)
def test_disk_without_room(sound):
    sound.state.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=1m,mode=700 x "$1" && shift && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", script, "sh", sound.state]
    done = subprocess.run(
        [*command, BIN, "doctor", "-c", sound.file],
        env=sound.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"bad   disk space: \d MiB free in .*\n      make room", done.stdout)


def test_the_running_server(running):
    report = Report(running)
    pid = running.process.pid
    assert re.search(rf"process {pid} for \d+ s.*fusor\.yaml", report.lines["server"]["message"])
    assert "held by the running server" in report.lines["listen"]["message"]


def test_a_file_that_is_not_in_force(running):
    change(running, drain="21s")
    Report(running).shows("server configuration", "warn", "another", "fusor reload")
    assert running.run("reload", "-c", str(running.file)).returncode == 0
    assert Report(running).is_sound()


def test_a_port_that_the_system_picks(sound):
    change(sound, listen="127.0.0.1:0")
    with sound:
        report = Report(sound)
        assert report.is_sound() and f"port {sound.port}," in report.lines["listen"]["message"]


def test_a_server_that_hangs(running):
    pid = running.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        report = Report(running)
    finally:
        os.kill(pid, signal.SIGCONT)
    report.shows("server", "bad", rf"process {pid}\).*no answer", f"kill {pid}")


def test_a_server_that_was_killed(sound):
    with sound:
        sound.process.kill()
        sound.process.wait()
        sound.process.returncode = 0
    assert os.path.exists(sound.socket)
    assert Report(sound).is_sound()  # the next start replaces what it has left


def test_a_lock_without_a_socket(sound):
    sound.state.mkdir(mode=0o700)
    with open(sound.state / "lock", "w") as f:
        f.write("4242\n")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        Report(sound).shows("server", "warn", "process 4242 holds", "kill 4242")
    assert Report(sound).is_sound()


class Impostor(Mock):
    """Answers at the state directory's socket as an old server with a broken store."""

    def answer(self, call, body):
        state = {"version": "0.0.1", "pid": os.getpid(), "ledger_ok": False, "archive_ok": False}
        state |= {"archive_dropped": 7, "store_message": "disk I/O error", "providers": []}
        text = json.dumps(state) if call.path == "/admin/state" else "listen: elsewhere\n"
        return iter([delivery.whole(200, text.encode())])


def test_what_a_server_says_of_itself(sound):
    sound.state.mkdir(mode=0o700)
    with Impostor(unix=sound.socket):
        report = Report(sound)
    report.shows("server version", "warn", "0.0.1 runs", "kill")
    report.shows("ledger", "bad", "disk I/O error", "kill")
    report.shows("archive", "warn", "7 rows", "disk")


def test_models_that_are_passed_over(running):
    """What calls have shown, a probe from outside may not see: a limit, a key, an outage."""
    report = Report(running)
    report.shows("upstreams", "ok", "no model is passed over")
    change(running, breaker={"failures": 2, "open": "60s"})
    assert running.run("reload", "-c", str(running.file)).returncode == 0
    for _ in range(2):
        assert running.chat("lab/status:code=500").status == 502
    assert running.chat("lab/status:code=429,retry=40").status == 429
    report = Report(running)
    report.shows("model lab/status:code=500", "warn", r"2 failures in a row.* in \d+ s", "below")
    report.shows("model lab/status:code=429,retry=40", "warn", r"not asked for \d+ s", "fallback")
    assert "upstreams" not in report.lines
    assert running.chat("lab/status:code=401").status == 502
    report = Report(running)
    report.shows("model lab/status:code=401", "warn", r"asked last for \d+ s", "fusor reload")
    assert running.run("reload", "-c", str(running.file)).returncode == 0
    Report(running).shows("upstreams", "ok", "no model is passed over")


def test_a_remote_server(running, mock):
    env = {"FUSOR_URL": running.url}
    assert Report(running, **env).is_sound()
    env = {"FUSOR_URL": f"http://127.0.0.1:{closed_port()}"}
    Report(running, **env).shows("$FUSOR_URL", "bad", "commands ask .*refused", "unset FUSOR_URL")
    Report(running, FUSOR_URL="ftp://x").shows("$FUSOR_URL", "bad", "ftp://x", "FUSOR_URL")
    mock.script("/v1/models", "html")
    env = {"FUSOR_URL": mock.url, "FUSOR_KEY": KEY}
    Report(running, **env).shows("$FUSOR_URL", "bad", "not valid JSON", "FUSOR_URL")
    env["FUSOR_KEY"] = "wrong"
    Report(running, **env).shows("$FUSOR_URL", "bad", "key is refused", r"\$FUSOR_KEY")


# --- listen, TLS, files, the machine -------------------------------------------------------------


def test_a_port_in_use(sound):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        change(sound, listen=f"127.0.0.1:{s.getsockname()[1]}")
        Report(sound).shows("listen", "bad", rf"in use by pid {os.getpid()}", "end what holds it")


def test_beyond_this_machine(sound):
    change(sound, listen="0.0.0.0:0", insecure=True)
    Report(sound).shows("insecure", "warn", "in the clear", "fusor config check")
    change(sound, listen="192.0.2.1:8420")
    Report(sound).shows("listen", "bad", "192.0.2.1", "address of this machine")


@pytest.fixture
def certificate(tmp_path):
    """certificate(from, until): certificate and key as files; both dates as YYMMDD."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl program to make a certificate")
    (tmp_path / "index.txt").touch()
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca = x\n[x]\ndatabase = index.txt\nnew_certs_dir = .\nserial = serial\n"
        "default_md = sha256\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n"
    )

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=tmp_path, check=True, capture_output=True)

    def make(name: str, first: str, last: str):
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-new", *new, "-keyout", f"{name}.key", "-out", "request", "-subj", "/CN=x")
        dates = ["-startdate", f"{first}000000Z", "-enddate", f"{last}000000Z"]
        sign = ["-batch", "-selfsign", "-rand_serial", "-notext", "-config", "ca.cnf"]
        openssl("ca", *sign, *dates, "-keyfile", f"{name}.key", "-in", "request", "-out", name)
        return {"cert": str(tmp_path / name), "key": str(tmp_path / f"{name}.key")}

    return make


def test_certificates(sound, certificate):
    from datetime import datetime, timedelta

    soon = (datetime.now() + timedelta(days=5)).strftime("%y%m%d")
    later = (datetime.now() + timedelta(days=90)).strftime("%y%m%d")
    good = certificate("good", "200101", later)
    change(sound, tls=good)
    report = Report(sound)
    assert report.is_sound() and report.lines["tls"]["message"].startswith(good["cert"])
    for name, first, last, status, said in (
        ("expired", "200101", "210101", "bad", "has expired on 2021-01-01"),
        ("early", later, "491231", "bad", "holds only from"),
        ("soon", "200101", soon, "warn", "holds until"),
    ):
        change(sound, tls=certificate(name, first, last))
        Report(sound).shows("tls", status, said, "fusor reload")
    change(sound, tls=good | {"key": sound.config["tls"]["key"]})
    Report(sound).shows("tls", "bad", "key", "openssl x509 .*\n.*openssl pkey")
    change(sound, tls=good | {"cert": "/nowhere.pem"})
    Report(sound).shows("tls", "bad", "/nowhere.pem", "openssl x509")


def test_key_files_that_are_open(sound, certificate):
    sound.home.joinpath("lab.key").chmod(0o640)  # a group may share it
    assert Report(sound).is_sound()
    sound.home.joinpath("lab.key").chmod(0o644)
    report = Report(sound)
    report.shows("files", "warn", r"lab\.key .* \(mode 0644\)", "^chmod 600 ")
    subprocess.run(report.lines["files"]["fix"], shell=True, check=True)
    assert Report(sound).is_sound()
    tls = certificate("tls", "200101", "491231")
    os.chmod(tls["key"], 0o666)
    change(sound, tls=tls)
    Report(sound).shows("files", "warn", r"tls\.key .*0666", "chmod 600")


def test_a_configuration_that_others_may_change(sound):
    sound.file.chmod(0o666)
    Report(sound).shows("files", "warn", "may be changed by others", f"chmod o-w {sound.file}")


def test_log(sound):
    change(sound, log=f"{sound.home}/fusor.log")
    report = Report(sound)
    assert report.is_sound() and report.lines["log"]["message"].endswith("/fusor.log")
    change(sound, log=f"{sound.home}/no/fusor.log")
    Report(sound).shows("log", "bad", "No such file", f"mkdir -p {sound.home}/no")


def test_few_open_files(sound):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    done = subprocess.run(
        [BIN, "doctor", "-c", sound.file],
        env=sound.env,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert re.search(r"warn  open files: at most 200.*\n      ulimit -n 65536", done.stdout)


# --- providers -----------------------------------------------------------------------------------


def test_a_key_that_is_refused(sound):
    sound.home.joinpath("lab.key").write_text("sk-wrong-4711\n")
    report = Report(sound)
    report.shows("provider lab", "bad", r"refused \(status 401\)", f"into {sound.home}/lab.key")
    assert "sk-wrong" not in json.dumps(report.said)  # the provider repeats it
    change(sound, providers=lab(sound, key="env:LAB_KEY"))
    Report(sound, LAB_KEY="sk-wrong").shows("provider lab", "bad", "refused", r"set \$LAB_KEY")
    change(sound, providers=lab(sound, key=None))
    Report(sound).shows("provider lab", "bad", "key is missing", "key: env:NAME")


def test_nobody_there(sound):
    port = closed_port()
    change(sound, providers=lab(sound, base_url=f"http://127.0.0.1:{port}/v1"))
    fix = rf"curl -sS http://127.0.0.1:{port}/v1/models"
    Report(sound).shows("provider lab", "bad", "refused", fix)
    change(sound, providers=lab(sound, base_url=f"unix:{sound.home}/x.sock:/v1"))
    fix = rf"curl --unix-socket {sound.home}/x\.sock http://x/v1/models"
    Report(sound).shows("provider lab", "bad", "x.sock", fix)
    change(sound, providers=lab(sound, base_url="https://127.0.0.1/v1", ca_file="/nowhere.pem"))
    Report(sound).shows("provider lab", "bad", "/nowhere.pem", "base_url")


@pytest.mark.parametrize(
    "behaviour, status, message, fix",
    [
        ("status:code=500,message=oops", "bad", "oops", "wait"),
        ("status:code=404,message=no%20list", "warn", "no list", "curl"),
        ("status:code=429,message=slow%20down", "warn", "slow down", "curl"),
        (f"status:code=404,message=key%20{KEY}", "warn", "not shown", "curl"),
        (f"status:code=404,message=key%20{KEY[:8]}***{KEY[-4:]}", "warn", "not shown", "curl"),
        (f"status:code=404,message=key%20***{KEY[-8:]}", "warn", "not shown", "curl"),
        (f"status:code=404,message=key%20***{KEY[-7:]}", "warn", f"key .*{KEY[-7:]}", "curl"),
        ("html", "bad", "no API", "base_url"),
        ("status:code=302", "bad", "redirects", "base_url"),
        ("say:rst_head=1", "bad", "reset", "base_url"),
    ],
)
def test_odd_answers(sound, mock, behaviour, status, message, fix):
    mock.script("/v1/models", behaviour)
    report = Report(sound)
    report.shows("provider lab", status, message, fix)
    assert report.lines["recipe duo"]["status"] == ("ok" if status == "warn" else "bad")


def test_all_are_asked_side_by_side(sound, mock):
    """Ten that do not answer take the time of one."""
    with Mock(key=KEY) as silent:
        silent.script("/v1/models", "say:stall_head=1")
        more = lab(sound, base_url=silent.url)["lab"]
        change(sound, providers={f"silent{i}": more for i in range(10)})
        done = sound.run("doctor", "-c", str(sound.file), timeout=15)
        assert done.returncode == 1 and done.stdout.count("no answer within 5 s") == 10


def test_a_model_that_is_not_listed(sound, mock):
    mock.models = ["alpha-2", "beta-1"]
    report = Report(sound)
    report.shows("model alpha", "warn", 'lab does not list "alpha-1"', 'did you mean "alpha-2"')
    assert report.code == 0 and "model beta" not in report.lines
    mock.models = ["other"]
    Report(sound).shows("model alpha", "warn", "not list", f"{mock.url}/models is the list")


@pytest.mark.parametrize("listed", ["models/alpha-1", "alpha-1:latest", "alpha-1-20260101"])
def test_a_model_by_another_name(sound, mock, listed):
    mock.models = [listed, "beta-1"]
    assert Report(sound).is_sound()


def test_models_of_recipes(sound, mock):
    """Those that the file does not list: provider/id."""
    panel = ["lab/beta-1", "lab/alpha-11", "lab/alpha-11"]
    change(sound, fusions={"trio": {"panel": panel, "judge": "lab/alpha-11"}})
    report = Report(sound)
    report.shows("recipe trio", "warn", "alpha-11", 'did you mean "alpha-1"')
    assert len([c for c in report.checks if c["name"] == "recipe trio"]) == 2


# --- local and recorded models -------------------------------------------------------------------


def test_a_command(sound):
    local = {"kind": "local", "command": ["no-such-program", "{port}"]}
    change(sound, providers={"llama": local}, models={"small": {"provider": "llama"}})
    Report(sound).shows("provider llama", "warn", "no-such-program is not found in PATH", "command")
    change(sound, fusions={"solo": {"panel": ["small"]}})
    report = Report(sound)
    report.shows("provider llama", "bad", "not found in PATH", "command")
    report.shows("recipe solo", "bad", "0 of 1 members", "solo")
    for command, model, said in (
        (["/etc/passwd", "{port}"], None, "/etc/passwd is no program"),
        (["cat", "{model}", "{port}"], None, "sets no 'model'"),
        (["cat", "{model}", "{port}"], "/nowhere.gguf", "/nowhere.gguf"),
    ):
        entry = {"kind": "local", "command": command} | ({"model": model} if model else {})
        change(sound, providers={"llama": entry})
        Report(sound).shows("provider llama", "bad", said, "command")
    change(sound, providers={"llama": {"kind": "local", "command": ["cat", "{port}"]}})
    assert Report(sound).is_sound()


def test_the_embedded_runtime(sound, tmp_path):
    runtime = tmp_path / "runtime"
    change(sound, providers={"local": {"kind": "local"}}, models={"small": {"provider": "local"}})
    report = Report(sound)
    report.shows("provider local", "warn", "not installed; not in /nowhere", "runtime/setup.sh")
    python = runtime / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    (runtime / "serve.py").touch()
    env = {"FUSOR_RUNTIME": str(runtime)}
    Report(sound, **env).shows("provider local", "warn", "no .*/model.gguf", "runtime/setup.sh")
    (runtime / "model.gguf").touch()
    report = Report(sound, **env)
    assert report.is_sound() and str(runtime) in report.lines["provider local"]["message"]
    with contextlib.suppress(FileNotFoundError):
        sound.file.unlink()
    assert "runtime" in Report(sound, **env).lines


def test_a_local_server_that_does_not_start(sound):
    local = {"kind": "local", "command": ["sh", "-c", "exit 3", "{port}"]}
    change(sound, providers={"llama": local}, models={"small": {"provider": "llama"}})
    with sound:
        assert "stopped" in Report(sound).lines["provider llama"]["message"]
        assert sound.chat("small").status >= 500
        Report(sound).shows("provider llama", "bad", "last start failed", "fusor ask -m")


def test_recorded_answers(sound):
    tape = sound.home / "tape.jsonl"
    change(sound, providers={"tape": {"kind": "recorded", "file": str(tape)}})
    Report(sound).shows("provider tape", "bad", "tape.jsonl", "`file`")
    tape.write_text('{"id": "1", "question": "q", "outputs": {"m": "a"}}\n{"id": \n')
    Report(sound).shows("provider tape", "bad", r"tape\.jsonl.*2", "`file`")
    tape.write_text('{"id": "1", "question": "q", "outputs": {"m": "a"}}\n')
    assert Report(sound).is_sound()


# --- recipes -------------------------------------------------------------------------------------


@pytest.fixture
def broken(sound):
    """One provider more, which nobody listens for, and its model `lost`."""
    away = {"kind": "openai", "base_url": f"http://127.0.0.1:{closed_port()}/v1", "price": "free"}
    change(sound, providers={"away": away}, models={"lost": {"provider": "away"}})
    return sound


@pytest.mark.parametrize(
    "recipe, status, said",
    [
        ({"panel": ["alpha", "beta", "lost"], "judge": "alpha"}, "warn", "2 of 3 members"),
        ({"panel": ["alpha", "lost"]}, "bad", "1 of 2 members can be asked; quorum 2"),
        ({"panel": ["alpha", "lost"], "quorum": 1}, "warn", "1 of 2 members"),
        ({"panel": ["alpha", "beta"], "judge": "lost"}, "warn", "0 of 1 judges"),
        ({"panel": ["alpha", {"model": "lost", "samples": 3}], "quorum": 2}, "bad", "1 of 4"),
        ({"panel": ["duo", "lost"], "quorum": 1}, "warn", "1 of 2 members"),
        ({"panel": ["duo", "beta"]}, "ok", "2 of 2 members"),
    ],
)
def test_who_can_be_asked(broken, recipe, status, said):
    change(broken, fusions={"crew": recipe})
    line = Report(broken).lines["recipe crew"]
    assert line["status"] == status and said in line["message"]
    assert (line["fix"] is None) is (status == "ok")


def test_a_recipe_of_a_recipe_that_cannot_work(broken):
    change(broken, fusions={"in": {"panel": ["alpha", "lost"]}, "out": {"panel": ["in", "beta"]}})
    Report(broken).shows("recipe out", "bad", "1 of 2 members", "out")


def test_a_cap_that_cannot_be_kept(sound):
    change(sound, providers=lab(sound, price=None))
    Report(sound).shows("recipe duo", "bad", "the price of alpha is unknown", "price:")
    change(sound, models={"alpha": {"provider": "lab", "id": "alpha-1", "price": "free"}})
    Report(sound).shows("recipe duo", "bad", "the price of beta is unknown", "price:")
    done = sound.run("ask", "-c", str(sound.file), "-m", "duo", "Hi")
    assert done.returncode == 4, done.stderr  # as it says
