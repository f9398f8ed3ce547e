"""What is kept between requests: conversations that Responses goes on from, and signed reasoning of
clients that do not send it back."""

import json

import openai
import pytest

import egress
from gateway import Gateway

ALLOW = {"responses": {"store": "allow"}}
TOOLS = [{"type": "function", "name": "weather", "strict": False, "parameters": {"type": "object", "properties": {}}}]  # fmt: skip
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]  # fmt: skip


def client_of(server: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0)


def restart(g: Gateway):
    assert g.stop() == 0
    g.errors.unlink()
    g.start()


def create(client, stream: bool, **more):
    """A whole answer either way."""
    more = {"model": "mock/echo"} | more
    if not stream:
        return client.responses.create(**more)
    with client.responses.create(**more, stream=True) as events:
        last = list(events)[-1]
    assert last.type == "response.completed"
    return last.response


def said(call) -> list[tuple[str, str]]:
    """What a provider was sent: roles and texts."""
    return [(m["role"], m["content"]) for m in call.body["messages"]]


@pytest.fixture(scope="module")
def kept(provider, tmp_path_factory):
    config = egress.settings(provider) | ALLOW
    with Gateway(tmp_path_factory.mktemp("kept"), config) as g:
        yield g


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


# --- conversations -----------------------------------------------------------------------------


@STREAM
def test_chain(kept, mock, stream):
    client = client_of(kept)
    one = create(client, stream, model="mock/echo", input="one", instructions="Be short.")
    assert one.store is True and one.previous_response_id is None
    two = create(client, stream, model="mock/echo", input="two", previous_response_id=one.id)
    assert two.previous_response_id == one.id
    three = create(
        client, stream, model="mock/echo", input="three", previous_response_id=two.id,
        instructions="Be long.", store=False,
    )  # fmt: skip
    assert three.store is False
    calls = mock.calls_now()
    assert said(calls[1]) == [("user", "one"), ("assistant", "one"), ("user", "two")]
    assert said(calls[2])[0][1] == "Be long."
    assert said(calls[2])[1:] == [
        ("user", "one"), ("assistant", "one"), ("user", "two"), ("assistant", "two"),
        ("user", "three"),
    ]  # fmt: skip
    # a branch, and what was not to be kept
    again = create(client, stream, model="mock/echo", input="else", previous_response_id=one.id)
    assert again.output_text == "else"
    with pytest.raises(openai.BadRequestError) as e:
        create(client, stream, input="four", previous_response_id=three.id)
    assert e.value.code == "previous_response_not_found"


