"""Embeddings, completions, fill in the middle: they pass as they came, and all that holds for chats
holds for them: names, fallbacks, regions, queues, books, faults, clients that leave."""

import json
import select
import time

import openai
import pytest
from mistralai.client import Mistral

import egress
import thin
from gateway import Gateway, quick, slow
from gateway import provider as provider_entry
from money import nusd, price_of

SAY = "say:text=one%20two%20three"
PATHS = {
    "embeddings": "/v1/embeddings",
    "completions": "/v1/completions",
    "fim": "/v1/fim/completions",
}
LIMIT = 0.1
# Who has these routes, of the mock's providers.
HOSTS = {"fim": {"mock": "mistral", "quick": "quick-mistral"}}


def settings(mock) -> dict:
    base = egress.settings(mock)
    providers = base["providers"] | {
        "eu": provider_entry(mock, region="eu"),
        "us": provider_entry(mock, region="us"),
        "reads": provider_entry(mock, price={"input": 0.02}),
        "quick-mistral": quick(mock, kind="mistral", base_url=mock.base("mistral")),
    }
    aliases = {
        "prod": {"to": "mock/status:code=503", "fallback": [f"mock/{SAY}"]},
        "mixed": {"to": "anthropic/claude-x", "fallback": ["trio", f"mock/{SAY}"]},
        "abroad": {"to": f"us/{SAY}", "fallback": [f"eu/{SAY}"]},
        "nobody": {"to": "anthropic/claude-x", "fallback": ["trio"]},
    }
    policies = {"eu-only": {"regions": ["eu"]}}
    return base | {"providers": providers, "aliases": aliases, "policies": policies}


@pytest.fixture(scope="module")
def g(provider, tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("passes"), settings(provider)) as server:
        yield server


@pytest.fixture
def oai(g):
    with openai.OpenAI(base_url=g.url, api_key="unused", max_retries=0) as c:
        yield c


@pytest.fixture
def mistral(g):
    with Mistral(api_key="unused", server_url=g.url.removesuffix("/v1")) as c:
        yield c


def body(kind: str, model: str, stream: bool = False) -> dict:
    text = {"input": ["some text"]} if kind == "embeddings" else {"prompt": "some text"}
    return {"model": model} | text | ({"stream": True} if stream else {})


def at(kind: str, model: str) -> str:
    host, slash, name = model.partition("/")
    return HOSTS.get(kind, {}).get(host, host) + slash + name


def ask(g, kind: str, model: str, stream: bool = False, headers: dict | None = None):
    model = at(kind, model)
    return g.ask("POST", PATHS[kind], body(kind, model, stream), headers)


def row_of(g, request_id: str):
    def found():
        return [r for r in g.ledger() if r["request_id"] == request_id]

    rows = g.wait(found, why=f"the row of {request_id}")
    assert len(rows) == 1
    return rows[0]


# --- the libraries -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings(oai, mock, form):
    more = {"encoding_format": form} if form else {}
    texts = ["one", "two \u00e9\U0001f600", ""]
    got = oai.embeddings.create(model="mock/embedder", input=texts, dimensions=5, **more)
    vectors = [d.embedding for d in got.data]
    if form == "base64":
        assert all(isinstance(v, str) for v in vectors)
    else:  # where it is told nothing the library asks for base64, and reads it
        assert vectors == [thin.numbers(t, 5) for t in texts]
    # vectors of one model mean nothing to another: whose they are stays
    assert got.model == "embedder" and got.usage.prompt_tokens == 9
    (call,) = mock.calls_now()
    sent = {"model": "embedder", "input": texts, "dimensions": 5}
    assert call.body == sent | {"encoding_format": form or "base64"}


def test_embeddings_of_tokens(oai, mock):
    got = oai.embeddings.create(model="mock/embedder", input=[[1, 2, 3], [4]])
    assert len(got.data) == 2 and mock.calls_now()[0].body["input"] == [[1, 2, 3], [4]]


def test_many_embeddings(oai):
    """Megabytes of numbers."""
    texts = [f"text {i}" for i in range(256)]
    got = oai.embeddings.create(
        model="mock/e", input=texts, dimensions=1536, encoding_format="float"
    )
    assert [d.embedding[7] for d in got.data] == [thin.numbers(t, 8)[7] for t in texts]


