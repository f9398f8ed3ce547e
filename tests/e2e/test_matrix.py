"""Every door × every kind of upstream: what goes in at one side in the words of one dialect comes
out at the other in the words of the other, and back.

A door is driven with the official library of its dialect (ingress.py), an upstream is the mock in
the upstream's own dialect, which refuses what that provider would refuse: any finding fails the
test. What a test sends is looked for in the mock's reading of what it got (asked.py).
"""

import base64
import json
import pathlib
import re

import pytest

import egress
import ingress
import seal
from gateway import Gateway

SENTINEL = "s3ntinel-\u00e5\u20ac\U0001f9ed-\"'\\</x>\n2"
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c6360f8cfc0f01f0005000180a20cc1c30000000049454e44ae426082"
    )
).decode()
PDF = base64.b64encode(
    b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n"
).decode()
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": SENTINEL}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = {"weather": WEATHER, "time": WEATHER}
DOORS = list(ingress.DOORS)
KINDS = list(egress.KINDS)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PAIRS = pytest.mark.parametrize("kind", KINDS)

# What an upstream has no word for: (case, upstream) -> why, and the field that the 400 names.
REFUSED = {
    ("parallel off", "gemini"): ("there is no way to say it", r"parallel|disable_parallel"),
}
# What an upstream says in other words, or not at all.
SILENT = {
    ("refusal", "mistral"): "a refusal is text like any other",
    ("refusal words", "gemini"): "a blocked answer has no words",
    ("reasoning tokens", "mistral"): "usage does not tell",
}


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("matrix"), egress.settings(provider)) as g:
        yield g


@pytest.fixture(scope="module")
def doors(server):
    return {name: make(server) for name, make in ingress.DOORS.items()}


@pytest.fixture(params=DOORS)
def door(request, doors):
    return doors[request.param]


@pytest.fixture
def sent(mock):
    """What the upstream was asked by the last call; every call so far was fine with it."""

    def look(n: int | None = None):
        calls = [c for c in mock.calls_now() if c.asked]
        assert [c.findings for c in calls if c.findings] == []
        if n is not None:
            assert len(calls) == n
        return calls[-1].asked

    return look


def quoted(text: str) -> str:
    """As a value in a model id."""
    return "".join(c if c.isalnum() else "".join(f"%{b:02x}" for b in c.encode()) for c in text)


# --- text --------------------------------------------------------------------------------------


@STREAM
@PAIRS
def test_text(door, kind, sent, stream):
    got = door.ask(egress.model(kind, "echo"), stream, prompt=SENTINEL)
    assert (got.text, got.finish, got.calls) == (SENTINEL, "stop", [])
    asked = sent(1)
    assert asked.said("user") == [SENTINEL] and not asked.tools


@STREAM
def test_text_of_a_recipe(door, mock, stream):
    """Members of all kinds, merged."""
    got = door.ask("mix", stream, prompt=SENTINEL)
    assert got.text.startswith("MERGED:") and got.finish == "stop"
    assert all(f"[from {k}]" in got.text for k in KINDS)
    calls = mock.calls_now()
    assert [c.findings for c in calls if c.findings] == []
    members = [c for c in calls if c.asked and c.asked.said("user") == [SENTINEL]]
    assert sorted(c.talk.name for c in members) == sorted(egress.TALKS.values())


@PAIRS
def test_system(door, kind, sent):
    got = door.ask(egress.model(kind, "echo"), system=f"S {SENTINEL}", developer="D dev")
    assert got.text == "Hi"
    said = "\n".join(sent(1).said("system"))
    assert f"S {SENTINEL}" in said and "D dev" in said


@STREAM
@PAIRS
def test_length(door, kind, sent, stream):
    got = door.ask(egress.model(kind, "length:n=3"), stream, max_tokens=77)
    assert got.finish == "length" and got.text.strip() == "w0 w1 w2"
    assert sent(1).settings["max_tokens"] == 77


# --- tools -------------------------------------------------------------------------------------


