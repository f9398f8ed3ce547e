"""The mock provider's other dialects by themselves: the official libraries read what it says, and
what a provider would refuse is refused."""

import base64
import json
import re

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

import seal
from mock import Mock
from wire import Wire

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": 'Oslo "North"', "days": [1, 2, 3], "unit": None}
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def up():
    with Mock(direct=True) as m:
        yield m
    # tests of refusals go to a mock of their own
    assert not [c.findings for c in m.calls if c.findings]


@pytest.fixture(scope="module")
def claude(up):
    with anthropic.Anthropic(base_url=up.root, api_key="x", max_retries=0) as c:
        yield c


@pytest.fixture(scope="module")
def oai(up):
    with openai.OpenAI(base_url=up.url, api_key="x", max_retries=0) as c:
        yield c


@pytest.fixture(scope="module")
def mistral(up):
    with Mistral(api_key="x", server_url=f"{up.root}/mistral") as c:
        yield c


@pytest.fixture(scope="module")
def google(up):
    options = types.HttpOptions(base_url=up.root)
    return genai.Client(api_key="x", http_options=options)


# --- Anthropic ---------------------------------------------------------------------------------

TOOL = {"name": "weather", "input_schema": SCHEMA}


def messages(claude, model: str, stream: bool, **more):
    more = {"max_tokens": 4096, "messages": HI, "model": model} | more
    if not stream:
        return claude.messages.create(**more)
    with claude.messages.stream(**more) as s:
        return s.get_final_message()


@pytest.mark.parametrize("stream", [True, False])
def test_messages(claude, stream):
    reply = messages(claude, "say:text=a%20b,in=9,out=5,cached=4,written=2,reasoning=1", stream)
    assert reply.content[0].text == "a b" and reply.stop_reason == "end_turn"
    u = reply.usage
    assert (u.input_tokens, u.cache_read_input_tokens, u.cache_creation_input_tokens) == (3, 4, 2)
    assert u.output_tokens == 5 and u.output_tokens_details.thinking_tokens == 1
    assert messages(claude, "length", stream).stop_reason == "max_tokens"
    refused = messages(claude, "refusal", stream)
    assert refused.stop_reason == "refusal" and refused.stop_details.explanation


@pytest.mark.parametrize("redacted", ["", ":redacted=1"])
@pytest.mark.parametrize("stream", [True, False])
def test_messages_tools_with_thoughts(claude, stream, redacted):
    model = f"thinktools{redacted}"
    first = messages(claude, model, stream, tools=[TOOL])
    assert first.stop_reason == "tool_use" and first.content[-1].input == ARGUMENTS
    use = first.content[-1].id
    result = {"type": "tool_result", "tool_use_id": use, "content": "-3"}
    said = [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = messages(claude, model, stream, tools=[TOOL], messages=HI + said)
    assert second.content[0].text == "result was -3"


def test_messages_errors(claude):
    with pytest.raises(anthropic.RateLimitError) as e:
        messages(claude, "status:code=429,retry=7", False)
    assert e.value.body["error"]["type"] == "rate_limit_error"
    assert e.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.APIStatusError, match="broke"):
        messages(claude, "say:n=5,cut=2,err_mid=1", True)
    with pytest.raises(anthropic.APIStatusError, match="overloaded inside"):
        messages(claude, "err200", True)


def test_messages_count(claude):
    assert claude.messages.count_tokens(model="say", messages=HI).input_tokens > 0


# --- Responses ---------------------------------------------------------------------------------

FUNCTION = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}


def respond(oai, model: str, stream: bool, **more):
    more = {"model": model, "input": HI, "store": False} | more
    if not stream:
        return oai.responses.create(**more)
    with oai.responses.stream(**more) as s:
        return s.get_final_response()


@pytest.mark.parametrize("stream", [True, False])
def test_responses(oai, stream):
    reply = respond(oai, "say:text=a%20b,in=9,out=5,cached=4,reasoning=1", stream)
    assert reply.output_text == "a b" and reply.status == "completed"
    u = reply.usage
    assert (u.input_tokens, u.input_tokens_details.cached_tokens, u.output_tokens) == (9, 4, 5)
    assert u.output_tokens_details.reasoning_tokens == 1
    assert respond(oai, "refusal", stream).output[0].content[0].refusal