def test_completions(oai, mock):
    got = oai.completions.create(
        model="mock/writes", prompt="x", suffix="y", max_tokens=7, logit_bias={"5": 1}
    )
    assert got.choices[0].text == "after x before y" and got.usage.prompt_tokens == 11
    assert mock.calls_now()[0].body["logit_bias"] == {"5": 1}


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("how", ["", ",split=1", ",crlf=1,comments=1", ",framing=close", ",done=0"])
def test_completions_streamed(oai, how, usage):
    more = {"stream_options": {"include_usage": True}} if usage else {}
    stream = oai.completions.create(model=f"mock/{SAY}{how}", prompt="x", stream=True, **more)
    chunks = list(stream)
    assert [c.choices[0].text for c in chunks if c.choices] == ["one ", "two ", "three", ""]
    assert chunks[0].model == SAY + how
    assert (chunks[-1].usage is not None) == usage


def test_fim(mistral, mock):
    got = mistral.fim.complete(model="mistral/codestral", prompt="def f(", suffix="return")
    assert got.choices[0].message.content == "after def f( before return"
    assert mock.calls_now()[0].path == "/mistral/v1/fim/completions"
    with mistral.fim.stream(model=f"mistral/{SAY}", prompt="def f(") as stream:
        events = [e.data for e in stream]
    assert "".join(e.choices[0].delta.content or "" for e in events) == "one two three"
    assert events[-1].choices[0].finish_reason == "stop" and events[-1].usage.prompt_tokens == 11


def test_mistral_embeddings(mistral):
    got = mistral.embeddings.create(model="mistral/mistral-embed", inputs=["a", "b"])
    assert [d.embedding for d in got.data] == [thin.numbers(t, 4) for t in "ab"]


def test_at_openrouters_path(g):
    path = "/api/v1/embeddings"
    assert g.ask("POST", path, body("embeddings", "mock/e")).json()["model"] == "e"


# --- as it came ----------------------------------------------------------------------------------


def test_only_the_model_is_another(g, mock):
    raw = b' {"prompt": "a\\u0062" ,\n"model":"mock/exact", "seed": 1e2, "user":"\xc3\xa9" }\n'
    reply = g.ask("POST", "/v1/completions", raw)
    assert reply.status == 200
    (call,) = mock.calls_now()
    assert int(call.headers["content-length"]) == len(raw) - len("mock/")
    assert call.headers["accept"] == "application/json"
    assert list(call.body) == ["prompt", "model", "seed", "user"] and call.body["prompt"] == "ab"


def test_frames_pass_when_they_come(g):
    request = body("completions", f"mock/{SAY},gap=150", True)
    with g.wire() as w:
        w.send(w.request("POST", PATHS["completions"], request))
        assert w.head().headers["content-type"].startswith("text/event-stream")
        came = [(time.monotonic(), c) for c in w.chunks()]
    whole = b"".join(c for _, c in came)
    first = min(t for t, c in came if b"one" in c)
    assert came[-1][0] - first > 0.25
    assert whole.endswith(b"data: [DONE]\n\n") and b"\n:" not in whole


@pytest.mark.parametrize("first", ["model", "prompt"])
def test_a_long_one_goes_to_the_next(g, mock, first):
    """The client's own bytes, for each of the two that are asked."""
    text = "longer than a page " * 50_000
    request = {first: None, "model": "prod", "prompt": text}
    assert g.ask("POST", PATHS["completions"], request).status == 200
    calls = mock.calls_now()
    assert [c.model for c in calls] == ["status:code=503", SAY]
    assert all(c.body["prompt"] == text for c in calls)


# --- names, regions, fallbacks -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["embeddings", "completions"])
def test_a_fallback(g, mock, kind):
    reply = ask(g, kind, "prod")
    assert reply.status == 200 and [c.model for c in mock.calls_now()][-1] == SAY


@pytest.mark.parametrize("kind", ["embeddings", "completions"])
def test_who_cannot_is_passed_over(g, mock, kind):
    reply = ask(g, kind, "mixed")
    assert reply.status == 200 and [c.model for c in mock.calls_now()] == [SAY]


