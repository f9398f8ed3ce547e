"""Processes of a bench and what they cost: start, pin, stop, CPU time and memory from /proc.

Lives here: everything that knows about processes. Not here: what is measured (rows.py), how it is
shown (table.py). Only what this program started is ever stopped, by its own pid."""

import ctypes
import json
import os
import pathlib
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
KEY = "bench-key-0123456789"

NGINX_CONF = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
error_log {dir}/nginx-error.log warn;
{user}
events {{ worker_connections {conns}; }}
http {{
    access_log off;
    client_body_temp_path {dir}/tmp-body;
    proxy_temp_path {dir}/tmp-proxy;
    fastcgi_temp_path {dir}/tmp-fastcgi;
    uwsgi_temp_path {dir}/tmp-uwsgi;
    scgi_temp_path {dir}/tmp-scgi;
    client_max_body_size 64m;
    client_body_buffer_size 256k;
    keepalive_requests 100000000;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout 600s;
    upstream mock {{
        server 127.0.0.1:{mock};
        keepalive 4096;
        keepalive_requests 100000000;
        keepalive_timeout 600s;
    }}
    server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://mock; }} }}
    server {{
        listen 127.0.0.1:{stream_port} backlog=4096;
        location / {{ proxy_pass http://mock; proxy_buffering off; }}
    }}
}}
"""

FUSOR_CONF = """
listen: 127.0.0.1:{port}
workers: 1
state_dir: {dir}/state
{key}
providers:
  mock: {{kind: openai, base_url: "http://127.0.0.1:{mock}/v1", price: {price}}}
  claude: {{kind: anthropic, base_url: "http://127.0.0.1:{mock}/v1", price: {price}}}
fusions:
  zero: {{panel: [mock/n32-as-a, mock/n32-as-b, mock/n32-as-c], judge: mock/n32-as-j, quorum: 3}}
  delays: {{panel: [mock/d60, mock/d80, mock/d100], judge: mock/d40, quorum: 3}}
  merge: {{panel: [mock/d60, mock/d80, mock/d100], judge: mock/d20, quorum: 3}}
  best: {{mode: best_of, panel: [mock/d60, mock/d80, mock/d100], judge: mock/d20-verdict, quorum: 3}}
  vote: {{mode: vote, panel: [mock/d60-cB, mock/d80-cB, mock/d100-cB], quorum: 3}}
  late: {{panel: [mock/d60, mock/d80, mock/d500], judge: mock/d20}}
"""


class Failed(Exception):
    """A measurement that cannot be made; said in the table, and the bench goes on."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_split():
    """Cores of the gateway and of everything else; the same one when there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[0]], cores[1:2] or cores[:1]


def pids_of(pid):
    """A process and what it has started (nginx works in a child)."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += pids_of(int(child))
    return found


def cpu_of(pid):
    """User and system seconds so far, all threads, ended ones too."""
    user = system = 0
    for one in pids_of(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11])
        system += int(fields[12])
    return user / TICK, system / TICK


def memory_of(pid, field="VmRSS"):
    """Bytes resident now, or (VmHWM) at most so far, summed over the process and its children."""
    total = 0
    for one in pids_of(pid):
        for line in pathlib.Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1]) * 1024
    return total


def machine_busy():
    """Seconds that all cores together have worked so far, time stolen from them included."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICK


def fsync_ms(directory):
    """Median time of one small append made durable: what a commit waits for on this disk."""
    path = pathlib.Path(directory) / "fsync.probe"
    times = []
    with open(path, "wb", buffering=0) as f:
        for _ in range(40):
            f.write(b"x" * 4096)
            start = time.perf_counter()
            os.fdatasync(f.fileno())
            times.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(times) * 1000


def get(port, path, timeout=5):
    """Status of one plain GET; OSError when nobody listens."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        head = s.recv(4096)
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0


class System:
    """What requests are sent to: a gateway, or the mock itself (pid None: nothing to measure)."""

    def __init__(self, name, pid, port, stream_port=None, key=None, prefix="", start_ms=0):
        self.name, self.pid, self.port, self.key = name, pid, port, key
        self.stream_port = stream_port or port
        self.prefix = prefix  # of model names
        self.start_ms = start_ms


