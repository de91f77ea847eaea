#!/usr/bin/env python3
"""Disturbs workers on a real Kafka and holds what is left against an oracle that knows nothing of their code.

A seed makes subjects, an input, one of four flows and a schedule. Three workers run the flow beside this program while events keep coming and strikes fall
on them, on their disks and clocks, on brokers, connections and the registry (README.md). Then all is healed: the workers must come to the
end of the input by themselves. In the end one of them runs until idle, and what independent clients read (`read_committed`, Avro of
their own) must show:
  - each event whose subject had agreed before it is in the output once, nothing else is, in order per subject; rows that stages emit,
    timers and dead letters are there once each;
  - the running count out of the store of `tally` numbers each subject's entries 1, 2, 3 ... without gap or repeat, so that the store
    never lost, repeated or resurrected anything over all restarts, restores and hand-overs; changelogs end with what the input gives;
  - nothing of aborted transactions of others; the group's offsets stand at the end of the input.

A seed that fails is printed, with its strikes and where the workers' logs are.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402
from cluster import Cluster  # noqa: E402
from disturbance import WORKER_KINDS, ClusterStrikes, WorkerStrikes  # noqa: E402
from feed import Feed  # noqa: E402
from finding import Finding  # noqa: E402
from oracle import Oracle  # noqa: E402
from settled import SETTLED_SECONDS, await_last_round, await_the_end, become_idle, check_ended  # noqa: E402
from shape import ALL, PARKING, PLAIN, of_seed  # noqa: E402
from worker import Worker, environment  # noqa: E402

BUILD = pathlib.Path(os.environ["SONDER_BUILD_DIR"])
STRIKES_SECONDS = 10
VOID_SHARE_MAX = 0.25  # of the seeds, that may say nothing of the workers
PLANTED_SEEDS = 6     # within which a planted fault must be seen
STATE = {"counts", "store", "missing", "strange"}  # consents are state too
FAULTS = {            # the strikes that bring it to light; the kinds of finding by which it shows itself
    "offset_high": (("kill", "leave"), {"missing", "offsets", "strange"}),  # what is skipped may be a withdrawal
    "lost_overlay": (("kill", "leave"), STATE),
    "stale_checkpoint": (("kill", "leave"), STATE),
    "short_restore": (("wipe", "kill"), STATE),
    "fenced_commit": (("stop long",), {"twice"}),
    "dirty_read": (("kill",), {"strange"}),
}
NEVER_EXCUSED = {"ended", "unbalanced", "members"}  # whatever brokers leave out, no worker may crash, lose count, or stay
WAITS = {"stuck", "open"}  # the findings that a hanging transaction makes of workers which are right


class NoAnswer(AssertionError):
    """Brokers that do not say what they are asked, for so long as they may take."""


class Trial:
    def __init__(self, seed, cluster, guarantee, planted=None, shape=None):
        self.seed, self.rng, self.cluster, self.planted = seed, random.Random(seed), cluster, planted
        self.shape = shape or (PLAIN if planted else of_seed(seed, guarantee == "exactly_once"))
        self.name = broker.name_of_its_own(f"chaos-{seed}")
        self.place = pathlib.Path(tempfile.mkdtemp(prefix=self.name))
        self.kafka, self.registry = broker.Kafka(cluster.address), broker.Registry(cluster.registry_url)
        self.oracle = Oracle(self.name, self.kafka, self.registry, self.shape, guarantee == "exactly_once")
        more = {"SONDER_CHAOS": self.name, "SONDER_CHAOS_PLUGINS": str(BUILD / "testing_plugins"),
                "SONDER_CHAOS_REPLICATION": str(cluster.nodes), "SONDER_CHAOS_GUARANTEE": guarantee}
        self.workers = [Worker(self.place, n, BUILD, self.shape.flow, environment(cluster.found, **more), planted) for n in range(3)]
        if self.rng.random() < 0.4:  # static membership: a worker that comes back has its tasks again at once
            for w in self.workers:
                w.env["SONDER_CHAOS_INSTANCE"] = f"worker-{w.number}"
        clocks = not planted and self.rng.random() < 0.5
        for w in self.workers:
            if clocks:
                w.set_clock(0)
        self.strikes = WorkerStrikes(seed, STRIKES_SECONDS, self.workers, FAULTS[planted][0] if planted else WORKER_KINDS, clocks)
        self.feed = None
        self.found, self.failure, self.began = None, None, time.monotonic()
        self.left_out = []  # markers, by the brokers

    # ---- input ----

    def prepare(self):
        """The first worker makes topics and registers schemas; first decisions are there before any event."""
        import fastavro
        self.workers[0].start()
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            try:
                # All of them: a registry that is killed just after it has taken one up may forget it.
                found = {t: self.registry.ask(f"/subjects/{self.name}-{t}-value/versions/latest") for t in self.shape.topics()}
                break
            except (AssertionError, OSError):
                assert time.monotonic() < deadline, "the first worker registers no schemas"
                self.workers[0].start()  # the brokers have just been started, and may not know yet what they are there for
                time.sleep(0.1)
        schemas = {t: (f["id"], fastavro.parse_schema(json.loads(f["schema"]))) for t, f in found.items()}
        self.feed = Feed(self.name, self.seed, self.shape, self.kafka.bootstrap, schemas)
        self.feed.decide_first()
        if self.shape.rounds:  # who comes from here on knows the global table as it is
            self.workers[0].kill()
            self.feed.must_be_known()

    def give(self, until):
        try:
            self.feed.run(until)
        except Exception as e:  # told by the main thread, which ends the trial
            self.failure = e

    def give_aborted(self, until):
        from confluent_kafka import KafkaException
        rng, to = random.Random(f"{self.seed} aborted"), None
        while not until.wait(rng.uniform(0.2, 2)):
            rows = self.feed.aborted(rng)
            try:
                to = to or self.feed.aborter()
                to.begin_transaction()
                self.feed.write(rows, to)
                to.abort_transaction(10)
            except (KafkaException, AssertionError):
                to = None  # brokers were away: the next one of this name aborts it
        # What stayed open would hide from readers what comes after it.
        try:
            self.asked_again(self.feed.aborter)
        except AssertionError as e:
            self.failure = e

    # ---- the trial ----

    def step(self, what):
        """One phase of the trial, unless an earlier one has ended it."""
        if self.found is None:
            try:
                what()
            except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
                self.found = e
                if isinstance(e, Finding) and not self.planted:
                    self.oracle.keep(self.place)
                if isinstance(e, NoAnswer) or isinstance(e, Finding) and e.kind not in NEVER_EXCUSED:
                    self.left_out = self.cluster.left_out(self.name)

    def disturb(self):
        for w in self.workers:
            w.start()
        until = threading.Event()
        feeders = [threading.Thread(target=work, args=(until,)) for work in (self.give, self.give_aborted)]
        for feeder in feeders:
            feeder.start()
        try:
            self.strikes.strike_all()
        finally:
            until.set()
            for feeder in feeders:
                feeder.join()
        if self.failure:
            raise self.failure

    def finish(self):
        for topic in self.oracle.consumed():
            self.past_hanging(lambda topic=topic: self.come_to_the_end(topic))
        for w in self.workers:
            w.leave()
            check_ended(w)
        self.asked_again(lambda: self.oracle.await_empty_group(SETTLED_SECONDS))
        self.feed.must_be_known()
        self.feed.write_last()
        self.past_hanging(self.settle)
        self.past_hanging(lambda: self.asked_again(lambda: self.oracle.check(self.feed.events, self.feed.decisions, self.feed.table)))

    def past_hanging(self, what):
        """What finds nothing moving is done once more if the brokers are proven to have left a hanging transaction, which no worker can
        end; else the finding stays."""
        try:
            what()
        except (Finding, NoAnswer) as found:
            if isinstance(found, Finding) and found.kind not in WAITS or not self.abort_hanging():
                raise
            what()

    def abort_hanging(self):
        from confluent_kafka import KafkaException
        if self.cluster.operator is None:
            return False
        try:
            return self.cluster.operator.abort_hanging(self.oracle.held_back(), lambda line: print(f"seed {self.seed}: {line}", flush=True))
        except (AssertionError, KafkaException) as e:
            print(f"seed {self.seed}: the brokers do not say whether a transaction hangs: {e}", flush=True)
            return False

    def come_to_the_end(self, topic):
        """By themselves, without being started again: what hangs for good is found here. Only who could not go on is replaced."""
        def go_on():
            for w in self.workers:
                w.start()
            time.sleep(0.5)

        def last_records():
            return self.asked_again(lambda: self.oracle.last_records(topic))

        def await_past(past):
            await_the_end(topic, lambda: self.asked_again(lambda: self.oracle.behind(topic, past)), go_on)
            if self.oracle.goes_round(topic):
                self.asked_again(self.oracle.await_markers)  # what came of it may still be hidden

        if self.oracle.goes_round(topic):
            await_last_round(topic, last_records, await_past)
        else:
            await_past(last_records())

    @staticmethod
    def asked_again(what):
        """Brokers that have just come back may not know yet what they are there for."""
        from confluent_kafka import KafkaException
        until = time.monotonic() + SETTLED_SECONDS
        while True:
            try:
                return what()
            except KafkaException as e:
                if time.monotonic() >= until:
                    raise NoAnswer(f"the brokers do not answer: {e}") from e
                time.sleep(1)

    def settle(self, last=None):
        last = last or self.workers[self.rng.randrange(3)]
        command, env = last.command("--until-idle", "--json", "--log-level", "info")
        become_idle(command, env, last.log)

    def close(self):
        for w in self.workers:
            w.close()
        if self.found is None or self.planted:
            shutil.rmtree(self.place, ignore_errors=True)
            self.cluster.delete_topics(self.name)

    def report(self, told_of_cluster):
        line = f"{self.shape.name}, {len(self.feed.events) if self.feed else 0} events, {len(self.strikes.told)} strikes, {time.monotonic() - self.began:.0f} s"
        alone = [f"worker {w.number}: exit {code}" + f" x {w.ended_alone.count(code)}" * (w.ended_alone.count(code) > 1)
                 for w in self.workers for code in sorted(set(w.ended_alone))]
        if alone:
            line += f", could not go on: {', '.join(alone)}"
        if self.planted:
            line = f"{self.planted} in seed {self.seed}: " + (f"{type(self.found).__name__}: {self.found}" if self.found else line)
        elif self.found is None:
            line = f"seed {self.seed}: {line}"
        elif self.left_out:
            line = (f"seed {self.seed} VOID after {line}: {type(self.found).__name__}: {self.found}\n  brokers left out markers of its transactions, "
                    f"so that nobody can know what should have come of them:\n    " + "\n    ".join(said[:400] for said in self.left_out))
        else:
            line = (f"seed {self.seed} FAILED after {line}: {type(self.found).__name__}: {self.found}\n"
                    f"  strikes: {'; '.join(self.strikes.told)}\n  all: {'; '.join(told_of_cluster)}\n  logs: {self.place}"
                    + "".join(f"\n  worker {w.number}, at last:\n{w.last_lines()}" for w in self.workers))
        print(line, flush=True)


def try_seeds(seeds, cluster, guarantee="exactly_once", planted=None, shape=None):
    """Trials side by side; what was found, in the order of the seeds, None where nothing was."""
    trials, of_cluster = [Trial(seed, cluster, guarantee, planted, shape) for seed in seeds], None
    try:
        with concurrent.futures.ThreadPoolExecutor(len(trials) + 1) as side_by_side:
            def all_do(what):
                list(side_by_side.map(lambda trial: trial.step(lambda: what(trial)), trials))
            all_do(Trial.prepare)
            if not planted:
                of_cluster = ClusterStrikes(seeds[0], STRIKES_SECONDS, cluster)
                striking = side_by_side.submit(of_cluster.strike_all)
            all_do(Trial.disturb)
            if of_cluster is not None:
                striking.result()
            all_do(Trial.finish)
    finally:
        for trial in trials:
            trial.close()
    for trial in trials:
        trial.report(of_cluster.told if of_cluster else [])
    cluster.void += [trial.seed for trial in trials if trial.found and trial.left_out]
    return [None if trial.left_out else trial.found for trial in trials]


def see_planted(faults, cluster, first):
    """Each fault must be found by what it does: by one of its own kinds of finding, not by an accident of the trial."""
    unseen = []
    for fault in faults:
        for seed in range(first, first + PLANTED_SEEDS):
            found = try_seeds([seed], cluster, planted=fault)[0]
            if isinstance(found, Finding) and found.kind in FAULTS[fault][1]:
                break
        else:
            unseen.append(fault)
    if unseen:
        sys.exit(f"planted and not seen by what it does within {PLANTED_SEEDS} seeds each: {unseen}")
    print(f"seen: {', '.join(faults)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("SONDER_CHAOS_SEEDS", 4)), help="how many")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SONDER_CHAOS_SEED", 1)), help="the first one")
    parser.add_argument("--side-by-side", type=int, default=2, help="so many at a time, on the same brokers")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="of its own, killed and restarted one at a time")
    parser.add_argument("--guarantee", choices=("exactly_once", "at_least_once"), default="exactly_once")
    parser.add_argument("--flow", choices=ALL, help="this one, whichever the seed chooses")
    parser.add_argument("--planted", choices=[*FAULTS, "all"], help="with this fault in the workers, which must be seen")
    parser.add_argument("--name", default="chaos", help="of its brokers, for several runs at a time")
    asked = parser.parse_args()
    if asked.flow and (asked.planted or asked.guarantee != "exactly_once" and ALL[asked.flow] is PARKING):
        parser.error("planted faults are sought in plain, and parking has no right numbers but under exactly_once")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))  # brokers and workers end too
    cluster = Cluster(asked.brokers, f"{asked.name}-{asked.brokers}")
    try:
        if asked.planted:
            see_planted(FAULTS if asked.planted == "all" else [asked.planted], cluster, asked.seed)
            return
        seeds = range(asked.seed, asked.seed + asked.seeds)
        groups = [seeds[at:at + asked.side_by_side] for at in range(0, len(seeds), asked.side_by_side)]
        failed = [seed for group in groups
                  for seed, found in zip(group, try_seeds(group, cluster, asked.guarantee, shape=ALL.get(asked.flow))) if found]
    finally:
        cluster.close()
    aborted = (f"{len(cluster.void)} void, in which brokers left out markers: {cluster.void}; " if cluster.void else "") + (
        f"{len(cluster.operator.aborted)} hanging transactions that the brokers had left were aborted")
    if failed:
        sys.exit(f"{len(failed)} of {asked.seeds} seeds failed: {failed}; again: --brokers {asked.brokers} --guarantee {asked.guarantee} "
                 f"{f'--flow {asked.flow} ' if asked.flow else ''}--seed N --seeds 1, or with those that were beside it; {aborted}")
    if len(cluster.void) > asked.seeds * VOID_SHARE_MAX:
        sys.exit(f"{len(cluster.void)} of {asked.seeds} seeds say nothing; {aborted}")
    print(f"{asked.seeds} seeds, none failed; {aborted}")


if __name__ == "__main__":
    main()