@pytest.mark.parametrize("stream", [True, False])
def test_regions(g, mock, stream):
    eu = {"x-fusor-policy": "eu-only"}
    assert ask(g, "completions", "abroad", stream, eu).status == 200
    reply = ask(g, "completions", f"us/{SAY}", stream, eu)
    assert reply.status == 403 and reply.error["code"] == "region_not_allowed"
    reply = ask(g, "completions", "abroad", stream, {"x-fusor-policy": "none"})
    assert reply.status == 400 and reply.error["code"] == "unknown_policy"
    assert len(mock.calls_now()) == 1


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("upstream", ["anthropic", "gemini", "responses"])
def test_nothing_is_translated(g, mock, upstream, kind):
    reply = ask(g, kind, egress.model(upstream, "say"))
    assert reply.status == 400 and reply.error["code"] == "unsupported_by_upstream"
    assert upstream in reply.error["message"] and reply.error["param"] == "model"
    assert mock.calls_now() == []


@pytest.mark.parametrize("model, status, says", [
    ("trio", 400, "recipe"),
    ("fusion", 400, "recipe"),
    ("nobody", 400, "recipe"),
    ("auto", 400, "auto"),
    ("alhpa", 404, "alpha"),
])  # fmt: skip
def test_names_that_do_not(g, mock, model, status, says):
    for kind in PATHS:
        reply = ask(g, kind, model)
        assert reply.status == status and says in reply.error["message"], reply.body
    assert mock.calls_now() == []


@pytest.mark.parametrize("raw, says", [
    (b"[]", "object"),
    (b'{"input":"a"}', "model"),
    (b'{"model":"mock/e","model":"mock/f","input":"a"}', "duplicate"),
    (b'{"model":"mock/e","input":"\xff"}', "byte 27"),
    (b'{"model":"mock/e","input":"a","stream":true}', "stream"),
])  # fmt: skip
def test_bad_bodies(g, mock, raw, says):
    reply = g.ask("POST", "/v1/embeddings", raw)
    assert reply.status == 400 and says in reply.error["message"], reply.body
    assert mock.calls_now() == []


def test_the_queue(g, mock):
    """One at a time, two wait, and there is no room for another."""
    request = body("completions", "one/say:stall=1,x=pass", True)
    wires = [g.wire() for _ in range(4)]
    try:
        for w in wires:
            w.send(w.request("POST", PATHS["completions"], request))
            mock.wait(lambda: mock.calls_now("say:stall"), why="the first call")
        refused, _, _ = select.select([w.sock for w in wires[1:]], [], [], 10 * slow())
        (w,) = [w for w in wires[1:] if w.sock in refused]
        reply = w.read()
        assert reply.status == 429 and len(mock.calls_now()) == 1
    finally:
        for w in wires:
            w.leave("fin")


# --- the books -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_row(g, stream):
    name = f"pass-row-{stream}"
    more = {"stream_options": {"include_usage": True}} if stream else {}
    request = body("completions", "mock/say:in=40,out=20", stream) | more
    assert g.ask("POST", PATHS["completions"], request, {"x-request-id": name}).status == 200
    row = row_of(g, name)
    assert (row["role"], row["outcome"], row["provider"]) == ("pass", "ok", "mock")
    assert (row["input"], row["output"], row["estimated"]) == (40, 20, 0)
    assert row["cost_nusd"] == price_of(40, 20, 0)


def test_a_row_of_embeddings(g):
    assert ask(g, "embeddings", "mock/e", headers={"x-request-id": "pass-vectors"}).status == 200
    row = row_of(g, "pass-vectors")
    assert (row["input"], row["output"], row["role"]) == (3, 0, "pass")
    assert row["cost_nusd"] == nusd(1.5) * 3 // 1_000_000


def test_what_writes_nothing_needs_no_price_of_output(g):
    for kind, cost in (("embeddings", 60), ("completions", None)):
        name = f"pass-reads-{kind}"
        assert ask(g, kind, f"reads/{SAY}", headers={"x-request-id": name}).status == 200
        assert row_of(g, name)["cost_nusd"] == cost


def test_what_is_not_said_is_reckoned(g):
    reply = ask(g, "completions", f"mock/{SAY}", True, {"x-request-id": "pass-reckoned"})
    assert reply.status == 200 and b"usage" not in reply.body
    row = row_of(g, "pass-reckoned")
    assert (row["input"], row["output"], row["estimated"]) == (3, 4, 1)  # 9 and 13 bytes


# --- faults --------------------------------------------------------------------------------------

