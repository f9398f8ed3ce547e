"""What is measured: a function a row group, each gives lines of the table.

Systems that stand beside each other are measured in turn within each repeat, so that a machine whose
speed wanders does so for all of them. Figures are medians over the repeats."""

import sqlite3
import time
from statistics import median

import rig as rigs
from rig import Failed, say
from table import Line


class Bench:
    """The running systems and how much is measured."""

    def __init__(self, rig, systems, nginx_program, repeats, ms):
        self.rig, self.repeats, self.ms = rig, repeats, ms
        self.nginx_program, self.with_fusor = nginx_program, "fusor" in systems
        self.systems = set(systems) | ({"booked"} if self.with_fusor else set())
        if not nginx_program:
            self.systems.discard("nginx")
        self.quick = repeats == 1
        self.kept = {}

    def system(self, name):
        """One that is kept for many rows."""
        if name not in self.kept:
            self.kept[name] = self.fresh(name)
        return self.kept[name]

    def fresh(self, name):
        if name == "direct":
            return self.rig.mock
        if name == "nginx":
            return self.rig.start_nginx(self.nginx_program)
        return self.rig.start_fusor(booked=name == "booked")

    def drop(self, name):
        if name in self.kept and name != "direct":
            self.rig.stop(self.kept.pop(name).pid)

    def names(self, *wanted):
        return [n for n in wanted if n in self.systems]

    def measure(self, row, names, model, ms=None, **load):
        """Results by system, a list over the repeats; a short run first, which does not count."""
        return self.measure_each(row, {n: dict(load, model=model, system=n) for n in names}, ms)

    def measure_each(self, row, loads, ms=None):
        """The same for loads that differ in more than the system; results by the loads' names."""
        ms = ms or self.ms
        results = {n: [] for n in loads}

        def one(name, suffix, ms):
            load = dict(loads[name], ms=ms)
            system = self.system(load.pop("system"))
            return self.rig.load(f"{row}{suffix}", system, load.pop("model"), **load)

        for n in loads:
            one(n, " (warm-up)", max(ms // 8, 100))
        for _ in range(self.repeats):
            for n in loads:
                results[n].append(one(n, "", ms))
        return results


def mid(results, pick):
    """The median of a figure, by system; nothing where nothing was measured."""
    return {n: median(pick(r) for r in rs) for n, rs in results.items() if rs}


def cpu(r):
    return r["cpu_us"]


def p50_ms(r):
    return r["total_us"]["p50"] / 1000


def per_core(values):
    return {n: 1e6 / v for n, v in values.items() if v}


def ratio(values):
    return values["fusor"] / values["nginx"] if values.get("nginx") and "fusor" in values else None


def below(values, limit):
    return values["fusor"] <= limit if "fusor" in values else None


def above(value, limit):
    return None if value is None else value >= limit


def gateways(values):
    return {n: v for n, v in values.items() if n != "direct"}


def load_lines(what, results, cpu_target, rate_target=None, ledger="on"):
    """CPU time a request, requests a second one core could do at that price, and those seen."""
    cost = mid(results, cpu)
    cost = gateways(cost)
    rate = mid(results, lambda r: r["per_second"])
    core = per_core(cost)
    lines = [Line(f"{what}: CPU us a request", cost, f"<= {cpu_target}" if cpu_target else "",
                  below(cost, cpu_target) if cpu_target else None, ratio(cost), ledger=ledger)]
    target = f">= {rate_target} x nginx" if rate_target else ""
    lines.append(Line("  requests/s for a core of CPU", core, target,
                      above(ratio(core), rate_target) if rate_target else None, ratio(core),
                      digits=0, ledger=ledger))
    lines.append(Line("  requests/s seen", rate, "", None, ratio(rate), digits=0, ledger=ledger))
    return lines


# --- one call -------------------------------------------------------------------------------------


def passthrough(b):
    names = b.names("direct", "nginx", "fusor")
    return load_lines("chat, 64 clients", b.measure("chat", names, "n32", conns=64), 30, 0.5)


def booked(b):
    if not b.with_fusor:
        return []
    s = b.system("booked")
    r = b.measure("chat booked", b.names("nginx", "booked"), "n32", conns=64)
    r = {("fusor" if n == "booked" else n): v for n, v in r.items()}
    lines = load_lines("chat with key and priced calls, 64 clients", r, 70, 0.3, "on, asked first")
    one = b.measure("chat booked 1", ["booked"], "n32", conns=1)
    free = b.measure("chat free 1", ["fusor"], "n32", conns=1)
    added = {"fusor": mid(one, p50_ms)["booked"] - mid(free, p50_ms)["fusor"]}
    fsync = rigs.fsync_ms(s.ledger.parent)
    lines.append(Line("  p50 it adds at 1 client, ms", added, f"one fsync is {fsync:.2f}", None,
                      digits=3, ledger="on, asked first"))
    answers = count_answers(b, "booked")
    b.drop("booked")
    rows = count_rows(s.ledger)
    settled = {"fusor": mid(r, lambda x: x["per_second"])["fusor"]}
    lines.append(Line("ledger: calls settled/s in that load", settled, ">= 20,000",
                      above(settled["fusor"], 20000), digits=0, ledger="on, asked first"))
    lines.append(Line("  rows in ledger.db - answers", {"fusor": rows - answers}, "0",
                      rows == answers, digits=0, ledger="on, asked first"))
    return lines


def count_answers(b, name):
    return b.rig.answers.get(b.kept[name].pid, 0)


def count_rows(path):
    """After the gateway has ended: its own lock keeps others out before."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute("SELECT count(*) FROM call").fetchone()[0]
    finally:
        db.close()


def added_latency(b):
    names = b.names("direct", "nginx", "fusor")
    r = b.measure("chat, 1 client", names, "n32", conns=1)
    total = mid(r, p50_ms)
    base = total.get("direct")
    added = {} if base is None else {n: v - base for n, v in gateways(total).items()}
    return [Line("chat, 1 client: p50 added, ms", added, "<= 0.12", below(added, 0.12),
                 ratio(added), digits=3),
            Line("  p50, ms", total, digits=3)]


# --- streams --------------------------------------------------------------------------------------


def burst(b):
    names = b.names("direct", "nginx", "fusor")
    r = b.measure("stream burst", names, "n32", stream=True, conns=64)
    return load_lines("stream, 32 chunks in a burst, 64 clients", r, 40)


def paced(b):
    names = b.names("direct", "nginx", "fusor")
    r = b.measure("stream paced", names, "n32-p5", stream=True, conns=64, ms=max(b.ms, 1500))
    cost, user = gateways(mid(r, cpu)), gateways(mid(r, lambda x: x["user_us"]))
    return [Line("stream, 32 chunks 5 ms apart, 64 clients: CPU us", cost, "<= 450",
                 below(cost, 450), ratio(cost)),
            Line("  of it in user mode", user, "<= 40", below(user, 40), ratio(user)),
            Line("  longest gap in a stream, ms, p99",
                 mid(r, lambda x: x["gap_us"]["p99"] / 1000))]


def many(b):
    """Every stream at once, every frame looked at."""
    frames, gaps, worst = {}, {}, {}
    for n in b.names("direct", "nginx", "fusor"):
        runs = [b.rig.load("1000 streams", b.system(n), "n64-p20", stream=True, conns=1000,
                           requests=1000) for _ in range(b.repeats)]
        frames[n] = max(abs(64 * 1000 - r["frames"]) for r in runs)
        gaps[n] = median(r["gap_us"]["max"] / 1000 for r in runs)
        worst[n] = median(r["first_us"]["max"] / 1000 for r in runs)
    return [Line("1,000 streams of 64 x 20 ms: frames lost", frames, "0",
                 below(frames, 0), digits=0),
            Line("  longest gap of all, ms", gaps, "<= 40", below(gaps, 40), ratio(gaps)),
            Line("  longest wait for the first piece, ms", worst, "", None, ratio(worst))]


# --- fusion ---------------------------------------------------------------------------------------


def fused_burst(b):
    if not b.with_fusor:
        return []
    r = b.measure("fused burst", ["fusor"], "zero", expect="n32", stream=True, recipe=True,
                  conns=32)
    rate = {"fusor": mid(r, lambda x: x["per_second"])["fusor"]}
    core = per_core(mid(r, cpu))
    return load_lines("fused, 3 members + judge, burst, 32 clients", r, 150)[:1] + [
        Line("  requests/s for a core of CPU", core, ">= 4,000", above(core["fusor"], 4000),
             digits=0),
        Line("  requests/s seen", rate, digits=0)]


def recipe_ms(b, name, expect="n32"):
    r = b.measure("fused " + name, ["fusor"], name, expect=expect, stream=True, recipe=True,
                  conns=4, ms=max(b.ms, 1200))
    return mid(r, p50_ms)["fusor"]


def direct_ms(b, model):
    r = b.measure("direct " + model, ["direct"], model, stream=True, conns=4, ms=max(b.ms, 500))
    return mid(r, p50_ms)["direct"]


def fused_delays(b):
    if not b.with_fusor:
        return []
    total, direct = recipe_ms(b, "delays"), direct_ms(b, "d100") + direct_ms(b, "d40")
    added = {"fusor": total - direct}
    return [Line("fused, members 60/80/100 ms, judge 40: p50 added, ms", added, "<= 0.5",
                 below(added, 0.5), digits=2),
            Line("  p50 over 140 ms; direct: the mock's own 100 and 40",
                 {"fusor": total - 140, "direct": direct - 140}, digits=2)]


def modes(b):
    """Members of 60, 80 and 100 ms, a judge of 20: at best 1.2 with a judge, 1 without."""
    if not b.with_fusor:
        return []
    slowest = {m: direct_ms(b, m) for m in ("d100", "d80")}
    lines = []
    for name, what, expect, member in (
            ("merge", "merge over the slowest counted member", "n32", "d100"),
            ("best", "best_of", "n32", "d100"), ("vote", "vote", "n32-cB", "d100"),
            ("late", "merge, a third member 5 times as slow", "n32", "d80")):
        if name == "late":  # after 20 whole calls its lateness is known and not waited for
            b.rig.load("late (learning)", b.system("fusor"), "d500", stream=True, conns=40,
                       requests=40)
        times = {"fusor": recipe_ms(b, name, expect) / slowest[member]}
        lines.append(Line(f"fused {what}: times", times, "<= 1.3", below(times, 1.3), digits=3))
    return lines


# --- dialects -------------------------------------------------------------------------------------

PLAIN = "chat to chat"


def pairs(**options):
    """Loads of fusor by what the client and the upstream speak. Where an upstream speaks Anthropic's
    dialect it is the same mock."""
    sides = {PLAIN: ("chat", "mock"), "Messages to chat": ("messages", "mock"),
             "Responses to chat": ("responses", "mock"), "chat to Messages": ("chat", "claude")}

    def load(dialect, provider, model="n32", **more):
        return dict(more, system="fusor", dialect=dialect, model=f"{provider}/{model}",
                    expect=model, recipe=True)

    return {what: load(*side, **options) for what, side in sides.items()}


def translate(b):
    """A small chat from one dialect into another, beside the same chat without."""
    if not b.with_fusor:
        return []
    lines = []
    for how, stream in (("not streamed", False), ("stream in a burst", True)):
        cost = mid(b.measure_each(f"translate, {how}", pairs(conns=64, stream=stream)), cpu)
        for what, us in cost.items():
            bound = 60 if what == "Messages to chat" else None
            lines.append(Line(f"{what}, {how}, 64 clients: CPU us", {"fusor": us},
                              f"<= {bound}" if bound else "", us <= bound if bound else None,
                              aside="" if what == PLAIN else f"{us / cost[PLAIN]:.2f} x plain"))
    return lines


LONG_BYTES = 1000000
LONG = {"body": LONG_BYTES, "messages": 500}


def long(b):
    """A long conversation: what it waits for us, and what it takes while it is under way."""
    chosen = {n: p for n, p in pairs(conns=1, **LONG).items() if n in (PLAIN, "Messages to chat")}
    loads = {n: dict(LONG, system=n, model="n32", conns=1) for n in b.names("direct", "nginx")}
    r = mid(b.measure_each("long", loads | (chosen if b.with_fusor else {})), p50_ms)
    lines = []
    for what in chosen if b.with_fusor else ():
        total = {"fusor": r[what]} | {n: r[n] for n in loads}
        added = {n: v - r["direct"] for n, v in gateways(total).items()} if "direct" in r else {}
        lines.append(Line(f"1 MB in 500 messages, {what}: p50 added, ms", added, "<= 5",
                          below(added, 5), ratio(added), digits=2))
    return lines + [long_memory(b, what) for what in chosen if b.with_fusor]


def long_memory(b, what, count=16):
    """All are under way at once: the upstream answers only when the last has come."""
    s = b.fresh("fusor")

    def load(model, **options):
        one = pairs(model=model, conns=count, **options)[what]
        del one["system"]
        b.rig.load("long memory", s, **one)

    load("n32", requests=4 * count)
    before = rigs.memory_of(s.pid)
    load("d1500-n2", requests=count, **LONG)
    each = (rigs.memory_of(s.pid, "VmHWM") - before) / count / LONG_BYTES
    b.rig.note({"row": "long memory", "what": what, "times": each})
    b.rig.stop(s.pid)
    return Line(f"  {count} at once, {what}: peak memory, times its size", {"fusor": each}, "<= 3",
                each <= 3, digits=2)


# Half and whole: what costs more than twice as much for twice the work is not linear.
PARTS = {
    "messages and tools": ({"messages": 1000, "tools": 64, "body": 150000, "model": "n2"},
                           {"messages": 2000, "tools": 128, "body": 300000, "model": "n2"}),
    "deltas and pieces": ({"stream": True, "tools": 1, "model": "n2000-t1000"},
                          {"stream": True, "tools": 1, "model": "n4000-t2000"}),
}


def many_parts(b):
    """CPU time of requests and answers with very many parts, at N and at 2N."""
    if not b.with_fusor:
        return []
    lines = []
    for name, (half, whole) in PARTS.items():
        loads = {}
        for what in pairs():
            loads[what, 1] = pairs(conns=2, **half)[what]
            loads[what, 2] = pairs(conns=2, **whole)[what]
        r = mid(b.measure_each(f"many parts, {name}", loads, max(b.ms // 2, 400)), cpu)
        counts = ("2,000 messages, 128 tools" if "messages" in whole
                  else "4,000 deltas, a call in 2,000 pieces")
        for what in pairs():
            times = r[what, 2] / r[what, 1]
            lines.append(Line(f"{counts}, {what}: CPU ms", {"fusor": r[what, 2] / 1000},
                              "<= 2.2 x half of it", times <= 2.2, digits=2,
                              aside=f"{times:.2f} x half"))
    return lines


# --- memory and start -----------------------------------------------------------------------------


def idle(b):
    """Started afresh each time; memory after half a second of nothing, not one request served."""
    memory, start = {}, {}
    for n in b.names("nginx", "fusor"):
        found = []
        for _ in range(max(b.repeats, 3)):
            s = b.fresh(n)
            time.sleep(0.5)
            found.append((rigs.memory_of(s.pid) / 1e6, s.start_ms))
            b.rig.note({"row": "idle", "system": n, "rss_mb": found[-1][0], "start_ms": s.start_ms})
            b.rig.stop(s.pid)
        memory[n] = median(m for m, _ in found)
        start[n] = median(t for _, t in found)
    return [Line("idle: resident MB", memory, "<= 10", below(memory, 10), ratio(memory)),
            Line("start to the first 200, ms", start, "<= 50", below(start, 50), ratio(start))]


def idle_streams(b):
    """One piece of each has gone through, then nothing more."""
    count, each = (200 if b.quick else 1000), {}
    for n in b.names("nginx", "fusor"):
        s = b.fresh(n)
        b.rig.load("idle streams (warm-up)", s, "n32", stream=True, conns=4, ms=100)
        before = rigs.memory_of(s.pid)
        end = b.rig.hold(s, "n2-hold", count)
        time.sleep(0.5)
        each[n] = (rigs.memory_of(s.pid) - before) / count / 1024
        b.rig.note({"row": "idle streams", "system": n, "streams": count, "kib_each": each[n]})
        end()
        b.rig.stop(s.pid)
    return [Line(f"{count:,} idle open streams: KiB each", each, "<= 16", below(each, 16),
                 ratio(each))]


def large(b):
    """All bodies are in flight at once: the upstream answers only when the last has come."""
    peak = {}
    for n in b.names("nginx", "fusor"):
        s = b.fresh(n)
        b.rig.load("large bodies", s, "d3000-n2", conns=1500, requests=1500, body=150000)
        peak[n] = rigs.memory_of(s.pid, "VmHWM") / 1e6
        b.rig.note({"row": "large bodies", "system": n, "peak_mb": peak[n]})
        b.rig.stop(s.pid)
    return [Line("1,500 connections x 150 KB: peak MB", peak, "<= 600", below(peak, 600),
                 ratio(peak))]


ROWS = {
    "chat": passthrough, "booked": booked, "latency": added_latency, "burst": burst,
    "paced": paced, "fused": fused_burst, "delays": fused_delays, "modes": modes,
    "translate": translate, "long": long, "many_parts": many_parts, "idle": idle,
    "streams": idle_streams, "large": large, "many": many,
}


def run(b, chosen):
    lines = []
    for name in chosen:
        start = time.perf_counter()
        try:
            lines += ROWS[name](b)
            say(f"  {name}: {time.perf_counter() - start:.1f} s")
        except Failed as e:
            say(f"  {name}: {e}")
            lines.append(Line(name, {}, ok=False, note=f"failed: {e}"[:110]))
            for system in ("nginx", "fusor", "booked"):  # whatever state it is in
                b.drop(system)
    return lines
