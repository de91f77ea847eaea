#!/usr/bin/env python3
"""Disturbs workers on a real Kafka and holds what is left against an oracle that knows nothing of their code.

A seed makes subjects, consents and a schedule. Two workers, sometimes three, run the flow beside this program while events keep coming and
the schedule strikes: SIGKILL, SIGSTOP for longer and for shorter than the session, SIGTERM, workers that join and leave, now and then
with an empty disk; with --brokers, brokers are killed and restarted too. In the end one worker runs until idle, and what independent
clients read (`read_committed`, Avro of their own) must show:
  - each event whose subject had agreed is in the output once, nothing else is, in order per subject;
  - the running count out of the store of `tally` numbers each subject's entries 1, 2, 3 ... without gap or repeat, so that the store
    never lost, repeated or resurrected anything over all restarts, restores and hand-overs;
  - no dead letters; the group's offsets stand at the end of the input.

  chaos_test.py [--seeds N] [--seed FIRST] [--brokers]     N: SONDER_CHAOS_SEEDS, else 6
A seed that fails is printed, with the schedule and where the workers' logs are.
"""
import argparse
import collections
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

BUILD = pathlib.Path(os.environ["SONDER_BUILD_DIR"])
FLOW = HERE / "flow.yaml"
PURPOSE = "ServicePersonalisation"
STRIKES_SECONDS = 8
SETTLED_SECONDS = 90


