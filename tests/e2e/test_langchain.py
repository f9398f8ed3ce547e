"""LangChain's Python clients: streams, tools, structured outputs, errors, aborts. Each stands at
the door of its dialect, in front of upstreams of other kinds than its own, too."""

import anthropic
import httpx
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_mistralai import ChatMistralAI
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

import egress
from gateway import Gateway

KINDS = ["chat", "anthropic", "gemini", "mistral", "responses"]
pytestmark = pytest.mark.filterwarnings("ignore")


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"-3 degrees in {city}"


class Place(BaseModel):
    """A place."""

    city: str = Field(description="its name")


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("langchain"), egress.settings(provider)) as g:
        yield g


def openai_chat(server, model: str, **more):
    return ChatOpenAI(base_url=server.url, api_key="x", model=model, max_retries=0, **more)


def openai_responses(server, model: str, **more):
    return openai_chat(server, model, use_responses_api=True, output_version="responses/v1", **more)


def claude(server, model: str, **more):
    url = server.url.removesuffix("/v1")
    more = {"max_tokens": 4096} | more
    return ChatAnthropic(base_url=url, api_key="x", model=model, max_retries=0, **more)


def mistral(server, model: str, **more):
    return ChatMistralAI(base_url=server.url, api_key="x", model=model, max_retries=1, **more)


CLIENTS = {f.__name__: f for f in (openai_chat, openai_responses, claude, mistral)}
LIMITS = {
    "openai_chat": openai.RateLimitError,
    "openai_responses": openai.RateLimitError,
    "claude": anthropic.RateLimitError,
    "mistral": httpx.HTTPStatusError,
}


@pytest.fixture(params=CLIENTS)
def make(request, server):
    def model(kind: str, behaviour: str, **more):
        return CLIENTS[request.param](server, egress.model(kind, behaviour), **more)

    model.name = request.param
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_text(make, kind, mock):
    llm = make(kind, "echo")
    asked = [SystemMessage("be brief"), HumanMessage("h\u00e9llo you")]
    reply = llm.invoke(asked)
    assert reply.text == "h\u00e9llo you" and reply.usage_metadata["input_tokens"] == 11
    pieces = list(llm.stream(asked))
    assert "".join(p.text for p in pieces) == "h\u00e9llo you"
    first, *_ = mock.calls_now()
    assert first.asked.said("system") == ["be brief"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_tools(make, kind, stream):
    """As its agents do it: bind, call, run, send back what came."""
    arguments = "%7B%22city%22%3A%22Oslo%22%7D"
    llm = make(kind, f"tools:calls=2,arguments={arguments}").bind_tools([weather])

    def ask(messages):
        if not stream:
            return llm.invoke(messages)
        whole = None
        for piece in llm.stream(messages):
            whole = piece if whole is None else whole + piece
        return whole

    user = HumanMessage("the weather?")
    said = ask([user])
    assert [(c["name"], c["args"]) for c in said.tool_calls] == [("weather", {"city": "Oslo"})] * 2
    results = [weather.invoke(c) for c in said.tool_calls]
    assert all(isinstance(r, ToolMessage) for r in results)
    reply = ask([user, said, *results])
    assert reply.text == "result was -3 degrees in Oslo and -3 degrees in Oslo"


@pytest.mark.parametrize("kind", KINDS)
def test_structured_output(make, kind):
    llm = make(kind, "say:text=%7B%22city%22%3A%22Oslo%22%7D")
    got = llm.with_structured_output(Place, method="json_schema").invoke("where?")
    assert got == Place(city="Oslo")


@pytest.mark.parametrize("kind", KINDS)
def test_structured_output_by_a_tool(make, kind):
    llm = make(kind, "tools:name=Place,arguments=%7B%22city%22%3A%22Oslo%22%7D")
    if make.name.startswith("openai") and kind == "gemini":
        # they ask for parallel_tool_calls: false, and Gemini has no word for that
        with pytest.raises(openai.BadRequestError, match="parallel_tool_calls"):
            llm.with_structured_output(Place, method="function_calling").invoke("where?")
        return
    got = llm.with_structured_output(Place, method="function_calling").invoke("where?")
    assert got == Place(city="Oslo")


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_typed(make, kind):
    with pytest.raises(LIMITS[make.name]) as e:
        make(kind, f"status:code=429,retry=7,for={make.name}").invoke("hi")
    assert e.value.response.status_code == 429
    assert e.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("kind", KINDS)
def test_abort(make, kind, mock):
    """Leaving a stream ends the upstream's."""
    stream = make(kind, "say:n=1000,gap=10").stream("hi")
    for piece in stream:
        if piece.text:
            break
    stream.close()
    (call,) = mock.calls_now()
    mock.wait(lambda: call.end == "left", 10, "the upstream's stream to end")
    assert len(call.sent) < 500
