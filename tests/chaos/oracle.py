"""What must be left after a trial, by clients and an Avro that are not ours."""
import collections
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
import broker  # noqa: E402

from finding import must  # noqa: E402
from replay import PURPOSE, Letter, Replay, consent_key, consent_value, in_ms, in_order  # noqa: E402
from shape import TASKS, task_of  # noqa: E402

MARKERS_SECONDS = 30


class Oracle:
    """`once`: each effect once, not at least once."""

    def __init__(self, name, kafka, registry, shape, once=True):
        self.name, self.kafka, self.registry, self.shape, self.once = name, kafka, registry, shape, once

    def check(self, events, decisions):
        """events, decisions: those acknowledged, in their order."""
        self.await_markers()
        self.check_records(events, decisions)
        self.check_places()

    def check_places(self):
        for topic in self.consumed():
            behind = self.behind(topic, self.last_records(topic))
            must(not behind, "offsets", f"{topic}: {behind}")

    def check_records(self, events, decisions):
        """Everything that lies in topics, recomputed from the input."""
        out = [row for _, row in self.rows("out")]
        replay = Replay(self.shape, self.records("journal"), self.records("consent"), self.registry, {row["event_id"] for row in out})
        # What counts is what lies in the input: a producer that went through a broker's death may have written a batch again.
        lost = {e["event_id"] for e in events} - replay.place_of.keys()
        assert not lost, f"acknowledged and not in the input: {sorted(lost)[:5]}"
        lost = [d for d in decisions if not any(d.items() <= each.items() for each in replay.decisions.get(d["subject_id"], []))]
        assert not lost, f"acknowledged and not in the input: {lost[:5]}"
        self.check_out(out, replay)
        self.check_same("dead letters", self.letters(), replay.all_letters())
        if self.shape.milestones:
            self.check_same("milestones", collections.Counter((row["subject_id"], row["count"]) for _, row in self.rows("milestones")),
                            replay.milestones())
        if self.shape.wishes:
            self.check_wishes(replay)
        counts = {(s, s.encode()): str(n).encode() for s, n in replay.counts().items()}
        # Where outputs come before state, a withdrawal may meet an event whose output is there already, the second time.
        self.check_store("tally.counts", counts, () if self.once else replay.withdrawn)
        self.check_store("consent.consents", {(s, consent_key(s, PURPOSE)): consent_value(mine) for s, mine in replay.decisions.items()})

    def check_out(self, out, replay):
        due = replay.out()
        wanted = collections.Counter(i for mine in due.values() for i, _ in mine)
        seen = collections.Counter(row["event_id"] for row in out)
        self.check_same(None, seen, wanted)
        found = collections.defaultdict(list)
        for row in out:
            found[row["subject_id"]].append((row["event_id"], row["count"]))
        for subject, mine in found.items():
            order = [i for i, _ in mine]
            if not self.once:
                order = list(dict.fromkeys(order))  # what came again is where it was: later
            must(order == [i for i, _ in due[subject]], "order", f"{subject}: {order[:20]}")
            wrong = [(i, n, right) for (i, n), (_, right) in zip(mine, due[subject]) if n != right]
            must(not wrong or not self.once, "counts", f"{subject}: event, count, expected: {wrong[:10]}")

    def check_same(self, kind, found, wanted):
        """Counters; `kind` is that of all differences, where they have no kinds of their own."""
        strange = [each for each in found if each not in wanted]
        must(not strange, kind or "strange", f"{len(strange)} that should not be: {strange[:5]}")
        more = [each for each in found if found[each] > wanted[each]]
        must(not more or not self.once, kind or "twice", f"{len(more)} too often: {more[:5]}")
        missing = [each for each in wanted if found[each] < (wanted[each] if self.once else 1)]
        must(not missing, kind or "missing", f"{len(missing)} of {len(wanted)} missing: {missing[:5]}")

    def letters(self):
        found = []
        for _, row in self.rows("dead-letter"):
            must(row["topic"] == f"{self.name}-journal", "dead letters", f"of {row['topic']}")
            found.append(Letter(row["cause"], row["stage"], row["partition"], row["offset"], in_ms(row["timestamp"]), row["value_hash"]))
        return collections.Counter(found)

    def check_wishes(self, replay):
        """Timers that fired, those that are set still, and rows that were offered again as often as they asked."""
        fired, waiting = replay.timers()
        self.check_same("timers", collections.Counter((row["event_id"], row["at_ms"]) for _, row in self.rows("reminders")), fired)
        kept = self.stored("remind.~timers")
        set_still = sorted(value.decode() for (_, key), value in kept.items() if key.startswith(b"t"))
        must(set_still == sorted(i for i, _ in waiting), "timers", f"set still: {set_still[:5]}, expected {sorted(waiting)[:5]}")
        self.check_store("remind.asked", {(s, i.encode()): str(n).encode() for i, (s, n) in replay.offered().items()})
        parked = [at for at in self.stored("remind.~parked") if not at[1].startswith(b"v")]  # v: the version of another store
        must(not parked, "parked", f"still: {parked[:5]}")

    def await_markers(self, seconds=MARKERS_SECONDS):
        """A commit is answered when it is decided: readers see it a moment later. Nothing may stay open for good."""
        until = time.monotonic() + seconds
        while open_still := self.open_still():
            must(time.monotonic() < until, "open", f"transactions: {open_still}")
            time.sleep(0.1)

    def is_ours(self, topic):
        return topic.startswith((f"{self.name}-", f"{self.name}."))

    def open_still(self, asked_of=None):
        """Partitions that end with a transaction which is not decided, or whose markers are missing; of our topics, unless told."""
        stable, high = self.ends(asked_of or self.is_ours)
        return [at for at in high if stable[at] < high[at]]

    def ends(self, asked_of):
        """Of the topics that are asked of: (topic, partition) -> end of what is decided; the same -> end of all."""
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        topics = admin.list_topics(timeout=30).topics
        asked = {TopicPartition(name, p): OffsetSpec.latest()
                 for name, of in topics.items() if asked_of(name) for p in of.partitions}

        def up_to(isolation):
            answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=30)
            return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}

        return up_to(IsolationLevel.READ_COMMITTED), up_to(IsolationLevel.READ_UNCOMMITTED)

    def held_back(self):
        """Likewise, those that may keep the workers waiting: where the group's offsets lie, too."""
        return self.open_still(lambda topic: self.is_ours(topic) or topic == "__consumer_offsets")

    def await_empty_group(self, seconds):
        """Whoever was killed, or has left a place that is kept for it, is a member until its session is over."""
        until = time.monotonic() + seconds
        while members := self.members():
            must(time.monotonic() < until, "members", f"the group keeps {len(members)} members that have left")
            time.sleep(0.1)

    def members(self):
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        return admin.describe_consumer_groups([self.name], request_timeout=30)[self.name].result().members

    def keep(self, folder):
        """What was read, for whoever looks into a finding: the brokers' data does not stay."""
        for topic in self.shape.topics():
            with open(folder / f"{topic}.txt", "w", encoding="utf-8") as file:
                for r in self.records(topic):
                    try:
                        row = broker.unframe(self.registry, r.value())[1]
                    except Exception:  # noqa: BLE001 - poison, as it is
                        row = r.value()
                    print(f"{topic}[{r.partition()}]@{r.offset()} {r.timestamp()[1]}", row, file=file)

    def records(self, topic):
        return in_order(self.kafka.read(f"{self.name}-{topic}"))

    def rows(self, topic):
        return [(r, broker.unframe(self.registry, r.value())[1]) for r in self.records(topic)]

    def stored(self, store):
        """A changelog's last words: (task, key) -> value."""
        changelog = f"{self.name}.{store}-changelog".replace("~", "-")  # no name of a topic may have it
        last = {(r.partition(), r.key()): r.value() for r in in_order(self.kafka.read(changelog))}
        return {at: value for at, value in last.items() if value is not None}

    def check_store(self, store, wanted, spare=()):
        """Over all keys, what lies in a changelog is the replay's: a store that is restored from nothing is right.
        wanted: (subject, key) -> value, each in the task of its subject; spare: subjects whose keys may be there or not."""
        must_be = {(task_of(subject), key) for subject, key in wanted if subject not in spare}
        wanted, stored = {(task_of(subject), key): value for (subject, key), value in wanted.items()}, self.stored(store)
        strange = [at for at in stored if at not in wanted]
        must(not strange, "store", f"{store} has {len(strange)} entries that should not be: {strange[:5]}")
        gone = [at for at in must_be if at not in stored]
        must(not gone, "store", f"{store} lacks {len(gone)} of {len(wanted)} entries: {gone[:5]}")
        wrong = [(at, stored[at], wanted[at]) for at in stored if stored[at] != wanted[at]]
        must(not wrong or not self.once, "store", f"{store}, key, found, expected: {wrong[:5]}")

    def consumed(self):
        """Topics whose places the group keeps, in the order in which their records are taken up."""
        return [f"{self.name}-journal", *[f"{self.name}.journal-rekey"] * self.shape.rekeyed]

    def last_records(self, topic):
        """One past the last record of each partition."""
        past = collections.Counter()
        for r in self.kafka.read(topic):
            past[r.partition()] = max(past[r.partition()], r.offset() + 1)
        return past

    def behind(self, topic, past):
        """Partitions of it that the group has not consumed to their last record, or beyond their end: (partition, committed, one past
        the last record, end with what was aborted and the markers)."""
        return [(p, committed, past[p], end) for p, committed, end in self.places(topic) if not past[p] <= committed <= end]

    def places(self, topic):
        """(partition, where the group stands, the partition's end) of each."""
        from confluent_kafka import Consumer, TopicPartition
        group = Consumer({"log_level": 0, "bootstrap.servers": self.kafka.bootstrap, "group.id": self.name, "enable.auto.commit": False})
        try:
            parts = [TopicPartition(topic, p) for p in range(TASKS if topic.endswith("-rekey") else self.shape.journal_partitions)]
            return [(p.partition, max(p.offset, 0), group.get_watermark_offsets(p, 30)[1]) for p in group.committed(parts, 30)]
        finally:
            group.close()