def test_responses_events(oai):
    events = list(oai.responses.create(model="tools:calls=2", input=HI, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert [o.call_id for o in events[-1].response.output] == ["call_weather_0", "call_weather_1"]


def test_responses_incomplete(oai):
    events = list(oai.responses.create(model="length", input=HI, stream=True))
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("stream", [True, False])
def test_responses_tools_with_thoughts(oai, stream):
    more = {"tools": [FUNCTION], "include": ["reasoning.encrypted_content"]}
    first = respond(oai, "thinktools", stream, **more)
    items = [i.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for i in first.output]
    assert [i["type"] for i in items] == ["reasoning", "function_call"]
    assert json.loads(items[1]["arguments"]) == ARGUMENTS
    result = {"type": "function_call_output", "call_id": items[1]["call_id"], "output": "-3"}
    second = respond(oai, "thinktools", stream, input=[*HI, *items, result], **more)
    assert second.output_text == "result was -3"


def test_responses_errors(oai):
    with pytest.raises(openai.RateLimitError):
        respond(oai, "status:code=429", False)
    with pytest.raises(openai.APIError, match="broke"):
        respond(oai, "say:n=5,cut=2,err_mid=1", True)


# --- Mistral -----------------------------------------------------------------------------------

MTOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def test_mistral(mistral):
    reply = mistral.chat.complete(model="say:text=a%20b,in=9,out=5", messages=HI)
    assert reply.choices[0].message.content == "a b" and reply.usage.prompt_tokens == 9
    events = list(mistral.chat.stream(model="say:n=3", messages=HI))
    text = "".join(e.data.choices[0].delta.content or "" for e in events)
    assert text == "w0 w1 w2 " and events[-1].data.usage.completion_tokens == 3
    assert [m.id for m in mistral.models.list().data] == ["say"]


def test_mistral_tools(mistral):
    first = mistral.chat.complete(model="tools:calls=2", messages=HI, tools=[MTOOL])
    message = first.choices[0].message
    calls = message.tool_calls
    assert [len(c.id) for c in calls] == [9, 9] and calls[0].id != calls[1].id
    said = {"role": "assistant", "content": "", "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": c.id, "content": c.id} for c in calls]
    second = mistral.chat.complete(
        model="tools:calls=2", messages=[*HI, said, *results], tools=[MTOOL]
    )
    assert second.choices[0].message.content == f"result was {calls[0].id} and {calls[1].id}"
    events = list(mistral.chat.stream(model="tools:calls=2", messages=HI, tools=[MTOOL]))
    last = events[-1].data.choices[0]
    assert len(last.delta.tool_calls) == 2 and last.finish_reason == "tool_calls"


def test_mistral_thoughts(mistral):
    reply = mistral.chat.complete(model="think:text=yes", messages=HI)
    thinking, text = reply.choices[0].message.content
    assert thinking.thinking[0].text == "first then " and text.text == "yes"


def test_mistral_errors(mistral):
    with pytest.raises(SDKError) as e:
        mistral.chat.complete(model="status:code=429,retry=3", messages=HI)
    assert e.value.status_code == 429


# --- Gemini ------------------------------------------------------------------------------------

DECLARED = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
)


def generate(google, model: str, stream: bool, contents="hi", **config):
    config = types.GenerateContentConfig(**config)
    if not stream:
        return google.models.generate_content(model=model, contents=contents, config=config)
    chunks = list(
        google.models.generate_content_stream(model=model, contents=contents, config=config)
    )
    whole = chunks[-1]
    parts = [p for c in chunks for p in (c.candidates[0].content.parts or [])]
    whole.candidates[0].content = types.Content(role="model", parts=parts)
    return whole


@pytest.mark.parametrize("stream", [True, False])
def test_gemini(google, stream):
    reply = generate(google, "say:text=a%20b,in=9,out=5,cached=4,reasoning=1", stream)
    assert reply.text == "a b" and reply.candidates[0].finish_reason == "STOP"
    u = reply.usage_metadata
    assert (u.prompt_token_count, u.candidates_token_count, u.thoughts_token_count) == (9, 4, 1)
    assert u.cached_content_token_count == 4 and u.total_token_count == 14


