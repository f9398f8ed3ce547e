"""An upstream that others wrote: CopilotKit's aimock speaks OpenAI's two APIs, Anthropic's and
Gemini's, behind every door. Our own mock shares our reading of the formats; this one does not."""

import subprocess

import pytest

import gateway
import ingress
import tap
from gateway import Gateway

# kind -> its provider, and a model that aimock takes for one of that maker
KINDS = {
    "chat": ({"kind": "openai"}, "/v1", "gpt-4o"),
    "responses": ({"kind": "openai", "api": "responses"}, "/v1", "gpt-4o"),
    "anthropic": ({"kind": "anthropic"}, "/v1", "claude-sonnet-4-5"),
    "gemini": ({"kind": "gemini"}, "/v1beta", "gemini-2.5-pro"),
}
TOOLS = {"weather": {"type": "object", "properties": {"city": {"type": "string"}}}}
HELLO = "hello from the other side, \u00e9\u20ac\U0001f9ed"
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def aimock():
    if why := tap.missing("@copilotkit/aimock"):
        pytest.skip(why)
    with subprocess.Popen(
        [tap.node(), tap.HERE / "node/aimock.mjs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tap.HERE,
    ) as process:
        yield next(line.strip() for line in process.stdout if line.startswith("http"))
        process.stdin.close()


@pytest.fixture(scope="module")
def doors(aimock, provider, tmp_path_factory):
    base = gateway.settings(provider)
    providers = {
        name: gateway.provider(provider, **entry, base_url=aimock + path)
        for name, (entry, path, _) in KINDS.items()
    }
    settings = base | {"providers": base["providers"] | providers}
    with Gateway(tmp_path_factory.mktemp("aimock"), settings) as g:
        yield {name: make(g) for name, make in ingress.DOORS.items()}


@pytest.fixture(params=ingress.DOORS)
def door(request, doors):
    return doors[request.param]


@pytest.fixture(params=KINDS)
def model(request):
    return f"{request.param}/{KINDS[request.param][2]}"


@STREAM
def test_text(door, model, stream):
    got = door.ask(model, stream, prompt="hello", system="be kind")
    assert (got.text, got.finish) == (HELLO, "stop")


@STREAM
def test_tools(door, model, stream):
    user = door.user("the weather?")
    first = door.ask(model, stream, history=user, tools=TOOLS)
    assert first.finish == "tool_calls"
    assert [c.args for c in first.calls] == [{"city": 'Oslo "North"'}, {}]
    history = user + first.said + door.results(first.calls, ["-3", "-4"])
    assert door.ask(model, stream, history=history, tools=TOOLS).text == "it is cold there"


@STREAM
def test_thoughts(door, model, stream):
    got = door.ask(model, stream, prompt="think", effort="high", max_tokens=8000)
    assert (got.text, got.thought) == ("forty-two", "six times seven")


@STREAM
def test_limit(door, model, stream):
    with pytest.raises(door.library.RateLimitError) as e:
        door.ask(model, stream, prompt="limit")
    assert int(e.value.response.headers["retry-after"]) in range(1, 8)
