"""Aliases, fallbacks, regions: who is asked, in which order, and who never is. The mock's own log is
the oracle."""

import collections

import openai
import pytest

import gateway

HELLO = "say:text=hello%20there"
LATE_CUT = "say:n=6,gap=5,cut=3"


@pytest.fixture
def routed(start, provider):
    """Starts a server with these aliases and policies over the usual providers and two more."""

    def begin(aliases, policies=None, **more):
        base = gateway.settings(provider)
        providers = base["providers"] | {
            "eu": gateway.provider(provider, region="eu"),
            "us": gateway.provider(provider, region="us"),
        }
        models = base["models"] | more.pop("models", {})
        fusions = base["fusions"] | more.pop("fusions", {})
        return start(
            providers=providers | more.pop("providers", {}),
            models=models,
            fusions=fusions,
            aliases=aliases,
            **({"policies": policies} if policies else {}),
            **more,
        )

    return begin


def models_of(mock):
    return [c.model for c in mock.calls_now()]


# --- fallbacks -----------------------------------------------------------------------------------

BAD = {
    "429": "mock/status:code=429",
    "503": "mock/status:code=503",
    "401": "mock/status:code=401",
    "402": "mock/status:code=402",
    "nobody listens": "refused/say",
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", BAD)
def test_the_next_is_asked(routed, mock, name, stream):
    g = routed({"prod": {"to": BAD[name], "fallback": [f"mock/{HELLO}"]}})
    reply = g.chat("prod", stream=stream)
    assert reply.status == 200 and b"hello" in reply.body, reply.body
    assert reply.headers["x-fusor-model"] == f"mock/{HELLO}"
    assert models_of(mock)[-1] == HELLO and len(mock.calls_now()) in (1, 2)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "model, status",
    [
        ("mock/status:code=500", 502),
        ("mock/say:rst_head=1", 502),
        ("quick/say:stall_head=1", 504),
        ("mock/status:code=400", 400),
    ],
)
def test_what_may_have_been_done_is_not_done_twice(routed, mock, model, status, stream):
    g = routed({"prod": {"to": model, "fallback": [f"mock/{HELLO}"]}})
    assert g.chat("prod", stream=stream).status == status
    assert HELLO not in models_of(mock)


def test_unless_the_configuration_says_so(routed, mock):
    alias = {"prod": {"to": "mock/status:code=500", "fallback": [f"mock/{HELLO}"]}}
    g = routed(alias, retries={"ambiguous": True})
    reply = g.chat("prod")
    assert reply.status == 200 and models_of(mock) == ["status:code=500", HELLO]


def test_nothing_again_after_a_word(routed, mock):
    alias = {"prod": {"to": f"mock/{LATE_CUT}", "fallback": [f"mock/{HELLO}"]}}
    g = routed(alias, retries={"ambiguous": True})
    reply = g.chat("prod", stream=True)
    assert reply.status == 200 and b"w2" in reply.body and b"[DONE]" not in reply.body
    assert b'"error"' in reply.body and models_of(mock) == [LATE_CUT]


def test_a_list_of_the_clients_own(routed, mock):
    g = routed({})
    reply = g.chat("mock/status:code=400", models=["alhpa", "beta"])
    assert reply.status == 404 and mock.calls_now() == []
    reply = g.chat("mock/status:code=400", models=["beta"])
    assert reply.status == 200 and b"beta" in reply.body
    with openai.OpenAI(base_url=g.url, api_key="x", max_retries=0) as c:
        answer = c.chat.completions.create(
            model="refused/say",
            messages=[{"role": "user", "content": "Hi"}],
            extra_body={"models": ["alpha"]},
        )
        assert answer.choices[0].message.content == "alpha says hello"


def test_all_failed(routed, mock):
    g = routed({"prod": {"to": "refused/say", "fallback": ["mock/status:code=429,retry=9"]}})
    reply = g.chat("prod")
    assert reply.status == 429 and reply.headers["retry-after"] == "9"
    # it asked for time: the next request does not reach it
    before = len(mock.calls_now())
    again = g.chat("prod")
    assert again.status == 429 and int(again.headers["retry-after"]) <= 9
    assert len(mock.calls_now()) == before


