#!/usr/bin/env python3
"""What a worker says of itself around an outage: ready means that its tasks process, and what it waits for stands in the answer. A broker of
its own goes away and comes back."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.parse

import broker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
from place import BUILD, ROOT, Place, free_port, get, wait  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "chaos"))
from proxy import Proxy  # noqa: E402

NAME = "readiness-" + BUILD.name


def nobody(name, of):
    return {"name": name, "type": of, "sonder.privacy": {"categories": []}}


AT = {"type": "long", "logicalType": "timestamp-millis"}
EVENT = {"type": "record", "name": "event", "fields": [nobody("event_id", "string"), nobody("subject_id", "string"), nobody("at", AT)]}
COUNTED = {"type": "record", "name": "counted", "fields": [*EVENT["fields"], nobody("count", "long")]}


def ops_kafka(*words):
    env = {name: value for name, value in os.environ.items() if name != "SONDER_KAFKA"}
    done = subprocess.run([ROOT / "ops/kafka", *words, "--name", NAME], capture_output=True, text=True, env=env, timeout=240, check=False)
    if done.returncode == 77:
        broker.leave(done.stderr.strip())
    assert done.returncode == 0, f"ops/kafka {words}: {done.stderr}"
    return done.stdout.strip()


def flow(name, bootstrap, registry):
    return f"""\
flow: {name}
log: {{kind: kafka, bootstrap: "{bootstrap}", registry: {{url: "{registry}"}}, dir: state, session_timeout: 6s}}
topics:
  journal: {{topic: {name}-journal, schema: event.avsc, subject: subject_id, event_time: at, partitions: 2}}
  consent: {{topic: {name}-consent, schema: {ROOT}/schemas/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at,
    role: table, compact: true, partitions: 2}}
  out: {{topic: {name}-out, schema: counted.avsc, subject: subject_id, key: subject_id, event_time: at, partitions: 1,
    purpose: ServicePersonalisation, carries: [behaviour, quasi_identifier]}}
  dead_letter: {{topic: {name}-dead, schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  consent: {{plugin: consent_filter, in: {{events: journal, decisions: consent}}}}
  tally: {{plugin: counter, in: {{events: consent.allowed}}, purpose: ServicePersonalisation}}
sinks: {{out: tally.out}}
run: {{commit_interval: 20ms, threads: 2}}
plugins: {BUILD}/testing_plugins
"""


class Readiness(unittest.TestCase):
    def setUp(self):
        ops_kafka("wipe")
        ops_kafka("start")
        self.addCleanup(ops_kafka, "wipe")
        self.place = Place()
        self.addCleanup(self.place.close)
        self.name = broker.name_of_its_own("ready")
        self.config = self.place.folder / "flow.yaml"
        for schema in (EVENT, COUNTED):
            (self.place.folder / f"{schema['name']}.avsc").write_text(json.dumps(schema), encoding="utf-8")
        self.write_flow(broker.of_this_run()["SONDER_REGISTRY"])
        self.start()
        wait(lambda: self.ready()[0] == 200)

    def write_flow(self, registry):
        self.config.write_text(flow(self.name, ops_kafka("address"), registry), encoding="utf-8")

    def start(self, *more):
        self.port = free_port()
        worker = self.worker = self.place.start("run", self.config, "--quiet", "--set", f"run.http_port={self.port}", *more)
        self.addCleanup(lambda: (worker.kill(), worker.communicate()))

    def leave(self):
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(60), 0)

    def await_wait(self, for_what):
        wait(lambda: self.ready()[0] == 503 and for_what in self.ready()[1])
        time.sleep(1)
        self.assertIsNone(self.worker.poll(), "it has left")
        self.assertIn(for_what, self.ready()[1])

    def ready(self):
        return get(self.port, "/readyz")

    def metric(self, line):
        found = re.search("^" + re.escape(line) + r" (\S+)$", get(self.port, "/metrics")[1], re.M)
        return float(found.group(1)) if found else None

    def give(self, topic, rows):
        self.place.run("produce", topic, "--config", self.config, "--quiet", stdin="".join(json.dumps(row) + "\n" for row in rows))

    def give_events(self, first, count):
        self.give("journal", [{"event_id": f"e{i}", "subject_id": "ana", "at": 10_000 + i} for i in range(first, first + count)])

    def test_a_worker_that_starts_waits_for_the_registry_and_for_brokers(self):
        self.leave()
        url = urllib.parse.urlsplit(broker.of_this_run()["SONDER_REGISTRY"])
        registry = Proxy(f"0:{url.hostname}:{url.port}")
        self.addCleanup(registry.close)
        registry.tell("refuse")
        self.write_flow(url._replace(netloc=f"127.0.0.1:{registry.ports[0]}").geturl())
        self.start()
        self.await_wait("starts: waits for the schema registry: ")
        self.leave()
        self.start("--set", "run.start_patience=1s")
        self.assertEqual(self.worker.wait(60), 4)
        self.start()
        self.await_wait("starts: waits for the schema registry: ")
        registry.tell("heal")
        wait(lambda: self.ready()[0] == 200)
        self.leave()

        ops_kafka("kill")
        self.start()
        self.await_wait("starts: waits for the log: ")
        self.assertRegex(self.ready()[1], "127.0.0.1|broker")
        ops_kafka("start")
        wait(lambda: self.ready()[0] == 200, 90)
        self.leave()

    def test_ready_means_that_tasks_process(self):
        self.give("consent", [{"subject_id": "ana", "purpose": "ServicePersonalisation", "decision": "granted", "at": 1_000}])
        self.give_events(0, 20)
        wait(lambda: self.metric('sonder_records_in_total{node="out",port="sink"}') == 20)
        self.assertEqual(self.metric('sonder_tasks{state="processing"}'), 2)
        self.assertGreater(self.metric('sonder_transactions_total{outcome="committed"}'), 0)
        self.assertGreaterEqual(self.metric("sonder_restored_tasks_total"), 2)
        self.assertGreater(self.metric("sonder_registry_requests_total"), 0)
        self.assertGreaterEqual(self.metric("sonder_rebalance_duration_seconds_count"), 1)
        self.assertEqual(self.metric('sonder_source_lag_records{topic="journal",role="event"}'), 0)
        failed = self.metric('sonder_broker_connections_failed_total{client="query"}')

        # Nothing is to be done, and still it must not be sent work.
        ops_kafka("kill")
        wait(lambda: self.ready()[0] == 503)
        wait(lambda: re.search("127.0.0.1|broker|group", self.ready()[1]))
        self.assertEqual(self.metric("sonder_ready"), 0)
        self.assertGreater(self.metric('sonder_broker_connections_failed_total{client="query"}'), failed)

        ops_kafka("start")
        wait(lambda: self.ready()[0] == 200, 90)
        self.give_events(20, 20)
        wait(lambda: (self.metric('sonder_records_in_total{node="out",port="sink"}') or 0) == 40)
        self.assertEqual(self.ready()[0], 200)
        counts = [json.loads(line)["value"]["count"] for line in
                  self.place.run("consume", "out", "--from-beginning", "--until-end", "--config", self.config).stdout.splitlines()]
        self.assertEqual(counts, list(range(1, 41)))


if __name__ == "__main__":
    broker.of_this_run()
    unittest.main(verbosity=2)
