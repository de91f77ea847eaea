"""Transactions that hang: a partition has them open, and their coordinator is done with them, so that no marker will ever come. Whoever reads
`read_committed`, or asks for offsets of a group there, waits for good. It is brokers that leave them (a write that comes after its
transaction's marker, or a marker that is left out), and an operator who ends them, by `kafka-transactions`: as here, and nothing else is ended here."""
import dataclasses
import itertools
import threading
import time

LOOKS_APART_SECONDS = 5
# A coordinator takes partitions without a leader for deleted ones, and is done without their markers: `TransactionMarkerChannelManager` of Kafka
# 4.3.1 says so in its log. What has been decided has then come about in the other partitions alone.
LEFT_OUT = "Couldn't find leader endpoint for partitions"
DONE = {"Empty", "CompleteCommit", "CompleteAbort", "Dead"}  # said once all markers are written


@dataclasses.dataclass(frozen=True)
class Open:
    """A transaction as the leader of a partition has it."""
    topic: str
    partition: int
    producer: int
    epoch: int
    start: int

    def __str__(self):
        return f"{self.topic}-{self.partition}, producer {self.producer} with epoch {self.epoch}, from offset {self.start} on"


@dataclasses.dataclass(frozen=True)
class Coordinated:
    """The last transaction of a producer as its coordinator has it."""
    state: str
    epoch: int
    partitions: frozenset


def left_out(lines, name):
    """Out of a broker's log: where it left out markers of a transaction in topics, or of an id, that begin with `name`."""
    return [line.strip() for line in lines if LEFT_OUT in line and name in line]


def why_hanging(transaction, coordinated):
    """What proves that it hangs, given what its coordinator has (None: nothing) while it is open; None where nothing does."""
    if coordinated is None:
        return "no coordinator knows its producer"
    if coordinated.state in DONE:
        return f"its coordinator says {coordinated.state}"
    if (coordinated.state == "Ongoing" and coordinated.epoch > transaction.epoch
            and f"{transaction.topic}-{transaction.partition}" not in coordinated.partitions):
        return f"its coordinator is at a later transaction, with epoch {coordinated.epoch}, that is not in this partition"
    return None


def rows(table):
    """A table of Kafka's console tools; empty cells at its end may have been cut off."""
    lines = [[cell.strip() for cell in line.split("\t")] for line in table.splitlines() if line.strip()]
    return [dict(itertools.zip_longest(lines[0], cells, fillvalue="")) for cells in lines[1:]]


def open_in(table, topic, partition):
    """Out of `describe-producers`."""
    return {Open(topic, partition, int(row["ProducerId"]), int(row["ProducerEpoch"]), int(row["CurrentTransactionStartOffset"]))
            for row in rows(table) if row["CurrentTransactionStartOffset"] != "None"}


def coordinated_in(table):
    """Out of `describe`."""
    (row,) = rows(table)
    return Coordinated(row["TransactionState"], int(row["ProducerEpoch"]), frozenset(filter(None, row["TopicPartitions"].split(","))))


class Operator:
    """`tool`: runs ops/kafka with its arguments, returns what it prints, raises AssertionError. For many threads."""

    def __init__(self, tool):
        self.tool, self.mutex, self.aborted = tool, threading.Lock(), []

    def transactions(self, *args):
        return self.tool("tool", "TransactionsCommand", *args)

    def look(self, partitions):
        """Transaction -> why it hangs; where they are open is asked first, so that a second look proves what the first one says."""
        found = set().union(*(open_in(self.transactions("describe-producers", "--topic", topic, "--partition", str(p)), topic, p)
                              for topic, p in partitions))
        if not found:
            return {}
        ids = {int(row["ProducerId"]): row["TransactionalId"] for row in rows(self.transactions("list"))}
        coordinated = {producer: coordinated_in(self.transactions("describe", "--transactional-id", ids[producer]))
                       for producer in {each.producer for each in found} & ids.keys()}
        told = {each: why_hanging(each, coordinated.get(each.producer)) for each in found}
        return {each: why for each, why in told.items() if why}

    def hanging(self, partitions):
        """Those of (topic, partition)s that are proven to hang, with the proof."""
        first = self.look(partitions)
        if not first:
            return {}
        time.sleep(LOOKS_APART_SECONDS)
        second = self.look({(each.topic, each.partition) for each in first})
        return {each: why for each, why in second.items() if each in first}

    def abort_hanging(self, partitions, tell):
        """True if there was one, and it is aborted. `tell` is given a line for each."""
        before = len(self.aborted)
        with self.mutex:
            for each, why in self.hanging(partitions).items():
                tell(f"HANGING TRANSACTION, left by the brokers: {each}: {why}. Aborted as an operator would: kafka-transactions abort "
                     f"--topic {each.topic} --partition {each.partition} --start-offset {each.start}")
                self.transactions("abort", "--topic", each.topic, "--partition", str(each.partition), "--start-offset", str(each.start))
                self.aborted.append(each)
            return len(self.aborted) > before  # or while we waited, by another who found the same