def test_a_recipe_behind_an_alias(routed, mock):
    g = routed({"prod": {"to": "trio", "fallback": ["alpha"]}})
    reply = g.chat("prod", fusion={"mode": "vote"})
    assert reply.status == 200 and reply.json()["usage"]["fusion"]["mode"] == "vote"
    plan = g.ask(
        "POST",
        "/v1/fusions/plan",
        {"model": "prod", "messages": [{"role": "user", "content": "Hi"}]},
    )
    assert plan.status == 200 and plan.json()["mode"] == "merge"


@pytest.mark.parametrize("stream", [False, True])
def test_the_archive_says_who_answered(routed, mock, stream):
    """A model in the place of a recipe, and the other way round."""
    broken = {"panel": ["refused/say"] * 3, "mode": "best_of"}
    aliases = {
        "to-model": {"to": "broken", "fallback": ["alpha"]},
        "to-recipe": {"to": "refused/say", "fallback": ["trio"]},
    }
    g = routed(aliases, fusions={"broken": broken})
    for name in aliases:
        assert g.chat(name, stream=stream, headers={"x-request-id": name}).status == 200
    select = "SELECT id, mode, calls FROM request"
    g.wait(lambda: len(g.rows("archive.db", select)) == 2, why="the archive")
    rows = {r["id"]: (r["mode"] or None, r["calls"]) for r in g.rows("archive.db", select)}
    assert rows == {"to-model": (None, 1), "to-recipe": ("merge", 4)}


def test_a_member_behind_an_alias(routed, mock):
    panel = {"panel": ["stand-in", "beta"], "judge": "writer", "quorum": 2}
    g = routed(
        {"stand-in": {"to": "refused/say", "fallback": ["alpha"]}}, fusions={"duo": panel}
    )
    reply = g.chat("duo")
    members = {m["model"]: m["status"] for m in reply.json()["usage"]["fusion"]["members"]}
    assert reply.status == 200 and members == {"stand-in": "ok", "beta": "ok"}


def test_what_a_fusion_left_out_is_said_behind_an_alias(routed, mock):
    g = routed({"prod": {"to": "trio", "fallback": ["alpha"]}})
    left_out = {"stream_options": {"include_usage": True, "include_obfuscation": False}}
    name = "stream_options.include_obfuscation"
    for _ in range(3):
        reply = g.chat("prod", stream=True, fusion={"quorum": 3}, **left_out)
        assert reply.status == 200
        ignored = reply.headers["x-fusor-ignored"].split(", ")
        assert sorted(ignored) == [f"{who}: {name}" for who in ("A", "B", "C", "judge")]


def test_a_cap_on_the_cost_is_kept_by_nobody_else(routed, mock):
    g = routed({"prod": {"to": "trio", "fallback": ["alpha"]}})
    reply = g.chat("prod", fusion={"max_cost_usd": 0.000000001})
    assert reply.status == 402 and mock.calls_now() == []


def test_a_recipe_judges(routed, mock):
    """A recipe takes no schema, so none is sent to it."""
    g = routed(
        {},
        models={"verdict": {"provider": "mock", "id": "judge"}},
        fusions={
            "inner": {"panel": ["verdict"], "judge": "verdict"},
            "outer": {"panel": ["alpha", "beta"], "judge": "inner", "mode": "best_of"},
        },
    )
    reply = g.chat("outer")
    assert reply.status == 200
    assert reply.json()["usage"]["fusion"]["degraded"] is None


def worst_of(g, recipe):
    body = {"model": recipe, "messages": [{"role": "user", "content": "Hi " * 4000}]}
    plan = g.ask("POST", "/v1/fusions/plan", body)
    assert plan.status == 200, plan.body
    return plan.json()["worst_cost_usd"]


@pytest.mark.parametrize("ambiguous", [False, True])
def test_the_plan_knows_every_target(routed, ambiguous):
    """The dearest of them with the largest window; each of them where each may be paid."""
    wide = {"provider": "mock", "id": "say:w=1", "context": 32000, "max_output": 4000}
    small = {"provider": "mock", "id": "say:w=2", "context": 4000, "max_output": 500}
    g = routed(
        {"prod": {"to": "small", "fallback": ["wide"]}},
        models={"wide": wide, "small": small},
        fusions={
            "by-alias": {"panel": ["prod"], "mode": "vote"},
            "by-name": {"panel": ["wide"], "mode": "vote"},
        },
        retries={"ambiguous": ambiguous},
    )
    times = 2 if ambiguous else 1
    assert worst_of(g, "by-alias") == pytest.approx(times * worst_of(g, "by-name"))


