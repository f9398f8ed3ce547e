"""The mock provider by itself: an oracle that is wrong proves nothing."""

import asyncio
import socket

import openai
import pytest

from mock import Mock
from wire import Wire


@pytest.fixture(scope="module")
def up():
    with Mock(direct=True) as m:
        yield m


@pytest.fixture
def sdk(up):
    with openai.OpenAI(base_url=up.url, api_key="x", max_retries=0) as c:
        yield c


def messages(text: str = "hi") -> list:
    return [{"role": "user", "content": text}]


def chat(sdk, model: str, **more):
    return sdk.chat.completions.create(model=model, messages=messages(), **more)


def test_unary_and_models(sdk):
    reply = chat(sdk, "say:text=hello%2C%20you,in=5,out=7,cached=3")
    assert reply.choices[0].message.content == "hello, you"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 7)
    assert reply.usage.prompt_tokens_details.cached_tokens == 3
    assert [m.id for m in sdk.models.list()] == ["say"]


@pytest.mark.parametrize(
    "how",
    [
        "",
        ",crlf=1",
        ",comments=1",
        ",done=0",
        ",split=1",
        ",role=0",
        ",framing=close",
        ",usage=none",
        ",usage=each",
        ",usage=finish",
    ],
)
def test_stream_shapes(sdk, how):
    chunks = list(chat(sdk, f"say:n=3{how}", stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "w0 w1 w2 "
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.parametrize("frag", ["", ",frag=4"])
def test_tools(sdk, frag):
    with sdk.chat.completions.stream(model=f"tools:calls=2{frag}", messages=messages()) as s:
        calls = s.get_final_completion().choices[0].message.tool_calls
    assert [c.function.name for c in calls] == ["weather", "weather"]
    assert calls[0].function.arguments == '{"city":"Oslo \\"North\\"","days":[1,2,3],"unit":null}'


@pytest.mark.parametrize(
    "code, error",
    [
        (429, openai.RateLimitError),
        (401, openai.AuthenticationError),
        (500, openai.InternalServerError),
        (402, openai.APIStatusError),
    ],
)
def test_status(sdk, code, error):
    with pytest.raises(error) as e:
        chat(sdk, f"status:code={code},retry=7")
    assert e.value.status_code == code
    assert e.value.response.headers["retry-after"] == "7"


def test_faults(up, sdk):
    for fault in ("rst_head", "fin_head"):
        with pytest.raises(openai.APIConnectionError):
            chat(sdk, f"say:{fault}=1")
    got = []
    with pytest.raises(openai.APIConnectionError):
        for c in chat(sdk, "say:n=5,gap=5,cut=2", stream=True):
            got.append(c.choices[0].delta.content)
    assert got == ["", "w0 ", "w1 "]
    assert up.since(0, "say:n=5,gap=5,cut=2")[0].end == "cut"
    with pytest.raises(openai.APIError, match="overloaded inside"):
        list(chat(sdk, "err200", stream=True))


def test_stall_and_how_the_other_side_left(up):
    for how in ("fin", "rst"):
        mark = up.mark()
        with Wire(up.port) as w:
            body = {"model": "say:n=9,stall=2", "messages": messages(), "stream": True}
            w.send(w.request("POST", "/v1/chat/completions", body))
            w.until(b"w1 ")
            w.leave(how)
        call = up.wait(lambda m=mark: up.since(m) and up.since(m)[0].ended and up.since(m)[0])
        assert (call.end, call.conn.how) == ("left", how)
        assert call.ended - call.received < 1


def test_findings():
    with Mock() as up, Wire(up.port) as w:
        body = {"model": "say", "messages": messages(), "colour": 1, "stream_options": {}}
        reply = w.ask("POST", "/v1/chat/completions", body, {"x-stainless-os": "x"})
        assert reply.status == 400
        bad = up.calls[-1].findings
        assert "unknown field colour" in bad and "stream_options without stream" in bad
        assert any("x-stainless-os" in b for b in bad)
        reply = w.ask("POST", "/v1/chat/completions", b'{"model":"a","model":"b"}')
        assert reply.status == 400 and "duplicate keys" in up.calls[-1].findings[0]


def test_script(up, sdk):
    up.script("script-a", "status:code=500", "say:text=one", "say:text=two")
    with pytest.raises(openai.InternalServerError):
        chat(sdk, "script-a")
    said = [chat(sdk, "script-a").choices[0].message.content for _ in range(3)]
    assert said == ["one", "two", "two"]


def test_many_at_once(up):
    """Frames keep their order and none is lost with 200 streams at once."""

    async def one(sdk):
        stream = await sdk.chat.completions.create(
            model="say:n=10,gap=5", messages=messages(), stream=True
        )
        return [c.choices[0].delta.content async for c in stream if c.choices]

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=up.url, api_key="x", max_retries=0) as sdk:
            return await asyncio.gather(*(one(sdk) for _ in range(200)))

    for got in asyncio.run(all_of_them()):
        assert "".join(g or "" for g in got) == "".join(f"w{i} " for i in range(10))


def test_pipelined_requests_are_answered_in_order(up):
    with Wire(up.port) as w:
        bodies = [{"model": f"say:text={t}", "messages": messages()} for t in "abc"]
        w.send(b"".join(w.request("POST", "/v1/chat/completions", b) for b in bodies))
        said = [w.read().json()["choices"][0]["message"]["content"] for _ in bodies]
    assert said == ["a", "b", "c"]


def test_unix_socket(tmp_path):
    with Mock(unix=str(tmp_path / "up.sock")) as m, Wire(unix=m.unix) as w:
        assert w.ask("GET", "/v1/models").status == 200
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(m.unix)
