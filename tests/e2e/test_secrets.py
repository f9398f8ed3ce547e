"""The provider's key is seen by the provider and by nobody else."""

import pathlib

import pytest

from gateway import KEY
from wire import Wire


@pytest.fixture(scope="module")
def noisy(provider, tmp_path_factory):
    """A server that has logged all that it can and has seen a provider repeat the key."""
    from gateway import Gateway, settings

    g = Gateway(
        tmp_path_factory.mktemp("noisy"),
        settings(provider, key="env:FUSOR_API_KEY"),
        FUSOR_LOG="debug",
        FUSOR_API_KEY="fsr-client-key-77",
    )
    auth = {"authorization": "Bearer fsr-client-key-77"}
    told = [
        provider.script(f"script-{code}", f"status:code={code},message=key%20{KEY}%20is%20bad")
        for code in (401, 403)
    ]
    with g:
        g.replies = [
            g.chat(m, stream=s, headers=auth)
            for s in (True, False)
            for m in (
                "trio",
                "mock/echo",
                "mock/status:code=500",
                "refused/x",
                "nobody",
                f"mock/{told[0]}",
                f"mock/{told[1]}",
                "mock/say:rst_head=1",
            )
        ]
        g.replies.append(g.ask("GET", "/v1/models", headers=auth))
        g.replies.append(g.chat("alpha", headers={"authorization": "Bearer fsr-client-key-78"}))
        g.process.send_signal(1)  # a reload reads the keys again
        g.wait(lambda: g.log("reloaded") or "reload failed" in g.said(), why="the reload")
        yield g


def test_the_provider_gets_it(noisy, provider):
    assert provider.calls[-1].headers["authorization"] == f"Bearer {KEY}"


def test_the_key_survives_a_reload(noisy):
    """Read once and overwritten in the environment: a second reading must find it too."""
    assert "reload failed" not in noisy.said()
    assert noisy.chat("alpha", headers={"authorization": "Bearer fsr-client-key-77"}).status == 200


@pytest.mark.parametrize("secret", [KEY, "fsr-client-key-77"])
def test_not_in_logs_nor_replies(noisy, secret):
    assert secret not in noisy.said()
    for reply in noisy.replies:
        assert secret.encode() not in reply.body
        assert secret not in str(reply.headers)


@pytest.mark.parametrize("secret", [KEY, "fsr-client-key-77"])
def test_not_in_proc(noisy, secret):
    proc = pathlib.Path(f"/proc/{noisy.process.pid}")
    for name in ("environ", "cmdline", "comm"):
        assert secret.encode() not in (proc / name).read_bytes()


@pytest.mark.parametrize("secret", [KEY, "fsr-client-key-77"])
def test_not_on_disk(noisy, secret):
    for file in noisy.home.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("secret", [KEY, "fsr-client-key-77"])
def test_not_in_what_operators_see(noisy, secret):
    shown = noisy.run("config", "show", "-c", str(noisy.file))
    assert shown.returncode == 0 and "env:MOCK_KEY" in shown.stdout
    doctor = noisy.run("doctor", "-c", str(noisy.file))
    for text in (shown.stdout, shown.stderr, doctor.stdout, doctor.stderr):
        assert secret not in text
    with Wire(unix=noisy.socket) as w:
        for path in ("/admin/config", "/admin/state", "/metrics"):
            assert secret.encode() not in w.ask("GET", path, headers={"host": "x"}).body


def test_a_literal_key_is_refused_and_not_repeated(noisy):
    text = noisy.file.read_text().replace("env:MOCK_KEY", "sk-literal-0123456789")
    done = noisy.run("config", "check", "-", stdin=text)
    assert done.returncode == 3 and "sk-literal" not in done.stderr + done.stdout


def test_prompts_are_not_logged(noisy, provider):
    mark = "a-prompt-nobody-should-find"
    noisy.chat("trio", prompt=mark, headers={"authorization": "Bearer fsr-client-key-77"})
    assert any(mark in str(c.body) for c in provider.calls)
    assert mark not in noisy.said()
    for file in noisy.state.rglob("*"):
        if file.is_file():
            assert mark.encode() not in file.read_bytes(), file