class Worker:
    """One place for a worker: its disk, and the process that runs there, if any does."""

    def __init__(self, place, number, env):
        self.number, self.env = number, env
        self.state = place / f"state-{number}"
        self.log = open(place / f"worker-{number}.log", "ab")
        self.process = None

    def start(self):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [BUILD / "bin" / "sonder", "run", FLOW, "--data-dir", self.state, "--quiet"],
                env=self.env, stdout=self.log, stderr=self.log)

    def send(self, what):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(what)

    def kill(self):
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def leave(self):
        """Drains as an operator would stop it; a worker that does not end in its time is a finding."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self.process is not None:
            assert self.process.wait(60) in (0, -signal.SIGKILL), f"worker {self.number} left with exit {self.process.returncode}"


class Trial:
    def __init__(self, seed, found, with_brokers):
        self.seed, self.rng, self.with_brokers = seed, random.Random(seed), with_brokers
        self.name = broker.name_of_its_own(f"chaos-{seed}")
        self.place = pathlib.Path(tempfile.mkdtemp(prefix=self.name))
        self.kafka, self.registry = broker.Kafka(found["SONDER_KAFKA"]), broker.Registry(found["SONDER_REGISTRY"])
        env = dict(os.environ, **found, SONDER_CHAOS=self.name, SONDER_CHAOS_PLUGINS=str(BUILD / "testing_plugins"))
        if with_brokers:
            env["SONDER_CHAOS_REPLICATION"] = "3"
        self.workers = [Worker(self.place, n, env) for n in range(3)]
        self.events, self.agreed, self.told, self.input_done = [], set(), [], threading.Event()
        self.failure = None

    # ---- input ----

    def subjects(self):
        return [f"subject-{i}" for i in range(self.rng.randint(5, 40))]

    def prepare(self):
        """The first worker makes topics and registers schemas; decisions are there before any event."""
        self.workers[0].start()
        subject_of = {t: f"{self.name}-{t}-value" for t in ("journal", "consent")}
        deadline = time.monotonic() + 60
        while True:
            try:
                self.schemas = {t: self.registry.ask(f"/subjects/{s}/versions/latest") for t, s in subject_of.items()}
                break
            except (AssertionError, OSError):
                assert time.monotonic() < deadline, "the first worker registers no schemas"
                assert self.workers[0].process.poll() is None, f"the first worker left with {self.workers[0].process.returncode}"
                time.sleep(0.2)
        everybody = self.subjects()
        decisions = []
        for s in everybody:
            first = self.rng.choice(["granted", "granted", "denied", None])
            if first is None:
                continue
            decisions.append((s, first, 1_000))
            if first == "granted":
                self.agreed.add(s)
                if self.rng.random() < 0.2:
                    decisions.append((s, "withdrawn", 2_000))
                    self.agreed.discard(s)
        self.write("consent", [(s, {"subject_id": s, "purpose": PURPOSE, "decision": d, "at": at}, at) for s, d, at in decisions])
        return everybody

    def write(self, topic, rows):
        """As any other program would: Confluent's framing, the subject's partition by Java's rule."""
        from confluent_kafka import Producer
        schema = json.loads(self.schemas[topic]["schema"])
        failed = []
        to = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        for subject, row, at in rows:
            to.produce(f"{self.name}-{topic}", broker.frame(self.schemas[topic]["id"], schema, filled(schema, row)),
                       key_of(topic, row), partition=broker.murmur2_partition(subject.encode(), 4), timestamp=at,
                       on_delivery=lambda e, _: failed.append(e) if e else None)
        assert to.flush(120) == 0 and not failed, failed[:3]

    def feed(self, everybody):
        try:
            for part in range(40):
                rows = []
                for _ in range(self.rng_feed.randint(5, 60)):
                    i = len(self.events)
                    e = {"event_id": f"e{i}", "subject_id": self.rng_feed.choice(everybody), "at": 10_000 + i, "n": i}
                    self.events.append(e)
                    rows.append((e["subject_id"], e, e["at"]))
                self.write("journal", rows)
                time.sleep(STRIKES_SECONDS / 40)
        except Exception as e:  # told by the main thread, which ends the trial
            self.failure = e
        self.input_done.set()

    # ---- disturbance ----

    def strike(self):
        w = self.rng.choice(self.workers)
        what = self.rng.choice(["kill", "kill", "stop", "stop long", "leave", "join", "wipe"] + ["broker"] * (2 * self.with_brokers))
        self.told.append(f"{time.monotonic() - self.began:.1f}s {what} {w.number}")
        if what == "kill":
            w.kill()
            time.sleep(self.rng.random())
            w.start()
        elif what in ("stop", "stop long"):
            w.send(signal.SIGSTOP)
            time.sleep(self.rng.uniform(0.2, 1.5) if what == "stop" else self.rng.uniform(4, 7))
            w.send(signal.SIGCONT)
        elif what == "leave":
            w.leave()
        elif what == "join":
            w.start()
        elif what == "wipe":
            w.kill()
            shutil.rmtree(w.state, ignore_errors=True)
            w.start()
        else:
            node = str(self.rng.randint(1, 3))
            how = self.rng.choice(["kill", "stop"])
            ops_kafka(how, "--node", node)
            time.sleep(self.rng.uniform(0.2, 3))
            ops_kafka("start", "--node", node)

    def run(self):
        everybody = self.prepare()
        self.rng_feed = random.Random(self.seed + 1)
        for w in self.workers[:2]:
            w.start()
        self.began = time.monotonic()
        feeder = threading.Thread(target=self.feed, args=(everybody,))
        feeder.start()
        while time.monotonic() - self.began < STRIKES_SECONDS:
            time.sleep(self.rng.uniform(0.1, 0.8))
            self.strike()
        feeder.join()
        if self.failure:
            raise self.failure
        for w in self.workers:
            w.leave()
        self.settle()
        self.check()

    def settle(self):
        last = self.workers[self.rng.randrange(3)]
        done = subprocess.run([BUILD / "bin" / "sonder", "run", FLOW, "--data-dir", last.state, "--until-idle", "--json",
                               "--log-level", "info"], env=last.env, capture_output=True, timeout=SETTLED_SECONDS)
        last.log.write(done.stderr)
        assert done.returncode == 0, f"the last worker left with exit {done.returncode}: {done.stderr.decode()[-500:]}"
        assert json.loads(done.stdout)["unbalanced"] == []

    # ---- the oracle ----

    def check(self):
        expected = [e for e in self.events if e["subject_id"] in self.agreed]
        records = sorted(self.kafka.read(f"{self.name}-out"), key=lambda r: (r.partition(), r.offset()))
        out = [broker.unframe(self.registry, r.value())[1] for r in records]
        seen = collections.Counter(v["event_id"] for v in out)
        wanted = {e["event_id"] for e in expected}
        assert not [i for i in seen if i not in wanted], f"out that should not be: {[i for i in seen if i not in wanted][:5]}"
        assert not [i for i, n in seen.items() if n > 1], f"twice: {[i for i, n in seen.items() if n > 1][:5]}"
        assert not wanted - seen.keys(), f"{len(wanted - seen.keys())} missing: {sorted(wanted - seen.keys())[:5]}"
        by_subject = collections.defaultdict(list)
        for v in out:
            by_subject[v["subject_id"]].append(v)
        for subject, mine in by_subject.items():
            order = [v["n"] for v in mine]
            assert order == sorted(order), f"{subject}: order lost: {order[:20]}"
            assert [v["count"] for v in mine] == list(range(1, len(mine) + 1)), f"{subject}: {[v['count'] for v in mine][:20]}"
        assert not self.kafka.read(f"{self.name}-dead-letter"), "dead letters"
        self.check_offsets()

    def check_offsets(self):
        from confluent_kafka import Consumer, TopicPartition
        group = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": self.name, "enable.auto.commit": False})
        try:
            for p in range(4):
                at = TopicPartition(f"{self.name}-journal", p)
                end = group.get_watermark_offsets(at, 30)[1]
                committed = group.committed([at], 30)[0].offset
                assert committed == end or (committed < 0 and end == 0), f"journal[{p}]: committed {committed}, end {end}"
        finally:
            group.close()

    def close(self, keep):
        for w in self.workers:
            w.kill()
            w.log.close()
        if not keep:
            shutil.rmtree(self.place, ignore_errors=True)