# --- weights, sessions, order ------------------------------------------------------------------------


def test_weights(routed, mock):
    g = routed({"prod": {"to": [{"model": "alpha", "weight": 3}, "beta"]}})
    for i in range(120):
        assert g.chat("prod", prompt=f"question {i}").status == 200
    said = collections.Counter(m.split("%20")[0] for m in models_of(mock))
    assert 65 <= said["say:text=alpha"] <= 112 and sum(said.values()) == 120


def test_a_conversation_stays_where_it_is(routed, mock):
    g = routed({"prod": {"to": ["alpha", "beta", "gamma"]}})
    for i in range(8):
        turns = [{"role": "user", "content": "the same beginning"}]
        for k in range(i):
            turns += [{"role": "assistant", "content": str(k)}, {"role": "user", "content": "go on"}]
        body = {"model": "prod", "messages": turns}
        assert g.ask("POST", "/v1/chat/completions", body).status == 200
    assert len(set(models_of(mock))) == 1
    for i in range(8):
        assert g.chat("prod", prompt=f"{i}", session_id="s-1").status == 200
    assert len(set(models_of(mock)[8:])) == 1


def test_sort_by_price(routed, mock):
    cheap = {"price": {"input": 0.1, "output": 0.2}}
    g = routed(
        {"prod": {"to": ["alpha", "cheap", "beta"], "sort": "price"}},
        models={"cheap": {"provider": "mock", "id": HELLO} | cheap},
    )
    for i in range(6):
        assert g.chat("prod", prompt=str(i)).status == 200
    assert set(models_of(mock)) == {HELLO}


def test_what_is_free_is_the_cheapest(routed, mock):
    g = routed({"prod": {"to": ["alpha", f"unpriced/{HELLO},u=1", f"free/{HELLO}"],
                         "sort": "price"}})
    assert g.chat("prod").status == 200
    assert models_of(mock) == [HELLO]


def test_a_recipe_does_not_forget_what_is_forbidden(routed, mock):
    """Its members are not the request's to choose: refused, and not passed over in silence."""
    g = routed({"prod": {"to": "trio", "fallback": [f"us/{HELLO}"]}})
    for wish in ({"only": ["us"]}, {"ignore": ["mock"]}, {"max_price": {"prompt": 0.01}}):
        reply = g.chat("trio", provider=wish)
        assert (reply.status, reply.error["param"]) == (400, "provider"), wish
    assert mock.calls_now() == []
    assert g.chat("prod", provider={"only": ["us"]}).status == 200
    assert models_of(mock) == [HELLO]
    assert g.chat("trio", provider={"order": ["us"]}).status == 200


def test_a_requests_wishes(routed, mock):
    targets = {"prod": {"to": [f"eu/{HELLO},a=1", f"us/{HELLO},b=1"]}}
    g = routed(targets)
    for i in range(6):
        assert g.chat("prod", prompt=str(i), provider={"only": ["us"]}).status == 200
    for i in range(6):
        assert g.chat("prod", prompt=str(i), provider={"order": ["eu"]}).status == 200
    assert models_of(mock) == [f"{HELLO},b=1"] * 6 + [f"{HELLO},a=1"] * 6
    nobody = g.chat("prod", provider={"only": ["nobody"]})
    assert nobody.status == 400 and nobody.error["param"] == "provider"
    promised = g.chat("prod", provider={"zdr": True})
    assert promised.status == 400 and promised.error["param"] == "provider.zdr"


