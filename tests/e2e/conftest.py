"""Fixtures: one mock and one server for most tests, a fresh server for those that change it."""

import openai
import pytest

import gateway
from gateway import Gateway, settings
from mock import Mock


def pytest_report_header():
    return f"fusor: {gateway.BIN} (sanitizer: {gateway.sanitizer() or 'none'})"


@pytest.fixture(scope="session")
def provider():
    """The mock for the whole session. At its end nothing that it was sent may have been wrong."""
    with Mock(key=gateway.KEY) as mock:
        yield mock
    findings = [(c.model, c.findings) for c in mock.calls if c.findings]
    assert not findings, findings


@pytest.fixture
def mock(provider):
    """The mock, and a mark: `mock.calls_now()` are the calls since the test began."""
    mark = provider.mark()
    provider.calls_now = lambda model=None: provider.since(mark, model)
    return provider


@pytest.fixture(scope="session")
def server(provider, tmp_path_factory):
    """The server that tests share; they must leave it as it was."""
    with Gateway(tmp_path_factory.mktemp("shared"), settings(provider)) as g:
        yield g


@pytest.fixture
def start(provider, tmp_path):
    """Starts servers of the test's own: start(drain="1s", ...)."""
    running = []

    def begin(_env=None, **more) -> Gateway:
        home = tmp_path / f"home{len(running)}"
        home.mkdir()
        g = Gateway(home, settings(provider, **more), **(_env or {})).start()
        running.append(g)
        return g

    yield begin
    for g in running:
        if g.process.poll() is None:
            g.__exit__(None)


@pytest.fixture
def client(server):
    """The official client library, without its own retries: each failure is one request."""
    with openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0) as c:
        yield c
