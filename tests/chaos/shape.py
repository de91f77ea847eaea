"""The flows that trials run, and what each lets its input ask for."""
import dataclasses
import pathlib
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402

TASKS = 4          # of every flow: partitions of the consents, and of what is keyed by subject
ITEM_PARTITIONS = 3  # as in rounds_flow.yaml, of the global table
MILESTONE = 5      # as in the flows: a row emitted at every fifth event of a subject
ATTEMPTS_MAX = 4   # as in parking_flow.yaml


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    journal_partitions: int = TASKS
    rekeyed: bool = False    # the journal is keyed by its events, its partitions are not those of the tasks
    wishes: bool = False     # events may ask for later attempts and for timers
    milestones: bool = False
    consents: bool = True
    rounds: bool = False     # events ask a global table, and go round through a topic that comes back as input

    @property
    def flow(self):
        return HERE / f"{self.name}_flow.yaml"

    def topics(self):
        """Those with a schema that the first worker registers."""
        return ["journal", *["consent"] * self.consents, "out", "dead-letter", *["milestones"] * self.milestones,
                *["reminders"] * self.wishes, *["items", "again", "laps"] * self.rounds]

    def partitions_of(self, topic):
        """Of one that is read; `topic` without the flow's name."""
        return {"journal": self.journal_partitions, "items": ITEM_PARTITIONS}.get(topic, TASKS)

    def key_of(self, event):
        return event["event_id" if self.rekeyed else "subject_id"].encode()

    def partition_of(self, subject):
        """Where the journal has somebody's events."""
        return zlib.crc32(subject.encode()) % self.journal_partitions if self.rekeyed else task_of(subject)


def task_of(subject):
    return broker.murmur2_partition(subject.encode(), TASKS)


def item_partition_of(key):
    return broker.murmur2_partition(key, ITEM_PARTITIONS)


PLAIN = Shape("plain")
REKEYED = Shape("rekeyed", journal_partitions=3, rekeyed=True, milestones=True)
PARKING = Shape("parking", wishes=True, milestones=True)
ROUNDS = Shape("rounds", consents=False, rounds=True)
ALL = {shape.name: shape for shape in (PLAIN, REKEYED, PARKING, ROUNDS)}


def of_seed(seed, once=True):
    """Where effects may come again, what is set and offered as often as it comes has no right number: there is no `parking` there."""
    shape = ROUNDS if seed % 4 == 0 else (PLAIN, REKEYED, PARKING)[seed % 3]
    return shape if once or shape is not PARKING else PLAIN