def filled(schema, row):
    """The row with null in every field that it does not name."""
    return {f["name"]: row.get(f["name"]) if f["name"] in row else f.get("default") for f in schema["fields"]}


def key_of(topic, row):
    if topic == "journal":
        return row["subject_id"].encode()
    import fastavro
    import io
    out = io.BytesIO()
    for field in ("subject_id", "purpose"):
        fastavro.schemaless_writer(out, "string", row[field])
    return out.getvalue()


def ops_kafka(*args):
    """On brokers of the suite's own, whatever broker the rest of the tests has."""
    env = {name: value for name, value in os.environ.items() if name != "SONDER_KAFKA"}
    done = subprocess.run([HERE.parent.parent / "ops" / "kafka", *args, "--name", "chaos"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"ops/kafka {args}: {done.stderr}"
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("SONDER_CHAOS_SEEDS", 6)))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SONDER_CHAOS_SEED", 1)))
    parser.add_argument("--brokers", action="store_true", help="three brokers of its own, killed and restarted as well")
    asked = parser.parse_args()
    found = broker.of_this_run()
    if asked.brokers:
        ops_kafka("start", "--nodes", "3")
        found["SONDER_KAFKA"] = ops_kafka("address")
    failed = []
    for seed in range(asked.seed, asked.seed + asked.seeds):
        trial, began = Trial(seed, found, asked.brokers), time.monotonic()
        try:
            trial.run()
            print(f"seed {seed}: {len(trial.events)} events, {len(trial.told)} strikes, {time.monotonic() - began:.0f} s", flush=True)
        except (AssertionError, subprocess.TimeoutExpired) as e:
            failed.append(seed)
            print(f"seed {seed} FAILED: {e}\n  strikes: {'; '.join(trial.told)}\n  logs: {trial.place}", flush=True)
        finally:
            trial.close(keep=seed in failed)
    if asked.brokers:
        ops_kafka("wipe")
    if failed:
        sys.exit(f"{len(failed)} of {asked.seeds} seeds failed: {failed}; again: --seed N --seeds 1")


if __name__ == "__main__":
    main()
