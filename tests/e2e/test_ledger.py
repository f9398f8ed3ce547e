"""The books against the provider's own log: as many calls, as many tokens, as much money."""

from money import nusd, price_of, sum_of_calls


def usage_sent(call) -> tuple[int, int, int]:
    """What the mock said a call used: its model's name tells."""
    args = dict(a.split("=") for a in call.model.partition(":")[2].split(",") if "=" in a)
    return int(args.get("in", 11)), int(args["out"]), int(args.get("cached", 0))


def rows_of(server, request_id: str, count: int) -> list:
    def found():
        rows = [r for r in server.ledger() if r["request_id"] == request_id]
        return rows if len(rows) >= count else None

    rows = server.wait(found, why=f"{count} rows of {request_id}")
    assert len(rows) == count
    return rows


def test_rows_match_the_log(start, mock):
    g = start()
    replies = []
    for i in range(12):
        say = f"say:text=t{i},in={100 + i},out={10 + i},cached={i}"
        if i % 3:
            replies.append(g.chat(f"mock/{say}", stream=i % 2 == 0))
        else:
            panel = [f"mock/{say}", f"mock/{say},x=1"]
            judge = f"mock/merge:in={500 + i},out=5"
            replies.append(
                g.chat("trio", stream=i % 2 == 0, fusion={"panel": panel, "judge": judge})
            )
    assert all(r.status == 200 for r in replies)
    calls = mock.calls_now()
    rows = g.wait(lambda: len(g.ledger()) == len(calls) and g.ledger(), why="the ledger")
    said = sorted((c.model, *usage_sent(c), price_of(*usage_sent(c))) for c in calls)
    booked = sorted(
        (r["upstream_model"], r["input"], r["output"], r["cached"], r["cost_nusd"]) for r in rows
    )
    assert said == booked
    assert {r["outcome"] for r in rows} == {"ok"}
    assert {r["role"] for r in rows} == {"call", "member", "judge"}
    assert {r["provider"] for r in rows} == {"mock"}
    assert len({r["id"] for r in rows}) == len(rows) and not any(r["uncertain"] for r in rows)
    assert {r["host"] for r in rows} <= {f"127.0.0.1:{mock.port}", "127.0.0.1"}
    # the bills that clients saw are the books' sum
    bills = [(r.frames()[-1] if r.chunks else r.json())["usage"]["cost"] for r in replies]
    assert sum(nusd(b) for b in bills) == sum(r["cost_nusd"] for r in rows)


def test_one_fusion(server):
    reply = server.chat("trio", headers={"x-request-id": "ledger-one"})
    usage = reply.json()["usage"]
    rows = rows_of(server, "ledger-one", 4)
    assert [r["role"] for r in sorted(rows, key=lambda r: r["role"])] == ["judge"] + ["member"] * 3
    assert sum(r["cost_nusd"] for r in rows) == nusd(usage["cost"]) == sum_of_calls(usage)
    assert {r["model"] for r in rows} == {"alpha", "beta", "gamma", "writer"}
    assert {r["fusion_id"] for r in rows} == {usage["fusion"]["fusion_id"]}


def test_a_call_outside_a_fusion_has_no_fusion_id(server):
    server.chat("alpha", headers={"x-request-id": "ledger-alone"})
    assert rows_of(server, "ledger-alone", 1)[0]["fusion_id"] == ""


def test_free_and_unpriced(server):
    server.chat("free/say:n=3", headers={"x-request-id": "ledger-free"})
    server.chat("unpriced/say:n=3", headers={"x-request-id": "ledger-unpriced"})
    assert rows_of(server, "ledger-free", 1)[0]["cost_nusd"] == 0
    assert rows_of(server, "ledger-unpriced", 1)[0]["cost_nusd"] is None
    reply = server.chat("unpriced/say:n=3")
    assert reply.json()["usage"]["cost"] is None


def test_failures_are_booked_as_what_they_were(server):
    for name, model, outcome, uncertain in (
        ("429", "mock/status:code=429", "busy", 0),
        ("503", "mock/status:code=503", "unavailable", 0),
        ("rst", "mock/say:rst_head=1", "cut", 1),
        ("time", "quick/say:stall_head=1", "timeout", 1),
    ):
        server.chat(model, headers={"x-request-id": f"ledger-{name}"})
        (row,) = rows_of(server, f"ledger-{name}", 1)
        assert (row["outcome"], row["uncertain"]) == (outcome, uncertain), name
        if not uncertain:
            assert row["cost_nusd"] == 0 and row["output"] == 0  # refused: nothing was done
        else:
            assert row["estimated"] == 1


