"""fusor.example.yaml is a file to start from: it is served, and each of its recipes fuses.

The local model is the mock here; where the embedded runtime is installed, it is the real one too.
"""

import os
import pathlib

import pytest
import yaml

from gateway import BIN, ROOT, Gateway, environment
from gateway import provider as provider_entry

EXAMPLE = ROOT / "fusor.example.yaml"
RUNTIME = next(
    (
        p
        for p in (
            pathlib.Path(os.environ.get("FUSOR_RUNTIME") or "/nowhere"),
            ROOT / ".runtime",
            BIN.parent / "../lib/fusor",
        )
        if p.is_dir()
    ),
    None,
)


@pytest.fixture
def example(provider, tmp_path):
    """The file with other places only: the port, the state, and the mock for the local provider."""
    config = yaml.safe_load(EXAMPLE.read_text())
    config |= {"listen": "127.0.0.1:0"}
    config["providers"]["local"] = provider_entry(provider, price="free")
    for model in config["models"].values():
        if model["provider"] == "local":
            model["id"] = "able:text=the%20answer%20is%2042"
    with Gateway(tmp_path, config) as g:
        yield g


def test_every_recipe_answers(example, mock):
    recipes = example.config["fusions"]
    assert len(recipes) >= 3
    for name in recipes:
        mark = mock.mark()
        reply = example.chat(name, prompt="What is the answer?")
        assert reply.status == 200, reply.body
        usage = reply.json()["usage"]
        assert "the answer is 42" in reply.json()["choices"][0]["message"]["content"]
        assert usage["fusion"]["degraded"] is None and usage["cost"] == 0
        panel = recipes[name]["panel"]
        assert len(usage["fusion"]["members"]) == sum(m.get("samples", 1) for m in panel)
        sent = [c.body for c in mock.since(mark)]
        for member in panel:
            told = {k: member[k] for k in ("temperature", "max_tokens") if k in member}
            assert any(told.items() <= body.items() for body in sent)
        seeds = [body["seed"] for body in sent if "seed" in body]
        assert len(seeds) == len(set(seeds)) and bool(seeds) is ("seed" in panel[0])


def test_the_file_itself_is_right(tmp_path):
    done = Gateway(tmp_path, {}).run("config", "check", str(EXAMPLE))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    RUNTIME is None, reason="the embedded model runtime is not installed (make demo installs it)"
)
def test_with_the_embedded_model(tmp_path):
    g = Gateway(tmp_path, {})
    text = EXAMPLE.read_text().replace("listen: 127.0.0.1:8420", "listen: 127.0.0.1:0")
    g.write(f"{text}\nstate_dir: {g.state}\n")
    g.env = environment(tmp_path, FUSOR_RUNTIME=str(RUNTIME))
    with g:
        body = {
            "model": "fusion",
            "max_tokens": 24,
            "stream": True,
            "messages": [{"role": "user", "content": "Name three colours."}],
        }
        with g.wire(timeout=120) as w:
            reply = w.chat(body)
        assert reply.status == 200, reply.body
        usage = reply.frames()[-1]["usage"]
        assert reply.text().strip() and usage["cost"] == 0
        assert {m["status"] for m in usage["fusion"]["members"]} <= {"ok", "unused", "abandoned"}
        assert usage["completion_tokens"] > 0
