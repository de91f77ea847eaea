#!/usr/bin/env python3
"""What others write on Kafka is read, and what Sonder writes is read by others: Python's client and Avro (Java's: java_framing_test.py)."""
import json
import pathlib
import sys
import unittest

import broker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
from place import ROOT, Place  # noqa: E402

try:
    import confluent_kafka  # noqa: F401
    import fastavro  # noqa: F401
except ImportError as missing:
    broker.leave(f"{missing.name} is not installed; run ops/setup --tests")

HERE = pathlib.Path(__file__).resolve().parent
PARTITIONS = 4
AT = 1_700_000_000_000

# What an app team may have had for years: other order of keys and fields, a type by another name, a field that is none of ours.
OLD_ENTRY = {
    "namespace": "sonder", "name": "journal_entry", "fields": [
        {"type": "string", "name": "text"},
        {"type": "string", "name": "subject_id"},
        {"type": ["null", "string"], "name": "mobile_os", "default": None},
        {"type": {"logicalType": "timestamp-millis", "type": "long"}, "name": "at"},
        {"type": "string", "name": "event_id"},
        {"type": ["null", "int"], "name": "mood", "default": None},
    ], "type": "record"}


def flow(topic, known):
    """The quickstart flow on this run's broker, with topics of its own."""
    return f"""\
flow: {topic}
schemas: {ROOT}/schemas
log: {{kind: kafka, bootstrap: "{known['SONDER_KAFKA']}", registry: {{url: "{known['SONDER_REGISTRY']}"}}, dir: state}}
topics:
  {topic}: {{schema: journal_entry.avsc, subject: subject_id, event_time: at, partitions: {PARTITIONS}}}
  {topic}-consent: {{schema: consent.avsc, subject: subject_id, key: [subject_id, purpose], role: table, compact: true, partitions: {PARTITIONS}}}
  {topic}-insight: {{schema: insight.avsc, key: pseudonym, event_time: at, purpose: ServicePersonalisation,
    carries: [pseudonym, special_category, quasi_identifier, behaviour], partitions: {PARTITIONS}}}
  {topic}-dead: {{schema: dead_letter.avsc}}
secrets: {{pseudonym_key: {{file: secrets/pseudonym.key}}}}
stages:
  consent: {{plugin: consent_filter, in: {{events: {topic}, decisions: {topic}-consent}}}}
  anonymize: {{plugin: anonymizer, in: {{texts: consent.allowed}}, purpose: ServicePersonalisation, trust: [deidentify, pseudonymise]}}
  sentiment: {{plugin: sentiment, in: {{texts: anonymize.out}}, purpose: ServicePersonalisation}}
sinks: {{{topic}-insight: sentiment.out}}
"""


class Framing(unittest.TestCase):
    """A journal of its own, with what writes and reads it."""

    def setUp(self):
        known = broker.of_this_run()
        self.kafka = broker.Kafka(known["SONDER_KAFKA"])
        self.registry = broker.Registry(known["SONDER_REGISTRY"])
        self.place = Place()
        self.addCleanup(self.place.close)
        self.topic = broker.name_of_its_own("journal")
        self.config = self.place.folder / "flow.yaml"
        self.config.write_text(flow(self.topic, known), encoding="utf-8")

    def consumed(self, topic):
        said = self.place.run("consume", topic, "--from-beginning", "--until-end", "--config", self.config).stdout
        return [json.loads(line)["value"] for line in said.splitlines()]

    def entries(self, count):
        return [{"event_id": f"e{i}", "subject_id": f"person-{i % 7}-é", "at": AT + i, "text": f"I slept well, {i} \u2615.",
                 "mobile_os": "x", "mood": i % 5 if i % 2 else None} for i in range(count)]

    def assert_read(self, rows):
        seen = sorted((row for row in self.consumed(self.topic)), key=lambda row: int(row["event_id"][1:]))
        self.assertEqual(len(seen), len(rows))
        for one, expected in zip(seen, rows):
            for field in ("event_id", "subject_id", "at", "text", "mood"):
                self.assertEqual(one.get(field), expected[field], field)

    def write_by_sonder(self, rows):
        ours = [{name: value for name, value in row.items() if name != "mobile_os" and value is not None} for row in rows]
        self.place.run("produce", self.topic, "--config", self.config, "--quiet",
                       stdin="".join(json.dumps(row) + "\n" for row in ours))


class FramingTest(Framing):
    def write_by_python(self, rows):
        schema_id = self.registry.register(f"{self.topic}-value", OLD_ENTRY)
        self.kafka.create(self.topic, PARTITIONS)
        self.kafka.write(self.topic, [(row["subject_id"].encode(), broker.frame(schema_id, OLD_ENTRY, row), row["at"])
                                      for row in rows])

    def test_what_pythons_client_writes_is_read(self):
        rows = self.entries(200)
        self.write_by_python(rows)
        self.assert_read(rows)

    def test_what_sonder_writes_python_reads(self):
        rows = self.entries(200)
        self.write_by_sonder(rows)
        shipped = json.loads((ROOT / "schemas/journal_entry.avsc").read_text(encoding="utf-8"))
        labels = {field["name"]: field["sonder.privacy"] for field in shipped["fields"]}
        seen = {}
        for record in self.kafka.read(self.topic):
            schema_id, row = broker.unframe(self.registry, record.value())
            seen[row["event_id"]] = row
            self.assertEqual(record.key(), row["subject_id"].encode())
            self.assertEqual(record.partition(), broker.murmur2_partition(record.key(), PARTITIONS))
            self.assertEqual(record.timestamp()[1], int(row["at"].timestamp() * 1000 + 0.5))
            kept = {field["name"]: field.get("sonder.privacy") for field in self.registry.text_of(schema_id)["fields"]}
            self.assertEqual(kept, labels, "the registry keeps each label")
        self.assertEqual(len(seen), len(rows))
        for row in rows:
            self.assertEqual(seen[row["event_id"]]["text"], row["text"])
            self.assertEqual(seen[row["event_id"]]["mood"], row["mood"])

    def test_the_flow_turns_pythons_records_into_insight_that_python_reads(self):
        rows = self.entries(70)
        self.write_by_python(rows)
        agreed = {row["subject_id"] for row in rows[:4]}
        self.place.run("produce", f"{self.topic}-consent", "--config", self.config, "--event-time", "at", "--quiet",
                       stdin="".join(json.dumps({"subject_id": who, "purpose": "ServicePersonalisation", "decision": "granted",
                                                 "at": AT - 1000}) + "\n" for who in sorted(agreed)))
        self.place.run("run", self.config, "--until-idle", "--json")
        insight = [broker.unframe(self.registry, record.value())[1] for record in self.kafka.read(f"{self.topic}-insight")]
        self.assertEqual(len(insight), sum(row["subject_id"] in agreed for row in rows))
        self.assertEqual(len({row["pseudonym"] for row in insight}), len(agreed))


if __name__ == "__main__":
    unittest.main()
