"""A chain of twelve dependent tool calls through every door and to every kind of upstream.

Each call needs the result of the one before it. The mock checks the whole history with each turn
(behave.chain): ids pair up, order and arguments are as it gave them, to the byte where the
dialect carries text, and its answer says BROKEN where not.
"""

import json

import pytest

import egress
import ingress
from gateway import Gateway

STEP = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "from": {"type": "string"}, "also": {}},
    "required": ["n", "from"],
}
HOPS = 12


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("chain"), egress.settings(provider)) as g:
        yield g


@pytest.fixture(scope="module")
def doors(server):
    return {name: make(server) for name, make in ingress.DOORS.items()}


def climb(door, model: str, stream: bool, width: int):
    """Answers calls until there are none. Returns all calls, and the last answer."""
    history, calls = door.user("climb"), []
    for hop in range(HOPS + 1):
        got = door.ask(model, stream, history=history, tools={"step": STEP})
        if not got.calls:
            return calls, got
        assert len(got.calls) == width and got.finish == "tool_calls"
        calls += got.calls
        texts = [f'result {c.args["n"]} \u00e9"\\ of hop {hop}' for c in got.calls]
        history = history + got.said + door.results(got.calls, texts)
    raise AssertionError("the chain has no end")


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", egress.KINDS)
@pytest.mark.parametrize("name", ingress.DOORS)
def test_chain(doors, mock, name, kind, stream, width):
    if width == 2 and stream:
        pytest.skip("one way is enough for two calls at a time")
    model = egress.model(kind, f"chain:hops={HOPS},width={width}")
    calls, last = climb(doors[name], model, stream, width)
    assert "BROKEN" not in last.text, last.text
    assert last.text.startswith(f"after {HOPS * width} calls: result {HOPS * width - 1}")
    assert [c.args["n"] for c in calls] == list(range(HOPS * width))
    assert len({c.id for c in calls}) == HOPS * width
    # members keep their order
    assert list(json.loads(calls[0].arguments)) == ["n", "from", "also"]
    upstream = mock.calls_now()
    assert len(upstream) == HOPS + 1
    assert [c.findings for c in upstream if c.findings] == []
    # an id is the same in each turn that shows it, for the sake of prompt caches
    ids = [i.id for i in upstream[-1].asked.of("call")]
    for n, call in enumerate(upstream):
        assert [i.id for i in call.asked.of("call")] == ids[: n * width]
