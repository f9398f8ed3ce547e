"""fusor init: keys are asked for, tried and kept; nothing is left behind when one does not work."""

import pathlib
import signal
import subprocess

import pytest
import yaml

from gateway import BIN, KEY, Gateway, closed_port
from mock import Mock
from terminal import Terminal

NAMES = ["openai", "anthropic", "mistral", "gemini", "openrouter"]  # as they are asked for
MODEL = {"openai": "gpt-5.5", "mistral": "mistral-medium-latest"}


@pytest.fixture
def mock():
    """A provider that knows one key."""
    with Mock(key=KEY, refuses=True) as m:
        yield m
    assert not [c.findings for c in m.calls if c.findings]


@pytest.fixture
def person(tmp_path) -> Gateway:
    """An empty directory, and nothing set."""
    g = Gateway(tmp_path, {})
    g.file.unlink()
    return g


def urls(mock: Mock, *names: str) -> str:
    return ",".join(f"{n}={mock.base(n)}" for n in names or NAMES)


def lines(**keys: str) -> str:
    return "".join(f"{keys.get(n, '')}\n" for n in NAMES)


def init(g: Gateway, mock: Mock, *args: str, stdin: str = "", **env) -> subprocess.CompletedProcess:
    done = g.run("init", "--base-url", urls(mock), *args, stdin=stdin, **env)
    assert KEY not in done.stdout + done.stderr
    return done


def tree(home: pathlib.Path) -> dict:
    """Path -> mode, without what has nothing to do with init."""
    return {str(p.relative_to(home)): p.stat().st_mode & 0o777 for p in home.rglob("*")}


# --- a key that works ----------------------------------------------------------------------------


def test_good_keys(person, mock):
    done = init(person, mock, stdin=lines(openai=KEY, mistral=KEY))
    assert done.returncode == 0, done.stderr
    assert "OpenAI: ok, gpt-5.5 answers" in done.stderr and "Mistral: ok" in done.stderr
    assert "2 providers" in done.stdout and "fusor doctor" in done.stdout
    assert tree(person.home) == {
        "fusor.yaml": 0o600,
        "keys": 0o700,
        "keys/.gitignore": 0o600,
        "keys/mistral": 0o600,
        "keys/openai": 0o600,
    }
    assert (person.home / "keys/openai").read_text() == f"{KEY}\n"
    assert (person.home / "keys/.gitignore").read_text() == "*\n"
    config = yaml.safe_load(person.file.read_text())
    assert config["providers"]["openai"]["key"] == f"file:{person.home}/keys/openai"
    assert KEY not in person.file.read_text()
    # one call of one token each, in each provider's own words
    paths = ["/v1/chat/completions", "/mistral/v1/chat/completions"]
    assert [c.path for c in mock.calls] == paths
    assert mock.calls[0].body["max_completion_tokens"] == 1 and mock.calls[0].model == "gpt-5.5"
    assert mock.calls[1].body["max_tokens"] == 1


def test_what_it_writes_works(person, mock):
    assert init(person, mock, stdin=lines(openai=KEY, mistral=KEY)).returncode == 0
    assert person.run("config", "check").returncode == 0
    for model in MODEL.values():
        mock.script(model, "able")
    done = person.run("ask", "Hello")  # finds ./fusor.yaml, and asks the recipe `fusion`
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and {c.model for c in mock.calls} == set(MODEL.values())


def test_without_any_key(person, mock):
    """The local model alone: a file to go on from."""
    done = init(person, mock)
    assert done.returncode == 0 and "0 providers" in done.stdout
    assert list(tree(person.home)) == ["fusor.yaml"] and mock.calls == []
    assert person.run("config", "check").returncode == 0


def test_offline(person, mock):
    done = init(person, mock, "--offline", stdin=lines(openai="sk-anything"))
    assert done.returncode == 0 and "not tried" in done.stderr and mock.calls == []
    assert (person.home / "keys/openai").read_text() == "sk-anything\n"


def test_a_directory_that_is_to_be_made(person, mock):
    done = init(person, mock, "-c", "new dir/fusor.yaml", stdin=lines(openai=KEY))
    assert done.returncode == 0, done.stderr
    assert "fusor doctor -c 'new dir/fusor.yaml'" in done.stdout
    quoted = init(person, mock, "-c", "it's", "--offline")
    assert r"fusor doctor -c 'it'\''s' " in quoted.stdout
    assert tree(person.home)["new dir"] == 0o700
    check = person.run("config", "check", "new dir/fusor.yaml")
    assert check.returncode == 0, check.stderr


def test_the_file_of_the_environment(person, mock):
    path = person.home / "other.yaml"
    assert init(person, mock, FUSOR_CONFIG=str(path)).returncode == 0 and path.exists()


# --- keys by reference ---------------------------------------------------------------------------