@STREAM
def test_tools_in_a_chain(kept, mock, stream):
    """A client that goes on from an answer sends results alone: calls, thoughts and signatures
    come from us."""
    client = client_of(kept)
    for kind in ("anthropic", "gemini", "responses", "chat"):
        model = egress.model(kind, "thinktools")
        more = {"model": model, "tools": TOOLS, "reasoning": {"effort": "high"}}
        first = create(client, stream, input="the weather?", max_output_tokens=8000, **more)
        call = next(i for i in first.output if i.type == "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
        second = create(
            client, stream, input=[result], previous_response_id=first.id, max_output_tokens=8000,
            **more,
        )  # fmt: skip
        assert second.output_text == "result was sun", kind


def test_restart(start, mock):
    g = start(**ALLOW)
    one = create(client_of(g), True, model="mock/echo", input="one")
    restart(g)
    client = client_of(g)
    two = create(client, True, model="mock/echo", input="two", previous_response_id=one.id)
    assert said(mock.calls_now()[-1]) == [("user", "one"), ("assistant", "one"), ("user", "two")]
    assert client.responses.retrieve(two.id).output_text == "two"
    assert client.responses.retrieve(one.id).model_dump() == one.model_dump()


def test_denied(server, mock):
    """Nothing is kept unless it is allowed, and the answer says so."""
    client = client_of(server)
    one = create(client, False, model="mock/echo", input="one", store=True)
    assert one.store is False
    with pytest.raises(openai.BadRequestError) as e:
        create(client, False, input="two", previous_response_id=one.id)
    assert e.value.param == "previous_response_id" and "store: allow" in e.value.message
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(one.id)
    assert not [r for r in server.rows("archive.db", "SELECT * FROM kept WHERE kind = 'response'")]


def test_unknown(kept, mock):
    client = client_of(kept)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as e:
            create(client, stream, input="x", previous_response_id="resp_nobody")
        assert e.value.code == "previous_response_not_found"
        assert e.value.param == "previous_response_id"
        assert "resp_nobody" in e.value.message
    assert mock.calls_now() == []
    for verb in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            verb("resp_nobody")
    with pytest.raises(openai.NotFoundError):
        list(client.responses.input_items.list("resp_nobody"))


@STREAM
def test_retrieve_and_delete(kept, stream):
    client = client_of(kept)
    one = create(client, stream, model="mock/echo", input="one")
    two = create(
        client, stream, model="mock/echo", previous_response_id=one.id,
        input=[{"role": "user", "content": f"{n}"} for n in ("two", "three", "four")],
    )  # fmt: skip
    assert client.responses.retrieve(two.id).model_dump() == two.model_dump()
    texts = [i.content[0].text for i in client.responses.input_items.list(two.id, order="asc")]
    assert texts == ["two", "three", "four"]  # of its own turn
    page = client.responses.input_items.list(two.id, limit=2)
    assert [i.content[0].text for i in page.data] == ["four", "three"] and page.has_more
    assert len({i.id for i in client.responses.input_items.list(two.id, limit=1)}) == 3
    reply = kept.ask("DELETE", f"/v1/responses/{one.id}")
    assert reply.status == 200
    assert reply.json() == {"id": one.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(one.id)
    with pytest.raises(openai.BadRequestError) as e:  # the chain has a hole
        create(client, stream, input="five", previous_response_id=two.id)
    assert e.value.code == "previous_response_not_found"
    client.responses.delete(two.id)


def test_wrong_pages(kept):
    one = create(client_of(kept), False, model="mock/echo", input="one")
    path = f"/v1/responses/{one.id}/input_items"
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=nobody"):
        reply = kept.ask("GET", f"{path}?{query}")
        assert (reply.status, reply.json()["error"]["param"]) == (400, query.partition("=")[0])
    assert kept.ask("GET", f"/v1/responses/{one.id}?stream=true").status == 400


def test_expiry(start):
    g = start(**ALLOW, retain={"responses": "1s"})
    client = client_of(g)
    one = create(client, False, model="mock/echo", input="one")
    g.wait(lambda: g.ask("GET", f"/v1/responses/{one.id}").status == 404, 5, "the end")
    with pytest.raises(openai.BadRequestError):
        create(client, False, input="two", previous_response_id=one.id)
    restart(g)
    g.wait(lambda: g.rows("archive.db", "SELECT count(*) FROM kept")[0][0] == 0, 5, "it to go")


def test_long_chain(kept, mock):
    client = client_of(kept)
    last = None
    for n in range(257):
        last = create(client, False, model="mock/echo", input=f"{n}",
                      previous_response_id=last and last.id)  # fmt: skip
        if n == 255:
            assert len(said(mock.calls_now()[-1])) == 2 * 255 + 1
    with pytest.raises(openai.BadRequestError) as e:
        create(client, False, input="more", previous_response_id=last.id)
    assert e.value.code == "conversation_too_long"


# --- reasoning ---------------------------------------------------------------------------------


def chat(client, stream: bool, **body) -> dict:
    """The message as a client keeps it that knows nothing of reasoning."""
    if not stream:
        message = client.chat.completions.create(**body).choices[0].message
        calls = [c.model_dump(include={"id", "type", "function"}) for c in message.tool_calls or []]
        return {"role": "assistant", "content": message.content, "tool_calls": calls}
    text, calls = "", []
    for chunk in client.chat.completions.create(**body, stream=True):
        delta = chunk.choices[0].delta if chunk.choices else None
        text += (delta and delta.content) or ""
        for c in (delta and delta.tool_calls) or []:
            calls.append(c.model_dump(include={"id", "type", "function"}))
    return {"role": "assistant", "content": text or None, "tool_calls": calls}


KINDS = pytest.mark.parametrize("kind", ["anthropic", "gemini", "responses"])


def weather(client, model: str, streams, calls: int = 1):
    """A question whose answer needs a tool, by a client that drops reasoning."""
    body = {"model": model, "tools": CHAT_TOOLS, "max_tokens": 8000, "reasoning_effort": "high"}
    messages = [{"role": "user", "content": "the weather?"}]
    first = chat(client, streams[0], messages=messages, **body)
    assert len(first["tool_calls"]) == calls
    messages += [first]
    messages += [{"role": "tool", "tool_call_id": c["id"], "content": f"r{i}"}
                 for i, c in enumerate(first["tool_calls"])]  # fmt: skip
    return chat(client, streams[1], messages=messages, **body)


@KINDS
@STREAM
@pytest.mark.parametrize("calls", [1, 3])
def test_dropped_reasoning_comes_back(kept, mock, kind, stream, calls):
    model = egress.model(kind, f"thinktools:calls={calls}")
    answer = weather(client_of(kept), model, (stream, stream), calls)
    assert answer["content"].startswith("result was r0")
    assert [c.findings for c in mock.calls_now() if c.findings] == []


def test_redacted(kept):
    model = egress.model("anthropic", "thinktools:redacted=1")
    assert weather(client_of(kept), model, (True, False))["content"] == "result was r0"


def test_reasoning_survives_a_restart(provider, tmp_path):
    config = egress.settings(provider)
    g = Gateway(tmp_path, config).start()
    body = {"model": egress.model("anthropic", "thinktools"), "tools": CHAT_TOOLS,
            "max_tokens": 8000, "reasoning_effort": "high"}  # fmt: skip
    messages = [{"role": "user", "content": "the weather?"}]
    messages += [chat(client_of(g), True, messages=messages, **body)]
    messages += [{"role": "tool", "tool_call_id": messages[-1]["tool_calls"][0]["id"],
                  "content": "r0"}]  # fmt: skip
    restart(g)
    assert chat(client_of(g), True, messages=messages, **body)["content"] == "result was r0"
    rows = g.rows("archive.db", "SELECT kind, value FROM kept")
    assert [r["kind"] for r in rows] == ["reasoning"]
    assert "result was" not in json.dumps([r["value"].decode() for r in rows])
    assert g.stop() == 0


def test_nothing_is_kept_where_it_is_off(provider, tmp_path):
    with Gateway(tmp_path, egress.settings(provider) | {"retain": {"reasoning": 0}}) as g:
        body = {"model": egress.model("gemini", "thinktools"), "tools": CHAT_TOOLS}
        chat(client_of(g), True, messages=[{"role": "user", "content": "x"}], **body)
        assert g.rows("archive.db", "SELECT * FROM kept") == []
