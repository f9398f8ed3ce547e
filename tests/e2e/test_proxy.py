"""Providers behind a proxy, and providers with a certificate of a private authority.

The provider's name exists nowhere: only the proxy knows where it leads.
"""

import base64
import json
import signal
import ssl
import subprocess
import time

import pytest

from gateway import KEY, Gateway, closed_port, provider, settings, slow
from mock import Mock
from proxy import Proxy

NAME = "api.provider.test"
SECRET = "fusor:pr0xy-s3cret-pass"
BASIC = "Basic " + base64.b64encode(SECRET.encode()).decode()


class Authority:
    """A private CA, made by openssl, and what it signs."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "ca.pem"
        folder.mkdir()
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=private", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip

    def openssl(self, *args: str):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)

    def server(self, names: str) -> ssl.SSLContext:
        (self.folder / "ext").write_text(f"subjectAltName={names}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=x", "-keyout", "s.key", "-out", "s.csr")  # fmt: skip
        self.openssl("x509", "-req", "-in", "s.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "s.pem")  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "s.pem", self.folder / "s.key")
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ours")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "other")


@pytest.fixture(scope="module")
def secure(authority):
    """A provider with TLS: for its name, and for the address without a proxy."""
    with Mock(key=KEY, tls=authority.server(f"DNS:{NAME},IP:127.0.0.1")) as m:
        yield m
    assert not [c.findings for c in m.calls if c.findings]


@pytest.fixture
def plain():
    with Mock(key=KEY) as m:
        yield m
    assert not [c.findings for c in m.calls if c.findings]


@pytest.fixture
def proxy(secure, plain):
    with Proxy({f"{NAME}:8443": secure.port, f"{NAME}:8080": plain.port}, auth=BASIC) as p:
        yield p


@pytest.fixture
def serve(tmp_path, secure, plain, authority, proxy):
    """A gateway: `far` is https through the proxy, `open` http; more of them by name."""
    running = []
    known = {"ca_file": str(authority.file)}
    way = {"proxy": proxy.url, "proxy_auth": "env:PROXY_AUTH", "price": "free"}
    providers = {
        "far": provider(secure, base_url=f"https://{NAME}:8443/v1", **known, **way),
        "open": provider(plain, base_url=f"http://{NAME}:8080/v1", **way),
    }

    def begin(_run=True, **more) -> Gateway:
        home = tmp_path / f"home{len(running)}"
        home.mkdir()
        entries = {
            n: {k: v for k, v in (providers["far"] | m).items() if v is not None}
            for n, m in more.pop("providers", {}).items()
        }
        config = settings(plain, models={}, fusions={}, providers=providers | entries, **more)
        g = Gateway(home, config, PROXY_AUTH=SECRET, FUSOR_LOG="debug", FUSOR_RUNTIME="/nowhere")
        running.append(g)
        return g.start() if _run else g

    yield begin
    for g in running:
        if hasattr(g, "process") and g.process.poll() is None:
            g.__exit__(None)


def failed(reply, status: int, *words: str) -> str:
    assert reply.status == status, reply
    message = reply.error["message"]
    for word in words:
        assert word in message, message
    return message


# --- calls that arrive ---------------------------------------------------------------------------


def test_https_goes_through_a_tunnel(serve, proxy, secure):
    mark = secure.mark()
    g = serve(workers=1)
    for i in range(3):
        reply = g.chat("far/say:text=through", stream=i == 1, prompt="a secret prompt")
        assert reply.status == 200
        said = reply.text() if i == 1 else reply.json()["choices"][0]["message"]["content"]
        assert said == "through"
    (asked,) = proxy.asked  # the tunnel is kept
    assert asked.line == f"CONNECT {NAME}:8443 HTTP/1.1"
    assert asked.headers == {"host": f"{NAME}:8443", "proxy-authorization": BASIC}
    calls = secure.since(mark)
    assert len(calls) == 3
    for call in calls:
        assert call.headers["host"] == f"{NAME}:8443" and call.headers["authorization"][7:] == KEY
        assert not [n for n in call.headers if n.startswith("proxy")]
    # what the proxy has carried it cannot read
    assert len(asked.up) > 500
    for word in (KEY, "a secret prompt", "chat/completions"):
        assert word.encode() not in asked.up


def test_http_is_asked_of_the_proxy(serve, proxy, plain):
    g = serve()
    assert g.chat("open/say:text=hello", stream=True).text() == "hello"
    (asked,) = proxy.asked
    assert asked.line == f"POST http://{NAME}:8080/v1/chat/completions HTTP/1.1"
    assert asked.headers["host"] == f"{NAME}:8080"
    assert asked.headers["proxy-authorization"] == BASIC
    (call,) = plain.since(0)
    assert call.path == "/v1/chat/completions" and call.headers["authorization"] == f"Bearer {KEY}"
    for _ in range(4):  # also on a connection that was kept
        assert g.chat("open/say:text=hello").status == 200
    assert {a.line for a in proxy.asked} == {asked.line} and proxy.connections < 5


def test_large_bodies_and_many_at_once(serve, proxy):
    g = serve()
    text = "longer than a page " * 50_000
    reply = g.chat("far/echo", prompt=text)
    assert reply.json()["choices"][0]["message"]["content"] == text


def test_a_reload_changes_the_way(serve, proxy, secure):
    with Proxy({f"{NAME}:8443": secure.port}) as second:
        g = serve(workers=1)
        assert g.chat("far/say").status == 200
        far = g.config["providers"]["far"] | {"proxy": second.url}
        del far["proxy_auth"]
        g.write(g.config | {"providers": g.config["providers"] | {"far": far}})
        g.process.send_signal(signal.SIGHUP)
        g.wait(lambda: g.chat("far/say").status == 200 and second.asked, why="the other proxy")
        assert "proxy-authorization" not in second.asked[0].headers
        assert len(proxy.asked) == 1


# --- whom TLS trusts -----------------------------------------------------------------------------


def test_ca_file(serve, secure, other_authority):
    direct = {"base_url": secure.url, "proxy": None, "proxy_auth": None}
    other = {"ca_file": str(other_authority.file)}
    g = serve(
        providers={
            "known": direct,
            "stranger": direct | other,
            "system": direct | {"ca_file": None},
            "far-stranger": other,
            "far-system": {"ca_file": None},
        }
    )
    mark = secure.mark()
    for _ in range(2):  # a connection that one provider has kept is no other one's
        assert g.chat("known/say").status == 200
        assert g.chat("far/say").status == 200
        for name in ("stranger", "system"):
            failed(g.chat(f"{name}/say"), 502, "certificate is not accepted", f":{secure.port}")
        for name in ("far-stranger", "far-system"):
            failed(g.chat(f"{name}/say"), 502, "certificate is not accepted",
                   f"{NAME}:8443 through the proxy 127.0.0.1:")  # fmt: skip
    assert len(secure.since(mark)) == 4


def test_the_name_counts(serve, proxy, secure):
    proxy.routes["else.provider.test:8443"] = secure.port
    g = serve(providers={"else": {"base_url": "https://else.provider.test:8443/v1"}})
    failed(g.chat("else/say"), 502, "mismatch", "else.provider.test:8443 through the proxy")


# --- proxies that do not -------------------------------------------------------------------------


def test_refusals(serve, proxy):
    nowhere = {"base_url": "https://nowhere.provider.test/v1"}
    g = serve(providers={"nowhere": nowhere, "anonymous": {"proxy_auth": None}})
    here = f"proxy 127.0.0.1:{proxy.port}"
    failed(g.chat("nowhere/say"), 502, here, "cannot reach nowhere.provider.test (status 502)")
    failed(g.chat("anonymous/say"), 502, here, "status 407", "give it `proxy_auth`")
    proxy.auth = "Basic another"
    failed(g.chat("far/say"), 502, here, "status 407", "does not accept")
    failed(g.chat("open/say"), 502, here, "status 407", "does not accept")
    for line in g.ledger():
        assert line["outcome"] != "ok"


@pytest.mark.parametrize(
    "answer, words",
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ["refuses the way", "status 403"]),
        (b"SSH-2.0-x\r\n", ["is no HTTP proxy"]),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ["of its own into the tunnel"]),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, ["larger than 32 KiB"]),
    ],
)
def test_nonsense(serve, proxy, secure, answer, words):
    mark = secure.mark()
    proxy.answer = answer
    g = serve()
    failed(g.chat("far/say"), 502, f"proxy 127.0.0.1:{proxy.port}", *words)
    assert secure.since(mark) == [] and len(proxy.asked) == 1


def test_nobody_there(serve):
    port = closed_port()
    g = serve(providers={"gone": {"proxy": f"http://127.0.0.1:{port}"}})
    failed(g.chat("gone/say"), 502, f"proxy 127.0.0.1:{port}", "refused")


def test_a_silent_proxy(serve, proxy):
    proxy.answer = b""
    ms = int(300 * slow())
    timeouts = {"connect": f"{ms}ms", "first_byte": "20s", "idle": "20s", "total": "60s"}
    g = serve(providers={"soon": {"timeouts": timeouts}})
    begun = time.monotonic()
    failed(g.chat("soon/say"), 504, f"proxy 127.0.0.1:{proxy.port}", "CONNECT was not answered")
    assert time.monotonic() - begun < 10 * slow()
    g.wait(lambda: proxy.asked[0].closed, why="the connection to the proxy to close")


def test_the_next_target_is_asked(serve, proxy, secure):
    """Nothing has reached the provider: the alias's other target answers."""
    direct = {"base_url": secure.url, "proxy": None, "proxy_auth": None}
    models = {
        "first": {"provider": "far", "id": "say:text=first"},
        "second": {"provider": "direct", "id": "say:text=second"},
    }
    config = {"models": models, "aliases": {"prod": {"to": "first", "fallback": ["second"]}}}
    proxy.auth = "Basic another"
    g = serve(providers={"direct": direct}, _run=False)
    g.write(g.config | config)
    g.start()
    reply = g.chat("prod")
    assert reply.json()["choices"][0]["message"]["content"] == "second"
    assert len(proxy.asked) == 1


