#!/usr/bin/env python3
"""Topics of other kinds than a flow's plain sources, on a real Kafka: rekeyed ones, global tables and feedback. Workers are killed meanwhile, and
clients that know nothing of Sonder's code read what came of it."""
import collections
import json
import pathlib
import signal
import sys
import time
import unittest

import broker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
from place import BUILD, ROOT, Place  # noqa: E402

try:
    import confluent_kafka  # noqa: F401
    import fastavro  # noqa: F401
except ImportError as missing:
    broker.leave(f"{missing.name} is not installed; run ops/setup --tests")

PURPOSE = "ServicePersonalisation"
AT = 1_700_000_000_000
CRASH = ROOT / "tests/crash"


def about_nobody(name, *fields):
    """A schema of text fields, a time `at`, and what else is named as (name, type)."""
    none = {"categories": []}
    listed = [{"name": f, "type": "string", "sonder.privacy": none} if isinstance(f, str) else
              {"name": f[0], "type": f[1], "sonder.privacy": none} for f in fields]
    at = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": none}
    return {"type": "record", "name": name, "fields": [*listed, at]}


class TopicsTest(unittest.TestCase):
    def setUp(self):
        self.known = broker.of_this_run()
        self.kafka = broker.Kafka(self.known["SONDER_KAFKA"])
        self.registry = broker.Registry(self.known["SONDER_REGISTRY"])
        self.place = Place()
        self.addCleanup(self.place.close)
        self.name = broker.name_of_its_own("topics")
        self.config = self.place.folder / "flow.yaml"
        self.workers = []
        self.addCleanup(lambda: [self.kill(w) for w in self.workers])

    def flow(self, text):
        self.config.write_text(f"""\
flow: {self.name}
log: {{kind: kafka, bootstrap: "{self.known['SONDER_KAFKA']}", registry: {{url: "{self.known['SONDER_REGISTRY']}"}}, dir: state,
  session_timeout: 3s, transaction_timeout: 5s}}
run: {{commit_interval: 20ms, batch_rows: 16, threads: 2, drain_max: 5s}}
plugins: "{BUILD / 'testing_plugins'}"
{text}""", encoding="utf-8")

    def write(self, topic, partitions, schema, rows):
        """rows: (key, row, partition or None)."""
        from confluent_kafka import Producer
        parsed = json.loads((self.place.folder / schema).read_text(encoding="utf-8"))
        schema_id = self.registry.register(f"{topic}-value", parsed)
        to = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        for key, row, partition in rows:
            value = row if isinstance(row, bytes) else broker.frame(schema_id, parsed, row)
            at = AT if isinstance(row, bytes) else row["at"]
            to.produce(topic, value, key, timestamp=at,
                       partition=broker.murmur2_partition(key, partitions) if partition is None else partition)
            to.poll(0)
        self.assertEqual(to.flush(30), 0)

    def schema(self, name, *fields):
        (self.place.folder / f"{name}.avsc").write_text(json.dumps(about_nobody(name, *fields)), encoding="utf-8")

    def start(self, number):
        worker = self.place.start("run", self.config, "--data-dir", self.place.folder / f"state-{number}", "--quiet")
        self.workers.append(worker)
        return worker

    @staticmethod
    def kill(worker):
        worker.kill()
        worker.communicate()

    def run_until_idle(self, number):
        done = self.place.run("run", self.config, "--until-idle", "--json", "--data-dir", self.place.folder / f"state-{number}")
        summary = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(summary["unbalanced"], [])
        return summary

    def rows(self, topic):
        return [(record, broker.unframe(self.registry, record.value())[1]) for record in self.kafka.read(topic)]

    def wait_for(self, what, seconds=60):
        until = time.monotonic() + seconds
        while not what():
            ended = [worker for worker in self.workers if worker.returncode is None and worker.poll() is not None]
            self.assertEqual([worker.communicate() for worker in ended], [], "a worker ended")
            self.assertLess(time.monotonic(), until, "did not come true in time")
            time.sleep(0.2)

    def journal_and_consent(self, journal_options):
        return f"""\
topics:
  journal: {{topic: {self.name}-journal, schema: {CRASH}/event.avsc, subject: subject_id, event_time: at, {journal_options}}}
  consent: {{topic: {self.name}-consent, schema: {ROOT}/schemas/consent.avsc, subject: subject_id, key: [subject_id, purpose],
    event_time: at, role: table, compact: true, partitions: 4}}
  out: {{topic: {self.name}-out, schema: {CRASH}/counted.avsc, subject: subject_id, key: subject_id, event_time: at, partitions: 3,
    purpose: {PURPOSE}, carries: [direct_identifier, quasi_identifier, behaviour]}}
  dead_letter: {{topic: {self.name}-dead, schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  consent: {{plugin: consent_filter, in: {{events: journal, decisions: consent}}}}
  tally: {{plugin: counter, in: {{events: consent.allowed}}, purpose: {PURPOSE}}}
sinks: {{out: tally.out}}
"""

    def assert_numbered(self, rows):
        """Out of one store for each subject, without gap or repeat."""
        counts = collections.defaultdict(list)
        for record, row in sorted(rows, key=lambda r: (r[0].partition(), r[0].offset())):
            counts[row["subject_id"]].append(row["count"])
        for subject, seen in counts.items():
            self.assertEqual(seen, list(range(1, len(seen) + 1)), subject)

    def test_a_topic_keyed_otherwise_reaches_the_tasks_of_its_subjects_once_and_in_order(self):
        self.flow(self.journal_and_consent("key: event_id, partitions: 3, rekey: true, rekey_retention: 1h"))
        self.kafka.create(f"{self.name}-journal", 3)
        people = [f"subject-{i}" for i in range(12)]
        self.place.run("produce", "consent", "--config", self.config, "--event-time", "at", "--quiet",
                       stdin="".join(json.dumps({"subject_id": who, "purpose": PURPOSE, "decision": "granted", "at": 1_000}) + "\n"
                                     for who in people[:10]))
        # Keyed by the event; a person's events stay in one partition, which is not the one that the flow's rule gives.
        entries = [{"event_id": f"e{i}", "subject_id": people[i % 12], "at": AT - i, "n": i, "wish": ""} for i in range(3_000)]

        def give(rows):
            self.write(f"{self.name}-journal", 3, CRASH / "event.avsc",
                       [(row["event_id"].encode(), row, int(row["subject_id"].split("-")[1]) % 3) for row in rows])

        give(entries[:1_000])
        first, second = self.start(1), self.start(2)
        self.wait_for(lambda: self.out_exists() and len(self.kafka.read(f"{self.name}-out")) > 100)
        give(entries[1_000:2_000])
        first.send_signal(signal.SIGKILL)
        first.communicate()
        give(entries[2_000:])
        self.write(f"{self.name}-journal", 3, CRASH / "event.avsc", [(b"k", b"no frame", 1)])
        time.sleep(1)
        self.kill(second)
        summary = self.run_until_idle(3)

        rows = self.rows(f"{self.name}-out")
        agreed = [row["event_id"] for row in entries if row["subject_id"] in people[:10]]
        self.assertEqual(sorted(row["event_id"] for _, row in rows), sorted(agreed))
        self.assert_numbered(rows)
        by_person = collections.defaultdict(list)
        for _, row in sorted(rows, key=lambda r: (r[0].partition(), r[0].offset())):
            by_person[row["subject_id"]].append(row["event_id"])
        for who, seen in by_person.items():
            self.assertEqual(seen, [row["event_id"] for row in entries if row["subject_id"] == who])

        (letter,) = [row for _, row in self.rows(f"{self.name}-dead")]
        self.assertEqual((letter["cause"], letter["topic"], letter["partition"]), ("not_framed", f"{self.name}-journal", 1))
        # The internal topic lies as the flow's subjects do, and goes away.
        inner = f"{self.name}.journal-rekey"
        for record in self.kafka.read(inner):
            self.assertEqual(record.partition(), broker.murmur2_partition(record.key(), 4))
        self.assertEqual(self.settings(inner), {"retention.ms": "3600000", "message.timestamp.type": "LogAppendTime",
                                                "cleanup.policy": "delete"})
        self.assertIn(f'copied, under their subject, to the internal topic "{inner}"', self.place.run("validate", self.config).stdout)
        shown = json.loads(self.place.run("inspect", self.config, "--json").stdout)
        self.assertEqual(shown["internal_topics"], [{"topic": inner, "of": f"{self.name}-journal", "partitions_of_it": 3,
                                                     "partitions": 4, "retention_ms": 3_600_000}])
        again = self.run_until_idle(3)
        self.assertEqual((again["records_in"], again["records_out"]), (0, 0), summary)

    def settings(self, topic):
        from confluent_kafka.admin import AdminClient, ConfigResource
        resource = ConfigResource("topic", topic)
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        found = admin.describe_configs([resource])[resource].result(30)
        return {name: found[name].value for name in ("retention.ms", "message.timestamp.type", "cleanup.policy")}

    def out_exists(self):
        from confluent_kafka.admin import AdminClient
        return f"{self.name}-out" in AdminClient({"bootstrap.servers": self.kafka.bootstrap}).list_topics(timeout=30).topics

    def test_until_idle_waits_for_what_it_forwarded(self):
        self.flow(self.journal_and_consent("key: event_id, partitions: 2, rekey: true"))
        self.kafka.create(f"{self.name}-journal", 2)
        self.place.run("produce", "consent", "--config", self.config, "--event-time", "at", "--quiet",
                       stdin=json.dumps({"subject_id": "ana", "purpose": PURPOSE, "decision": "granted", "at": 1_000}) + "\n")
        for turn in range(5):
            self.write(f"{self.name}-journal", 2, CRASH / "event.avsc",
                       [(b"k", {"event_id": f"e{turn}", "subject_id": "ana", "at": AT, "n": turn, "wish": ""}, turn % 2)])
            summary = self.run_until_idle(1)
            self.assertEqual((summary["records_in"], summary["records_out"]), (1, 1), summary)

    def test_copies_that_retention_took_are_missed_unless_all_were_taken_up(self):
        self.flow(self.journal_and_consent("key: event_id, partitions: 2, rekey: true"))
        self.kafka.create(f"{self.name}-journal", 2)
        event = {"event_id": "e1", "subject_id": "ana", "at": AT, "n": 1, "wish": ""}
        self.write(f"{self.name}-journal", 2, CRASH / "event.avsc", [(b"k", event, 0)])
        self.run_until_idle(1)
        inner = f"{self.name}.journal-rekey"
        hers = broker.murmur2_partition(b"ana", 4)
        # What a flow that stands still for longer than retention finds: nothing, markers gone with the rest.
        self.delete_before_end(inner, hers)
        self.run_until_idle(1)
        self.write(inner, 4, CRASH / "event.avsc", [(b"ana", event, hers)])
        self.delete_before_end(inner, hers)
        refused = self.place.run("run", self.config, "--until-idle", "--data-dir", self.place.folder / "state-1", expect=4).stderr
        self.assertRegex(refused, rf'topic "{inner}", the internal one of "journal", partition {hers}: retention has removed offsets ')
        self.place.run("run", self.config, "--until-idle", "--data-dir", self.place.folder / "state-1", "--set", "topics.journal.rekey_lost=skip")
        self.run_until_idle(1)

    def test_a_group_whose_offsets_are_gone_is_not_counted_a_second_time(self):
        self.flow(self.journal_and_consent("partitions: 4"))
        self.kafka.create(f"{self.name}-journal", 4)
        self.place.run("produce", "consent", "--config", self.config, "--event-time", "at", "--quiet",
                       stdin=json.dumps({"subject_id": "ana", "purpose": PURPOSE, "decision": "granted", "at": 1_000}) + "\n")
        self.write(f"{self.name}-journal", 4, CRASH / "event.avsc",
                   [(b"ana", {"event_id": f"e{n}", "subject_id": "ana", "at": AT, "n": n, "wish": ""}, None) for n in range(3)])
        self.assertEqual(self.run_until_idle(1)["records_out"], 3)
        self.forget_offsets()
        state = ("--data-dir", self.place.folder / "state-1")
        # On another machine too, where all of the state is in the changelogs.
        for folder in (state, ("--data-dir", self.place.folder / "state-2")):
            refused = self.place.run("run", self.config, "--until-idle", *folder, expect=4).stderr
            self.assertRegex(refused, rf'group "{self.name}" has no committed offset of topic "{self.name}-(journal|consent)", partition \d, '
                                      r'and yet its state is there .*`sonder reset --to earliest`')
        self.assertEqual(len(self.rows(f"{self.name}-out")), 3)
        # The way out that keeps what was counted, and the one that counts anew.
        self.place.run("reset", self.config, "--to", "latest", "--execute", *state)
        self.assertEqual(self.run_until_idle(1)["records_out"], 0)
        self.forget_offsets()
        self.place.run("reset", self.config, "--to", "earliest", "--execute", *state)
        self.assertEqual(self.run_until_idle(1)["records_out"], 3)
        self.assertEqual(sorted(row["count"] for _, row in self.rows(f"{self.name}-out")), [1, 1, 2, 2, 3, 3])

    def test_records_that_retention_took_unread_are_counted_and_those_of_a_table_end_the_worker(self):
        self.flow(self.journal_and_consent("partitions: 4").replace("role: table, compact: true", "role: table"))
        self.kafka.create(f"{self.name}-journal", 4)
        hers = broker.murmur2_partition(b"ana", 4)

        def decide(decision, at):
            self.place.run("produce", "consent", "--config", self.config, "--event-time", "at", "--quiet",
                           stdin=json.dumps({"subject_id": "ana", "purpose": PURPOSE, "decision": decision, "at": at}) + "\n")

        def give(n):
            self.write(f"{self.name}-journal", 4, CRASH / "event.avsc",
                       [(b"ana", {"event_id": f"e{n}", "subject_id": "ana", "at": AT, "n": n, "wish": ""}, None)])

        def lost(summary):
            return sum(port["lost"] for port in summary["ports"])

        give(0)
        self.delete_before_end(f"{self.name}-journal", hers)
        decide("granted", 1_000)
        give(1)
        summary = self.run_until_idle(1)
        self.assertEqual((summary["records_out"], lost(summary)), (1, 0), "a group that begins misses nothing")
        give(2)
        self.delete_before_end(f"{self.name}-journal", hers)
        give(3)
        summary = self.run_until_idle(1)
        self.assertEqual((summary["records_out"], lost(summary)), (1, 1))
        self.assertEqual(lost(self.run_until_idle(1)), 0)

        decide("withdrawn", AT + 1)
        self.delete_before_end(f"{self.name}-consent", hers)
        give(4)
        refused = self.place.run("run", self.config, "--until-idle", "--data-dir", self.place.folder / "state-1", expect=4).stderr
        self.assertRegex(refused, rf'topic "{self.name}-consent", partition {hers}: retention has removed offsets 1 to 1 before')

    def test_partitions_that_are_added_to_a_forwarded_topic_end_the_worker(self):
        self.flow(self.journal_and_consent("key: event_id, partitions: 2, rekey: true"))
        self.kafka.create(f"{self.name}-journal", 2)
        worker = self.start(1)
        self.wait_for(lambda: self.out_exists() and self.members_with_tasks() == 1)
        from confluent_kafka.admin import AdminClient, NewPartitions
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        admin.create_partitions([NewPartitions(f"{self.name}-journal", 3)])[f"{self.name}-journal"].result(30)
        said = worker.communicate(timeout=120)[1]
        self.assertEqual(worker.returncode, 3, said)
        self.assertIn(f'topic "{self.name}-journal" has partitions 3 instead of 2', said)
        refused = self.place.run("run", self.config, "--until-idle", "--data-dir", self.place.folder / "state-1", expect=3).stderr
        self.assertIn("exists with partitions 3 instead of 2", refused)

    def forget_offsets(self):
        """As the brokers do once no worker has been there for offsets.retention.minutes."""
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        admin.delete_consumer_groups([self.name], request_timeout=30)[self.name].result(60)

    def delete_before_end(self, topic, partition):
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import AdminClient
        at = TopicPartition(topic, partition, confluent_kafka.OFFSET_END)
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        admin.delete_records([at])[at].result(30)

    def test_feedback_goes_round_exactly_once_over_a_kill_and_keeps_nobody_waiting(self):
        self.schema("event", "event_id", "subject_id")
        self.schema("counted", "event_id", "subject_id", ("count", "long"))
        self.flow(f"""\
topics:
  events: {{topic: {self.name}-events, schema: event.avsc, subject: subject_id, event_time: at, partitions: 3}}
  again: {{topic: {self.name}-again, schema: event.avsc, subject: subject_id, event_time: at, feedback: true, partitions: 3, carries: [behaviour, quasi_identifier]}}
  out: {{topic: {self.name}-out, schema: counted.avsc, subject: subject_id, key: subject_id, event_time: at, partitions: 3, carries: [behaviour, quasi_identifier]}}
  dead_letter: {{topic: {self.name}-dead, schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  enter: {{plugin: passthrough, in: {{in: events}}}}
  half: {{plugin: dropper, in: {{in: again}}, config: {{every: 2}}}}
  tally: {{plugin: counter, in: {{events: again}}}}
sinks:
  first: {{topic: again, from: enter.out}}
  round: {{topic: again, from: half.out}}
  out: tally.out
""")
        self.kafka.create(f"{self.name}-events", 3)
        entries = [{"event_id": f"e{i}", "subject_id": f"subject-{i % 7}", "at": AT + i} for i in range(500)]
        self.write(f"{self.name}-events", 3, "event.avsc", [(row["subject_id"].encode(), row, None) for row in entries])
        worker = self.start(1)
        self.wait_for(lambda: self.out_exists() and len(self.kafka.read(f"{self.name}-out")) > 20)
        self.kill(worker)
        self.run_until_idle(1)  # ends, whatever still goes round
        worker = self.start(1)

        def settled():
            count = len(self.kafka.read(f"{self.name}-again"))
            time.sleep(1)
            return count == len(self.kafka.read(f"{self.name}-out")) == len(self.kafka.read(f"{self.name}-again"))

        self.wait_for(settled)
        worker.terminate()
        worker.communicate(timeout=60)
        self.assertEqual(worker.returncode, 0)
        rows = self.rows(f"{self.name}-out")
        # Each record of the feedback topic was counted once; those who went round are there as often as they did.
        self.assert_numbered(rows)
        self.assertEqual({row["event_id"] for _, row in rows}, {row["event_id"] for row in entries})
        self.assertEqual(collections.Counter(row["event_id"] for _, row in rows),
                         collections.Counter(row["event_id"] for _, row in self.rows(f"{self.name}-again")))
        self.assertGreater(len(rows), len(entries) * 1.5)
        self.assertEqual(self.rows(f"{self.name}-dead"), [])

    def members_with_tasks(self):
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        group = admin.describe_consumer_groups([self.name])[self.name].result(30)
        return sum(bool(member.assignment.topic_partitions) for member in group.members)

    def test_a_global_table_is_whole_in_each_worker_and_read_anew_at_each_start(self):
        self.schema("event", "event_id", "subject_id", "text")
        self.schema("item", "id", "title")
        self.schema("found", "event_id", "title", ("times", "long"))
        self.flow(f"""\
topics:
  events: {{topic: {self.name}-events, schema: event.avsc, subject: subject_id, event_time: at, partitions: 4}}
  items: {{topic: {self.name}-items, schema: item.avsc, key: id, role: global, compact: true, partitions: 3}}
  out: {{topic: {self.name}-out, schema: found.avsc, key: event_id, event_time: at, partitions: 1, carries: [behaviour, quasi_identifier]}}
  dead_letter: {{topic: {self.name}-dead, schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  look: {{plugin: lookup, in: {{events: events, items: items}}}}
sinks: {{out: look.out}}
""")
        first, second = self.start(1), self.start(2)
        self.wait_for(lambda: self.out_exists() and self.members_with_tasks() == 2)

        def name_items(title):
            self.write(f"{self.name}-items", 3, "item.avsc", [(f"i{i}".encode(), {"id": f"i{i}", "title": f"{title}-{i}", "at": AT}, None)
                                                              for i in range(50)])

        def ask(turn):
            self.write(f"{self.name}-events", 4, "event.avsc",
                       [(who.encode(), {"event_id": f"{turn}-{i}", "subject_id": who, "text": f"i{i % 51}", "at": AT}, None)
                        for i, who in enumerate(f"subject-{i}" for i in range(100))])

        def answers(turn):
            rows = [(record, row) for record, row in self.rows(f"{self.name}-out") if row["event_id"].startswith(turn + "-")]
            return rows if len(rows) == 100 else []

        def assert_titles(turn, title):
            self.wait_for(lambda: answers(turn))
            for record, row in answers(turn):
                self.assertEqual(row["title"], title(int(row["event_id"].split("-")[1]) % 51), row)
                ((name, value),) = record.headers()
                self.assertEqual((name, len(json.loads(value)["items"])), ("sonder.tables", 3))

        name_items("one")
        time.sleep(2)  # tables go on between epochs: until then an event may meet what was there before
        ask("a")
        assert_titles("a", lambda i: "none" if i == 50 else f"one-{i}")  # i50 was never in the table
        name_items("two")
        time.sleep(2)
        ask("b")
        assert_titles("b", lambda i: "none" if i == 50 else f"two-{i}")
        self.kill(first)
        self.kill(second)
        from confluent_kafka import Producer
        to = Producer({"bootstrap.servers": self.kafka.bootstrap})
        to.produce(f"{self.name}-items", None, b"i7", partition=broker.murmur2_partition(b"i7", 3))
        self.assertEqual(to.flush(30), 0)
        name = f"{self.name}-items"
        self.write(name, 3, "item.avsc", [(b"broken", b"no frame", 2)])
        ask("c")
        summary = self.run_until_idle(3)
        self.assertEqual(summary["records_out"], 100)
        assert_titles("c", lambda i: "none" if i in (7, 50) else f"two-{i}")
        ask("d")
        self.run_until_idle(4)
        assert_titles("d", lambda i: "none" if i in (7, 50) else f"two-{i}")
        (letter,) = [row for _, row in self.rows(f"{self.name}-dead")]
        self.assertEqual((letter["cause"], letter["topic"], letter["partition"]), ("not_framed", name, 2))
        # What the table fills is in no changelog.
        from confluent_kafka.admin import AdminClient
        topics = AdminClient({"bootstrap.servers": self.kafka.bootstrap}).list_topics(timeout=30).topics
        logs = [topic for topic in topics if topic.startswith(f"{self.name}.look.")]
        self.assertTrue(logs and not any("titles" in topic for topic in logs), logs)


if __name__ == "__main__":
    unittest.main()
