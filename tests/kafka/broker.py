"""The broker and the registry of this test run (README.md), and clients of them that know nothing of Sonder's code."""
import io
import json
import os
import struct
import sys
import time
import urllib.error
import urllib.request

SKIPPED = 77  # what ctest takes for "did not run"


def of_this_run():
    """{SONDER_KAFKA, SONDER_REGISTRY}; leaves, saying why, where there is none. Under CI that is a failure."""
    found = {name: os.environ[name] for name in ("SONDER_KAFKA", "SONDER_REGISTRY") if os.environ.get(name)}
    file = os.environ.get("SONDER_KAFKA_ENV_FILE")
    if file and os.path.exists(file):
        with open(file, encoding="utf-8") as lines:
            found.update(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
    why = found.get("SONDER_KAFKA_NOT_RUN")
    if not why and not {"SONDER_KAFKA", "SONDER_REGISTRY"} <= found.keys():
        why = "no broker is named; run it by ctest, or set SONDER_KAFKA and SONDER_REGISTRY"
    if why:
        leave(f"the Kafka suite is NOT RUN: {why}")
    return found


def leave(why):
    print("skipped:", why, flush=True)
    sys.exit(1 if os.environ.get("CI") else SKIPPED)


def name_of_its_own(prefix):
    return f"{prefix}-{time.time_ns()}-{os.getpid()}"


class Registry:
    """Confluent's protocol by hand: ids to schemas and back."""

    def __init__(self, url):
        self.url = url
        self.known = {}

    def ask(self, path, body=None):
        asked = urllib.request.Request(self.url + path, data=None if body is None else json.dumps(body).encode(),
                                       headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{path}: {refused.code} {refused.read().decode()[:300]}") from refused

    def register(self, subject, schema):
        return self.ask(f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})["id"]

    def text_of(self, schema_id):
        import fastavro
        if schema_id not in self.known:
            self.known[schema_id] = fastavro.parse_schema(json.loads(self.ask(f"/schemas/ids/{schema_id}")["schema"]))
        return self.known[schema_id]


def frame(schema_id, schema, row):
    """A row as Confluent's serialisers write it: 0, the schema's id, the body."""
    import fastavro
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row, strict=True)
    return out.getvalue()


def unframe(registry, value):
    """(schema's id, row); an assertion where it is no such frame, or where bytes are left over."""
    import fastavro
    assert value[:1] == b"\0", value[:8]
    schema_id = struct.unpack(">I", value[1:5])[0]
    body = io.BytesIO(value[5:])
    row = fastavro.schemaless_reader(body, fastavro.parse_schema(registry.text_of(schema_id)))
    assert not body.read(), "bytes after the body"
    return schema_id, row


def murmur2_partition(key, partitions):
    """Java's default: org.apache.kafka.common.utils.Utils.murmur2, from its definition."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


class Kafka:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create(self, topic, partitions, **settings):
        from confluent_kafka.admin import AdminClient, NewTopic
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        config = {name.replace("_", "."): str(value) for name, value in settings.items()}
        admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(30)

    def write(self, topic, records):
        """records: (key, value, timestamp in ms)."""
        from confluent_kafka import Producer
        failed = []
        to = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True,
                       "compression.type": "lz4"})
        for key, value, timestamp in records:
            to.produce(topic, value, key, timestamp=timestamp, on_delivery=lambda e, _: failed.append(e) if e else None)
            to.poll(0)
        assert to.flush(30) == 0 and not failed, failed[:3]

    def read(self, topic):
        """Every committed record up to the end of each partition."""
        from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": name_of_its_own("reader"),
                           "isolation.level": "read_committed", "auto.offset.reset": "earliest",
                           "enable.auto.commit": False, "enable.partition.eof": True,
                           "fetch.wait.max.ms": 20})  # the end is told by an answer without records
        try:
            found = reader.list_topics(topic, 30).topics[topic]
            if found.error:
                raise KafkaException(found.error)
            partitions = found.partitions
            reader.assign([TopicPartition(topic, p, 0) for p in partitions])
            waiting, records, deadline = set(partitions), [], time.monotonic() + 60
            while waiting:
                assert time.monotonic() < deadline, f"{topic}: no end of partitions {waiting} within 60 s"
                got = reader.poll(1)
                if got is None:
                    continue
                if got.error():
                    assert got.error().code() == KafkaError._PARTITION_EOF, got.error()
                    waiting.discard(got.partition())
                else:
                    records.append(got)
            return records
        finally:
            reader.close()
