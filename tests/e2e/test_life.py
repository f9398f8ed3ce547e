"""From start to end of a server: reload, drain, a second instance, a death in the middle."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import openai
import pytest

from gateway import BIN, Gateway, settings, slow
from wire import Wire

HI = [{"role": "user", "content": "Hi"}]


class Load(threading.Thread):
    """Asks without a pause, on a connection of its own, until it is told to stop."""

    def __init__(self, g: Gateway, stream: bool, model: str):
        super().__init__(daemon=True)
        self.g, self.body = g, {"model": model, "messages": HI, "stream": stream}
        self.ended, self.answers, self.failures = threading.Event(), [], []

    def run(self):
        while not self.ended.is_set():
            try:
                with self.g.wire() as w:
                    for _ in range(10):
                        reply = w.chat(self.body)
                        text = (
                            reply.text()
                            if self.body["stream"]
                            else reply.json()["choices"][0]["message"]["content"]
                        )
                        whole = not self.body["stream"] or reply.events()[-1] == "[DONE]"
                        if reply.status != 200 or not reply.whole or not whole:
                            self.failures.append(reply)
                        self.answers.append(text)
                        if reply.headers.get("connection") == "close":
                            break
            except Exception as e:  # all that can happen to a client is a failure here
                self.failures.append(e)

    def stop(self):
        self.ended.set()
        self.join(20)


def under_load(g: Gateway, model: str = "alpha") -> list[Load]:
    loads = [Load(g, stream=i % 2 == 0, model=model) for i in range(4)]
    for load in loads:
        load.start()
    g.wait(lambda: all(len(x.answers) > 3 for x in loads), why="the load to run")
    return loads


def reworded(g: Gateway, text: str) -> dict:
    """The configuration with other words for the model alpha, and one more model."""
    config = json.loads(json.dumps(g.config))
    config["models"]["alpha"]["id"] = f"say:text={text}"
    config["models"]["delta"] = {"provider": "mock", "id": "say:text=delta"}
    return config


@pytest.mark.race
@pytest.mark.parametrize("way", ["SIGHUP", "fusor reload"])
def test_reload_under_load(start, way):
    g = start()
    loads = under_load(g)
    for turn in range(3):
        g.write(reworded(g, f"turn{turn}"))
        if way == "SIGHUP":
            g.process.send_signal(signal.SIGHUP)
            g.wait(lambda t=turn: len(g.log("reloaded")) == t + 1, why="the reload")
        else:
            done = g.run("reload", "-c", str(g.file))
            assert (done.returncode, done.stdout) == (0, "reloaded\n"), done.stderr
            # every worker has it when the command says so
            for _ in range(8):
                assert g.chat("alpha").json()["choices"][0]["message"]["content"] == f"turn{turn}"
        g.wait(lambda t=turn: all(x.answers[-1] == f"turn{t}" for x in loads), why="new words")
    for load in loads:
        load.stop()
        assert not load.failures, load.failures[:3]
        assert set(load.answers) <= {"alpha says hello", "turn0", "turn1", "turn2"}
    assert g.chat("delta").status == 200


def test_a_running_request_keeps_its_configuration(start, mock):
    g = start(
        models={"alpha": {"provider": "mock", "id": "say:n=10,gap=60"}},
        fusions={
            "solo": {"panel": ["alpha", "alpha"], "mode": "best_of", "judge": "mock/judge:pick=w0"}
        },
    )
    with g.wire() as w:
        w.send(
            w.request(
                "POST", "/v1/chat/completions", {"model": "solo", "messages": HI, "stream": True}
            )
        )
        mock.wait(lambda: len(mock.calls_now()) == 2)
        g.write(
            {
                "listen": "127.0.0.1:0",
                "workers": 2,
                "providers": g.config["providers"],
                "models": {},
                "fusions": {"solo": {"panel": ["mock/say:text=new"], "judge": "mock/merge"}},
            }
        )
        assert g.run("reload", "-c", str(g.file)).returncode == 0
        assert w.read().text() == "".join(f"w{i} " for i in range(10))
    assert g.chat("solo").json()["choices"][0]["message"]["content"] == "new"
    assert g.chat("alpha").status == 404


@pytest.mark.parametrize(
    "change, said",
    [
        ("models: {x: {provider: nobody}}", r"fusor\.yaml:\d+:\d+: .*nobody"),
        ("listn: 127.0.0.1:1", r"fusor\.yaml:\d+:\d+: .*listn.*listen"),
        ("models: [", r"fusor\.yaml:\d+"),
        ("listen: 127.0.0.1:8", r"listen cannot change"),
        ("workers: 3", r"workers cannot change"),
        ("half_close: keep", r"half_close cannot change"),
        ("state_dir: /tmp/elsewhere", r"no server runs .*/tmp/elsewhere"),
        (
            "providers: {p: {kind: openai, base_url: 'http://a/v1', key: 'sk-literal-123'}}",
            r"fusor\.yaml:\d+:\d+: (?!.*sk-literal)",
        ),
    ],
)
def test_a_bad_file_changes_nothing(start, change, said):
    g = start()
    before = g.file.read_text()
    key = change.partition(":")[0]
    kept = re.sub(rf"^{key}:.*\n(  .*\n|- .*\n)*", "", before, flags=re.M)
    g.write(kept + change + "\n")
    done = g.run("reload", "-c", str(g.file))
    assert done.returncode in (1, 3) and re.search(said, done.stderr), done.stderr
    assert "sk-literal" not in done.stderr
    g.process.send_signal(signal.SIGHUP)
    g.wait(lambda: "reload failed, the old configuration stays" in g.said(), why="the message")
    assert key != "state_dir" or "state_dir cannot change" in g.said()
    assert g.chat("trio").status == 200
    g.write(before)
    assert g.run("reload", "-c", str(g.file)).returncode == 0


def test_as_many_workers_as_configured(start):
    g = start(workers=100)  # more than any machine of ours has cores
    with Wire(unix=g.socket) as w:
        assert w.ask("GET", "/admin/state", headers={"host": "x"}).json()["workers"] == 100


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.race
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_drain_fails_no_request(start, mock, signum):
    g = start()
    words = "".join(f"w{i} " for i in range(10))
    late = {"panel": ["mock/say:text=a,delay=300"] * 2, "judge": "mock/merge:gap=100"}
    slow_ones = [
        ({"model": "mock/say:n=10,gap=80", "stream": True}, words),
        ({"model": "mock/say:text=slowly,delay=800"}, "slowly"),
        ({"model": "trio", "fusion": late}, "MERGED: [a] [a]"),
        ({"model": "trio", "fusion": late, "stream": True}, "MERGED: [a] [a]"),
    ]
    with g.wire() as idle:
        assert idle.ask("GET", "/readyz").status == 200
        wires = []
        for i in range(12):
            w = g.wire()
            w.send(
                w.request("POST", "/v1/chat/completions", {"messages": HI} | slow_ones[i % 4][0])
            )
            wires.append(w)
        mock.wait(lambda: len(mock.calls_now()) == 18, why="all to be under way")
        g.process.send_signal(signum)
        for i, w in enumerate(wires):
            reply = w.read()
            assert reply.status == 200 and reply.whole
            text = (
                reply.text()
                if "stream" in slow_ones[i % 4][0]
                else reply.json()["choices"][0]["message"]["content"]
            )
            assert text == slow_ones[i % 4][1]
        assert idle.closed()
    assert g.process.wait(10 * slow()) == 0
    with pytest.raises(ConnectionRefusedError):
        Wire(g.port)
    assert not os.path.exists(g.socket)
    outcomes = {row["outcome"] for row in g.ledger()}
    assert outcomes == {"ok"}


def test_a_drain_ends_in_time(start, mock):
    g = start(drain="400ms")
    with g.wire() as w, g.wire() as whole:
        w.send(
            w.request(
                "POST",
                "/v1/chat/completions",
                {"model": "mock/say:n=10000,gap=20", "messages": HI, "stream": True},
            )
        )
        whole.send(
            whole.request(
                "POST", "/v1/chat/completions", {"model": "mock/say:stall_head=1", "messages": HI}
            )
        )
        w.until(b"w3 ")
        mock.wait(lambda: len(mock.calls_now()) == 2)
        began = time.monotonic()
        g.process.send_signal(signal.SIGTERM)
        assert g.process.wait(5 * slow()) == 0
        assert 0.3 < time.monotonic() - began < 1.5 * slow()
        # nobody is cut without a word: a status where none was sent, else the error event
        assert whole.read().status == 503
        said = b"".join(w.chunks_left())
        assert b"shutting down" in said and b'"error"' in said and b"[DONE]" not in said
    mock.wait(lambda: all(c.end == "left" for c in mock.calls_now()))
    rows = g.ledger()  # and both are in the books
    assert [r["outcome"] for r in rows] == ["cancelled"] * 2


def test_asked_twice_it_ends_now(start, mock):
    g = start()
    with g.wire() as w:
        w.send(
            w.request(
                "POST", "/v1/chat/completions", {"model": "mock/say:stall_head=1", "messages": HI}
            )
        )
        mock.wait(lambda: mock.calls_now())
        g.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert g.process.poll() is None
        g.process.send_signal(signal.SIGTERM)
        assert g.process.wait(5 * slow()) == 0


# --- two at once -----------------------------------------------------------------------------


def serve(g: Gateway) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BIN, "serve", "-c", g.file], env=g.env, capture_output=True, text=True, timeout=20 * slow()
    )


def test_a_second_one_on_the_same_state(server, provider, tmp_path):
    second = Gateway(tmp_path, settings(provider, state_dir=str(server.state)))
    done = serve(second)
    assert done.returncode == 3 and str(server.process.pid) in done.stderr
    assert str(server.state) in done.stderr and server.chat("alpha").status == 200
    assert os.path.exists(server.socket)


def test_a_second_one_on_the_same_port(server, provider, tmp_path):
    second = Gateway(tmp_path, settings(provider, listen=f"127.0.0.1:{server.port}"))
    done = serve(second)
    assert done.returncode == 3 and str(server.port) in done.stderr
    assert str(server.process.pid) in done.stderr and "fusor" in done.stderr.replace("fusor:", "")
    assert server.chat("alpha").status == 200


def test_killed_in_the_middle_it_starts_again(start, provider):
    g = start()
    assert g.chat("trio").status == 200
    g.wait(lambda: len(g.ledger()) == 4, why="the ledger")
    with g.wire() as w:
        w.send(
            w.request(
                "POST",
                "/v1/chat/completions",
                {"model": "mock/say:n=1000,gap=20", "messages": HI, "stream": True},
            )
        )
        w.until(b"w1 ")
        g.process.kill()
        g.process.wait()
    g.errors.unlink()
    g.start()
    assert g.chat("alpha").status == 200
    g.wait(lambda: len(g.ledger()) >= 5, why="the ledger")
    assert g.run("reload", "-c", str(g.file)).returncode == 0


def test_files_are_for_the_owner_only(server):
    server.chat("alpha")
    assert server.state.stat().st_mode & 0o777 == 0o700
    for file in server.state.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize(
    "listen, more, code",
    [
        ("0.0.0.0:0", {}, 3),
        ("0.0.0.0:0", {"insecure": True}, 0),
        ("0.0.0.0:0", {"key": "env:FUSOR_API_KEY"}, 3),
        ("0.0.0.0:0", {"key": "env:FUSOR_API_KEY", "trusted_proxies": True}, 0),
    ],
)
def test_beyond_loopback(provider, tmp_path, listen, more, code):
    g = Gateway(tmp_path, settings(provider, listen=listen, **more), FUSOR_API_KEY="k-1234567890")
    done = g.run("config", "check", str(g.file))
    assert done.returncode == code, done.stderr
    if code:
        assert "listen" in done.stderr or "reachable" in done.stderr
        assert serve(g).returncode == 3


def test_tls(start, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("no openssl program to make a certificate")
    g = start(tls={"cert": str(cert), "key": str(key)})
    import ssl

    import httpx2

    context = ssl.create_default_context(cafile=str(cert))
    with openai.OpenAI(
        base_url=g.url.replace("http:", "https:"),
        api_key="x",
        max_retries=0,
        http_client=httpx2.Client(verify=context),
    ) as c:
        chunks = list(c.chat.completions.create(model="trio", messages=HI, stream=True))
        assert "".join(k.choices[0].delta.content or "" for k in chunks).startswith("MERGED:")
    with socket.create_connection(("127.0.0.1", g.port)) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")  # plain text at a TLS door
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in s.recv(100)
