"""A command on a terminal of its own, typed at by a test as by a person."""

import errno
import os
import pty
import select
import signal
import termios
import time

from gateway import BIN, Gateway, slow


class Terminal:
    def __init__(self, g: Gateway, *args: str, **env):
        self.shown, self.at = "", 0  # at: behind what was waited for
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                # a shell in the background ignores these, and hands that down; a person's does not
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.signal(signal.SIGQUIT, signal.SIG_DFL)
                os.chdir(g.home)
                os.execve(BIN, [str(BIN), *args], g.env | {"TERM": "xterm"} | env)
            finally:
                os._exit(127)  # or the tests would go on twice

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exc):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def read(self) -> bool:
        """What is there, or comes soon; False at the end."""
        if not select.select([self.fd], [], [], 0.5)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError as e:
            assert e.errno == errno.EIO
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def wait(self, text: str, timeout: float = 20):
        """Reads on until the text is shown, behind what was waited for before."""
        end = time.monotonic() + timeout * slow()
        while text not in self.shown[self.at :]:
            assert self.read() and time.monotonic() < end, f"no {text!r} in {self.shown!r}"
        self.at = self.shown.index(text, self.at) + len(text)

    def type(self, text: str):
        os.write(self.fd, text.encode())

    def signal(self, how: int):
        os.kill(self.pid, how)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self, timeout: float = 20) -> int:
        """Reads to the end and returns the exit code; -N: ended by signal N."""
        end = time.monotonic() + timeout * slow()
        while self.read():
            assert time.monotonic() < end, f"does not end: {self.shown!r}"
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)