def test_a_variable_is_taken_by_reference(person, mock):
    env = {"OPENAI_API_KEY": KEY, "MISTRAL_API_KEY": KEY}
    done = init(person, mock, stdin="\n\n-\n", **env)  # Enter takes it, - skips
    assert done.returncode == 0, done.stderr
    assert "openai" in done.stdout and "key in env:OPENAI_API_KEY" in done.stdout
    config = yaml.safe_load(person.file.read_text())
    assert config["providers"]["openai"]["key"] == "env:OPENAI_API_KEY"
    assert "mistral" not in config["providers"]
    assert list(tree(person.home)) == ["fusor.yaml"]
    assert person.run("config", "check", **env).returncode == 0


def test_a_variable_that_does_not_work(person, mock):
    done = init(person, mock, OPENAI_API_KEY="sk-old")
    assert done.returncode == 1 and "refused" in done.stderr and tree(person.home) == {}
    assert init(person, mock, stdin="-\n", OPENAI_API_KEY="sk-old").returncode == 0


# --- a key that does not work --------------------------------------------------------------------


def test_a_refused_key(person, mock):
    done = init(person, mock, stdin=lines(openai=KEY, gemini="sk-wrong-12345"))
    assert done.returncode == 1
    assert "Gemini: the key is refused (status 401)" in done.stderr
    assert "sk-wrong" not in done.stderr + done.stdout  # the provider repeats it, we do not
    assert "nothing was written" in done.stderr and tree(person.home) == {}


@pytest.mark.parametrize(
    "behaviour, code, said",
    [
        ("status:code=403", 1, "refused"),
        ("status:code=400,message=API%20key%20not%20valid.", 1, "refused"),
        ("status:code=429,message=slow%20down", 0, "slow down"),
        ("status:code=404,message=no%20such%20model", 0, "no such model"),
        (f"status:code=400,message=bad%20{KEY}", 0, "not shown"),
        ("status:code=400,message=an%20output%20limit%20was%20reached", 0, "ok"),
        ("status:code=500,message=oops", 1, "oops"),
        ("status:code=302", 1, "redirects"),
        ("html", 1, "no API"),
        ("say:rst_head=1", 1, "OpenAI:"),
        ("status:code=404,message=%1B%5B31mred", 0, "\\x1b[31mred"),
    ],
)
def test_odd_answers(person, mock, behaviour, code, said):
    mock.script(MODEL["openai"], behaviour)
    done = init(person, mock, stdin=lines(openai=KEY))
    assert done.returncode == code, done.stderr
    assert said in done.stderr.replace("\\x1B", "\\x1b") and "\x1b" not in done.stderr
    assert person.file.exists() is (code == 0)


def test_nobody_answers(person):
    url = f"openai=http://127.0.0.1:{closed_port()}/v1"
    done = person.run("init", "--base-url", url, stdin=lines(openai=KEY))
    assert done.returncode == 1 and "refused" in done.stderr and tree(person.home) == {}


def test_what_is_no_key(person, mock):
    done = init(person, mock, stdin="two words\n")
    assert done.returncode == 1 and "that is no key" in done.stderr
    assert "two words" not in done.stderr and tree(person.home) == {}
    done = init(person, mock, stdin="x" * 9000)
    assert done.returncode == 1 and "longer than" in done.stderr and tree(person.home) == {}


def test_no_directory_is_left(person, mock):
    done = init(person, mock, "-c", "new/fusor.yaml", stdin=lines(openai="sk-wrong"))
    assert done.returncode == 1 and tree(person.home) == {}


# --- what is there already -----------------------------------------------------------------------


def test_a_configuration_is_never_overwritten(person, mock):
    person.file.write_text("listen: 127.0.0.1:1\n")
    done = init(person, mock, stdin=lines(openai=KEY))
    assert done.returncode == 3 and "already" in done.stderr and mock.calls == []
    assert person.file.read_text() == "listen: 127.0.0.1:1\n"
    person.file.unlink()
    person.file.symlink_to("nowhere")  # a link that leads nowhere is there, too
    assert init(person, mock).returncode == 3