class Rig:
    def __init__(self, tools, fusor, out):
        self.tools, self.fusor_path, self.out = pathlib.Path(tools), fusor, pathlib.Path(out)
        self.gateway_cpus, self.tool_cpus = cpu_split()
        self.children, self.serial = {}, 0
        self.answers = {}  # by pid: what a gateway was seen to answer
        self.foreign = []  # CPU that others used, in cores, per load
        self.raw = open(self.out / "raw.jsonl", "w", buffering=1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.files = min(hard, 65536)
        self.libc = ctypes.CDLL(None)
        self.mock = self.start_mock()

    # --- processes ----------------------------------------------------------------------------

    def spawn(self, argv, cpus, log, **more):
        """A child on `cpus`, in a session of its own (Ctrl-C is ours alone), that ends with us."""

        def before_exec():
            self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.sched_setaffinity(0, cpus)

        with open(self.out / log, "ab") as err:
            p = subprocess.Popen(argv, stderr=err, start_new_session=True, preexec_fn=before_exec,
                                 **more)
        self.children[p.pid] = p
        return p

    def stop(self, pid):
        p = self.children.pop(pid, None)
        if p is None:
            return
        p.terminate()
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # the session that spawn() made for it
            p.wait()
        for pipe in (p.stdin, p.stdout):
            if pipe:
                pipe.close()

    def close(self):
        for pid in reversed(list(self.children)):
            self.stop(pid)
        self.raw.close()

    def folder(self, name):
        self.serial += 1
        path = self.out / f"{name}-{self.serial}"
        path.mkdir(mode=0o700)
        return path

    def await_200(self, p, port, path, start):
        """Milliseconds until the first 200; asks every half millisecond."""
        while time.perf_counter() - start < 10:
            if p.poll() is not None:
                raise Failed(f"{pathlib.Path(p.args[0]).name} ended at start (exit {p.returncode})")
            try:
                if get(port, path) == 200:
                    return (time.perf_counter() - start) * 1000
            except OSError:
                time.sleep(0.0005)
        raise Failed(f"{pathlib.Path(p.args[0]).name} did not answer {path} within 10 s")

    def start_mock(self):
        p = self.spawn([self.tools / "mock_upstream", "--port", "0"], self.tool_cpus, "mock.log",
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        word, port = p.stdout.readline().split()
        if word != "ready":
            raise Failed("the mock upstream did not start")
        return System("direct", None, int(port))

    def start_nginx(self, program):
        folder, port, stream_port = self.folder("nginx"), free_port(), free_port()
        conf = folder / "nginx.conf"
        conf.write_text(NGINX_CONF.format(
            dir=folder, port=port, stream_port=stream_port, mock=self.mock.port, files=self.files,
            conns=min(16384, self.files // 2), user="user root;" if os.getuid() == 0 else ""))
        start = time.perf_counter()
        p = self.spawn([program, "-p", folder, "-c", conf, "-e", folder / "nginx-error.log"],
                       self.gateway_cpus, "nginx.log", stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
        ms = self.await_200(p, port, "/v1/models", start)
        return System("nginx", p.pid, port, stream_port, start_ms=ms)

    def start_fusor(self, booked=False):
        """booked: clients need a key, and calls have a price, so that each asks the ledger first."""
        folder, port = self.folder("fusor"), free_port()
        conf = folder / "fusor.yaml"
        conf.write_text(FUSOR_CONF.format(
            dir=folder, port=port, mock=self.mock.port, key="key: env:BENCH_KEY" if booked else "",
            price="{input: 1.25, output: 5}" if booked else "free"))
        env = dict(os.environ, FUSOR_LOG="warn", BENCH_KEY=KEY)
        start = time.perf_counter()
        p = self.spawn([self.fusor_path, "serve", "-c", conf], self.gateway_cpus,
                       "fusor.log", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env)
        ms = self.await_200(p, port, "/healthz", start)
        s = System("fusor", p.pid, port, key=KEY if booked else None, prefix="mock/", start_ms=ms)
        s.ledger = folder / "state" / "ledger.db"
        return s

    # --- load ---------------------------------------------------------------------------------

    def load_argv(self, system, model, expect, stream, recipe, options):
        """recipe: the model's name as it stands, without the system's prefix."""
        argv = [self.tools / "load", "--port", system.stream_port if stream else system.port,
                "--model", model if recipe else system.prefix + model, "--expect", expect or model]
        if stream:
            argv.append("--stream")
        if system.key:
            argv += ["--key", system.key]
        for name, value in options.items():
            argv += ["--" + name] if value is True else ["--" + name, value]
        return [str(a) for a in argv]

    def load(self, row, system, model, expect=None, stream=False, recipe=False, **options):
        """One run of the load tool: its result, with the gateway's CPU time a request added."""
        argv = self.load_argv(system, model, expect, stream, recipe, options)
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        mock_before = cpu_of(self.mock_pid())
        before = cpu_of(system.pid) if system.pid else (0, 0)
        busy, start = machine_busy(), time.perf_counter()
        p = self.spawn(argv, self.tool_cpus, "load.log", stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, text=True)
        text = p.communicate()[0]
        self.children.pop(p.pid)
        wall, busy = time.perf_counter() - start, machine_busy() - busy
        after = cpu_of(system.pid) if system.pid else (0, 0)
        mine = sum(cpu_of(self.mock_pid())) - sum(mock_before) + sum(after) - sum(before)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        mine += used.ru_utime + used.ru_stime - ours.ru_utime - ours.ru_stime
        try:
            result = json.loads(text)
        except ValueError:
            raise Failed(f"the load tool said {text[:80]!r} (see load.log)") from None
        n = max(result["answers"], 1)
        result.update(row=row, system=system.name, argv=argv[1:], wall=wall,
                      user_us=(after[0] - before[0]) / n * 1e6,
                      system_us=(after[1] - before[1]) / n * 1e6,
                      gateway_busy=(sum(after) - sum(before)) / wall,
                      others_busy=max(0.0, busy - mine) / wall)
        result["cpu_us"] = result["user_us"] + result["system_us"]
        self.note(result)
        self.foreign.append(result["others_busy"])
        self.answers[system.pid] = self.answers.get(system.pid, 0) + result["answers"]
        if result["failed"]:
            raise Failed(f"{system.name}: {result['failed']} wrong answers, first: {result['why']}")
        return result

    def mock_pid(self):
        return next(iter(self.children))

    def hold(self, system, model, conns):
        """Opens streams that stay open; returns a function that ends them."""
        argv = self.load_argv(system, model, "n1", True, False, {"conns": conns, "hold": True})
        p = self.spawn(argv, self.tool_cpus, "load.log", stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, text=True)
        line = p.stdout.readline()
        if line.split() != ["held", str(conns)]:
            self.stop(p.pid)
            raise Failed(f"{system.name}: streams could not be opened: {line.strip()[:100]}")

        def end():
            p.communicate()
            self.children.pop(p.pid)

        return end

    def note(self, record):
        self.raw.write(json.dumps(record) + "\n")

    def others(self):
        """How much of this run was shared with strangers: the reader's measure of its noise."""
        if not self.foreign:
            return "-"
        return f"{statistics.median(self.foreign):.2f} cores, at most {max(self.foreign):.2f}"


def say(text):
    print(text, file=sys.stderr, flush=True)