# --- who leaves, what is told --------------------------------------------------------------------


def test_a_client_that_leaves(serve, proxy, secure):
    g = serve()
    mark = secure.mark()
    with g.wire() as w:  # while the stream goes through the tunnel
        body = {"model": "far/say:n=9,stall=2", "messages": [{"role": "user", "content": "Hi"}]}
        w.send(w.request("POST", "/v1/chat/completions", body | {"stream": True}))
        w.until(b"w1 ")
        w.leave("fin")
    g.wait(lambda: proxy.asked[0].closed, why="the tunnel to close")
    g.wait(lambda: secure.since(mark)[0].ended, why="the provider to notice")
    proxy.answer = b""
    with g.wire() as w:  # while the proxy has not answered
        w.send(w.request("POST", "/v1/chat/completions", body))
        g.wait(lambda: len(proxy.asked) == 2, why="CONNECT")
        w.leave("rst")
    g.wait(lambda: proxy.asked[1].closed, why="the connection to the proxy to close")


def test_the_password_is_seen_by_the_proxy_alone(serve, proxy):
    """Not even when the proxy repeats it."""
    g = serve()
    error = {"error": {"message": f"bad credentials: {BASIC} for user"}}
    body = json.dumps(error).encode()
    head = f"HTTP/1.1 400 Bad\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    replies = [g.chat("far/say"), g.chat("open/say")]
    proxy.answer = head + body
    replies += [g.chat("far/say:n=2"), g.chat("open/say")]
    assert replies[-1].status != 200 and "bad credentials" in replies[-1].error["message"]
    shown = g.run("config", "show", "-c", str(g.file), PROXY_AUTH=SECRET).stdout
    assert "env:PROXY_AUTH" in shown
    told = g.said() + shown + "".join(r.body.decode() + str(r.headers) for r in replies)
    for word in ("pr0xy", SECRET, BASIC, BASIC[6:20]):
        assert word not in told
        for file in g.state.rglob("*"):
            assert not file.is_file() or word.encode() not in file.read_bytes()


