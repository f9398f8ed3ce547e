"""Node's client libraries (OpenAI, Anthropic, Mistral, Vercel's AI SDK with its providers) in front
of upstreams of every kind: the cases of node/clients.mjs, each reported as a case of its own."""

import json

import pytest

import egress
import tap
from gateway import Gateway

CLIENTS = ["openai-chat", "openai-responses", "anthropic", "mistral", "ai-openai",
           "ai-openai-chat", "ai-anthropic", "ai-mistral", "ai-compatible"]  # fmt: skip
KINDS = list(egress.KINDS)
CASES = ["text", "stream", "tools", "structured", "limit", "broken", "abort"]
LIBRARIES = ["openai", "@anthropic-ai/sdk", "@mistralai/mistralai", "ai", "@ai-sdk/openai",
             "@ai-sdk/anthropic", "@ai-sdk/mistral", "@ai-sdk/openai-compatible"]  # fmt: skip


# Asks for an answer by a tool with disable_parallel_tool_use; Gemini has no word for that.
REFUSED = {"ai-anthropic gemini structured": "parallel_tool_calls cannot be false"}


@pytest.fixture(scope="module")
def results(provider, tmp_path_factory):
    """Name -> (passed, what it said), from one run of the file."""
    if why := tap.missing(*LIBRARIES):
        pytest.skip(why)
    home = tmp_path_factory.mktemp("node")
    models = {kind: egress.model(kind, "") for kind in KINDS}
    with Gateway(home, egress.settings(provider)) as g:
        env = {"FUSOR_URL": g.url, "CLIENTS": " ".join(CLIENTS), "MODELS": json.dumps(models)}
        yield tap.run("clients.mjs", home, **env)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client(results, client, kind, case):
    name = f"{client} {kind} {case}"
    passed, said = results[name]
    if name in REFUSED:
        assert not passed and REFUSED[name] in said
        return
    assert passed, said