def test_a_client_that_leaves_is_booked(server, mock):
    with server.wire() as w:
        w.send(
            w.request(
                "POST",
                "/v1/chat/completions",
                {
                    "model": "mock/say:n=1000,gap=10",
                    "stream": True,
                    "messages": [{"role": "user", "content": "Hi"}],
                },
                {"x-request-id": "ledger-left"},
            )
        )
        w.until(b"w5 ")
        w.leave("rst")
    (row,) = rows_of(server, "ledger-left", 1)
    assert row["outcome"] == "cancelled" and row["estimated"] == 1
    assert row["output"] > 0 and row["cost_nusd"] > 0


def test_a_fusion_whose_client_leaves(server, mock):
    """Members and judge are closed and booked, and the archive knows what it was."""
    fusion = {"panel": ["mock/say:n=1000,gap=10", "alpha", "beta"], "quorum": 3}
    with server.wire() as w:
        body = {"model": "best", "messages": [{"role": "user", "content": "Hi"}], "fusion": fusion}
        w.send(w.request("POST", "/v1/chat/completions", body, {"x-request-id": "fusion-left"}))
        mock.wait(lambda: len(mock.calls_now()) == 3)
        w.leave("rst")
    rows = rows_of(server, "fusion-left", 3)
    assert "cancelled" in {r["outcome"] for r in rows}
    select = "SELECT * FROM request WHERE id = 'fusion-left'"
    (row,) = server.wait(lambda: server.rows("archive.db", select), why="the archive")
    assert (row["status"], row["outcome"], row["mode"], row["calls"]) == (499, "left", "best_of", 3)
    assert row["cost_nusd"] == sum(r["cost_nusd"] for r in rows)


def test_bills_on(start, mock):
    """Where closing a connection does not stop the bill, the cap is booked."""
    from gateway import provider as provider_entry

    g = start(providers={"mock": provider_entry(mock, cancel="bills_on")}, models={}, fusions={})
    with g.wire() as w:
        w.send(
            w.request(
                "POST",
                "/v1/chat/completions",
                {
                    "model": "mock/say:n=1000,gap=10",
                    "stream": True,
                    "max_tokens": 700,
                    "messages": [{"role": "user", "content": "Hi"}],
                },
                {"x-request-id": "bills-on"},
            )
        )
        w.until(b"w5 ")
    (row,) = rows_of(g, "bills-on", 1)
    assert (row["output"], row["estimated"]) == (700, 1)


def test_what_a_failed_fusion_cost_is_in_the_books(server):
    """The client gets the error alone."""
    fusion = {"judge": "mock/merge:gap=5,cut=2", "quorum": 3}
    reply = server.chat("trio", stream=True, fusion=fusion, headers={"x-request-id": "broke"})
    assert reply.status == 200 and '"error"' in reply.events()[-1]
    assert b'"usage"' not in reply.body
    rows = rows_of(server, "broke", 4)
    select = "SELECT * FROM request WHERE id = 'broke'"
    (archived,) = server.wait(lambda: server.rows("archive.db", select), why="the archive")
    assert archived["outcome"] == "cut" and archived["calls"] == 4
    assert archived["cost_nusd"] == sum(r["cost_nusd"] for r in rows) > 0
    (line,) = [x for x in server.log("request") if x["id"] == "broke"]
    assert line["cost_nusd"] == archived["cost_nusd"]


def test_one_row_for_each_request_in_the_archive(server):
    server.chat("trio", headers={"x-request-id": "archive-one"})
    server.chat("nobody", headers={"x-request-id": "archive-two"})

    def found():
        rows = server.rows("archive.db", "SELECT * FROM request WHERE id LIKE 'archive-%'")
        return rows if len(rows) == 2 else None

    one, two = sorted(server.wait(found, why="the archive"), key=lambda r: r["id"])
    assert (one["status"], one["mode"], one["calls"]) == (200, "merge", 4)
    assert (two["status"], two["outcome"]) == (404, "not_found")
    text = server.rows("archive.db", "SELECT sql FROM sqlite_master")
    assert "prompt" not in str([tuple(r) for r in text])  # no text is kept
