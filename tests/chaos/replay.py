"""What an input gives: recomputed from its records alone, by rules that stand in the plugins' READMEs and in the host's."""
import collections
import dataclasses
import datetime
import hashlib
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
import broker  # noqa: E402
from shape import ATTEMPTS_MAX, MILESTONE, TASKS, task_of  # noqa: E402

PURPOSE = "ServicePersonalisation"
EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
LONG_AGO, NEVER = -2**63, 2**63 - 1
MAY, MUST = "may", "must"  # what an event may do, or has to: pass


@dataclasses.dataclass(frozen=True)
class Letter:
    """A dead letter, but for the time of its writing."""
    cause: str
    stage: str
    partition: int
    offset: int
    timestamp: int
    value_hash: bytes
    topic: str = "journal"


def in_ms(time):
    """As Avro's timestamp-millis has it; fastavro makes times of them."""
    return (time - EPOCH) // datetime.timedelta(milliseconds=1)


def in_order(records):
    return sorted(records, key=lambda r: (r.partition(), r.offset()))


class Replay:
    """journal, consents: the records of these topics; registry: for their schemas; seen: the ids that are out, which alone tell how far
    a withdrawal found events still on their way."""

    def __init__(self, shape, journal, consents, registry, seen):
        self.shape = shape
        self.decisions = self.decided(consents, registry)
        self.events = collections.defaultdict(list)  # subject -> rows in their order
        self.letters = []                            # those that are due for the record alone
        self.ends = collections.Counter()            # task -> its event time at last
        self.place_of = {}                           # event's id -> its records
        self.in_tasks = [[] for _ in range(TASKS)]   # all rows in the order in which their task takes them up; not where they are rekeyed
        for record in in_order(journal):
            self.take(record, registry)
        passing = {subject: self.passing(subject, mine, seen) for subject, mine in self.events.items()}
        #: subjects of whom no event had to pass
        self.withdrawn = {subject for subject, mine in passing.items() if not any(how == MUST for _, _, how in mine)}
        #: subject -> what `tally` has counted, in that order: those that must pass, and those that others prove to have passed
        self.counted = {subject: [row for row, proved, _ in mine if proved] for subject, mine in passing.items()}
        #: subjects of whom each event either had to pass or must not
        self.sure = {subject for subject, mine in passing.items() if not any(how == MAY for _, _, how in mine)}

    def take(self, record, registry):
        row, cause = self.read(record, registry)
        if cause:
            self.letters.append(self.letter(record, cause, "rekey" if self.shape.rekeyed else "source"))
            return
        row["at"] = in_ms(row["at"])
        self.events[row["subject_id"]].append(row)
        self.place_of.setdefault(row["event_id"], []).append(record)
        task = task_of(row["subject_id"])
        self.ends[task] = max(self.ends[task], row["at"])
        self.in_tasks[task].append(row)

    def read(self, record, registry):
        """(row, None) or (None, why it is none)."""
        if record.value() is None:
            return None, "no_value"
        row, cause = read_value(record.value(), registry)
        if cause:
            return None, cause
        if not row["subject_id"]:
            return None, "no_subject"
        if not self.shape.rekeyed and task_of(row["subject_id"]) != record.partition():
            return None, "wrong_partition"
        return row, None

    @staticmethod
    def letter(record, cause, stage, topic="journal"):
        return Letter(cause, stage, record.partition(), record.offset(), record.timestamp()[1], hashlib.sha256(record.value() or b"").digest()
                      if record.value() is not None else b"", topic)

    @staticmethod
    def decided(consents, registry):
        """subject -> decisions in the order of their times, in which they were written too."""
        found = collections.defaultdict(list)
        for r in in_order(consents):
            row = broker.unframe(registry, r.value())[1]
            found[row["subject_id"]].append({**row, "at": in_ms(row["at"])})
        return {subject: sorted(mine, key=lambda d: d["at"]) for subject, mine in found.items()}

    def passing(self, subject, mine, seen):
        """(row, whether it has to be out, MUST, MAY or None). A decision that was acknowledged before an event was written counts for
        it. A withdrawal that came later may still meet it, and then meets all of its subject's that follow: so the last one that
        is out proves those before it."""
        if not self.shape.consents:
            return [(row, True, MUST) for row in mine]
        decisions = self.decisions.get(subject, [])
        found, proved_until = [], collections.Counter()
        for i, row in enumerate(mine):
            known = [n for n, d in enumerate(decisions) if d["at"] < row["at"]]
            agreed = bool(known) and decisions[known[-1]]["decision"] == "granted"
            later = any(d["decision"] != "granted" for d in decisions[len(known):])
            how = None if not agreed else MAY if later else MUST
            period = sum(d["decision"] != "granted" for d in decisions[:len(known)])
            found.append((row, period, how))
            if how == MAY and row["event_id"] in seen:
                proved_until[period] = i + 1
        return [(row, how == MUST or how == MAY and i < proved_until[period], how) for i, (row, period, how) in enumerate(found)]

    # ---- what is due ----

    def counts(self):
        return {subject: len(mine) for subject, mine in self.counted.items() if mine}

    def out(self):
        """subject -> (event's id, count), in their order. Who asks for ever for another attempt is buried."""
        return {subject: [(row["event_id"], n) for n, row in enumerate(mine, 1) if row["wish"] != "retry"]
                for subject, mine in self.counted.items()}

    def milestones(self):
        return collections.Counter((s, n) for s, most in self.counts().items() for n in range(MILESTONE, most + 1, MILESTONE))

    def wishing(self, word):
        return [row for mine in self.counted.values() for row in mine if row["wish"].split(" ")[0] == word]

    def timers(self):
        """(those that have fired, those that are set still): event's id and due time each. A record that the input has twice, which a
        broker's death may make of one, sets the same timer once more."""
        wished = list({row["event_id"]: (row["event_id"], row["at"] + int(row["wish"].split(" ")[1]), task_of(row["subject_id"]))
                       for row in self.wishing("remind")}.values())
        fired = collections.Counter((i, at) for i, at, task in wished if at <= self.ends[task])
        return fired, [(i, at) for i, at, task in wished if at > self.ends[task]]

    def offered(self):
        """event's id -> (subject, how often `remind` was asked), of those who asked for another attempt."""
        asked = {}
        for row in self.wishing("retry"):
            times = ATTEMPTS_MAX if row["wish"] == "retry" else int(row["wish"].split(" ")[1]) + 1
            asked[row["event_id"]] = row["subject_id"], times
        return asked

    def rounds(self):
        """subject -> for the first round and the second, who goes it: (event's id, next wish), in the order in which they do."""
        due = {subject: [[], []] for subject in self.counted}
        for subject, mine in self.counted.items():
            for row in mine:
                wished = int(row["wish"].split(" ")[1]) if row["wish"] else 0
                for n in range(wished):
                    due[subject][n].append((row["event_id"], f"round {wished - 1 - n}"))
        return due

    def asked_for(self):
        """(event's id, how often its item was asked for in its task) once each; (task, item) -> how often in the end."""
        each, so_far = collections.Counter(), collections.Counter()
        for task, rows in enumerate(self.in_tasks):
            for row in rows:
                so_far[task, row["item"].encode()] += 1
                each[row["event_id"], so_far[task, row["item"].encode()]] += 1
        return each, so_far

    def all_letters(self):
        buried = [self.letter(record, "retries_exhausted", "remind") for row in self.wishing("retry") if row["wish"] == "retry"
                  for record in self.place_of[row["event_id"]]]
        return collections.Counter([*self.letters, *buried])


