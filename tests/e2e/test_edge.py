"""The door: who comes in, and what a wrong request is told. Raw bytes, exact answers."""

import json
import re
import time

import pytest

from wire import Wire

CHAT = "/v1/chat/completions"
GOOD = {"model": "alpha", "messages": [{"role": "user", "content": "Hi"}]}


def well_formed(reply) -> dict:
    """Every error has the four keys and the headers that every answer has."""
    assert reply.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", reply.headers["x-request-id"])
    assert int(reply.headers["x-fusor-overhead-us"]) >= 0
    error = reply.error
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, said",
    [
        (b'{"model": "alpha", "messages": [}', r"\b32\b|column 33"),
        (b'{"model": "alpha"', r"offset|byte|position|end"),
        (b"", r"empty|object|JSON|end"),
        (b"[1,2]", r"object"),
        (b'{"model":"alpha","model":"beta","messages":[]}', r"model.*twice|duplicate.*model|twice"),
        (b'{"model":"alpha","messages":[{"role":"user","content":"\xff"}]}', r"UTF-8"),
        (
            b'{"model":"alpha","messages":[{"role":"user","content":"\\ud800"}]}',
            r"surrogate|escape",
        ),
        (b'{"model":"alpha","x":' + b"[" * 80 + b"]" * 80 + b"}", r"deep|nest|level"),
        (b'{"model":"alpha","messages":[],}', r"offset|byte|position|comma"),
        (b'{"model":"alpha"} trailing', r"offset|byte|position|after|behind"),
    ],
    ids=[
        "syntax",
        "cut",
        "nothing",
        "array",
        "duplicate",
        "utf8",
        "surrogate",
        "deep",
        "comma",
        "trailing",
    ],
)
def test_broken_json_says_what_and_where(server, mock, body, said):
    reply = server.ask("POST", CHAT, body)
    assert reply.status == 400
    message = well_formed(reply)["message"]
    assert re.search(said, message, re.I), message
    assert mock.calls_now() == []


@pytest.mark.parametrize(
    "change, param",
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": {}}, "tools"),
        ({"metadata": []}, "metadata"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"fusion": 3}, "fusion"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_wrong_types_name_the_field(server, mock, change, param):
    body = {k: v for k, v in (GOOD | change).items() if v is not None}
    reply = server.ask("POST", CHAT, body)
    assert reply.status == 400, reply.body
    error = well_formed(reply)
    assert error["param"] == param and param in error["message"]
    assert error["type"] == "invalid_request_error" and mock.calls_now() == []


def test_null_is_absent(server):
    body = GOOD | {
        "temperature": None,
        "tools": None,
        "stop": None,
        "stream": None,
        "max_tokens": None,
        "fusion": None,
    }
    assert server.ask("POST", CHAT, body).status == 200


def test_unknown_fields_go_to_their_own_dialect_only(server, provider):
    reply = server.chat("alpha", logit_bias={"50256": -100})
    assert reply.status == 200
    assert provider.calls[-1].body["logit_bias"] == {"50256": -100}


@pytest.mark.parametrize(
    "name, near", [("alpa", "alpha"), ("tri", "trio"), ("Beta", "beta"), ("nowhere/x", None)]
)
def test_unknown_model_with_near_names(server, mock, name, near):
    reply = server.chat(name)
    error = well_formed(reply)
    assert (reply.status, error["code"]) == (404, "model_not_found")
    assert name in error["message"] and (near is None or f"{near}" in error["message"])
    assert mock.calls_now() == []


def test_control_characters_are_made_visible(server):
    message = well_formed(server.chat("al\x1b[31mpha\u202e"))["message"]
    assert "\x1b" not in message and "\u202e" not in message


def test_too_large(server, mock):
    with server.wire() as w:
        w.send(w.request("POST", CHAT, b"", {"content-length": str(65 << 20)}))
        reply = w.read()
        assert reply.status == 413 and "64" in well_formed(reply)["message"]
    with server.wire() as w:  # nobody said how long it would be
        w.send(
            w.request(
                "POST",
                CHAT,
                None,
                {"content-type": "application/json", "transfer-encoding": "chunked"},
            )
        )
        piece = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(66):
                w.send(piece)
        except OSError:
            pass  # it has closed already
        reply = w.read()
        assert reply.status == 413 and well_formed(reply)
    assert mock.calls_now() == []


def test_large_bodies_pass(server, mock):
    text = "longer than a page " * 50_000  # 950 KB, a window of 128K tokens and more
    reply = server.chat("mock/echo", prompt=text)
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == text


# --- routes and heads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, path, status, code",
    [
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", CHAT, 405, "method_not_allowed"),
        ("OPTIONS", CHAT, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "unknown_route"),
        ("GET", "/v1/models/", 404, "unknown_route"),
        ("POST", "/v1/chat", 404, "unknown_route"),
        ("GET", "/admin/state", 403, "forbidden"),
        ("GET", "/admin/config", 403, "forbidden"),
        ("POST", "/admin/reload", 403, "forbidden"),
        ("BREW", CHAT, None, None),
        ("GET", "/../etc/passwd", 404, "unknown_route"),
    ],
)
def test_routes(server, method, path, status, code):
    allow = {CHAT: "POST", "/v1/models": "GET, HEAD"}
    body = GOOD if method == "POST" else None
    reply = server.ask(method, path, body)
    if status is None:
        assert reply.status in (400, 405, 501)
        return
    assert (reply.status, well_formed(reply)["code"]) == (status, code)
    assert reply.headers.get("allow") == (allow[path] if status == 405 else None)


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": None}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "APPLICATION/JSON"}, 200),
        ({"content-type": "application/jsonx"}, 415),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8420"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST:99"}, 200),
        ({"host": "[::1]:99"}, 200),
    ],
)
def test_the_edge(server, mock, headers, status):
    reply = server.ask("POST", CHAT, GOOD, headers)
    assert reply.status == status, reply.body
    if status >= 400:
        well_formed(reply)
    assert len(mock.calls_now()) == (status == 200)


