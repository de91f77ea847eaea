"""Brokers of the suite's own, which may be killed, and the proxies that workers see them and the registry through."""
import os
import pathlib
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
import broker  # noqa: E402
from proxy import Proxy  # noqa: E402

CANNOT_BE_HAD = 77


class Cluster:
    def __init__(self, nodes, registry_url, name):
        self.nodes, self.name = nodes, name
        self.kafka("start", "--nodes", str(nodes))
        self.address = self.kafka("address")
        pairs = [tuple(map(int, line.split())) for line in self.kafka("proxied").splitlines()]
        self.kafka_proxy = Proxy(*(f"{front}:127.0.0.1:{behind}" for front, behind in pairs))
        url = urllib.parse.urlsplit(registry_url)
        self.registry_proxy = Proxy(f"0:{url.hostname}:{url.port or 80}")
        #: as workers find them
        self.found = {"SONDER_KAFKA": ",".join(f"127.0.0.1:{front}" for front, _ in pairs),
                      "SONDER_REGISTRY": f"http://127.0.0.1:{self.registry_proxy.ports[0]}{url.path}"}

    def kafka(self, *args):
        """ops/kafka on these brokers, whatever broker the rest of the tests has."""
        env = {name: value for name, value in os.environ.items() if name != "SONDER_KAFKA"}
        done = subprocess.run([ROOT / "ops" / "kafka", *args, "--name", self.name], capture_output=True, text=True, env=env)
        if done.returncode == CANNOT_BE_HAD:
            broker.leave(f"the chaos suite is NOT RUN: {done.stderr.strip()}")
        assert done.returncode == 0, f"ops/kafka {args}: {done.stderr}"
        return done.stdout.strip()

    def heal(self):
        self.kafka_proxy.tell("heal")
        self.registry_proxy.tell("heal")

    def close(self):
        self.kafka_proxy.close()
        self.registry_proxy.close()
        self.kafka("wipe")
