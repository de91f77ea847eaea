#!/usr/bin/env python3
"""What a Java producer with a published Avro serialiser writes is read, and what Sonder writes is read by Apache's Java client and Avro."""
import json
import os
import shutil
import subprocess
import unittest

import broker

if shutil.which("javac") is None:
    broker.leave("no Java compiler; run ops/setup --tests")

from framing_test import HERE, OLD_ENTRY, PARTITIONS, Framing, ROOT  # noqa: E402

JARS = ROOT / "build/kafka/jars"
CONFLUENTS, OWN = "/apis/ccompat/v7", "/apis/registry/v2"  # where Apicurio serves Confluent's protocol, and its serialiser's


def serializer():
    """Its class path."""
    said = subprocess.run([ROOT / "ops/registry", "serializer"], capture_output=True, text=True, timeout=600, check=False)
    if said.returncode == broker.SKIPPED:
        broker.leave(said.stderr.strip().splitlines()[-1])
    if said.returncode:
        raise AssertionError(said.stderr)
    return said.stdout.strip()


REGISTRY = broker.of_this_run()["SONDER_REGISTRY"].rstrip("/")
if not REGISTRY.endswith(CONFLUENTS):
    broker.leave("the serialiser is Apicurio's, and SONDER_REGISTRY names another registry")
if not any(JARS.glob("kafka-*/kafka-clients-*.jar")):
    broker.leave("Java's clients of Kafka are not here; run ops/kafka fetch")
CLASS_PATH = os.pathsep.join([*sorted(str(folder / "*") for folder in JARS.glob("kafka-*")), serializer()])


def java(*arguments, stdin=None):
    """JavaClient.java with the jars that ops/kafka and ops/registry fetched."""
    done = subprocess.run(["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", CLASS_PATH, HERE / "JavaClient.java",
                           *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise AssertionError(f"JavaClient {arguments[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


class JavaFramingTest(Framing):
    def test_what_javas_client_and_serialiser_write_is_read(self):
        rows = self.entries(50)
        self.kafka.create(self.topic, PARTITIONS)
        schema = self.place.folder / "old.avsc"
        schema.write_text(json.dumps(OLD_ENTRY), encoding="utf-8")
        lines = [{**row, "mobile_os": {"string": "x"}, "mood": None if row["mood"] is None else {"int": row["mood"]}}
                 for row in rows]
        java("write", self.kafka.bootstrap, self.topic, schema, REGISTRY.removesuffix(CONFLUENTS) + OWN, "subject_id",
             stdin="".join(json.dumps(line) + "\n" for line in lines))
        written = self.kafka.read(self.topic)
        self.assertEqual(len(written), len(rows))
        versions = self.registry.ask(f"/subjects/{self.topic}-value/versions")
        self.assertEqual(len(versions), 1, "the serialiser registered its schema, where Confluent's would")
        registered = self.registry.ask(f"/subjects/{self.topic}-value/versions/{versions[0]}")["id"]
        for record in written:
            self.assertEqual(record.partition(), broker.murmur2_partition(record.key(), PARTITIONS), "Java's partitioner")
            schema_id, row = broker.unframe(self.registry, record.value())
            self.assertEqual(schema_id, registered)
            self.assertEqual(row["subject_id"].encode(), record.key())
        self.assert_read(rows)

    def test_what_sonder_writes_java_reads(self):
        rows = self.entries(50)
        self.write_by_sonder(rows)
        schema_id = broker.unframe(self.registry, self.kafka.read(self.topic)[0].value())[0]
        schema = self.place.folder / "ours.avsc"
        schema.write_text(json.dumps(self.registry.text_of(schema_id)), encoding="utf-8")
        seen = {}
        for line in java("read", self.kafka.bootstrap, self.topic, schema, schema_id).splitlines():
            partition, key, row = line.split("\t")
            self.assertEqual(int(partition), broker.murmur2_partition(key.encode(), PARTITIONS))
            seen[json.loads(row)["event_id"]] = json.loads(row)["text"]
        self.assertEqual(seen, {row["event_id"]: row["text"] for row in rows})


if __name__ == "__main__":
    unittest.main()
