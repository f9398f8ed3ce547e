"""OpenAI's Node library: the cases of node/basic.mjs, each reported as a case of its own."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
FILE = HERE / "node/basic.mjs"
LIBRARY = HERE / "node_modules/openai"
# names as node prints them; the one in backticks stands for two
NAMES = list(re.findall(r'^test\("(.+?)",', FILE.read_text(), re.M))
NAMES += ["tool calls streamed", "tool calls streamed,frag=5"]
OK = re.compile(r"^(not ok|ok) \d+ - (.*?)( # .*)?$")


@pytest.fixture(scope="module")
def results(server):
    """Name -> (passed, what it said), from one run of the file."""
    node = shutil.which("node")
    if not node or not LIBRARY.exists():
        pytest.skip("node or its openai library is not installed")
    env = {"PATH": os.environ["PATH"], "HOME": str(server.home), "FUSOR_URL": server.url}
    run = subprocess.run(
        [node, "--test", "--test-reporter=tap", FILE],
        env=env,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found, lines = {}, [x.strip() for x in run.stdout.splitlines()]
    for i, line in enumerate(lines):
        if m := OK.match(line):
            name = m.group(2).replace("\\#", "#")
            found[name] = (m.group(1) == "ok", "\n".join(lines[i : i + 25]))
    assert found, run.stdout + run.stderr
    return found


@pytest.mark.parametrize("name", NAMES)
def test_node(results, name):
    passed, said = results[name]
    assert passed, said