@STREAM
@PAIRS
@pytest.mark.parametrize("calls", [1, 3])
def test_tools(door, kind, sent, stream, calls):
    arguments = json.dumps({"city": SENTINEL, "n": [1, 2.5, None, {"b": True}]})
    model = egress.model(kind, f"tools:calls={calls},frag=4,arguments={quoted(arguments)}")
    got = door.ask(model, stream, tools=TOOLS)
    assert got.finish == "tool_calls" and len(got.calls) == calls
    assert {c.name for c in got.calls} == {"weather"} and len({c.id for c in got.calls}) == calls
    assert [c.args for c in got.calls] == [json.loads(arguments)] * calls
    asked = sent(1)
    assert set(asked.tools) == set(TOOLS) and asked.choice == "auto"
    assert asked.tools["weather"]["properties"]["city"]["description"] == SENTINEL


@PAIRS
@pytest.mark.parametrize("choice", ["none", "required", "time"])
def test_tool_choice(door, kind, sent, choice):
    behaviour = "echo" if choice == "none" else "tools"
    got = door.ask(egress.model(kind, behaviour), tools=TOOLS, choice=choice)
    assert sent(1).choice == choice
    if choice == "time":
        assert [c.name for c in got.calls] == ["time"]


@PAIRS
def test_parallel_off(door, kind, sent):
    def ask():
        return door.ask(egress.model(kind, "tools"), tools=TOOLS, parallel=False)

    if ("parallel off", kind) in REFUSED:
        with pytest.raises(door.library.BadRequestError) as e:
            ask()
        assert re.search(REFUSED["parallel off", kind][1], str(e.value))
        return
    assert len(ask().calls) == 1 and sent(1).parallel is False


@STREAM
@PAIRS
@pytest.mark.parametrize("calls", [1, 3])
def test_tool_results(door, kind, sent, stream, calls):
    """Two turns: ids pair up, results keep their order, whatever the upstream wants them to be."""
    model = egress.model(kind, f"tools:calls={calls}")
    user = door.user("the weather?")
    first = door.ask(model, stream, history=user, tools=TOOLS)
    texts = [f"{i} {SENTINEL}" for i in range(calls)]
    history = user + first.said + door.results(first.calls, texts)
    second = door.ask(model, stream, history=history, tools=TOOLS)
    assert second.text == "result was " + " and ".join(texts) and second.finish == "stop"
    asked = sent(2)
    assert [r.text for r in asked.of("result")] == texts
    assert [c.args for c in asked.of("call")] == [c.args for c in first.calls]


@PAIRS
def test_user_speaks_after_results(door, kind, sent):
    """Some upstreams want an answer in between, some want both in one message."""
    model = egress.model(kind, "tools")
    user = door.user("the weather?")
    first = door.ask(model, history=user, tools=TOOLS)
    history = user + first.said + door.results(first.calls, ["-3"])
    if door.name == "messages":
        history[-1]["content"].append({"type": "text", "text": "and now?"})
    else:
        history += door.user("and now?")
    got = door.ask(egress.model(kind, "echo"), history=history, tools=TOOLS)
    assert got.text == "and now?"
    assert sent(2).of("result")[0].text == "-3"


# --- images and documents ----------------------------------------------------------------------


@PAIRS
def test_image(door, kind, sent):
    got = door.ask(egress.model(kind, "echo"), prompt="what is this?", image=PNG)
    assert got.text == "what is this?"
    image = sent(1).of("image")[0]
    assert (image.media, image.text) == ("image/png", PNG)


@PAIRS
def test_document(door, kind, sent):
    got = door.ask(egress.model(kind, "echo"), prompt="what is this?", document=PDF)
    assert got.text == "what is this?"
    document = sent(1).of("document")[0]
    assert (document.media, document.text) == ("application/pdf", PDF)


# --- reasoning ---------------------------------------------------------------------------------


@STREAM
@PAIRS
def test_reasoning_is_shown(door, kind, sent, stream):
    got = door.ask(egress.model(kind, "think:text=so"), stream, effort="high", max_tokens=8000)
    assert (got.text, got.thought) == ("so", "first then ")
    sent(1)


# Signatures that come back: what the upstream gave with its thoughts before a call.
SIGNATURES = {
    "anthropic": seal.sign("first then "),
    "gemini": seal.sign("first then ", "part"),
    "responses": seal.sign("first then ", "item"),
}