@pytest.mark.parametrize("stream", [False, True])
def test_wishes_without_effect_are_told(routed, mock, stream):
    g = routed({"prod": {"to": [f"eu/{HELLO}"]}})
    names = ["provider.preferred_max_latency", "provider.sort.partition"]
    wishes = {"sort": {"by": "price", "partition": "model"}, "preferred_max_latency": 2}
    for model in ("prod", "trio"):
        got = g.chat(model, stream=stream, provider=wishes)
        assert got.headers["x-fusor-ignored"].split(", ")[:2] == names
    unset = {"sort": {"by": "price"}, "preferred_max_latency": None}
    assert "x-fusor-ignored" not in g.chat("prod", stream=stream, provider=unset).headers


# --- the breaker ---------------------------------------------------------------------------------------


def test_who_keeps_failing_is_passed_over(routed, mock):
    g = routed(
        {"prod": {"to": "mock/status:code=500", "fallback": ["alpha"]}},
        breaker={"failures": 3, "open": "1h"},
    )
    for i in range(3):
        assert g.chat("prod", prompt=str(i)).status == 502
    assert g.chat("prod").status == 200
    assert models_of(mock) == ["status:code=500"] * 3 + ["say:text=alpha%20says%20hello"]
    # alone, it is asked all the same
    assert g.chat("mock/status:code=500").status == 502
    shown = g.ask("GET", "/metrics").body.decode()
    assert 'fusor_upstream_up{model="mock/status:code=500"} 0' in shown


def test_who_got_little_of_the_time_is_not_to_blame(routed, mock, provider):
    """The tries of one request share its time: what is left for the last one may be too short."""
    ms = int(300 * gateway.slow())
    times = {"connect": f"{ms}ms", "first_byte": f"{ms}ms", "idle": f"{ms}ms", "total": f"{2 * ms}ms"}
    slow_one = "mock/say:stall_head=1"
    g = routed(
        {"prod": {"to": "short/say:stall_head=1", "fallback": [slow_one]}},
        providers={"short": gateway.provider(provider, timeouts=times)},
        breaker={"failures": 1, "open": "1h"},
        retries={"ambiguous": True},
    )
    assert g.chat("prod").status == 504
    assert len(mock.calls_now()) == 2
    shown = g.ask("GET", "/metrics").body.decode()
    assert f'fusor_upstream_up{{model="{slow_one}"}} 1' in shown
    assert 'fusor_upstream_up{model="short/say:stall_head=1"} 0' in shown


def test_a_reload_forgives(routed, mock):
    g = routed({"prod": {"to": "mock/status:code=429,retry=3600"}})
    assert g.chat("prod").status == 429
    assert g.chat("prod").status == 429 and len(mock.calls_now()) == 1
    assert g.run("reload", "-c", str(g.file)).returncode == 0
    assert g.chat("prod").status == 429 and len(mock.calls_now()) == 2


def test_retries_have_a_budget(routed, mock):
    g = routed(
        {"prod": {"to": "mock/status:code=503", "fallback": ["alpha"]}},
        retries={"budget_percent": 0},
        breaker={"failures": 1000},
    )
    answers = [g.chat("prod", prompt=str(i)).status for i in range(14)]
    assert answers == [200] * 10 + [503] * 4
    assert "fusor_retries_total 10" in g.ask("GET", "/metrics").body.decode()


def test_only_who_could_be_tried_again_brings_a_share_of_a_retry(routed, mock):
    g = routed(
        {"prod": {"to": "mock/status:code=503", "fallback": ["alpha"]}, "one": "alpha"},
        retries={"budget_percent": 50},
        breaker={"failures": 1000},
    )
    while g.chat("prod").status == 200:
        pass
    for model in ("alpha", "one"):
        assert [g.chat(model).status for _ in range(10)] == [200] * 10
    # each of its own brings half of one
    assert sorted(g.chat("prod").status for _ in range(4)) == [200, 200, 503, 503]


# --- regions ---------------------------------------------------------------------------------------------

EU = {"eu-only": {"regions": ["eu"]}}
POLICY = {"x-fusor-policy": "eu-only"}


def regions_of(g):
    return {row["region"] for row in g.ledger()}