@pytest.mark.parametrize("stream", [True, False])
def test_gemini_tools_with_thoughts(google, stream):
    model = "gemini-3-pro+thinktools:calls=2"
    off = types.AutomaticFunctionCallingConfig(disable=True)
    more = {"tools": [DECLARED], "automatic_function_calling": off}
    first = generate(google, model, stream, **more)
    said = first.candidates[0].content
    calls = [p.function_call for p in said.parts if p.function_call]
    assert [c.args for c in calls] == [ARGUMENTS] * 2 and calls[0].id
    signed = next(p for p in said.parts if p.function_call)
    assert signed.thought_signature == base64.b64decode(seal.sign("first then ", "part"))
    results = [
        types.Part(function_response={"name": c.name, "response": {"result": c.id}, "id": c.id})
        for c in calls
    ]
    contents = [
        types.Content(role="user", parts=[types.Part(text="hi")]),
        types.Content(role="model", parts=[p for p in said.parts if p.function_call]),
        types.Content(role="user", parts=results),
    ]
    second = generate(google, model, stream, contents, **more)
    assert second.text == f"result was {calls[0].id} and {calls[1].id}"


def test_gemini_errors(google):
    with pytest.raises(google_errors.ClientError) as e:
        generate(google, "status:code=429,retryinfo=3", False)
    assert e.value.status == "RESOURCE_EXHAUSTED"


# --- what is refused ---------------------------------------------------------------------------

USE = {"type": "tool_use", "id": "a1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a1", "content": "-3"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": seal.sign("hm")}
MARK = {"cache_control": {"type": "ephemeral"}}


def anthropic_body(*turns, **more) -> dict:
    roles = ["user", "assistant"] * len(turns)
    said = [{"role": r, "content": t} for r, t in zip(roles, turns)]
    return {"model": "say", "max_tokens": 100, "messages": said} | more


def gemini_body(*turns, **more) -> dict:
    roles = ["user", "model"] * len(turns)
    return {"contents": [{"role": r, "parts": t} for r, t in zip(roles, turns)]} | more


def mistral_body(*said, **more) -> dict:
    return {"model": "say", "messages": list(said)} | more


def item(kind: str, **more) -> dict:
    return {"type": kind} | more


CALLED = [
    {"functionCall": {"name": "weather", "args": {}}},
    {"functionCall": {"name": "weather", "args": {}}},
]
ANSWERED = {"functionResponse": {"name": "weather", "response": {"result": "x"}}}
ASSISTANT = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "abcdefghi", "function": {"name": "f", "arguments": "{}"}}],
}
TOOLED = {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}
CALL = item("function_call", call_id="c1", name="f", arguments="{}")
OUTPUT = item("function_call_output", call_id="c1", output="x")
USER = {"role": "user", "content": "hi"}
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2000}}

