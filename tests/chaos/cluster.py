"""Brokers and a registry of the suite's own, which may be killed, and the proxies that workers see them through."""
import concurrent.futures
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
import broker  # noqa: E402
from hanging import Operator, left_out  # noqa: E402
from proxy import Proxy  # noqa: E402

CANNOT_BE_HAD = 77
# Longer than a broker that is alone is made to stand still, and no longer: taken for gone, with nobody to lead its partitions
# meanwhile, it leaves out markers (hanging.py), and so it may while one that was killed waits for the session of the one before.
SESSION_OF_ONE_MS = 2500
FREEZE_OF_ONE_SECONDS_MAX = 1.5


class Cluster:
    def __init__(self, nodes, name):
        self.nodes, self.name = nodes, name
        self.void = []  # seeds in whose topics brokers left out markers
        self.logs_before = []
        try:
            self.registry("start")
            self.kafka("start", "--nodes", str(nodes), *(["--session", str(SESSION_OF_ONE_MS)] if nodes == 1 else []))
        except AssertionError:
            self.wipe()
            raise
        self.address, self.registry_url = self.kafka("address"), self.registry("address")
        self.operator = Operator(self.kafka)
        pairs = [tuple(map(int, line.split())) for line in self.kafka("proxied").splitlines()]
        self.kafka_proxy = Proxy(*(f"{front}:127.0.0.1:{behind}" for front, behind in pairs))
        url = urllib.parse.urlsplit(self.registry_url)
        self.registry_proxy = Proxy(f"0:{url.hostname}:{url.port}")
        #: as workers find them
        self.found = {"SONDER_KAFKA": ",".join(f"127.0.0.1:{front}" for front, _ in pairs),
                      "SONDER_REGISTRY": f"http://127.0.0.1:{self.registry_proxy.ports[0]}{url.path}"}

    def kafka(self, *args):
        """ops/kafka on these brokers, whatever broker the rest of the tests has."""
        return self.ask("kafka", *args)

    def registry(self, *args):
        """ops/registry on this one, likewise."""
        return self.ask("registry", *args)

    def ask(self, program, *args):
        env = {name: value for name, value in os.environ.items() if name not in ("SONDER_KAFKA", "SONDER_REGISTRY")}
        done = subprocess.run([ROOT / "ops" / program, args[0], "--name", self.name, *args[1:]], capture_output=True, text=True, env=env)
        if done.returncode == CANNOT_BE_HAD:
            broker.leave(f"the chaos suite is NOT RUN: {done.stderr.strip()}")
        assert done.returncode == 0, f"ops/{program} {args}: {done.stderr}"
        return done.stdout.strip()

    def freeze(self, node):
        """The broker's process stands still, its connections with it, until `thaw`."""
        for pid in self.pids(node):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, node):
        for pid in self.pids(node):
            os.kill(pid, signal.SIGCONT)

    def pids(self, node):
        return [int(pid) for pid in self.kafka("pids", "--node", str(node)).split()]

    def left_out(self, name):
        """What brokers say of markers that they left out in this seed's transactions."""
        return left_out(itertools.chain(self.logs_before, self.lines_of_logs()), name)

    def start_again(self, node):
        """One that was killed or stopped; a start puts the log of the one before aside."""
        self.logs_before += left_out(self.lines_of_logs(), "")
        self.kafka("start", "--node", str(node))

    def lines_of_logs(self):
        for path in map(pathlib.Path, self.kafka("logs").splitlines()):
            if path.exists():
                with path.open(encoding="utf-8", errors="replace") as lines:
                    yield from lines

    def delete_topics(self, name):
        """Of a seed that is done with: thousands of partitions would make a broker that was killed slow to come back."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith((f"{name}-", f"{name}."))]
            for gone in (admin.delete_topics(topics) if topics else {}).values():
                gone.result(30)
        except (KafkaException, concurrent.futures.TimeoutError) as e:
            print(f"topics of {name} stay: {e}", flush=True)

    def heal(self):
        self.kafka_proxy.tell("heal")
        self.registry_proxy.tell("heal")

    def close(self):
        self.kafka_proxy.close()
        self.registry_proxy.close()
        self.wipe()

    def wipe(self):
        self.kafka("wipe")
        self.registry("wipe")