# --- doctor --------------------------------------------------------------------------------------


def doctor(g: Gateway) -> dict:
    done = g.run("doctor", "-c", str(g.file), "--json", PROXY_AUTH=SECRET)
    assert done.stderr == "" and "pr0xy" not in done.stdout
    return {c["name"]: c for c in json.loads(done.stdout)["checks"]}


def test_doctor_goes_the_same_way(serve, proxy, authority, other_authority):
    g = serve(
        _run=False,
        providers={
            "gone": {"proxy": f"http://127.0.0.1:{closed_port()}"},
            "stranger": {"ca_file": str(other_authority.file)},
            "anonymous": {"proxy_auth": None},
        },
    )
    report = doctor(g)
    assert report["provider far"]["status"] == "ok", report
    assert report["provider open"]["status"] == "ok", report
    for name, words in {
        "gone": ["proxy 127.0.0.1:", "refused"],
        "stranger": ["certificate is not accepted", "through the proxy"],
        "anonymous": ["proxy 127.0.0.1:", "status 407"],
    }.items():
        line = report[f"provider {name}"]
        assert line["status"] == "bad", line
        assert all(w in line["message"] for w in words), line
        assert "`proxy`" in line["fix"] and "curl -sS -x http://127.0.0.1:" in line["fix"], line
    assert f"--cacert {authority.file}" in report["provider gone"]["fix"]
    lines = [a.line for a in proxy.asked]
    assert f"GET http://{NAME}:8080/v1/models HTTP/1.1" in lines
    assert f"CONNECT {NAME}:8443 HTTP/1.1" in lines


def test_doctor_says_which_hop_is_silent(serve, proxy):
    proxy.answer = b""
    line = doctor(serve(_run=False))["provider far"]
    assert line["status"] == "bad" and f"proxy 127.0.0.1:{proxy.port}" in line["message"]
