"""OpenAI's Python library against plain models: what a user's first hour looks like."""

import asyncio
import json
import time

import jsonschema
import openai
import pytest

from money import nusd, price_of
from strict import SPEC

HI = [{"role": "user", "content": "Hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def chat(client, model: str, **more):
    return client.chat.completions.create(model=model, messages=HI, **more)


def test_models(client):
    by_id = {m.id: m for m in client.models.list()}
    assert {"alpha", "beta", "trio", "fusion"} <= set(by_id)
    assert by_id["trio"].owned_by == "fusor" and by_id["alpha"].owned_by == "mock"
    assert by_id["alpha"].context_length == 32768
    assert client.models.retrieve("alpha").id == "alpha"
    assert client.models.retrieve("mock/say:text=x").id == "mock/say:text=x"
    with pytest.raises(openai.NotFoundError, match="alpha"):
        client.models.retrieve("alhpa")


def schema_of(api: str, name: str):
    """A component of a provider's own OpenAPI description, where ../shared holds it."""
    path = SPEC.with_name(f"{api}.json")
    if not path.exists():
        pytest.skip(f"no {path.name}")
    whole = {"$ref": f"#/components/schemas/{name}", **json.loads(path.read_text())}
    return jsonschema.Draft202012Validator(whole)


@pytest.mark.parametrize("api, name", [("openai", "Model"), ("mistral", "BaseModelCard")])
def test_models_are_what_each_client_reads(server, api, name):
    valid = schema_of(api, name)
    listed = json.loads(server.ask("GET", "/v1/models").body)
    assert listed["object"] == "list"
    for entry in listed["data"]:
        assert [e.message for e in valid.iter_errors(entry)] == []
        assert json.loads(server.ask("GET", f"/v1/models/{entry['id']}").body) == entry


def test_models_say_what_is_known(start):
    g = start(
        providers={
            "lab": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"},
            "paris": {"kind": "openai", "base_url": "https://api.eu.mistral.ai/v1"},
        },
        models={
            "alpha": {"provider": "lab", "context": 1000, "capabilities": {"tools": True}},
            "medium": {"provider": "paris", "id": "mistral-medium-latest"},
        },
        fusions={"duo": {"panel": ["alpha", "medium"]}},
    )
    by_id = {m["id"]: m for m in json.loads(g.ask("GET", "/v1/models").body)["data"]}
    medium, duo = by_id["medium"], by_id["duo"]
    assert (medium["context_length"], medium["max_context_length"]) == (262144, 262144)
    assert medium["pricing"]["prompt"] == "0.00000165"
    assert medium["capabilities"]["vision"] and medium["aliases"][0] == "paris/medium"
    assert (duo["context_length"], duo["pricing"]) == (1000, None)
    assert "tools" in duo["supported_parameters"]
    assert "reasoning" not in duo["supported_parameters"]
    # a model that nobody listed is known all the same, with its slashes escaped or not
    for path in ("paris/mistral-medium-3", "paris%2Fmistral-medium-3"):
        entry = json.loads(g.ask("GET", f"/v1/models/{path}").body)
        assert entry["pricing"] == medium["pricing"] and entry["aliases"] == []


def test_unary(client, mock):
    reply = chat(
        client,
        "mock/say:text=good%20day,in=120,out=40,cached=100",
        temperature=0.5,
        max_tokens=100,
        seed=7,
        stop=["END"],
        user="u1",
    )
    choice = reply.choices[0]
    assert (choice.message.content, choice.message.role) == ("good day", "assistant")
    assert choice.finish_reason == "stop" and choice.message.refusal is None
    assert reply.object == "chat.completion" and reply.model.startswith("mock/say")
    usage = reply.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (120, 40, 160)
    assert usage.prompt_tokens_details.cached_tokens == 100
    assert nusd(usage.cost) == price_of(120, 40, 100)
    (call,) = mock.calls_now()
    sent = {k: call.body[k] for k in ("temperature", "max_tokens", "seed", "stop", "user")}
    assert sent == {"temperature": 0.5, "max_tokens": 100, "seed": 7, "stop": ["END"], "user": "u1"}
    mock.wait(lambda: call.end == "done")


def test_stream_default_shape(client):
    chunks = list(chat(client, "mock/say:n=5,in=9,out=5", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "w0 w1 w2 w3 w4 "
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    assert all(len(c.choices) == 1 for c in chunks)
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (9, 5)


def test_stream_with_include_usage(client):
    chunks = list(chat(client, "mock/say:n=3", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 3
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks[:-1])


def test_stream_helper(client):
    with client.chat.completions.stream(model="mock/say:n=3", messages=HI) as s:
        assert s.get_final_completion().choices[0].message.content == "w0 w1 w2 "


# How the upstream says it changes nothing in what the client gets.
@pytest.mark.parametrize(
    "how",
    [
        "crlf=1",
        "comments=1",
        "done=0",
        "split=1",
        "role=0",
        "framing=close",
        "usage=none",
        "usage=each",
        "usage=finish",
        "gap=2",
        "crlf=1,split=3,comments=1",
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_upstream_shapes(client, how, stream):
    got = chat(client, f"mock/say:n=6,{how}", stream=stream)
    want = "".join(f"w{i} " for i in range(6))
    if not stream:
        assert got.choices[0].message.content == want
        assert got.usage.completion_tokens > 0
        return
    chunks = list(got)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == want
    assert chunks[-1].choices[0].finish_reason == "stop" and chunks[-1].usage


def test_usage_without_the_upstreams_is_marked(client):
    reply = chat(client, "mock/say:n=6,usage=none")
    assert reply.usage.estimated is True and reply.usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "kind, finish",
    [
        ("length:n=2", "length"),
        ("filter:n=3", "content_filter"),
        ("refusal", "stop"),
        ("empty", "stop"),
    ],
)
def test_finish_reasons(client, kind, finish, stream):
    if not stream:
        choice = chat(client, f"mock/{kind}").choices[0]
        refusal = choice.message.refusal
    else:
        chunks = list(chat(client, f"mock/{kind}", stream=True))
        choice = chunks[-1].choices[0]
        refusal = "".join(c.choices[0].delta.refusal or "" for c in chunks) or None
    assert choice.finish_reason == finish
    assert refusal == ("I cannot help with that." if kind == "refusal" else None)


@pytest.mark.parametrize("stream", [True, False])
def test_reasoning_stays_apart(client, stream):
    got = chat(client, "mock/think:text=forty-two,reasoning=2", stream=stream)
    if stream:
        deltas = [c.choices[0].delta for c in got]
        content = "".join(d.content or "" for d in deltas)
        reasoning = "".join(getattr(d, "reasoning_content", None) or "" for d in deltas)
    else:
        content = got.choices[0].message.content
        reasoning = got.choices[0].message.reasoning_content
    assert (content, reasoning) == ("forty-two", "first then ")


# --- tools -------------------------------------------------------------------------------------


@pytest.mark.parametrize("frag", ["", ",frag=5"])
@pytest.mark.parametrize("include", [None, {"include_usage": True}])
def test_tools_streamed(client, frag, include):
    more = {"stream_options": include} if include else {}
    model = f"mock/tools:calls=2{frag}"
    with client.chat.completions.stream(model=model, messages=HI, tools=TOOLS, **more) as s:
        choice = s.get_final_completion().choices[0]
    calls = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert [c.function.name for c in calls] == ["weather"] * 2
    assert len({c.id for c in calls}) == 2
    for c in calls:
        assert json.loads(c.function.arguments)["city"] == 'Oslo "North"'


def test_tool_calls_are_whole_deltas_by_default(client):
    chunks = list(chat(client, "mock/tools:calls=2,frag=6", tools=TOOLS, stream=True))
    calls = [c for k in chunks for c in k.choices[0].delta.tool_calls or []]
    assert [c.index for c in calls] == [0, 1]
    for c in calls:
        assert c.id and c.type == "function" and json.loads(c.function.arguments)


@pytest.mark.parametrize("stream", [True, False])
def test_tool_round_trip(client, mock, stream):
    def turn(messages):
        if not stream:
            return client.chat.completions.create(
                model="mock/tools:finish=stop",
                messages=messages,
                tools=TOOLS,
                tool_choice="required",
                parallel_tool_calls=False,
            ).choices[0]
        with client.chat.completions.stream(
            model="mock/tools:finish=stop",
            messages=messages,
            tools=TOOLS,
            tool_choice="required",
            parallel_tool_calls=False,
        ) as s:
            return s.get_final_completion().choices[0]

    first = turn(HI)
    assert first.finish_reason == "tool_calls"  # though the upstream says "stop"
    (call,) = first.message.tool_calls
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "-3 degrees"}
    second = turn([*HI, said, result])
    assert second.message.content == "result was -3 degrees"
    sent = mock.calls_now()[-1].body
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == call.function.arguments
    assert sent["messages"][2]["tool_call_id"] == sent["messages"][1]["tool_calls"][0]["id"]
    assert sent["tool_choice"] == "required" and sent["parallel_tool_calls"] is False


# --- errors ------------------------------------------------------------------------------------


def test_unknown_model(client, mock):
    with pytest.raises(openai.NotFoundError) as e:
        chat(client, "alpa")
    assert e.value.code == "model_not_found" and "alpha" in e.value.message
    assert e.value.response.headers["x-request-id"] and mock.calls_now() == []


@pytest.mark.parametrize(
    "more, param",
    [
        ({"temperature": 9}, "temperature"),
        ({"n": 3}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"audio": {"voice": "x"}}}, "audio"),
        ({"extra_body": {"fusion": {"mode": "merge"}}}, "fusion"),
    ],
)
def test_bad_fields_are_named(client, mock, more, param):
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, "alpha", **more)
    assert e.value.param == param and e.value.type == "invalid_request_error"
    assert mock.calls_now() == []


@pytest.mark.parametrize(
    "code, error, status",
    [
        (429, openai.RateLimitError, 429),
        (500, openai.InternalServerError, 502),
        (503, openai.InternalServerError, 503),
        (402, openai.APIStatusError, 402),
        (400, openai.BadRequestError, 400),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_upstream_errors_are_typed(client, code, error, status, stream):
    with pytest.raises(error) as e:
        chat(client, f"mock/status:code={code}", stream=stream)
    assert e.value.status_code == status
    assert "mock" in e.value.message  # whose failure it is


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_provider_key_is_not_the_clients_fault(client, code):
    with pytest.raises(openai.InternalServerError) as e:
        chat(client, f"mock/status:code={code},message=bad%20key%20sk-secret")
    assert e.value.status_code == 502 and "sk-secret" not in str(e.value)


@pytest.mark.parametrize(
    "how, least, most", [("retry=7", 7, 7), ("retryms=2500", 3, 3), ("retrydate=30", 28, 31)]
)
def test_retry_after_is_passed_on(client, how, least, most):
    with pytest.raises(openai.RateLimitError) as e:
        chat(client, f"mock/status:code=429,{how}")
    headers = e.value.response.headers
    assert least <= int(headers["retry-after"]) <= most
    assert "x-should-retry" not in headers


def test_the_library_does_not_repeat_an_ambiguous_failure(start, mock):
    # a server of its own: no connection to the provider is kept that could be stale
    with openai.OpenAI(base_url=start().url, api_key="x", max_retries=2) as c:
        with pytest.raises(openai.InternalServerError) as e:
            chat(c, "mock/say:rst_head=1")
    assert e.value.response.headers["x-should-retry"] == "false"
    assert len(mock.calls_now()) == 1


def test_the_library_repeats_a_refused_one(server, mock):
    model = mock.script("script-429", "status:code=429,retryms=20", "say:text=now")
    with openai.OpenAI(base_url=server.url, api_key="x", max_retries=1) as c:
        assert chat(c, f"mock/{model}").choices[0].message.content == "now"


# --- async -------------------------------------------------------------------------------------


@pytest.mark.race
def test_async_many(server):
    async def one(c, i: int):
        if i % 2:
            reply = await chat(c, f"mock/say:text=n{i},gap=2")
            return reply.choices[0].message.content
        stream = await chat(c, f"mock/say:text=n{i},gap=2", stream=True)
        return "".join([k.choices[0].delta.content or "" async for k in stream])

    async def everything():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as c:
            models = [m.id async for m in await c.models.list()]
            assert "trio" in models
            return await asyncio.gather(*(one(c, i) for i in range(60)))

    assert asyncio.run(everything()) == [f"n{i}" for i in range(60)]


def test_first_word_comes_when_the_upstream_says_it(client):
    began = time.monotonic()
    with chat(client, "mock/say:n=3,gap=300", stream=True) as s:
        for c in s:
            if c.choices[0].delta.content:
                break
    assert time.monotonic() - began < 0.3
