"""The flows that trials run, and what each lets its input ask for."""
import dataclasses
import pathlib
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402

TASKS = 4          # of every flow: partitions of the consents, and of what is keyed by subject
MILESTONE = 5      # as in the flows: a row emitted at every fifth event of a subject
ATTEMPTS_MAX = 4   # as in parking_flow.yaml


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    journal_partitions: int = TASKS
    rekeyed: bool = False    # the journal is keyed by its events, its partitions are not those of the tasks
    wishes: bool = False     # events may ask for later attempts and for timers
    milestones: bool = False

    @property
    def flow(self):
        return HERE / f"{self.name}_flow.yaml"

    def topics(self):
        """Those with a schema that the first worker registers."""
        return ["journal", "consent", "out", "dead-letter", *["milestones"] * self.milestones, *["reminders"] * self.wishes]

    def key_of(self, event):
        return event["event_id" if self.rekeyed else "subject_id"].encode()

    def partition_of(self, subject):
        """Where the journal has somebody's events."""
        return zlib.crc32(subject.encode()) % self.journal_partitions if self.rekeyed else task_of(subject)


def task_of(subject):
    return broker.murmur2_partition(subject.encode(), TASKS)


PLAIN = Shape("plain")
REKEYED = Shape("rekeyed", journal_partitions=3, rekeyed=True, milestones=True)
PARKING = Shape("parking", wishes=True, milestones=True)


def of_seed(seed):
    return (PLAIN, REKEYED, PARKING)[seed % 3]