def test_own_origin_is_no_stranger(server):
    reply = server.ask("POST", CHAT, GOOD, {"origin": f"http://127.0.0.1:{server.port}"})
    assert reply.status == 200


def test_request_id_is_kept_when_it_is_fit_to_be(server):
    for given, kept in (
        ("my-id_1.x", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("<script>", False),
        ("", False),
    ):
        got = server.chat("alpha", headers={"x-request-id": given}).headers["x-request-id"]
        assert (got == given) is kept
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", got)


def test_every_answer_tells_our_own_time(server):
    for reply in (
        server.chat("alpha"),
        server.chat("alpha", stream=True),
        server.chat("none"),
        server.ask("GET", "/v1/models"),
        server.ask("GET", "/healthz"),
    ):
        assert 0 <= int(reply.headers["x-fusor-overhead-us"]) < 1_000_000


def test_operators_routes(server):
    assert server.ask("GET", "/healthz").json() == {"status": "ok"}
    assert server.ask("GET", "/readyz").json() == {"status": "ready"}
    server.chat("alpha")
    metrics = server.ask("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    lines = metrics.body.decode().splitlines()
    assert any(re.match(r'fusor_requests_total\{outcome="ok"\} \d+', x) for x in lines)
    for line in lines:  # the exposition format
        assert re.match(r"(# (HELP|TYPE) |[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [0-9.e+-]+$)", line)


def test_admin_on_the_socket(server):
    with Wire(unix=server.socket) as w:
        state = w.ask("GET", "/admin/state", headers={"host": "x"}).json()
        assert state["ledger_ok"] is True and state["workers"] == 2
        shown = w.ask("GET", "/admin/config", headers={"host": "x"}).body.decode()
        assert "env:MOCK_KEY" in shown


def test_models_head_and_encoded_ids(server):
    with server.wire() as w:
        w.send(w.request("HEAD", "/v1/models"))
        assert w.read(head_only=True).status == 200
        reply = w.ask("GET", "/v1/models/mock%2Fsay%3Atext%3Dx")  # the connection is in step
        assert reply.json()["id"] == "mock/say:text=x"


# --- keys ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(provider, tmp_path_factory):
    from gateway import Gateway, settings

    config = settings(
        provider,
        key="env:FUSOR_API_KEY",
        hosts=["gw.example.com"],
        cors_origins=["https://app.example.com"],
    )
    with Gateway(tmp_path_factory.mktemp("keyed"), config, FUSOR_API_KEY="right-key-1") as g:
        yield g


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer right-key-12"}, 401),
        ({"authorization": "Bearer right-key-"}, 401),
        ({"authorization": "right-key-1"}, 401),
        ({"authorization": "Bearer right-key-1"}, 200),
        ({"authorization": "bearer right-key-1"}, 200),
        ({"x-api-key": "right-key-1"}, 200),
        ({"x-api-key": "wrong"}, 401),
    ],
)
def test_the_key(keyed, mock, headers, status):
    for method, path, body in (
        ("POST", CHAT, GOOD),
        ("GET", "/v1/models", None),
        ("GET", "/metrics", None),
    ):
        reply = keyed.ask(method, path, body, headers)
        assert reply.status == status
        if status == 401:
            assert well_formed(reply)["code"] == "invalid_api_key"
            assert b"right-key" not in reply.body
    assert len(mock.calls_now()) == (status == 200)


