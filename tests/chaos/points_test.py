#!/usr/bin/env python3
"""Workers that die or stand still at one point of a commit, each point in its turn: what chaos_test.py leaves to its seeds. The run's broker,
one flow with stores, and the chaos suite's oracle after each point: every effect once, stores equal to a replay."""
import collections
import os
import re
import shutil
import signal
import sys
import time
import types
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chaos_test import Trial  # noqa: E402
from settled import MAY_END_WITH, SETTLED_SECONDS  # noqa: E402
from shape import TASKS  # noqa: E402
import broker  # noqa: E402

CALLS = {  # and which one of a process: so late that there are commits before it, and that a transaction is filled
    "init": 1, "begin": 3, "produce": 30, "send_offsets": 3, "flush": 3, "commit": 3, "abort": 1, "apply": 3}
FEED_PAUSE_SECONDS = 0.05
SEED_OF_THE_PLAIN_FLOW = 3
OPEN_TRANSACTION = "after:flush:3:kill"


def shared():
    found = broker.of_this_run()
    return types.SimpleNamespace(nodes=1, found=found, address=found["SONDER_KAFKA"], registry_url=found["SONDER_REGISTRY"],
                                 operator=None)  # a broker that others use too


class PointsTest(unittest.TestCase):
    def setUp(self):
        self.trial = Trial(SEED_OF_THE_PLAIN_FLOW, shared(), "exactly_once")
        self.addCleanup(self.close)
        for w in self.trial.workers:
            w.env.update(SONDER_CHAOS_INSTANCE=f"worker-{w.number}", SONDER_CHAOS_STANDBY="0", LD_PRELOAD="")

    def close(self):
        for w in self.trial.workers:
            w.close()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        trial = getattr(self, "trial", None)
        if trial is None:
            return
        if len(result.failures) + len(result.errors) > before:
            print(f"logs: {trial.place}", *(f"worker {w.number}, at last:\n{w.last_lines()}" for w in trial.workers), sep="\n")
        else:
            shutil.rmtree(trial.place, ignore_errors=True)

    def prepare(self):
        self.trial.prepare()
        self.trial.workers[0].leave()

    def feed(self, events=5):
        """Some events, and a record that nobody can read."""
        feed, rng = self.trial.feed, self.trial.rng
        feed.write([feed.event(s) for s in rng.choices(feed.everybody, k=events)] + [feed.poison(rng)])

    def feed_until(self, claim, what):
        until = time.monotonic() + SETTLED_SECONDS
        while not claim():
            self.assertLess(time.monotonic(), until, what)
            self.feed()
            time.sleep(FEED_PAUSE_SECONDS)

    def await_claim(self, claim, what):
        until = time.monotonic() + SETTLED_SECONDS
        while not claim():
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.05)

    def await_the_end(self):
        """That workers come to it by themselves."""
        oracle = self.trial.oracle
        for topic in oracle.consumed():
            past = oracle.last_records(topic)
            self.await_claim(lambda: not oracle.behind(topic, past), "does not come to the end")

    def check(self, by):
        self.trial.settle(by)
        self.trial.oracle.check(self.trial.feed.events, self.trial.feed.decisions)

    # ---- killed ----

    def kill_at(self, worker, point):
        # Nothing of a real broker makes a worker abort when it is asked to: so its offsets are refused.
        worker.planted = "refused_offsets" if ":abort:" in point else None
        worker.start(point)
        self.feed_until(lambda: not worker.runs(), f"does not come to {point}")
        worker.planted = None
        self.assertEqual(worker.ended_alone, [], f"{point}: it was to die by SIGKILL")

    def test_what_dies_before_or_after_any_call_of_a_commit_leaves_its_effects_once(self):
        self.prepare()
        worker, fresh = self.trial.workers[:2]
        for call, nth in CALLS.items():
            for when in ("before", "after"):
                with self.subTest(f"{when} {call}"):
                    if call == "init":  # with a predecessor's transaction to be settled
                        self.kill_at(worker, OPEN_TRANSACTION)
                    self.kill_at(worker, f"{when}:{call}:{nth}:kill")
                    self.check(worker)
        # Each key is read once more, by one who has nothing but the changelogs.
        self.trial.feed.write_last()
        self.check(fresh)

    def test_a_worker_whose_offsets_are_refused_aborts_and_goes_on(self):
        self.prepare()
        worker = self.trial.workers[0]
        worker.planted = "refused_offsets"
        worker.start()
        for _ in range(30):
            self.feed()
            time.sleep(FEED_PAUSE_SECONDS)
        self.await_the_end()
        worker.leave()
        worker.planted = None
        self.assertEqual(worker.ended_alone, [])
        self.await_claim(lambda: re.search(r"\d+ epochs? committed, [1-9]\d* discarded", worker.log_path.read_text()), "it has thrown no epoch away")
        self.check(worker)

    # ---- standing still ----

    def members(self):
        """client -> partitions of the input."""
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.trial.kafka.bootstrap, "log_level": 0})
        group = admin.describe_consumer_groups([self.trial.name], request_timeout=30)[self.trial.name].result()
        mine = collections.defaultdict(set)
        for m in group.members:
            mine[m.client_id] |= {p.partition for p in m.assignment.topic_partitions if p.topic.endswith("-journal")}
        return mine

    def stop_after_its_offsets_are_accepted(self, transaction_timeout, side_by_side=True):
        self.prepare()
        slow, other = self.trial.workers[:2]
        for w in self.trial.workers:
            w.env["SONDER_CHAOS_TRANSACTION_TIMEOUT"] = transaction_timeout
        if side_by_side:
            other.start()
        slow.start("after:send_offsets:5:stop")
        self.feed_until(slow.stopped, "the worker does not come to its point")
        return slow, other

    def await_one_member(self):
        self.await_claim(lambda: [len(tasks) for tasks in self.members().values()] == [TASKS],
                         "its tasks do not come to the other one")

    def test_what_stood_still_past_its_session_but_not_its_transaction_has_its_effects_once(self):
        slow, _ = self.stop_after_its_offsets_are_accepted("60s")
        self.await_one_member()
        self.feed(20)
        # An epoch may have had nothing but offsets, of markers that it read past.
        self.assertTrue(self.trial.oracle.held_back(), "its transaction is decided before it goes on")
        slow.send(signal.SIGCONT)
        self.trial.finish()

    def test_what_stood_still_past_its_transaction_too_adds_nothing_to_what_its_successor_did(self):
        slow, _ = self.stop_after_its_offsets_are_accepted("3s")
        self.await_one_member()
        self.feed(20)
        self.await_the_end()
        self.assertTrue(slow.stopped())
        slow.send(signal.SIGCONT)
        self.feed(20)
        self.trial.finish()

    def test_what_stood_still_while_another_took_its_instance_ends_and_leaves_that_one_alone(self):
        slow, other = self.stop_after_its_offsets_are_accepted("60s", side_by_side=False)
        other.env["SONDER_CHAOS_INSTANCE"] = slow.env["SONDER_CHAOS_INSTANCE"]
        other.start()
        self.feed(20)
        self.await_the_end()
        self.assertTrue(slow.stopped())
        slow.send(signal.SIGCONT)
        self.await_claim(lambda: not slow.runs(), "it does not end")
        self.assertLessEqual(set(slow.ended_alone), MAY_END_WITH)
        self.assertTrue(other.runs())
        self.feed(20)
        self.await_the_end()
        self.assertTrue(other.runs())
        self.assertEqual(other.ended_alone, [])
        other.leave()
        self.check(other)


if __name__ == "__main__":
    broker.of_this_run()  # leaves here where there is none
    unittest.main(verbosity=2)
