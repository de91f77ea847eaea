"""What must be left after a trial, by clients and an Avro that are not ours."""
import collections
import itertools
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
import broker  # noqa: E402

from finding import must  # noqa: E402
from replay import PURPOSE, Items, Letter, Replay, consent_key, consent_value, in_ms, in_order  # noqa: E402
from shape import MILESTONE, task_of  # noqa: E402

TABLES_HEADER = "sonder.tables"
MARKERS_SECONDS = 30


class Oracle:
    """`once`: each effect once, not at least once."""

    def __init__(self, name, kafka, registry, shape, once=True):
        self.name, self.kafka, self.registry, self.shape, self.once = name, kafka, registry, shape, once

    def check(self, events, decisions, table=None):
        """events, decisions: those acknowledged, in their order; table: as Feed has it, where there is a global one."""
        self.await_markers()
        self.check_records(events, decisions, table)
        self.check_places()

    def check_places(self):
        for topic in [*self.consumed(), *[f"{self.name}-items"] * self.shape.rounds]:
            behind = self.behind(topic, self.last_records(topic))
            must(not behind, "offsets", f"{topic}: {behind}")

    def check_records(self, events, decisions, table=None):
        """Everything that lies in topics, recomputed from the input."""
        found = self.rows("out")
        out = [row for _, row in found]
        consents = self.records("consent") if self.shape.consents else []
        replay = Replay(self.shape, self.records("journal"), consents, self.registry, {row["event_id"] for row in out})
        # What counts is what lies in the input: a producer that went through a broker's death may have written a batch again.
        lost = {e["event_id"] for e in events} - replay.place_of.keys()
        assert not lost, f"acknowledged and not in the input: {sorted(lost)[:5]}"
        lost = [d for d in decisions if not any(d.items() <= each.items() for each in replay.decisions.get(d["subject_id"], []))]
        assert not lost, f"acknowledged and not in the input: {lost[:5]}"
        self.check_out(out, replay)
        items = Items(self.records("items"), self.registry, table.changes) if self.shape.rounds else None
        self.check_same("dead letters", self.letters(), replay.all_letters() + collections.Counter(items.letters if items else ()))
        if self.shape.milestones:
            self.check_milestones(out, replay)
        if self.shape.wishes:
            self.check_wishes(replay)
        if self.shape.rounds:
            self.check_rounds(replay)
            self.check_titles(found, items, replay, table)
        # Where outputs come before state, a withdrawal may meet an event whose output is there already, the second time.
        self.check_counts("tally", replay.counts(), () if self.once else replay.withdrawn)
        if self.shape.consents:
            self.check_store("consent.consents", {(task_of(s), consent_key(s, PURPOSE)): consent_value(mine)
                                                  for s, mine in replay.decisions.items()})

    def check_out(self, out, replay):
        due = replay.out()
        wanted = collections.Counter(i for mine in due.values() for i, _ in mine)
        seen = collections.Counter(row["event_id"] for row in out)
        self.check_same(None, seen, wanted)
        found = collections.defaultdict(list)
        for row in out:
            found[row["subject_id"]].append((row["event_id"], row["count"]))
        for subject, mine in found.items():
            order, right = [i for i, _ in mine], [i for i, _ in due[subject]]
            if not self.once:
                order, right = self.firsts(order), self.firsts(right)
            must(order == right, "order", f"{subject}: {order[:20]}")
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
            found.append(Letter(row["cause"], row["stage"], row["partition"], row["offset"], in_ms(row["timestamp"]), row["value_hash"],
                                row["topic"].removeprefix(f"{self.name}-")))
        return collections.Counter(found)

    def check_milestones(self, out, replay):
        found = collections.Counter((row["subject_id"], row["count"]) for _, row in self.rows("milestones"))
        if self.once:
            self.check_same("milestones", found, replay.milestones())
            return
        # What comes again is counted again, but each count has an output; and no count is kept before its milestones are out.
        outputs = collections.Counter(row["subject_id"] for row in out)
        strange = [(s, n) for s, n in found if n % MILESTONE or s not in outputs or n > outputs[s] and s in replay.sure]
        must(not strange, "milestones", f"{len(strange)} that should not be: {strange[:5]}")
        kept = [(r.key().decode(), int(r.value())) for r in self.changes("tally.counts") if r.value() is not None]
        missing = [(s, n) for s, most in kept for n in range(MILESTONE, most + 1, MILESTONE) if (s, n) not in found]
        must(not missing, "milestones", f"{len(missing)} missing: {missing[:5]}")

    def check_rounds(self, replay):
        """What came back: of each subject, those who go their first round in the order of their events, the second in that of the first;
        and what became of it."""
        due, came = replay.rounds(), collections.defaultdict(list)
        for _, row in self.rows("again"):
            came[row["subject_id"]].append((row["event_id"], row["wish"]))
        self.check_same("rounds", collections.Counter(each for mine in came.values() for each in mine),
                        collections.Counter(each for mine in due.values() for each in itertools.chain(*mine)))
        for subject, mine in came.items():
            for wanted in due[subject]:
                order = [each for each in mine if each in wanted]
                if not self.once:
                    order, wanted = self.firsts(order), self.firsts(wanted)
                must(order == wanted, "rounds", f"{subject} came back in another order: {order[:20]}")
        went = collections.defaultdict(list)
        for _, row in self.rows("laps"):
            went[row["subject_id"]].append((row["event_id"], row["wish"], row["count"]))
        numbered = {subject: [(*each, n) for n, each in enumerate(mine, 1)] for subject, mine in came.items()}
        for subject in went.keys() | numbered.keys():
            found, wanted = went[subject], numbered.get(subject, [])
            if not self.once:
                found, wanted = self.firsts(each[:2] for each in found), self.firsts(each[:2] for each in wanted)
            wrong = [pair for pair in itertools.zip_longest(found, wanted) if pair[0] != pair[1]]
            must(not wrong, "rounds", f"{subject}, what has come round and its count, expected: {wrong[:5]}")
        self.check_counts("lap", {subject: len(mine) for subject, mine in came.items()})

    @staticmethod
    def firsts(of):
        """What came again is where it was: later."""
        return list(dict.fromkeys(of))

    def check_titles(self, out, items, replay, table):
        """Each row says by how much of the table it was decided: no less than it must know, in its task no less than the one before."""
        # What a producer has written again has two places, and its rows are alike.
        place_of = {i: (records[0].partition(), records[0].offset()) for i, records in replay.place_of.items() if len(records) == 1}
        in_tasks = collections.defaultdict(list)
        for record, row in out:
            reached = json.loads(dict(record.headers() or {}).get(TABLES_HEADER, b"{}")).get("items")
            must(reached is not None, "titles", f"{row['event_id']} does not say by what it was decided")
            right = items.title(row["item"], reached)
            must(row["title"] == right or row["item"] in table.unsure, "titles",
                 f"{row['event_id']}: {row['item']} was {row['title']!r}, by {reached} it was {right!r}")
            for n, ends in table.known:
                short = {p: end for p, end in ends.items() if reached[p] < end}
                must(row["n"] < n or not short, "titles", f"{row['event_id']} was decided by {reached}, it must know {ends}")
            if row["event_id"] in place_of:
                task, offset = place_of[row["event_id"]]
                in_tasks[task].append((offset, reached, row["event_id"]))
        each, last = replay.asked_for()
        if self.once:
            for mine in in_tasks.values():
                for (_, before, first), (_, after, then) in itertools.pairwise(sorted(mine)):
                    must(all(map(int.__le__, before, after)), "titles", f"{first} was decided by {before}, {then}, behind it, by {after}")
            self.check_same("counts", collections.Counter((row["event_id"], row["times"]) for _, row in out), each)
        self.check_store("look.times", {at: str(n).encode() for at, n in last.items()})

    def check_wishes(self, replay):
        """Timers that fired, those that are set still, and rows that were offered again as often as they asked."""
        fired, waiting = replay.timers()
        self.check_same("timers", collections.Counter((row["event_id"], row["at_ms"]) for _, row in self.rows("reminders")), fired)
        kept = self.stored("remind.~timers")
        set_still = sorted(value.decode() for (_, key), value in kept.items() if key.startswith(b"t"))
        must(set_still == sorted(i for i, _ in waiting), "timers", f"set still: {set_still[:5]}, expected {sorted(waiting)[:5]}")
        self.check_store("remind.asked", {(task_of(s), i.encode()): str(n).encode() for i, (s, n) in replay.offered().items()})
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
                    print(f"{topic}[{r.partition()}]@{r.offset()} {r.timestamp()[1]}", row, *r.headers() or (), file=file)

    def records(self, topic):
        return in_order(self.kafka.read(f"{self.name}-{topic}"))

    def rows(self, topic):
        return [(r, broker.unframe(self.registry, r.value())[1]) for r in self.records(topic)]

    def changes(self, store):
        """A changelog's records."""
        return in_order(self.kafka.read(f"{self.name}.{store}-changelog".replace("~", "-")))  # no name of a topic may have it

    def stored(self, store):
        """A changelog's last words: (task, key) -> value."""
        last = {(r.partition(), r.key()): r.value() for r in self.changes(store)}
        return {at: value for at, value in last.items() if value is not None}

    def check_counts(self, stage, counts, spare=()):
        """Of a `counter`. spare: subjects whose keys may be there or not."""
        self.check_store(f"{stage}.counts", {(task_of(s), s.encode()): str(n).encode() for s, n in counts.items()},
                         {(task_of(s), s.encode()) for s in spare})

    def check_store(self, store, wanted, spare=()):
        """Over all keys, what lies in a changelog is the replay's: a store that is restored from nothing is right.
        wanted: (task, key) -> value; spare: keys of it that may be there or not."""
        must_be, stored = wanted.keys() - spare, self.stored(store)
        strange = [at for at in stored if at not in wanted]
        must(not strange, "store", f"{store} has {len(strange)} entries that should not be: {strange[:5]}")
        gone = [at for at in must_be if at not in stored]
        must(not gone, "store", f"{store} lacks {len(gone)} of {len(wanted)} entries: {gone[:5]}")
        wrong = [(at, stored[at], wanted[at]) for at in stored if stored[at] != wanted[at]]
        must(not wrong or not self.once, "store", f"{store}, key, found, expected: {wrong[:5]}")

    def consumed(self):
        """Topics whose places the group keeps, in the order in which their records are taken up."""
        return [f"{self.name}-journal", *[f"{self.name}.journal-rekey"] * self.shape.rekeyed, *[f"{self.name}-again"] * self.shape.rounds]

    def goes_round(self, topic):
        """What is taken up from it may be written to it."""
        return topic == f"{self.name}-again"

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
            parts = [TopicPartition(topic, p) for p in range(self.shape.partitions_of(topic.removeprefix(f"{self.name}-")))]
            return [(p.partition, max(p.offset, 0), group.get_watermark_offsets(p, 30)[1]) for p in group.committed(parts, 30)]
        finally:
            group.close()
