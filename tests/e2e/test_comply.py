"""llm-comply, a checker that others wrote, at each door in front of every kind of upstream."""

import importlib.util
import json
import subprocess
import sys

import pytest

import egress
from gateway import Gateway

FORMATS = {
    "openai-chat": [],
    "open-responses": [],
    "anthropic": ["--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01"],
}
# What it warns about and why that is as it should be.
FINE = (
    "missing 'annotations' field",  # not required, and there are none
    "reasoning_tokens is 0",  # the mock does not say
    "response.output is missing or empty",  # of /responses/compact, which does not exist
    "expected object containing 'compact'",
    "type='compaction'",
    "no thinking content block",  # chat has no word for a budget, and says so (x-fusor-ignored)
)


@pytest.fixture(scope="module")
def server(provider, tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("comply"), egress.settings(provider)) as g:
        yield g


@pytest.mark.skipif(not importlib.util.find_spec("llm_comply"), reason="no llm-comply")
@pytest.mark.parametrize("kind", egress.KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_comply(server, mock, name, kind):
    # it takes those for models that can reason
    model = egress.model(kind, "handy:like=gpt-5-claude-opus-4")
    base = [sys.executable, "-m", "llm_comply.cli", "--format", name, "-u", server.url, "-k", "x"]
    run = subprocess.run(
        [*base, "-m", model, "--json", *FORMATS[name]], capture_output=True, text=True, timeout=60
    )
    report = json.loads(run.stdout)
    for result in report["results"]:
        assert result["status"] == "passed", result
        odd = [w for w in result.get("warnings", []) if not any(f in w for f in FINE)]
        assert not odd, (result["id"], odd)
    assert report["summary"]["passed"] >= 9 and run.returncode == 0
    assert [c.findings for c in mock.calls_now() if c.findings] == []