def test_what_needs_no_key(keyed):
    assert keyed.ask("GET", "/healthz").status == 200
    with Wire(unix=keyed.socket) as w:
        assert w.ask("GET", "/v1/models", headers={"host": "x"}).status == 200


def test_hosts_and_origins_of_the_configuration(keyed):
    key = {"authorization": "Bearer right-key-1"}
    assert keyed.ask("GET", "/v1/models", headers=key | {"host": "gw.example.com"}).status == 200
    good = key | {"origin": "https://app.example.com"}
    reply = keyed.ask("POST", CHAT, GOOD, good)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "https://app.example.com"
    assert reply.headers["vary"].lower() == "origin"
    assert keyed.ask("POST", CHAT, GOOD, key | {"origin": "https://app.example.org"}).status == 403


# --- HTTP/1.1, strictly ----------------------------------------------------------------------

BROKEN = {
    "two lengths": b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n"
    b"content-length: 3\r\n\r\n{}",
    "length and coding": b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd coding": b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
    "no host": b"POST %s HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    "two hosts": b"POST %s HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
    "space before colon": b"POST %s HTTP/1.1\r\nhost : localhost\r\n\r\n",
    "folded": b"POST %s HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n",
    "bare LF": b"POST %s HTTP/1.1\nhost: localhost\n\n",
    "negative length": b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    "bad chunk": b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
    b"content-type: application/json\r\n\r\nxyz\r\n",
    "no version": b"POST %s\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL": b"POST %s HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_heads(server, mock, name):
    data = BROKEN[name]
    with server.wire(timeout=5) as w:
        w.send(data.replace(b"%s", CHAT.encode()) + b"GET /healthz HTTP/1.1\r\nhost: l\r\n\r\n")
        reply = w.read()
        assert reply.status in (400, 405, 415, 501, 505), reply
        assert reply.headers.get("connection") == "close"
        well_formed(reply)
        assert w.closed()  # what stood behind it is no request
    assert mock.calls_now() == []


def client_errors(g) -> int:
    text = g.ask("GET", "/metrics").body.decode()
    return int(re.search(r'fusor_requests_total\{outcome="client_error"\} (\d+)', text)[1])


def test_what_is_no_request_is_known_all_the_same(start):
    """An id, a line in the log, a count; in the archive if only its body is at fault."""
    g = start()
    before = client_errors(g)
    with g.wire() as w:
        w.send(b"GET /healthz HTTP/1.1\r\nx-request-id: broken-1\r\nhost : l\r\n\r\n")
        assert w.read().headers["x-request-id"] == "broken-1"
    with g.wire() as w:
        head = {"content-type": "application/json", "transfer-encoding": "chunked"}
        w.send(w.request("POST", CHAT, None, head | {"x-request-id": "broken-2"}) + b"zz\r\n")
        reply = w.read()
        assert reply.status == 400 and reply.headers["x-request-id"] == "broken-2"
    assert client_errors(g) == before + 2
    lines = {x["id"]: x for x in g.log("request") if x["id"].startswith("broken")}
    assert [(x["status"], x["outcome"]) for x in lines.values()] == [(400, "input")] * 2
    assert lines["broken-2"]["route"] == CHAT and lines["broken-1"]["route"] == ""
    rows = g.wait(lambda: g.rows("archive.db", "SELECT * FROM request"), why="the archive")
    assert [(r["id"], r["status"]) for r in rows] == [("broken-2", 400)]


def test_strangers_do_not_fill_the_disk(start):
    """What needs no key is logged within a quota, and said how much was not; the rest always."""
    g = start(workers=1)
    before = client_errors(g)
    for i in range(50):
        with g.wire() as w:
            w.send(b"nonsense\r\n\r\n")
            assert w.read().status == 400
        assert g.ask("GET", "/nothing").status == 404
        assert g.chat("alpha").status == 200
    assert client_errors(g) == before + 100
    lines = g.log("request")
    assert sum(x["route"] == CHAT for x in lines) == 50
    assert 20 <= sum(x["status"] in (400, 404) for x in lines) < 60
    time.sleep(1.1)
    assert g.ask("GET", "/healthz").status == 200
    assert sum(x["count"] for x in g.log("requests_not_logged")) >= 40


def test_limits_of_the_head(server):
    for headers in ({"x-big": "a" * 40_000}, {f"x-{i}": "1" for i in range(120)}):
        with server.wire() as w:
            w.send(w.request("GET", "/healthz", headers=headers))
            reply = w.read()
            assert reply.status in (400, 413, 431) and well_formed(reply)
    with server.wire() as w:
        w.send(w.request("GET", "/v1/models/" + "m" * 10_000))
        assert w.read().status in (400, 404, 413, 414)


def test_chunked_body_and_trailers(server):
    body = json.dumps(GOOD).encode()
    parts = [body[:1], body[1:7], body[7:]]
    coded = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nx-t: 1\r\n\r\n"
    with server.wire() as w:
        head = w.request(
            "POST", CHAT, None, {"content-type": "application/json", "transfer-encoding": "chunked"}
        )
        w.send(head + coded)
        reply = w.read()
        # extensions and trailers may be refused; then the connection ends, never half a request
        assert reply.status == 200 or (reply.status == 400 and w.closed())
    with server.wire() as w:
        w.send(head + b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n")
        assert w.read().status == 200
        assert w.ask("GET", "/healthz").status == 200


def test_byte_by_byte(server):
    with server.wire() as w:
        for byte in w.request("POST", CHAT, GOOD):
            w.send(bytes([byte]))
        reply = w.read()
        assert reply.status == 200 and b"alpha says hello" in reply.body


def test_pipelining_keeps_the_order(server):
    delays = [40, 0, 20, 0]
    with server.wire() as w:
        asks = [
            w.request("POST", CHAT, GOOD | {"model": f"mock/say:text=p{i},delay={d}"})
            for i, d in enumerate(delays)
        ]
        w.send(b"".join(asks) + w.request("GET", "/healthz"))
        said = [w.read().json()["choices"][0]["message"]["content"] for _ in delays]
        assert said == ["p0", "p1", "p2", "p3"] and w.read().status == 200


def test_pipelined_streams(server):
    with server.wire() as w:
        body = GOOD | {"model": "mock/say:n=3,gap=5", "stream": True}
        w.send(w.request("POST", CHAT, body) * 3)
        for _ in range(3):
            assert w.read().text() == "w0 w1 w2 "


def test_keep_alive_is_kept(server):
    with server.wire() as w:
        for i in range(20):
            assert w.chat(GOOD | {"stream": i % 2 == 0}).status == 200
        assert w.chat(GOOD | {"model": "nobody"}).status == 404  # an error does not end it
        assert w.chat(GOOD).status == 200
        w.send(w.request("GET", "/healthz", headers={"connection": "close"}))
        assert w.read().status == 200 and w.closed()


def test_expect_continue(server):
    body = json.dumps(GOOD).encode()
    with server.wire() as w:
        w.send(
            w.request(
                "POST",
                CHAT,
                None,
                {
                    "content-type": "application/json",
                    "content-length": str(len(body)),
                    "expect": "100-continue",
                },
            )
        )
        assert w.head().status == 100
        w.send(body)
        assert w.read().status == 200
    with server.wire() as w:  # refused by its head: the body is never wanted
        w.send(
            w.request(
                "POST", "/nothing", None, {"content-length": "1000", "expect": "100-continue"}
            )
        )
        assert w.head().status == 404


def test_http_1_0(server):
    with server.wire() as w:
        w.send(w.request("POST", CHAT, GOOD, version="HTTP/1.0"))
        reply = w.read()
        assert reply.status == 200 and "transfer-encoding" not in reply.headers
        assert w.closed()
    with server.wire() as w:
        body = GOOD | {"model": "mock/say:n=3,gap=5", "stream": True}
        w.send(w.request("POST", CHAT, body, version="HTTP/1.0"))
        reply = w.read()
        assert reply.text() == "w0 w1 w2 " and reply.body.endswith(b"data: [DONE]\n\n")


def test_half_closed_clients(start):
    g = start(half_close="keep")
    with g.wire() as w:
        import socket

        w.send(w.request("POST", CHAT, GOOD | {"model": "mock/say:text=still,delay=50"}))
        w.sock.shutdown(socket.SHUT_WR)
        assert w.read().json()["choices"][0]["message"]["content"] == "still"
