"""One place for a worker: its disk, its clock, and the process that runs there, if any does."""
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import time

from finding import Finding

LEAVE_SECONDS = 60
LAST_LINES, LAST_LINE_CHARACTERS = 12, 300


class Worker:
    """Confined to one thread at a time."""

    def __init__(self, place, number, build, flow, env, planted):
        self.number, self.flow, self.env, self.planted = number, flow, env, planted
        self.state = place / f"state-{number}"
        self.log_path = place / f"worker-{number}.log"
        # Through a pipe: what a worker with a full disk has to say is not lost.
        with open(self.log_path, "ab") as log:
            self.scribe = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        self.log = self.scribe.stdin
        self.program, self.planted_program = build / "bin" / "sonder", build / "tests" / "sonder_planted"
        self.jumping_clock = build / "tests" / "jumping_clock.so"
        self.clock = place / f"clock-{number}"
        self.process = None
        self.ended_alone = []  # exit codes that nobody asked for

    # ---- start and end ----

    def set_clock(self, seconds_ahead):
        """Moves its clock; the monotonic one, by which it waits, goes on as always."""
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds_ahead))
        self.env.update(LD_PRELOAD=str(self.jumping_clock), SONDER_CHAOS_CLOCK=str(self.clock))

    def command(self, *more, point=None):
        program = self.planted_program if point or self.planted else self.program
        env = dict(self.env)
        if point:
            env["SONDER_CHAOS_POINT"] = point
        if self.planted:
            env["SONDER_PLANTED_FAULT"] = self.planted
        return [program, "run", self.flow, "--data-dir", self.state, *more], env

    def runs(self):
        if self.process is None:
            return False
        if self.process.poll() is None:
            return True
        self.ended(self.process.returncode)
        return False

    def ended(self, code):
        self.process = None
        if code not in (0, -signal.SIGKILL, -signal.SIGTERM):  # by SIGTERM: before it could take it up
            self.ended_alone.append(code)

    def start(self, point=None):
        if self.runs():
            return
        command, env = self.command("--log-level", "info", point=point)
        self.log.write(f"---- start {point or ''}\n".encode())
        self.log.flush()
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)

    def send(self, what):
        if self.runs():
            self.process.send_signal(what)

    def kill(self):
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.ended(self.process.wait())

    def leave(self, seconds=LEAVE_SECONDS):
        """Drains as an operator would stop it; a worker that does not end in its time is a finding."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self.process is None:
            return
        try:
            self.ended(self.process.wait(seconds))
        except subprocess.TimeoutExpired as e:
            raise Finding("stuck", f"worker {self.number} does not end within {seconds} s of SIGTERM") from e

    # ---- disturbances ----

    def wipe(self):
        self.kill()
        shutil.rmtree(self.state, ignore_errors=True)

    def fill_disk(self):
        """No file of it grows any more; what it has to write fails as on a full disk (EFBIG for ENOSPC)."""
        self.limit_files(0)

    def empty_disk(self):
        self.limit_files(resource.RLIM_INFINITY)

    def limit_files(self, size):
        if not self.runs():
            return
        try:
            hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
        except ProcessLookupError:
            pass  # it has just ended

    def stopped(self):
        """Whether the process, if any, stands still (SIGSTOP)."""
        if not self.runs():
            return False
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        return stat.rsplit(")", 1)[1].split()[0] == "T"

    def await_point(self, seconds):
        """True once it has died or stands still at the point that it was started with."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.runs() or self.stopped():
                return True
            time.sleep(0.02)
        return False

    def last_lines(self):
        """The end of its log, for who has only what was printed. After `close`."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line[:LAST_LINE_CHARACTERS]}" for line in lines[-LAST_LINES:])

    def close(self):
        self.send(signal.SIGCONT)
        self.kill()
        self.log.close()
        self.scribe.wait()


def environment(found, **more):
    return dict(os.environ, **found, **more)