def test_one_that_appears_meanwhile(person, mock):
    mock.script(MODEL["openai"], "say:delay=300")
    args = [BIN, "init", "--base-url", urls(mock)]
    with subprocess.Popen(
        args, env=person.env, cwd=person.home, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as p:
        p.stdin.write(lines(openai=KEY).encode())
        p.stdin.close()
        mock.wait(lambda: mock.calls)
        person.file.write_text("listen: 127.0.0.1:1\n")
        assert p.wait(20) == 3 and b"already" in p.stderr.read()
    assert tree(person.home).keys() == {"fusor.yaml"}
    assert person.file.read_text() == "listen: 127.0.0.1:1\n"


def test_keys_of_an_earlier_run(person, mock):
    assert init(person, mock, "--offline", stdin=lines(openai="sk-one")).returncode == 0
    for key, name in (("sk-two", "openai-2"), ("sk-one", "openai"), ("sk-two", "openai-2")):
        person.file.unlink()
        assert init(person, mock, "--offline", stdin=lines(openai=key)).returncode == 0
        assert f"keys/{name}" in person.file.read_text()
    assert (person.home / "keys/openai").read_text() == "sk-one\n"
    assert len(list((person.home / "keys").glob("openai*"))) == 2


def test_a_directory_for_keys_that_others_may_read(person, mock):
    (person.home / "keys").mkdir(mode=0o755)
    done = init(person, mock, "--offline", stdin=lines(openai=KEY))
    assert done.returncode == 3 and "chmod 700" in done.stderr
    assert tree(person.home) == {"keys": 0o755}


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, code",
    [
        (["--base-url", "openai"], 2),
        (["--base-url", "nobody=http://127.0.0.1/v1"], 2),
        (["--base-url", "openai=ftp://127.0.0.1/v1"], 2),
        (["--base-url", "openai=http://me:pass-word@127.0.0.1/v1"], 2),
        (["-c", "deep/er/fusor.yaml"], 3),
        (["-c", "./"], 2),
        (["x"], 2),
    ],
)
def test_usage(person, args, code):
    done = person.run("init", *args, stdin="")
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and "pass-word" not in done.stderr and tree(person.home) == {}


def test_a_key_is_no_argument(person, mock):
    mock.script(MODEL["openai"], "say:delay=300")
    args = [BIN, "init", "--base-url", urls(mock)]
    env = person.env | {"MISTRAL_API_KEY": KEY}
    with subprocess.Popen(args, env=env, cwd=person.home, stdin=subprocess.PIPE) as p:
        p.stdin.write(lines(openai=KEY).encode())
        p.stdin.flush()
        mock.wait(lambda: mock.calls)
        proc = pathlib.Path(f"/proc/{p.pid}")
        assert KEY.encode() not in (proc / "cmdline").read_bytes()
        p.stdin.close()
        assert p.wait(20) == 0


# --- on a terminal -------------------------------------------------------------------------------


def asked(g: Gateway, mock: Mock, **env) -> Terminal:
    return Terminal(g, "init", "--base-url", urls(mock), **env)


def test_a_person_types_keys(person, mock):
    with asked(person, mock, GEMINI_API_KEY=KEY) as t:
        t.wait("OpenAI key")
        assert not t.echoes()
        t.type(f"{KEY}\n")
        t.wait("OpenAI: ok")
        for title in ("Anthropic", "Mistral"):
            t.wait(f"{title} key")
            t.type("\n")
        t.wait("Gemini key (Enter takes $GEMINI_API_KEY")
        t.type("\n")
        t.wait("Gemini: ok")
        t.wait("OpenRouter key")
        t.type("\n")
        assert t.end() == 0 and t.echoes()
    assert KEY not in t.shown and "wrote" in t.shown
    config = yaml.safe_load(person.file.read_text())
    assert set(config["providers"]) == {"local", "openai", "gemini"}


def test_a_refused_key_is_asked_for_again(person, mock):
    with asked(person, mock) as t:
        t.wait("OpenAI key")
        t.type("two words\n")
        t.wait("no key")
        t.wait("OpenAI key")
        t.type("sk-wrong\n")
        t.wait("[y/N]")
        assert t.echoes()
        t.type("n\n")
        t.wait("OpenAI key")
        t.type("sk-kept\n")
        t.wait("[y/N]")
        t.type("y\n")
        t.wait("Anthropic key")
        t.type("\x04")  # Ctrl-D: no more
        assert t.end() == 0
    assert (person.home / "keys/openai").read_text() == "sk-kept\n"
    assert "sk-wrong" not in t.shown


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_an_interrupt_restores_the_terminal(person, mock, how):
    with asked(person, mock) as t:
        t.wait("OpenAI key")
        t.type(f"{KEY}\n")
        t.wait("Anthropic key")
        assert not t.echoes()
        t.type({signal.SIGINT: "half\x03", signal.SIGQUIT: "\x1c"}.get(how, "half"))
        if how == signal.SIGTERM:
            t.signal(how)
        assert t.end() == -how and t.echoes()
    assert tree(person.home) == {} and "half" not in t.shown


def test_a_signal_and_a_line_at_once(person, mock):
    """Under nohup a hang-up ends nothing: the key is asked for again, and Ctrl-C still works."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked(person, mock) as t:
            t.wait("OpenAI key")
            t.signal(signal.SIGSTOP)
            stat = pathlib.Path(f"/proc/{t.pid}/stat")
            mock.wait(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
            t.type(f"{KEY}\n")
            t.signal(signal.SIGHUP)
            t.signal(signal.SIGCONT)
            t.wait("OpenAI key")
            t.type("\x03")
            assert t.end() == -signal.SIGINT and t.echoes()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not mock.calls and KEY not in t.shown
