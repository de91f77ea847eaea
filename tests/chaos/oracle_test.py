#!/usr/bin/env python3
"""The oracle on outputs that are right, and on the same outputs doctored: each kind of finding can be made."""
import collections
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402

try:
    import fastavro
except ImportError as missing:
    broker.leave(f"{missing.name} is not installed; run ops/setup --tests")
from oracle import PURPOSE, Finding, Oracle, consent_key, consent_value  # noqa: E402

PARTITIONS = 4
SCHEMAS = {1: HERE / "event.avsc", 2: HERE.parent.parent / "schemas/consent.avsc", 3: HERE / "counted.avsc"}
ID_OF = {"journal": 1, "consent": 2, "out": 3}


class Record:
    def __init__(self, partition, offset, key, value):
        self.parts = partition, offset, key, value

    def partition(self):
        return self.parts[0]

    def offset(self):
        return self.parts[1]

    def key(self):
        return self.parts[2]

    def value(self):
        return self.parts[3]


class Topics:
    """Stands for brokers and registry."""

    def __init__(self):
        self.records = collections.defaultdict(list)
        self.schemas = {i: fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8"))) for i, path in SCHEMAS.items()}

    def read(self, topic):
        return self.records[topic]

    def text_of(self, schema_id):
        return self.schemas[schema_id]

    def put(self, topic, key, value, partition=None):
        at = broker.murmur2_partition(key, PARTITIONS) if partition is None else partition
        mine = self.records[topic]
        mine.append(Record(at, sum(r.partition() == at for r in mine), key, value))

    def put_row(self, topic, row):
        schema = self.schemas[ID_OF[topic]]
        filled = {f["name"]: row.get(f["name"], f.get("default")) for f in schema["fields"]}
        self.put(f"t-{topic}", row["subject_id"].encode(), broker.frame(ID_OF[topic], schema, filled))


class OracleTest(unittest.TestCase):
    def setUp(self):
        self.topics = Topics()
        self.oracle = Oracle("t", self.topics, self.topics, PARTITIONS)
        self.decisions = [self.decision("ana", "granted"), self.decision("bob", "denied"), self.decision("cy", "granted"),
                          self.decision("cy", "withdrawn", 2_000), self.decision("dan", "granted")]
        self.events = [{"event_id": f"e{i}", "subject_id": ("ana", "bob", "cy", "eve", "dan")[i % 5], "at": 10_000 + i, "n": i}
                       for i in range(100)]
        for row in self.decisions:
            self.topics.put_row("consent", row)
        for row in self.events:
            self.topics.put_row("journal", row)
        for who in ("ana", "dan"):
            for count, row in enumerate([e for e in self.events if e["subject_id"] == who], 1):
                self.topics.put_row("out", {**row, "count": count})
                self.topics.put("t.tally.counts-changelog", who.encode(), str(count).encode())
        for who in ("ana", "bob", "cy", "dan"):
            mine = [d for d in self.decisions if d["subject_id"] == who]
            self.put_consent(who, consent_value(mine))

    @staticmethod
    def decision(subject, what, at=1_000):
        return {"subject_id": subject, "purpose": PURPOSE, "decision": what, "at": at}

    def put_consent(self, who, value):
        self.topics.put("t.consent.consents-changelog", consent_key(who, PURPOSE), value,
                        broker.murmur2_partition(who.encode(), PARTITIONS))

    def finds(self, kind):
        with self.assertRaises(Finding) as found:
            self.oracle.check_records(self.events, self.decisions)
        self.assertEqual(found.exception.kind, kind, found.exception)

    def test_finds_nothing_where_all_is_right(self):
        self.oracle.check_records(self.events, self.decisions)

    def test_sees_an_output_too_many(self):
        self.topics.put_row("out", {**self.events[0], "count": 21})
        self.finds("twice")

    def test_sees_an_output_of_somebody_who_did_not_agree(self):
        self.topics.put_row("out", {**self.events[1], "count": 1})
        self.finds("strange")

    def test_sees_a_missing_output(self):
        del self.topics.records["t-out"][3]
        self.finds("missing")

    def test_sees_another_order(self):
        out = self.topics.records["t-out"]
        out[3].parts, out[4].parts = (*out[3].parts[:3], out[4].value()), (*out[4].parts[:3], out[3].value())
        self.finds("order")

    def test_sees_a_count_that_stood_still(self):
        out = self.topics.records["t-out"]
        row = {**broker.unframe(self.topics, out[3].value())[1], "count": 3}
        out[3].parts = (*out[3].parts[:3], broker.frame(3, self.topics.schemas[3], row))
        self.finds("counts")

    def test_sees_a_count_in_the_store_that_only_ends_alike(self):
        self.topics.put("t.tally.counts-changelog", b"ana", b"120")
        self.finds("store")

    def test_sees_a_key_of_somebody_without_output(self):
        self.topics.put("t.tally.counts-changelog", b"bob", b"1")
        self.finds("store")

    def test_sees_a_key_of_nobody_that_only_ends_alike(self):
        self.topics.put("t.tally.counts-changelog", b"\0ana", b"20")
        self.finds("store")

    def test_sees_a_key_that_is_gone(self):
        self.topics.put("t.tally.counts-changelog", b"ana", None)
        self.finds("store")

    def test_sees_the_state_of_another_task(self):
        self.topics.put("t.tally.counts-changelog", b"ana", b"20", (broker.murmur2_partition(b"ana", PARTITIONS) + 1) % PARTITIONS)
        self.finds("store")

    def test_sees_a_consent_that_the_store_has_not(self):
        self.put_consent("eve", consent_value([self.decision("eve", "granted")]))
        self.finds("store")

    def test_sees_a_withdrawal_that_the_store_has_lost(self):
        self.put_consent("cy", consent_value([self.decision("cy", "granted")]))
        self.finds("store")

    def test_takes_a_key_that_came_back_after_its_removal(self):
        self.topics.put("t.tally.counts-changelog", b"ana", None)
        self.topics.put("t.tally.counts-changelog", b"ana", b"20")
        self.oracle.check_records(self.events, self.decisions)

    def test_does_not_blame_the_workers_for_an_input_that_the_brokers_lost(self):
        del self.topics.records["t-journal"][7]
        with self.assertRaises(AssertionError) as found:
            self.oracle.check_records(self.events, self.decisions)
        self.assertNotIsInstance(found.exception, Finding)


if __name__ == "__main__":
    unittest.main()