# fmt: off
REFUSED = {
    "messages no max_tokens": ("messages", {"model": "say", "messages": HI}, "max_tokens"),
    "messages unknown": ("messages", anthropic_body("hi", seed=1), "seed"),
    "messages roles": ("messages", {**anthropic_body("hi"), "messages": HI + HI}, "alternate"),
    "messages empty": ("messages", anthropic_body([item("text", text="")]), "too short|non-empty"),
    "messages no result": ("messages", anthropic_body("hi", [USE], "so?"), "tool_result"),
    "messages result late": (
        "messages", anthropic_body("hi", [USE], [item("text", text="x"), RESULT]), "come first"),
    "messages marks": (
        "messages", anthropic_body([item("text", text="x", **MARK)] * 5), "Found 5"),
    "messages no thought": (
        "messages", anthropic_body("hi", [USE], [RESULT], model="thinktools"),
        "Expected `thinking`"),
    "messages changed thought": (
        "messages", anthropic_body("hi", [THOUGHT | {"thinking": "hm."}, USE], [RESULT]),
        "Invalid `signature`"),
    "messages forced": (
        "messages",
        anthropic_body("hi", max_tokens=3000, tools=[TOOL], tool_choice={"type": "any"}, **THINKS),
        "forces tool use"),
    "messages budget": ("messages", anthropic_body("hi", **THINKS), "greater than"),
    "messages open schema": (
        "messages",
        anthropic_body("hi", output_config={
            "format": {"type": "json_schema", "schema": {"type": "object"}}}),
        "additionalProperties"),
    "gemini unknown": ("gemini", gemini_body([{"text": "x"}], stream=True), "stream"),
    "gemini empty part": ("gemini", gemini_body([{}]), "oneof"),
    "gemini schema": (
        "gemini",
        gemini_body([{"text": "x"}], tools=[{"functionDeclarations": [
            {"name": "f", "description": "x", "parameters": SCHEMA}]}]),
        "additionalProperties"),
    "gemini few results": (
        "gemini", gemini_body([{"text": "x"}], CALLED, [ANSWERED]), "equal to the number"),
    "gemini no signature": (
        "gemini thinktools", gemini_body([{"text": "x"}], CALLED, [ANSWERED, ANSWERED]),
        "missing a thought_signature"),
    "gemini ids": (
        "gemini",
        gemini_body([{"text": "x"}], [{"functionCall": {"name": "f", "id": "1"}}],
                    [{"functionResponse": {"name": "f", "id": "1", "response": {}}}]),
        'Unknown name "id"'),
    "mistral unknown": ("mistral", mistral_body(USER, seed=1), "extra_forbidden"),
    "mistral developer": ("mistral", mistral_body({"role": "developer", "content": "x"}), "detail"),
    "mistral id": (
        "mistral",
        mistral_body(USER, {**ASSISTANT, "tool_calls": [
            {"id": "call_1", "function": {"name": "f", "arguments": "{}"}}]},
            {**TOOLED, "tool_call_id": "call_1"}),
        "length of 9"),
    "mistral user after tool": (
        "mistral", mistral_body(USER, ASSISTANT, TOOLED, USER), "unexpected role"),
    "mistral last": (
        "mistral", mistral_body(USER, {"role": "assistant", "content": "x"}), "last role"),
    "responses unknown": ("responses", {"model": "say", "input": "x", "seed": 1}, "seed"),
    "responses no output": (
        "responses", {"model": "say", "input": [USER, CALL]}, "no result"),
    "responses no call": ("responses", {"model": "say", "input": [USER, OUTPUT]}, "no open call"),
    "responses previous": (
        "responses", {"model": "say", "input": "x", "previous_response_id": "resp_1"},
        "not found"),
    "responses no reasoning": (
        "responses",
        {"model": "thinktools", "input": [USER, CALL, OUTPUT],
         "include": ["reasoning.encrypted_content"]},
        "required 'reasoning'"),
    "responses strict": (
        "responses",
        {"model": "say", "input": "x", "tools": [
            {"type": "function", "name": "f", "strict": True, "parameters": {"type": "object"}}]},
        "additionalProperties"),
}
# fmt: on
PATHS = {
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "mistral": "/mistral/v1/chat/completions",
}  # fmt: skip


@pytest.fixture(scope="module")
def stern():
    with Mock(direct=True) as m:
        yield m


@pytest.mark.parametrize("name", REFUSED)
def test_refused(stern, name):
    talk, body, why = REFUSED[name]
    model = talk.partition(" ")[2] or "say"
    path = PATHS.get(talk, f"/v1beta/models/{model}:generateContent")
    with Wire(stern.port) as w:
        reply = w.ask("POST", path, body)
    assert reply.status in (400, 422), reply.body
    assert re.search(why, reply.body.decode() + "; ".join(stern.calls[-1].findings)), reply.body


@pytest.mark.parametrize("talk", ["messages", "gemini"])
def test_heads(talk):
    bodies = {"messages": anthropic_body("hi"), "gemini": gemini_body([{"text": "x"}])}
    path = PATHS.get(talk, "/v1beta/models/say:generateContent")
    with Mock(key="k") as m, Wire(m.port) as w:
        right = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-goog-api-key": "k"}
        assert w.ask("POST", path, bodies[talk], right).status == 200
        wrong = w.ask("POST", path, bodies[talk], right | {"authorization": "Bearer k"})
        assert wrong.status == 400 and "authorization" in m.calls[-1].findings[0]
        assert w.ask("POST", path, bodies[talk]).status == 400


# --- thin ones ---------------------------------------------------------------------------------


def test_thin(oai, mistral, up):
    got = oai.embeddings.create(model="e", input=["a", "b"], dimensions=3)
    assert len(got.data) == 2 and len(got.data[0].embedding) == 3
    assert oai.completions.create(model="c", prompt="x").choices[0].text == "after x"
    fim = mistral.fim.complete(model="f", prompt="x", suffix="y")
    assert fim.choices[0].message.content == "after x before y"
    assert len(mistral.embeddings.create(model="e", inputs=["a"]).data[0].embedding) == 4
    with Wire(up.port) as w:
        assert w.ask("GET", "/v1beta/models").json()["models"][0]["name"] == "models/say"