BEFORE = {
    "mock/status:code=429,retry=7,message=slow": (429, "rate_limit_exceeded"),
    "mock/status:code=400,message=odd": (400, "invalid_request"),
    "mock/status:code=401": (502, "upstream_auth"),
    "mock/status:code=500,message=oops": (502, "upstream_error"),
    "mock/say:rst_head=1": (502, "upstream_cut"),
    "mock/html": (502, "upstream_not_json"),
    "quick/say:stall_head=1": (504, "timeout"),
    "refused/say": (502, "upstream_unreachable"),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("model", BEFORE)
def test_a_fault_before_the_first_word(start, mock, model, stream):
    g = start(providers=settings(mock)["providers"])  # what fails here is asked last from now on
    status, code = BEFORE[model]
    kinds = ["completions", "fim"] if stream else list(PATHS)
    for kind in kinds if not model.startswith("refused") else ["completions"]:
        reply = ask(g, kind, f"{model}{',' if ':' in model else ':'}x={kind}", stream)
        assert (reply.status, reply.error["code"]) == (status, code), reply.body
        assert b"mock\"" not in reply.body  # the upstream's own object
        if status == 429:
            assert reply.headers["retry-after"] == "7"


def test_a_body_that_is_not_json(g):
    reply = ask(g, "embeddings", "mock/notjson")
    assert reply.status == 502 and "JSON" in reply.error["message"]


AFTER = {
    "mock/say:n=5,cut=2": "upstream_cut",
    "mock/say:n=5,rst=2": "upstream_cut",
    "quick/say:n=5,stall=2": "timeout",
    "mock/say:n=5,cut=2,err_mid=1": "upstream_error",
}


@pytest.mark.parametrize("model", AFTER)
@pytest.mark.parametrize("kind", ["completions", "fim"])
def test_a_fault_after_it(g, kind, model):
    name = f"pass-{kind}-{model[:5]}-{abs(hash(model))}".replace("/", "-")
    reply = ask(g, kind, model, True, {"x-request-id": name})
    assert reply.status == 200 and reply.whole
    *said, last = reply.events()
    assert "[DONE]" not in reply.events() and len(said) == 2
    assert json.loads(last)["error"]["code"] == AFTER[model]
    row = row_of(g, name)
    assert row["estimated"] == 1 and row["input"] == 3 and row["output"] > 0


def test_the_library_sees_the_break(oai):
    stream = oai.completions.create(model="mock/say:n=5,cut=2", prompt="x", stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


@pytest.mark.parametrize("model, code", [
    ("mock/garbage", "upstream_error"),
    ("mock/err200:code=503", "upstream_overloaded"),
])  # fmt: skip
def test_streams_that_are_none(g, model, code):
    reply = ask(g, "completions", model, True)
    assert reply.status >= 502 and reply.error["code"] == code


# --- leaving, and not reading --------------------------------------------------------------------

PHASES = {
    "silent": ("say:stall_head=1", lambda c: True),
    "talking": ("say:n=2000,gap=10", lambda c: len(c.sent) > 8),
    "stalled": ("say:stall=3", lambda c: len(c.sent) > 3),
}


@pytest.mark.race
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_leaves(g, mock, phase, stream, how):
    behaviour, ready = PHASES[phase]
    if not stream:
        behaviour, ready = "say:delay=30000", lambda c: True
    name = f"pass-left-{phase}-{stream}-{how}"
    kind = "completions" if stream else "embeddings"
    with g.wire() as w:
        request = body(kind, f"mock/{behaviour}", stream)
        w.send(w.request("POST", PATHS[kind], request, {"x-request-id": name}))
        (call,) = mock.wait(mock.calls_now, why=phase)
        mock.wait(lambda: ready(call), why=phase)
        time.sleep(0.02)
        left = time.monotonic()
        w.leave(how)
    mock.wait(lambda: call.ended, 5, "the upstream connection to be closed")
    assert call.end == "left" and call.ended - left < LIMIT * slow()
    row = row_of(g, name)
    assert (row["outcome"], row["estimated"], row["role"]) == ("cancelled", 1, "pass")


def test_a_client_that_does_not_read(g, mock):
    """The upstream waits, and nothing is lost."""
    size = 24 << 20
    request = body("completions", f"mock/say:bytes={size}", True)
    with g.wire() as w:
        w.send(w.request("POST", PATHS["completions"], request))
        (call,) = mock.wait(mock.calls_now)
        mock.wait(lambda: call.conn.held_back, why="the upstream to be held back")
        reply = w.read()
    assert sum(len(f["choices"][0]["text"]) for f in reply.frames()) == size
    assert reply.events()[-1] == "[DONE]"
