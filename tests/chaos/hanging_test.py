#!/usr/bin/env python3
"""Hanging transactions on a real broker, one made on purpose: that one is found and aborted, and what is merely open never is."""
import pathlib
import socket
import struct
import sys
import time
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402

try:
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
except ImportError as missing:
    broker.leave(f"{missing.name} is not installed; run ops/setup --tests")
from chaos_test import NoAnswer, Trial  # noqa: E402
from cluster import Cluster  # noqa: E402
from finding import Finding  # noqa: E402
from hanging import Coordinated, Open, coordinated_in, left_out, open_in, rows, why_hanging  # noqa: E402
from oracle import Oracle  # noqa: E402
from shape import PLAIN  # noqa: E402

TXN_OFFSET_COMMIT = 28
PATIENCE_SECONDS = 60
OPEN = Open("t", 2, 7, 3, 779)
TOPICS = ["consumed", "written"]


def coordinated(state, epoch=3, partitions=("t-2",)):
    return Coordinated(state, epoch, frozenset(partitions))


class ProofTest(unittest.TestCase):
    def test_a_transaction_hangs_whose_coordinator_is_done_with_it(self):
        for state in ("Empty", "CompleteCommit", "CompleteAbort", "Dead"):
            self.assertIn(state, why_hanging(OPEN, coordinated(state, partitions=())))
        self.assertIsNotNone(why_hanging(OPEN, None))

    def test_a_transaction_hangs_whose_coordinator_is_at_a_later_one_elsewhere(self):
        self.assertIn("epoch 4", why_hanging(OPEN, coordinated("Ongoing", 4, ["t-1", "t-22"])))

    def test_what_the_coordinator_may_still_end_does_not_hang(self):
        for state in ("Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"):
            for epoch in (3, 4):
                self.assertIsNone(why_hanging(OPEN, coordinated(state, epoch)))
        # Epochs are raised, and partitions struck off, while markers are on their way.
        for state in ("PrepareCommit", "PrepareAbort"):
            self.assertIsNone(why_hanging(OPEN, coordinated(state, 4, ["t-1"])))
        self.assertIsNone(why_hanging(OPEN, coordinated("Ongoing", 3, ["t-1"])))

    def test_reads_what_the_tool_prints(self):
        producers = ("ProducerId\tProducerEpoch\tLatestCoordinatorEpoch\tLastSequence\tLastTimestamp\tCurrentTransactionStartOffset\t\n"
                     "3016      \t0            \t12                    \t7           \t1795318659620\t779                          \t\n"
                     "3017      \t4            \t12                    \t0           \t1795318659620\tNone                         \t\n")
        self.assertEqual(open_in(producers, "__consumer_offsets", 2), {Open("__consumer_offsets", 2, 3016, 0, 779)})
        described = ("CoordinatorId\tTransactionalId\tProducerId\tProducerEpoch\tTransactionState\tTransactionTimeoutMs\t"
                     "CurrentTransactionStartTimeMs\tTransactionDurationMs\tTopicPartitions\t\n"
                     "1            \tx              \t0         \t4            \t{}\t60000\t1795319829798\t8124\t{}\t\n")
        self.assertEqual(coordinated_in(described.format("Ongoing      ", "t-0,u-1")), coordinated("Ongoing", 4, ["t-0", "u-1"]))
        self.assertEqual(coordinated_in(described.format("CompleteAbort", "       ").strip()), coordinated("CompleteAbort", 4, []))


    def test_finds_what_brokers_say_of_markers_that_they_left_out(self):
        said = ("06:29:58.683 [TxnMarkerSenderThread-1] INFO kafka.coordinator.transaction.TransactionMarkerChannelManager - [Transaction Marker "
                "Channel Manager 1]: Couldn't find leader endpoint for partitions HashSet(seed-1-out-0, seed-1.tally.counts-changelog-1) while trying "
                "to send transaction markers for seed-1.worker-0, these partitions are likely deleted already and hence can be skipped\n")
        other = "06:29:58.684 [main] INFO kafka.log.LogManager - Loaded seed-1-out-0\n"
        self.assertEqual(left_out([other, said], "seed-1"), [said.strip()])
        self.assertEqual(left_out([other, said], "seed-2"), [])


class SeedTest(unittest.TestCase):
    def goes_past(self, found, proven):
        """How often a step is done that gives this finding at first, and whether the finding is left."""
        done = []

        def step():
            done.append(1)
            if len(done) == 1:
                raise found
        try:
            Trial.past_hanging(types.SimpleNamespace(abort_hanging=lambda: proven), step)
        except AssertionError as e:
            self.assertIs(e, found)
            return len(done), True
        return len(done), False

    def test_a_seed_where_nothing_moves_goes_on_once_a_hanging_transaction_is_aborted(self):
        for found in (Finding("stuck", ""), Finding("open", ""), NoAnswer("")):
            self.assertEqual(self.goes_past(found, proven=True), (2, False))
            self.assertEqual(self.goes_past(found, proven=False), (1, True))

    def left_out_where(self, found):
        """What a seed keeps of the brokers' words where this is found."""
        def step():
            raise found
        trial = types.SimpleNamespace(found=None, planted=None, left_out=[], name="", place=None, oracle=types.SimpleNamespace(keep=lambda _: None),
                                      cluster=types.SimpleNamespace(left_out=lambda _: ["said"]))
        Trial.step(trial, step)
        self.assertIs(trial.found, found)
        return trial.left_out

    def test_markers_that_brokers_left_out_excuse_what_they_can_make(self):
        for found in (Finding("missing", ""), Finding("store", ""), Finding("stuck", ""), NoAnswer("")):
            self.assertEqual(self.left_out_where(found), ["said"])
        for found in (Finding("ended", ""), Finding("unbalanced", ""), Finding("members", ""), AssertionError(), OSError()):
            self.assertEqual(self.left_out_where(found), [])

    def test_no_other_finding_is_forgiven(self):
        for found in (Finding("missing", ""), Finding("offsets", ""), AssertionError()):
            self.assertEqual(self.goes_past(found, proven=True), (1, True))


class BrokerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(1, "chaos-hanging")
        cls.addClassCleanup(cls.cluster.close)
        cls.admin = AdminClient({"bootstrap.servers": cls.cluster.address, "log_level": 0})

    def setUp(self):
        self.name = broker.name_of_its_own("hanging")
        self.consumed, self.written = (f"{self.name}-{topic}" for topic in TOPICS)
        for made in self.admin.create_topics([NewTopic(t, 1, 1) for t in (self.consumed, self.written)]).values():
            made.result(PATIENCE_SECONDS)
        self.oracle = Oracle(self.name, broker.Kafka(self.cluster.address), None, PLAIN)
        self.group = Consumer({"bootstrap.servers": self.cluster.address, "group.id": self.name, "log_level": 0})
        self.addCleanup(self.group.close)
        self.producer = Producer({"bootstrap.servers": self.cluster.address, "transactional.id": self.name, "log_level": 0})
        self.producer.init_transactions(PATIENCE_SECONDS)
        self.told = []

    def fill(self, offset):
        """A transaction of the producer with a record and an offset, left open."""
        self.producer.begin_transaction()
        self.producer.produce(self.written, b"a row")
        self.producer.flush(PATIENCE_SECONDS)
        self.producer.send_offsets_to_transaction([TopicPartition(self.consumed, 0, offset)], self.group.consumer_group_metadata(), PATIENCE_SECONDS)

    def committed(self, seconds):
        (at,) = self.group.committed([TopicPartition(self.consumed, 0)], seconds)
        return at.offset

    def abort_hanging(self):
        return self.cluster.operator.abort_hanging(self.oracle.held_back(), self.told.append)

    def set_verification(self, on):
        """Of brokers, that a transaction which is written to is under way: what keeps it from hanging mostly."""
        entry = ConfigEntry("transaction.partition.verification.enable", on, incremental_operation=AlterConfigOpType.SET)
        for done in self.admin.incremental_alter_configs([ConfigResource("BROKER", "1", incremental_configs=[entry])]).values():
            done.result(PATIENCE_SECONDS)

    def commit_offset_late(self, offset):
        """By the producer's id and epoch, outside of any transaction. What the broker answers: an error's number, 0 for none."""
        (row,) = rows(self.cluster.operator.transactions("describe", "--transactional-id", self.name))

        def text(t):
            return struct.pack(">h", len(t)) + t.encode()
        body = (struct.pack(">hhi", TXN_OFFSET_COMMIT, 0, 1) + text("late") + text(self.name) + text(self.name)
                + struct.pack(">qh", int(row["ProducerId"]), int(row["ProducerEpoch"]))
                + struct.pack(">i", 1) + text(self.consumed) + struct.pack(">iiq", 1, 0, offset) + struct.pack(">h", -1))
        host, port = self.cluster.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", answer.read(4))
            return struct.unpack(">h", answer.read(size)[-2:])[0]

    def hang(self, offset):
        # Taken up by the broker some time after it is acknowledged.
        self.set_verification("false")
        until = time.monotonic() + PATIENCE_SECONDS
        try:
            while error := self.commit_offset_late(offset):
                self.assertLess(time.monotonic(), until, f"the broker refuses it: error {error}")
                time.sleep(0.1)
        finally:
            self.set_verification("true")

    def test_a_write_that_comes_after_its_transaction_hangs_until_it_is_aborted(self):
        self.fill(5)
        self.producer.commit_transaction(PATIENCE_SECONDS)
        self.hang(6)
        with self.assertRaises(KafkaException):
            self.committed(3)
        self.assertTrue(self.abort_hanging())
        self.assertRegex("\n".join(self.told), r"\AHANGING TRANSACTION.*: __consumer_offsets-\d, producer \d+ .* from offset \d+ on: .*Complete.*\Z")
        self.assertEqual(self.committed(PATIENCE_SECONDS), 5)
        self.assertEqual(self.oracle.held_back(), [])
        self.assertFalse(self.abort_hanging())

    def test_a_transaction_that_is_open_is_left_alone(self):
        self.fill(5)
        self.assertEqual({topic for topic, _ in self.oracle.held_back()}, {self.written, "__consumer_offsets"})
        self.assertFalse(self.abort_hanging())
        self.assertEqual(self.told, [])
        self.producer.commit_transaction(PATIENCE_SECONDS)
        self.assertEqual(self.committed(PATIENCE_SECONDS), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
