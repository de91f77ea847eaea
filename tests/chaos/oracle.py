"""What must be left after a trial, by clients and an Avro that are not ours."""
import collections
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
import broker  # noqa: E402

MARKERS_SECONDS = 30


class Finding(AssertionError):
    """The workers did what they must not."""


def must(holds, what):
    if not holds:
        raise Finding(what)


class Oracle:
    def __init__(self, name, kafka, registry, partitions):
        self.name, self.kafka, self.registry, self.partitions = name, kafka, registry, partitions

    def check(self, events, agreed):
        """events: those acknowledged, in their order; agreed: subjects whose events may pass."""
        self.await_markers()
        # What counts is what lies in the input: a producer that went through a broker's death may have written a batch again.
        given = self.by_subject("journal")
        lost = {e["event_id"] for e in events} - {v["event_id"] for mine in given.values() for v in mine}
        assert not lost, f"acknowledged and not in the input: {sorted(lost)[:5]}"
        out = self.by_subject("out")
        wanted = collections.Counter(v["event_id"] for subject in agreed for v in given[subject])
        seen = collections.Counter(v["event_id"] for mine in out.values() for v in mine)
        strange = [i for i in seen if i not in wanted]
        must(not strange, f"{len(strange)} out that should not be: {strange[:5]}")
        more = [i for i in seen if seen[i] > wanted[i]]
        must(not more, f"{len(more)} twice: {more[:5]}")
        missing = [i for i in wanted if seen[i] < wanted[i]]
        must(not missing, f"{len(missing)} of {len(wanted)} missing: {missing[:5]}")
        for subject, mine in out.items():
            order = [v["event_id"] for v in mine]
            must(order == [v["event_id"] for v in given[subject]], f"{subject}: order lost: {order[:20]}")
            counts = [v["count"] for v in mine]
            wrong = [(at, n) for at, n in enumerate(counts, 1) if at != n]
            must(not wrong, f"{subject}: entry, count: {wrong[:10]}")
        must(not self.kafka.read(f"{self.name}-dead-letter"), "dead letters")
        self.check_store({subject: len(mine) for subject, mine in out.items()})
        behind = self.behind(self.last_records())
        must(not behind, f"offsets: {behind}")

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
            must(time.monotonic() < until, f"transactions that stay open: {open_still}")
            time.sleep(0.1)

    def await_empty_group(self, seconds):
        """Whoever was killed, or has left a place that is kept for it, is a member until its session is over."""
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        until = time.monotonic() + seconds
        while (group := admin.describe_consumer_groups([self.name], request_timeout=30)[self.name].result()).members:
            must(time.monotonic() < until, f"the group keeps {len(group.members)} members that have left")
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

    def check_store(self, counts):
        """The changelog's last word on each subject is the replay's: a store that is restored from nothing is right."""
        last = {}
        for r in sorted(self.kafka.read(f"{self.name}.tally.counts-changelog"), key=lambda r: (r.partition(), r.offset())):
            last[r.key()] = (r.partition(), r.value())
        stored = {}
        for key, (partition, value) in last.items():
            subject = next((s for s in counts if key.endswith(s.encode())), None)
            if subject is not None and value is not None:
                must(partition == broker.murmur2_partition(subject.encode(), self.partitions), f"{subject}: state of another task")
                stored[subject] = value
        must(stored.keys() == counts.keys(), f"changelog: {len(stored)} subjects, {len(counts)} expected")
        wrong = [s for s, n in counts.items() if not stored[s].endswith(str(n).encode())]
        must(not wrong, f"changelog: {[(s, stored[s], counts[s]) for s in wrong[:5]]}")

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