def test_a_request_that_cannot_be_met_is_refused(routed, mock):
    g = routed({"prod": f"us/{HELLO}"}, EU, fusions={
        "mixed": {"panel": [f"eu/{HELLO}", f"us/{HELLO}"], "judge": f"eu/{HELLO}"},
        "far-judge": {"panel": [f"eu/{HELLO}"], "judge": f"us/{HELLO}"},
    })
    for model in (f"us/{HELLO}", "alpha", "prod", "mixed", "far-judge"):
        reply = g.chat(model, headers=POLICY)
        assert (reply.status, reply.error["code"]) == (403, "region_not_allowed"), model
        assert "eu-only" in reply.error["message"]
    unknown = g.chat("alpha", headers={"x-fusor-policy": "nowhere"})
    assert (unknown.status, unknown.error["code"]) == (400, "unknown_policy")
    assert mock.calls_now() == []


def test_no_call_leaves_the_region(routed, mock):
    """Whatever fails inside it: members, judges and fallbacks stay."""
    failing = "status:code=503"
    g = routed(
        {"prod": {"to": f"eu/{failing}", "fallback": [f"us/{HELLO}", f"eu/{HELLO}"]},
         "safe": {"to": [f"us/{HELLO}", f"eu/{HELLO}"], "policy": "eu-only"}},
        EU,
        fusions={
            "council": {"panel": ["prod", f"eu/{HELLO}"], "judge": [f"eu/{failing}", "prod"],
                        "policy": "eu-only", "mode": "merge"},
            "outer": {"panel": ["council", "safe"], "judge": "safe"},
        },
    )
    for _ in range(3):
        assert g.chat("prod", headers=POLICY).status == 200
        assert g.chat("safe").status == 200
        assert g.chat("council").status == 200
        assert g.chat("outer", headers=POLICY).status == 200
    g.wait(lambda: len(g.ledger()) >= len(mock.calls_now()), why="the rows")
    assert regions_of(g) == {"eu"}
    assert {row["host"] for row in g.ledger()} == {"127.0.0.1"}


def test_a_policy_of_the_alias_holds_beside_the_requests(routed, mock):
    both = EU | {"us-only": {"regions": ["us"]}}
    g = routed({"safe": {"to": f"eu/{HELLO}", "policy": "eu-only"}}, both)
    assert g.chat("safe").status == 200
    reply = g.chat("safe", headers={"x-fusor-policy": "us-only"})
    assert reply.status == 403 and "us-only" in reply.error["message"]


def test_all_policies_of_a_request_hold(routed, mock):
    """Whoever stands in front of the gateway adds one to the client's own."""
    both = EU | {"us-only": {"regions": ["us"]}, "west": {"regions": ["eu", "us"]}}
    g = routed({}, both)

    def status(*values):
        with g.wire() as w:
            body = {"model": f"us/{HELLO}", "messages": [{"role": "user", "content": "Hi"}]}
            request = w.request("POST", "/v1/chat/completions", body)
            lines = b"".join(b"x-fusor-policy: %s\r\n" % v.encode() for v in values)
            w.send(request.replace(b"\r\n", b"\r\n" + lines, 1))
            return w.read().status

    assert status("west") == status("us-only", "west") == status("west, us-only") == 200
    assert status("us-only", "eu-only") == status("eu-only", "us-only") == 403
    assert status("west,eu-only") == status("west", "us-only, eu-only") == 403
    assert status("") == status("west,nowhere") == 400


def test_a_policy_of_an_alias_is_for_its_own_targets(routed, mock):
    g = routed({"safe": {"to": "eu/status:code=429", "policy": "eu-only"}}, EU)
    assert g.chat("safe", models=[f"us/{HELLO}"]).status == 200
    refused = g.chat("safe", models=[f"us/{HELLO}"], headers=POLICY)
    assert refused.status == 429  # the only one that may be asked


# --- what engines inside the network would fetch -----------------------------------------------------------


def test_urls_are_not_fetched_from_inside(server, mock):
    image = [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}]
    body = {"model": "alpha", "messages": [{"role": "user", "content": image}]}
    reply = server.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 400 and reply.error["param"] == "messages[0].content[0]"
    assert mock.calls_now() == []


def test_listed(routed):
    g = routed({"prod": {"to": "alpha", "fallback": ["beta"]}})
    listed = g.ask("GET", "/v1/models").json()["data"]
    assert "prod" in {m["id"] for m in listed}
    assert g.ask("GET", "/v1/models/prod").json()["id"] == "prod"
