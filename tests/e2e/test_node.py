"""OpenAI's Node library: the cases of node/basic.mjs, each reported as a case of its own."""

import pathlib
import re

import pytest

import tap

FILE = pathlib.Path(__file__).parent / "node/basic.mjs"
# names as node prints them; the one in backticks stands for two
NAMES = list(re.findall(r'^test\("(.+?)",', FILE.read_text(), re.M))
NAMES += ["tool calls streamed", "tool calls streamed,frag=5"]


@pytest.fixture(scope="module")
def results(server):
    """Name -> (passed, what it said), from one run of the file."""
    if why := tap.missing("openai"):
        pytest.skip(why)
    return tap.run(FILE.name, server.home, FUSOR_URL=server.url)


@pytest.mark.parametrize("name", NAMES)
def test_node(results, name):
    passed, said = results[name]
    assert passed, said
