"""What bench_kafka.py measures with: a broker and a registry of its own, workers that are watched, programs that print JSON."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

SECONDS_MAX = 600  # of one run
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = .1        # between two looks at a worker: as often as it commits
NAME = "bench"     # of broker and registry

began = time.monotonic()


def say(text):
    print(f"== {time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A figure could not be measured; the others go on."""


class NotHere(Failed):
    """Something that a figure needs is not on this machine."""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of the process with all its threads; hundredths."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid, what="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    return 0


def call(command, *, env=None, timeout=SECONDS_MAX):
    """What it printed. With all that it started it is ended where it takes too long, or where we are."""
    command = [str(c) for c in command]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            out, said = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise Failed(f"{' '.join(command)[:200]} ended with {process.returncode}: {said.strip()[-600:]}")
    return out


class Rig:
    def __init__(self, root, build, scratch):
        self.root, self.build, self.scratch = root, build, scratch
        self.sonder = build / "bin" / "sonder"
        self.secrets = scratch / "secrets"
        self.secrets.mkdir(mode=0o700)
        key = self.secrets / "pseudonym.key"
        key.touch(mode=0o600)
        key.write_text(os.urandom(32).hex())
        self.own = {k: v for k, v in os.environ.items() if k not in ("SONDER_KAFKA", "SONDER_REGISTRY")}
        self.folders = 0
        self.running = []

    # --- broker and registry: ours alone, empty after each `fresh` ---

    def ops(self, program, *arguments):
        return call([self.root / "ops" / program, *arguments, "--name", NAME], env=self.own).strip()

    def fresh(self):
        """Broker and registry with nothing in them: after gigabytes a broker gets slower, and offsets of an earlier run would count."""
        self.ops("kafka", "wipe")
        self.ops("registry", "wipe")
        # Without its data alone the registry would go on with the ids that it gave.
        self.ops("kafka", "start", "--bench")
        self.ops("registry", "start")
        self.kafka = self.ops("kafka", "address")
        self.registry = self.ops("registry", "address")
        self.broker_pid = int(self.ops("kafka", "pids"))

    def restart_broker(self):
        self.ops("kafka", "restart")
        self.broker_pid = int(self.ops("kafka", "pids"))

    def stop(self):
        for worker in list(self.running):
            worker.stop(signal.SIGKILL)
        for program in ("kafka", "registry"):
            self.ops(program, "wipe")

    def register(self, subject, schema):
        request = urllib.request.Request(f"{self.registry}/subjects/{subject}/versions", json.dumps({"schema": schema}).encode(),
                                         {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)["id"]

    # --- programs ---

    def environment(self, folder=None, **more):
        if folder is None:
            folder = self.scratch / f"state-{self.folders}"
            self.folders += 1
        return {**os.environ, "SONDER_KAFKA": self.kafka, "SONDER_REGISTRY": self.registry, "SONDER_DATA_DIR": str(folder),
                "SONDER_SECRETS_DIR": str(self.secrets), "no_proxy": "*", **more}

    def demo(self, config, *arguments):
        """Fills the topics of a flow with the same people and entries each time."""
        call([self.sonder, "demo", "--config", config, "--consenting", "1", "--quiet", *arguments], env=self.environment())

    def program(self, name, *arguments):
        out = call([self.build / "bench" / name, *arguments])
        return json.loads(out.strip().splitlines()[-1])

    def in_background(self, name, *arguments):
        with (self.scratch / f"{name}.err").open("w") as said:
            return subprocess.Popen([self.build / "bench" / name, *arguments], stdout=subprocess.DEVNULL, stderr=said)

    def worker(self, config, *arguments, folder=None, **environment):
        return Worker(self, config, arguments, self.environment(folder, **environment))


class Worker:
    """One `sonder run`, with its metrics, CPU time and memory."""

    def __init__(self, rig, config, arguments, environment):
        self.rig = rig
        self.port = free_port()
        self.said = rig.scratch / f"worker-{self.port}.err"
        self.folder = environment["SONDER_DATA_DIR"]
        self.command = [str(rig.sonder), "run", str(config), "--quiet", "--set", f"run.http_port={self.port}", *arguments]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(self.command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        rig.running.append(self)
        self.pid = self.process.pid

    def page(self):
        """Its metrics as text; nothing while it does not answer."""
        if self.process.poll() is not None:
            raise Failed(f"the worker ended with {self.process.returncode}: {self.said.read_text()[-600:]}")
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asked.request("GET", "/metrics")
            return asked.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            asked.close()

    def taken(self, source="journal"):
        """Records of the source whose effects are committed. A look must cost next to nothing: it shares the cores with what is measured."""
        taken = 0
        for labels, value in re.findall(r"^sonder_records_in_total\{(.*)\} (\S+)$", self.page(), re.M):
            if f'node="{source}"' in labels and 'port="source"' in labels:
                taken += float(value)
        return taken

    def wait_for(self, records, source="journal"):
        until = time.monotonic() + SECONDS_MAX
        while (taken := self.taken(source)) < records:
            if time.monotonic() > until:
                raise Failed(f"the worker has taken {taken:.0f} of {records} records in {SECONDS_MAX} s")
            time.sleep(LOOK_S)

    def measure(self, records):
        """Records a second from the first commit on, and CPU time from the start of the process, so that what was fetched ahead counts;
        both of the second half, too, as of a worker that has run for long."""
        until = time.monotonic() + SECONDS_MAX
        looks = []
        while not looks or looks[-1][0] < records:
            if time.monotonic() > until:
                raise Failed(f"the worker has taken {looks[-1][0] if looks else 0:.0f} of {records} records in {SECONDS_MAX} s")
            if taken := self.taken():
                looks.append((taken, time.monotonic(), cpu_seconds(self.pid)))
            if taken < records:
                time.sleep(LOOK_S)
        last, memory = looks[-1], memory_mib(self.pid, "VmHWM")

        def since(at_least):
            first = next(look for look in looks if look[0] >= at_least)
            if first[0] > records * .8:
                raise Failed("too few records for its speed; give more")
            counted = last[0] - first[0]
            return {"records_per_second": counted / (last[1] - first[1]), "cpu_seconds_per_million": (last[2] - first[2]) / (counted / 1e6),
                    "peak_rss_mib": memory}

        return {**since(0), "cpu_seconds_per_million": last[2] / (last[0] / 1e6), "second_half": since(records / 2)}

    def stop(self, how=signal.SIGTERM):
        """Ends it and forgets its state."""
        self.end(how)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self in self.rig.running:
            self.rig.running.remove(self)