@STREAM
@PAIRS
def test_reasoning_goes_back(door, kind, sent, stream):
    """A call behind thoughts: with its result the signed thoughts come back byte for byte."""
    model = egress.model(kind, "thinktools:calls=2")
    user = door.user("the weather?")
    more = {"tools": TOOLS, "effort": "high", "max_tokens": 8000}
    first = door.ask(model, stream, history=user, **more)
    assert len(first.calls) == 2
    history = user + first.said + door.results(first.calls, ["a", "b"])
    second = door.ask(model, stream, history=history, **more)
    assert second.text == "result was a and b"
    asked = sent(2)
    if kind in SIGNATURES:
        signed = [i.signature for i in asked.items if i.signature]
        assert SIGNATURES[kind] in map(seal.plain, signed)


@PAIRS
@pytest.mark.parametrize("redacted", [False, True])
def test_reasoning_that_the_client_drops(door, kind, sent, redacted):
    """Libraries that know nothing of thoughts send the calls alone: the thoughts were kept."""
    model = egress.model(kind, "thinktools" + (":redacted=1" if redacted else ""))
    user = door.user("the weather?")
    more = {"tools": TOOLS, "effort": "high", "max_tokens": 8000}
    if door.name == "messages":
        pytest.skip("clients of Messages send thoughts back")
    first = door.ask(model, history=user, **more)
    said = [i for i in first.said if i.get("type") != "reasoning"]
    for message in said:
        for key in ("reasoning", "reasoning_content", "reasoning_details"):
            message.pop(key, None)
        for call in message.get("tool_calls", []):
            call.pop("extra_content", None)
    second = door.ask(model, history=user + said + door.results(first.calls, ["a"]), **more)
    assert second.text == "result was a"
    sent(2)


# --- structured output -------------------------------------------------------------------------


@STREAM
@PAIRS
def test_structured(door, kind, sent, stream):
    answer = json.dumps({"city": SENTINEL}, ensure_ascii=False)
    model = egress.model(kind, f"say:text={quoted(answer)}")
    got = door.ask(model, stream, schema=WEATHER)
    assert json.loads(got.text) == {"city": SENTINEL}
    schema = sent(1).schema
    assert schema["properties"]["city"]["description"] == SENTINEL
    assert schema["required"] == ["city"]


# --- usage -------------------------------------------------------------------------------------


@STREAM
@PAIRS
def test_usage(door, kind, sent, stream):
    model = egress.model(kind, "say:in=120,out=40,cached=100,reasoning=8")
    got = door.ask(model, stream)
    told = 8 if ("reasoning tokens", kind) not in SILENT else None
    assert got.usage["input"] == 120 and got.usage["output"] == 40
    assert got.usage["cached"] == 100 and (got.usage["reasoning"] or None) == told


@PAIRS
def test_count_tokens(doors, kind):
    def count(text: str) -> int:
        client = doors["messages"].client
        model = egress.model(kind, "say")
        said = [{"role": "user", "content": text}]
        return client.messages.count_tokens(model=model, messages=said).input_tokens

    assert 0 < count("hello there") < count("hello there " * 50)


# --- what goes wrong ---------------------------------------------------------------------------

STATUSES = {429: ("RateLimitError", 429), 500: ("InternalServerError", 502),
            401: ("InternalServerError", 502), 400: ("BadRequestError", 400)}  # fmt: skip


@STREAM
@PAIRS
@pytest.mark.parametrize("code", STATUSES)
def test_error_before_the_first_byte(door, kind, code, stream, mock):
    name, status = STATUSES[code]
    # a model of its own: one that has asked for time is left alone for so long
    behaviour = f"status:code={code},for={door.name}{stream:d}" + ",retry=7" * (code == 429)
    with pytest.raises(getattr(door.library, name)) as e:
        door.ask(egress.model(kind, behaviour), stream)
    assert e.value.status_code == status
    assert e.value.response.headers.get("retry-after") == ("7" if code == 429 else None)
    body = e.value.response.json()
    error = body["error"]
    assert isinstance(error["message"], str) and error["type"]
    if door.name == "messages":
        assert body["type"] == "error"
    else:
        assert set(error) >= {"message", "type", "param", "code"}


FAULTS = ["cut=2", "rst=2", "cut=2,err_mid=1"]


