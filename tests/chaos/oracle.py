"""What must be left after a trial, by clients and an Avro that are not ours."""
import collections
import datetime
import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
import broker  # noqa: E402

MARKERS_SECONDS = 30
EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
LONG_AGO, NEVER = -2**63, 2**63 - 1
PURPOSE = "ServicePersonalisation"


class Finding(AssertionError):
    """The workers did what they must not. Its kind is one of

      strange, twice, missing   an output that should not be, one too many, one too few
      order, counts             outputs in another order than their input; counts that the store numbers otherwise
      dead letters, store       of them; of what a changelog ends with
      offsets                   where the group stands is not the end of the input
      open, members             a transaction, a member of the group that stays for good
      stuck, ended              a worker that does not go on or does not leave; one that ended as none may
      unbalanced                rows that a worker itself cannot account for
    """

    def __init__(self, kind, what):
        super().__init__(f"{kind}: {what}")
        self.kind = kind


def must(holds, kind, what):
    if not holds:
        raise Finding(kind, what)


class Oracle:
    def __init__(self, name, kafka, registry, partitions):
        self.name, self.kafka, self.registry, self.partitions = name, kafka, registry, partitions

    def check(self, events, decisions):
        """events, decisions: those acknowledged, in their order."""
        self.await_markers()
        self.check_records(events, decisions)
        behind = self.behind(self.last_records())
        must(not behind, "offsets", behind)

    def check_records(self, events, decisions):
        """Everything that lies in topics, recomputed from the input."""
        # What counts is what lies in the input: a producer that went through a broker's death may have written a batch again.
        given = self.by_subject("journal")
        lost = {e["event_id"] for e in events} - {v["event_id"] for mine in given.values() for v in mine}
        assert not lost, f"acknowledged and not in the input: {sorted(lost)[:5]}"
        decided = self.decided(decisions)
        agreed = {subject for subject, mine in decided.items() if mine[-1]["decision"] == "granted"}
        out = self.by_subject("out")
        wanted = collections.Counter(v["event_id"] for subject in agreed for v in given[subject])
        seen = collections.Counter(v["event_id"] for mine in out.values() for v in mine)
        strange = [i for i in seen if i not in wanted]
        must(not strange, "strange", f"{len(strange)} out that should not be: {strange[:5]}")
        more = [i for i in seen if seen[i] > wanted[i]]
        must(not more, "twice", f"{len(more)} twice: {more[:5]}")
        missing = [i for i in wanted if seen[i] < wanted[i]]
        must(not missing, "missing", f"{len(missing)} of {len(wanted)}: {missing[:5]}")
        for subject, mine in out.items():
            order = [v["event_id"] for v in mine]
            must(order == [v["event_id"] for v in given[subject]], "order", f"{subject}: {order[:20]}")
            counts = [v["count"] for v in mine]
            wrong = [(at, n) for at, n in enumerate(counts, 1) if at != n]
            must(not wrong, "counts", f"{subject}: entry, count: {wrong[:10]}")
        must(not self.kafka.read(f"{self.name}-dead-letter"), "dead letters", "some, where all input is well")
        self.check_store("tally.counts", {(s, s.encode()): str(len(given[s])).encode() for s in agreed if given[s]})
        self.check_store("consent.consents", {(s, consent_key(s, PURPOSE)): consent_value(mine) for s, mine in decided.items()})

    def decided(self, decisions):
        """subject -> decisions in the order of their times; all that were acknowledged, and nothing else, lie in the topic."""
        found = {subject: sorted(({**d, "at": in_ms(d["at"])} for d in mine), key=lambda d: d["at"])
                 for subject, mine in self.by_subject("consent").items()}
        lost = [d for d in decisions if not any(d.items() <= each.items() for each in found.get(d["subject_id"], []))]
        assert not lost, f"acknowledged and not in the input: {lost[:5]}"
        return found

    def await_markers(self):
        """A commit is answered when it is decided: readers see it a moment later. Nothing may stay open for good."""
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        topics = admin.list_topics(timeout=30).topics
        asked = {TopicPartition(name, p): OffsetSpec.latest()
                 for name, of in topics.items() if name.startswith((f"{self.name}-", f"{self.name}.")) for p in of.partitions}

        def ends(isolation):
            answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=30)
            return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}

        until = time.monotonic() + MARKERS_SECONDS
        while True:
            stable, high = ends(IsolationLevel.READ_COMMITTED), ends(IsolationLevel.READ_UNCOMMITTED)
            open_still = [at for at in high if stable[at] < high[at]]
            if not open_still:
                return
            must(time.monotonic() < until, "open", f"transactions: {open_still}")
            time.sleep(0.1)

    def await_empty_group(self, seconds):
        """Whoever was killed, or has left a place that is kept for it, is a member until its session is over."""
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        until = time.monotonic() + seconds
        while (group := admin.describe_consumer_groups([self.name], request_timeout=30)[self.name].result()).members:
            must(time.monotonic() < until, "members", f"the group keeps {len(group.members)} members that have left")
            time.sleep(0.1)

    def keep(self, folder):
        """What was read, for whoever looks into a finding: the brokers' data does not stay."""
        for topic in ("journal", "out"):
            with open(folder / f"{topic}.txt", "w", encoding="utf-8") as file:
                for r in sorted(self.kafka.read(f"{self.name}-{topic}"), key=lambda r: (r.partition(), r.offset())):
                    row = broker.unframe(self.registry, r.value())[1]
                    print(f"{topic}[{r.partition()}]@{r.offset()}", row, file=file)

    def by_subject(self, topic):
        rows = collections.defaultdict(list)
        for v in self.rows(topic):
            rows[v["subject_id"]].append(v)
        return rows

    def rows(self, topic):
        records = sorted(self.kafka.read(f"{self.name}-{topic}"), key=lambda r: (r.partition(), r.offset()))
        return [broker.unframe(self.registry, r.value())[1] for r in records]

    def check_store(self, store, wanted):
        """A changelog's last words, over all keys, are the replay's: a store that is restored from nothing is right.
        wanted: (subject, key) -> value, each in the task of its subject."""
        wanted = {(broker.murmur2_partition(subject.encode(), self.partitions), key): value for (subject, key), value in wanted.items()}
        stored = {}
        for r in sorted(self.kafka.read(f"{self.name}.{store}-changelog"), key=lambda r: (r.partition(), r.offset())):
            stored[r.partition(), r.key()] = r.value()
        stored = {at: value for at, value in stored.items() if value is not None}
        strange = [at for at in stored if at not in wanted]
        must(not strange, "store", f"{store} has {len(strange)} entries that should not be: {strange[:5]}")
        gone = [at for at in wanted if at not in stored]
        must(not gone, "store", f"{store} lacks {len(gone)} of {len(wanted)} entries: {gone[:5]}")
        wrong = [(at, stored[at], wanted[at]) for at in wanted if stored[at] != wanted[at]]
        must(not wrong, "store", f"{store}, key, found, expected: {wrong[:5]}")

    def last_records(self):
        """One past the last record of each partition of the input."""
        past = collections.Counter()
        for r in self.kafka.read(f"{self.name}-journal"):
            past[r.partition()] = max(past[r.partition()], r.offset() + 1)
        return past

    def behind(self, past):
        """Partitions of the input that the group has not consumed to their last record, or beyond their end: (partition, committed,
        one past the last record, end with what was aborted and the markers)."""
        from confluent_kafka import Consumer, TopicPartition
        group = Consumer({"log_level": 0, "bootstrap.servers": self.kafka.bootstrap, "group.id": self.name, "enable.auto.commit": False})
        try:
            parts = [TopicPartition(f"{self.name}-journal", p) for p in range(self.partitions)]
            found = [(p.partition, max(p.offset, 0), past[p.partition], group.get_watermark_offsets(p, 30)[1])
                     for p in group.committed(parts, 30)]
            return [each for each in found if not each[2] <= each[1] <= each[3]]
        finally:
            group.close()


def in_ms(time):
    """As Avro's timestamp-millis has it; fastavro makes times of them."""
    return (time - EPOCH) // datetime.timedelta(milliseconds=1)


def consent_key(subject, purpose):
    """As plugins/consent_filter keeps it: the subject's length, the subject, the purpose."""
    return struct.pack(">I", len(subject.encode())) + subject.encode() + purpose.encode()


def consent_value(mine):
    """The same of what was decided about one purpose, each decision logged at its own time and without an end."""
    kinds = ("granted", "denied", "withdrawn")
    refusals = [d for d in mine if d["decision"] != "granted"]
    last = max((d["at"] for d in refusals), default=LONG_AGO)
    grants = [d["at"] for d in mine if d["decision"] == "granted"]
    buried = max((at for at in grants if at <= last), default=LONG_AGO)
    alive = sorted(at for at in grants if at > last)
    kind = kinds.index(refusals[-1]["decision"]) if refusals else 0
    return (struct.pack("<3B6q", 1, kind, len(alive), last, last, buried, LONG_AGO, NEVER, NEVER)
            + b"".join(struct.pack("<3q", at, at, NEVER) for at in alive))