def read_value(value, registry):
    """(row, None) or (None, why it is none)."""
    if len(value) < 5 or value[:1] != b"\0":
        return None, "not_framed"
    try:
        registry.text_of(struct.unpack(">I", value[1:5])[0])
    except AssertionError:
        return None, "unknown_schema"
    try:
        return broker.unframe(registry, value)[1], None
    except (EOFError, IndexError, ValueError, struct.error):
        return None, "undecodable"


class Items:
    """The global table, at each place of its topic. changes: those that were acknowledged, since the topic may have been compacted."""

    def __init__(self, records, registry, changes):
        self.letters, self.changes = [], collections.defaultdict(list)  # item -> (partition, offset, title or None) as they came
        found = {(partition, offset): (item, title) for partition, offset, item, title in changes}
        for record in in_order(records):
            row, cause = (None, None) if record.value() is None else read_value(record.value(), registry)
            if cause:
                self.letters.append(Replay.letter(record, cause, "source", "items"))
            found[record.partition(), record.offset()] = (record.key().decode(), row and row["title"])
        for (partition, offset), (item, title) in sorted(found.items()):
            self.changes[item].append((partition, offset, title))

    def title(self, item, reached):
        """reached: for each partition, one past what counts."""
        titles = [title for partition, offset, title in self.changes[item] if offset < reached[partition]]
        return titles[-1] if titles and titles[-1] is not None else "none"


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