@PAIRS
@pytest.mark.parametrize("fault", FAULTS)
def test_stream_that_breaks(door, kind, fault):
    model = egress.model(kind, f"say:n=6,gap=3,{fault}")
    pieces = []
    with pytest.raises(door.library.APIError):
        for piece in door.pieces(door.body(model, ingress.Want())):
            pieces.append(piece)
    assert "".join(pieces) == "w0 w1 "


@STREAM
@PAIRS
def test_refusal(door, kind, stream):
    got = door.ask(egress.model(kind, "refusal"), stream)
    if ("refusal", kind) in SILENT:
        assert got.text == "I cannot help with that." and got.finish == "stop"
        return
    assert got.finish == "refusal"
    # Messages have no place for words of a refusal but the text
    said = got.text if door.name == "messages" else got.refusal
    if ("refusal words", kind) not in SILENT:
        assert said == "I cannot help with that."


# --- fields that cannot be carried -------------------------------------------------------------

# door, native fields, upstream -> the name in the 400; None: it is carried.
MEANING = [
    ("chat", {"seed": 5}, {}),  # never a promise: carried, or listed
    ("chat", {"logit_bias": {"5": 1}}, dict.fromkeys(
        ("anthropic", "responses", "mistral", "gemini"), "logit_bias")),
    ("chat", {"stop": ["END"]}, {"responses": "stop"}),
    ("chat", {"frequency_penalty": 0.5}, {"anthropic": "frequency_penalty",
                                          "responses": "frequency_penalty"}),
    # the library has no word for it any more
    ("messages", {"extra_body": {"top_k": 5}}, {"responses": "top_k", "mistral": "top_k"}),
    ("messages", {"stop_sequences": ["END"]}, {"responses": "stop"}),
    ("responses", {"extra_body": {"colour": "red"}}, dict.fromkeys(
        ("chat", "anthropic", "mistral", "gemini"), "colour")),
    ("chat", {"extra_body": {"colour": "red"}}, dict.fromkeys(
        ("responses", "anthropic", "mistral", "gemini"), "colour")),
]  # fmt: skip


def meanings():
    for name, more, refused in MEANING:
        for kind in KINDS:
            if kind in refused or "colour" not in more.get("extra_body", {}):
                field = next(iter(more.get("extra_body", more)))
                yield pytest.param(name, more, kind, refused.get(kind), id=f"{name}-{field}-{kind}")


@pytest.mark.parametrize("name, more, kind, field", list(meanings()))
def test_what_changes_the_answer_is_carried_or_refused(doors, sent, mock, name, more, kind, field):
    door = doors[name]
    if field is None:
        assert door.ask(egress.model(kind, "echo"), more=more).text == "Hi"
        sent(1)
        return
    with pytest.raises(door.library.BadRequestError) as e:
        door.ask(egress.model(kind, "echo"), more=more)
    assert field in str(e.value)
    assert mock.calls_now() == []


HINTS = {
    "chat": {"user": "u1", "metadata": {"a": "b"}, "service_tier": "auto", "store": False,
             "prompt_cache_key": "k"},
    "responses": {"user": "u1", "metadata": {"a": "b"}, "service_tier": "auto",
                  "prompt_cache_key": "k"},
    "messages": {"metadata": {"user_id": "u1"}, "service_tier": "auto"},
}  # fmt: skip


@PAIRS
def test_hints_are_carried_or_listed(door, kind, sent, mock):
    """Left out where the upstream has no such field, and said so."""
    got = door.ask(egress.model(kind, "echo"), more=HINTS[door.name])
    assert got.text == "Hi"
    sent(1)
    (call,) = mock.calls_now()
    ignored = got.headers.get("x-fusor-ignored", "")
    whole = json.dumps(call.body)
    for name, value in HINTS[door.name].items():
        value = next(iter(value.values())) if isinstance(value, dict) else value
        carried = f'"{value}"' in whole if isinstance(value, str) else name in whole
        name = "user" if name == "metadata" and door.name == "messages" else name
        if value not in (False, "auto"):  # what is so anyway may be left out
            assert carried != (name in ignored), (name, ignored, whole)


def test_the_judges_of_this_file_are_at_hand():
    """Without OpenAI's and Mistral's own schemas the mock is less strict than it can be."""
    if not pathlib.Path(egress.__file__).parents[3].joinpath("shared/data/openapi").exists():
        pytest.skip("no ../shared/data/openapi: OpenAI's and Mistral's schemas are not checked")
