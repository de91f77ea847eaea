"""The figures on Kafka: what a worker costs, how fast it is back, what it adds, each beside something else in one run against one
broker. Called by ops/bench --kafka.

Writes SCRATCH/kafka.result. Runs that are compared take turns, so that what else the machine does meets them alike; between figures
the broker's data are wiped.
"""
import argparse
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import time

from bench_kafka_rig import Failed, NotHere, Rig, call, cpu_seconds, memory_mib, say

TEXT_CHARACTERS = 150
GUARANTEES = ("exactly_once", "at_least_once")


def median(runs, name):
    return statistics.median(r[name] for r in runs)


def shown(run):
    return f"{run['records_per_second']:,.0f} records/s, {run['cpu_seconds_per_million']:.2f} CPU-s/M, {run['peak_rss_mib']:.0f} MiB"


class Bench:
    def __init__(self, options):
        self.options = options
        self.root = pathlib.Path(__file__).resolve().parent.parent
        self.scratch = pathlib.Path(options.scratch)
        self.rig = Rig(self.root, pathlib.Path(options.build), self.scratch)
        self.flows = self.root / "ops" / "bench_flows"
        self.goals = []
        self.rows = []
        self.left_out = []
        self.texts = None

    # --- what comes out ---

    def goal(self, what, limit, at_most, unit, measured, how):
        self.goals.append({"what": what, "goal": limit, "goal_is": "at most" if at_most else "at least", "measured": measured, "unit": unit,
                           "met": measured <= limit if at_most else measured >= limit, "how": how})
        say(f"{what}: {measured:.3g} {unit} (goal {'at most' if at_most else 'at least'} {limit:g})")

    def row(self, what, **figures):
        self.rows.append({"what": what, **figures})

    # --- what goes in ---

    def fill(self, config, entries, *arguments):
        """Journal entries of about 150 characters, of people who all consent, by what `config` calls its topics."""
        comments = pathlib.Path(self.options.data) / "goemotions" / "train.tsv"
        began = time.monotonic()
        if comments.is_file():
            if self.texts is None or self.texts[1] < entries:
                self.texts = (self.scratch / "texts.jsonl", entries)
                self.write_texts(comments, *self.texts)
            texts = self.texts[0]
            if self.texts[1] > entries:
                texts = self.scratch / "fewer.jsonl"
                with self.texts[0].open(encoding="utf-8") as all_of_them, texts.open("w", encoding="utf-8") as out:
                    out.writelines(line for _, line in zip(range(entries), all_of_them))
            self.rig.demo(config, "--input", texts, "--details", *arguments)
        else:
            self.rig.demo(config, "--entries", str(entries), *arguments)
        say(f"{entries:,} entries written in {time.monotonic() - began:.1f} s")

    def write_texts(self, comments, path, entries):
        pieces = [line.split("\t")[0] for line in comments.read_text(encoding="utf-8").splitlines()]
        draw = random.Random(1)
        quoted = []
        for _ in range(min(entries, 100_000)):
            text = draw.choice(pieces)
            while len(text) < TEXT_CHARACTERS:
                text += " " + draw.choice(pieces)
            cut = text.rfind(" ", 0, TEXT_CHARACTERS + draw.randrange(-20, 21))
            quoted.append(json.dumps({"text": text[:cut] if cut > 0 else text}) + "\n")
        with path.open("w", encoding="utf-8") as out:
            for i in range(entries):
                out.write(quoted[i % len(quoted)])

    # --- figures ---

    def copy(self):
        """Decode, consent, encode against librdkafka alone."""
        entries = self.options.entries
        self.rig.fresh()
        self.fill(self.flows / "copy.yaml", entries // 4)
        for _ in range(2):  # librdkafka is faster at it; nothing here minds an entry that comes again
            self.rig.program("bare_copy", self.rig.kafka, "journal", "journal", "at_least_once")
        entries = entries // 4 * 4
        runs = {(who, guarantee): [] for guarantee in GUARANTEES for who in ("bare", "worker")}
        for turn in range(self.options.rounds):
            for guarantee in GUARANTEES:
                out = f"copied_{turn}_{guarantee}"
                worker = self.rig.worker(self.flows / "copy.yaml", "--set", f"log.guarantee={guarantee}", SONDER_BENCH_FLOW="flow-" + out,
                                         SONDER_BENCH_OUT=out)
                broker = cpu_seconds(self.rig.broker_pid)
                try:
                    run = worker.measure(entries)
                finally:
                    worker.stop()
                run["broker_cpu_seconds"] = cpu_seconds(self.rig.broker_pid) - broker
                runs["worker", guarantee].append(run)
                say(f"worker, {guarantee}: {shown(run)}")
                # Into the topic that the worker made: of the same settings.
                broker = cpu_seconds(self.rig.broker_pid)
                run = self.rig.program("bare_copy", self.rig.kafka, "journal", out, guarantee, "100")
                run["broker_cpu_seconds"] = cpu_seconds(self.rig.broker_pid) - broker
                runs["bare", guarantee].append(run)
                say(f"bare copy, {guarantee}: {shown(run)}")
        for guarantee in GUARANTEES:
            bare, worker = runs["bare", guarantee], runs["worker", guarantee]
            for who, of in (("bare copy", bare), ("worker", worker)):
                self.row(f"{who}, {guarantee}", records_per_second=median(of, "records_per_second"),
                         cpu_seconds_per_million=median(of, "cpu_seconds_per_million"), peak_rss_mib=median(of, "peak_rss_mib"),
                         runs=[round(r["records_per_second"]) for r in of])
            self.goal(f"decode, consent, encode against a bare copy, {guarantee}", .7, False, "of its records/s",
                      median(worker, "records_per_second") / median(bare, "records_per_second"),
                      f"{entries:,} entries, commits every 100 ms; CPU-s per million: worker {median(worker, 'cpu_seconds_per_million'):.2f}, "
                      f"bare {median(bare, 'cpu_seconds_per_million'):.2f}")

    def quickstart(self):
        """The quickstart flow, exactly-once against at-least-once."""
        entries = self.options.entries // 2
        config = self.root / "config" / "quickstart.yaml"
        self.rig.fresh()
        self.fill(config, entries, "--profile", "kafka")
        runs = {guarantee: [] for guarantee in GUARANTEES}
        for turn in range(self.options.rounds):
            for guarantee in GUARANTEES if turn % 2 == 0 else reversed(GUARANTEES):
                name = f"quickstart_{turn}_{guarantee}"
                worker = self.rig.worker(config, "--profile", "kafka", "--set", f"flow={name}", "--set", f"topics.insight.topic={name}",
                                         "--set", f"log.guarantee={guarantee}", "--set", "run.commit_interval=100ms")
                try:
                    runs[guarantee].append(worker.measure(entries))
                finally:
                    worker.stop()
                say(f"quickstart, {guarantee}: {shown(runs[guarantee][-1])}")
        for guarantee, of in runs.items():
            self.row(f"quickstart, {guarantee}", records_per_second=median(of, "records_per_second"),
                     cpu_seconds_per_million=median(of, "cpu_seconds_per_million"), peak_rss_mib=median(of, "peak_rss_mib"),
                     runs=[round(r["records_per_second"]) for r in of])
        self.goal("quickstart flow, exactly-once against at-least-once", .9, False, "of its entries/s",
                  median(runs["exactly_once"], "records_per_second") / median(runs["at_least_once"], "records_per_second"),
                  f"{entries:,} entries, commits every 100 ms")

    def peer(self):
        """The job of Kafka Streams, on its topics and its data."""
        folder = pathlib.Path(self.options.peers) / "kstreams"
        if not (folder / "run.sh").is_file():
            raise NotHere(f"Kafka Streams: its job is not here ({folder}); name the folder of kstreams with SONDER_PEERS")
        peer = Peer(folder, self.root / "build" / "kafka" / "kstreams", pathlib.Path(self.options.data), self.options.events)
        peer.build()
        self.rig.fresh()
        for number, subject in ((1, "consent-value"), (2, "journal-value"), (3, "peer-value")):
            given = self.rig.register(subject, (folder / "schemas" / f"{number}.avsc").read_text())
            if given != number:
                raise Failed(f"the registry gave schema {number} of the peer id {given}, and its records say {number}")
        peer.load(self.rig.kafka)
        theirs, ours = [], []
        for turn in range(self.options.rounds):
            worker = self.rig.worker(self.flows / "peer.yaml", SONDER_BENCH_FLOW=f"peer_{turn}", SONDER_BENCH_OUT=f"insight_ours_{turn}")
            try:
                ours.append(worker.measure(peer.events))
            finally:
                worker.stop()
            say(f"worker: {shown(ours[-1]['second_half'])}")
            theirs.append(peer.run(self.rig.kafka))
            say(f"Kafka Streams: {shown(theirs[-1])}")
        half = [r["second_half"] for r in ours]
        for who, of in (("worker", half), ("Kafka Streams", theirs)):
            self.row(f"consent, anonymise, VADER: {who}", records_per_second=median(of, "records_per_second"),
                     cpu_seconds_per_million=median(of, "cpu_seconds_per_million"), peak_rss_mib=median(of, "peak_rss_mib"),
                     runs=[round(r["records_per_second"]) for r in of])
        how = (f"{peer.events:,} events, the second half of them, exactly-once, commits every 100 ms, ours by its defaults, theirs with {peer.threads} threads; with the start "
               f"ours took {median(ours, 'cpu_seconds_per_million'):.2f} CPU-s per million")
        for what, limit, at_most, unit, figure in (
                ("CPU-seconds", .25, True, "of its", "cpu_seconds_per_million"), ("memory", 1 / 3, True, "of its", "peak_rss_mib"),
                ("records/s", 2, False, "x", "records_per_second")):
            self.goal(f"the job of Kafka Streams: {what}", limit, at_most, unit, median(half, figure) / median(theirs, figure),
                      f"{how}: {median(half, figure):,.4g} against {median(theirs, figure):,.4g}")

    def recovery(self):
        """From kill -9 to the first committed output again, by the size of the store."""
        for keys in self.options.keys:
            self.rig.fresh()
            self.fill(self.flows / "copy.yaml", keys, "--subjects", str(keys))
            folder = self.scratch / f"kept-{keys}"
            out = f"copied_{keys}"

            def worker(**more):
                # Under a name that stays, so that the group need not wait for the session of the one that was killed.
                return self.rig.worker(self.flows / "copy.yaml", "--set", f"log.instance=recovered_{keys}", folder=folder, SONDER_BENCH_FLOW="flow-" + out,
                                       SONDER_BENCH_OUT=out, **more)

            watched = worker()
            watched.wait_for(keys)
            log = self.scratch / f"came-{keys}.txt"
            probe = self.rig.in_background("latency_probe", self.rig.kafka, "journal", out, "2000", "600", "0", str(log))
            gaps = []
            try:
                wait_for_lines(log, 20)
                for _ in range(self.options.kills):
                    time.sleep(2)
                    watched.end(signal.SIGKILL)
                    killed = time.monotonic()
                    watched = worker()
                    gaps.append(first_line_after(log, killed) - killed)
                    say(f"{keys:,} keys: output again {gaps[-1]:.2f} s after kill -9")
            finally:
                probe.terminate()
                probe.wait(timeout=120)
                watched.stop()
            self.row(f"kill -9 to output, {keys:,} keys", seconds=statistics.median(gaps), runs=[round(g, 2) for g in gaps])
            self.goal(f"kill -9 to the first committed output, {keys:,} keys", 1, True, "s", statistics.median(gaps),
                      f"started again at once, static membership, 2,000 records/s; {', '.join(f'{g:.2f}' for g in gaps)}")

    def restore(self):
        """Records a second from changelogs to an empty disk."""
        self.rig.fresh()
        out = call([self.rig.build / "bench" / "restore_rate", self.rig.kafka, str(self.options.entries * 2 / 1e6), "8", "1", "2"])
        rates = []
        for line in out.splitlines():
            say(line)
            rates.append(float(line.split(" s: ")[1].split(" ")[0]))
        self.goal("restore from an empty disk", 300_000, False, "changelog records/s", statistics.median(rates),
                  f"100-byte values, 8 partitions, {self.options.entries * 2:,} records")


    def latency(self):
        """What the worker adds to a record's way, at half of what it can take."""
        self.rig.fresh()
        entries = min(self.options.entries, 200_000)
        self.fill(self.flows / "copy.yaml", entries)
        # The first turns are for the broker's compiler: until it has met all of this for a minute, it takes more than a worker does.
        for guarantee, interval, limit in (("at_least_once", 1, None), ("exactly_once", 20, None),
                                           ("at_least_once", 1, 5), ("exactly_once", 20, 30), ("exactly_once", 100, 110)):
            out = f"copied_{guarantee}_{interval}" + ("" if limit else "_first")
            worker = self.rig.worker(self.flows / "copy.yaml", "--set", f"log.guarantee={guarantee}", "--set", f"run.commit_interval={interval}ms",
                                     SONDER_BENCH_FLOW="flow-" + out, SONDER_BENCH_OUT=out)
            try:
                worker.wait_for(entries)
                cpu = cpu_seconds(worker.pid), cpu_seconds(self.rig.broker_pid)
                made = self.rig.program("latency_probe", self.rig.kafka, "journal", out, str(self.options.load), *(("12", "4") if limit else ("30", "0")))
                cpu = cpu_seconds(worker.pid) - cpu[0], cpu_seconds(self.rig.broker_pid) - cpu[1]
                entries += made["written"]
            finally:
                worker.stop()
            say(f"latency, {guarantee}, commits every {interval} ms: {json.dumps(made)}; CPU-s of worker {cpu[0]:.1f}, of broker {cpu[1]:.1f}")
            if limit is None:
                continue
            self.row(f"latency added, {guarantee}, commits every {interval} ms", **{f"{q}_ms": v for q, v in made["added"].items()})
            self.goal(f"latency added, p99, {guarantee}, commits every {interval} ms", limit, True, "ms", made["added"]["p99"],
                      f"{made['records_per_second']:,} records/s, decode, consent from a table, encode; p50 {made['added']['p50']:.1f}; "
                      f"producer to consumer without a worker p99 {made['direct']['p99']:.1f}")

    def memory(self):
        """Memory of a worker under load, while another one comes and goes and the broker restarts."""
        self.rig.fresh()
        self.fill(self.flows / "copy.yaml", 200_000, "--subjects", "50000")
        seconds = self.options.minutes * 60
        environment = {"SONDER_BENCH_FLOW": "flow-long", "SONDER_BENCH_OUT": "copied_long"}
        lasting = self.rig.worker(self.flows / "copy.yaml", **environment)
        lasting.wait_for(200_000)
        rate = self.options.load
        probe = self.rig.in_background("latency_probe", self.rig.kafka, "journal", "copied_long", str(rate), str(seconds + 30))
        began, looks, others, restarts, other = time.monotonic(), [], 0, 0, None
        turn = max(10, min(60, seconds / 12))
        try:
            while (passed := time.monotonic() - began) < seconds:
                time.sleep(1)
                lasting.page()  # fails where it has ended
                looks.append((passed, memory_mib(lasting.pid)))
                due = int(passed / turn)
                if due > others:
                    others = due
                    if due % 6 == 4:
                        self.rig.restart_broker()
                        restarts += 1
                    elif other is None:
                        other = self.rig.worker(self.flows / "copy.yaml", **environment)
                    else:
                        other.stop(signal.SIGKILL if due % 4 == 2 else signal.SIGTERM)
                        other = None
        finally:
            probe.terminate()
            probe.wait(timeout=120)
            for worker in filter(None, (other, lasting)):
                worker.stop()
        first = max(m for at, m in looks if seconds / 3 < at <= 2 * seconds / 3)
        last = max(m for at, m in looks if at > 2 * seconds / 3)
        self.row("worker memory over a long run", minutes=self.options.minutes, middle_third_mib=first, last_third_mib=last)
        self.goal("worker memory over a long run: last third against the middle one", 1.05, True, "of its peak", last / first,
                  f"{self.options.minutes:g} minutes at {rate:,} records/s, {others - restarts} times another worker came or went, the broker restarted "
                  f"{restarts} times; peak {last:.0f} MiB")

class Peer:
    """../shared/peers/kstreams: built and run in a folder of ours."""

    threads = 2

    def __init__(self, folder, place, data, events):
        self.folder, self.place, self.data_folder, self.events = folder, place, data, events
        self.subjects = max(1000, events // 20)
        self.data = place / f"data-{events}-{self.subjects}-42"
        place.mkdir(parents=True, exist_ok=True)

    def java(self, *arguments, timeout=600):
        return call(["java", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp",
                     f"{self.place}/build/classes:{self.place}/build/libs/*", *arguments], timeout=timeout)

    def build(self):
        if not (self.place / "build" / "libs").is_dir():
            say("the peer is built")
            call(["mvn", "-B", "-q", f"-Dbuild.dir={self.place}/build", "-f", self.folder / "pom.xml", "package"])
        if not (self.data / "manifest.json").is_file():
            say(f"{self.events:,} events of the peer are made")
            self.java("peer.Gen", self.data, self.folder / "schemas", self.data_folder / "goemotions" / "train.tsv", self.events, self.subjects, 42, 4)

    def load(self, kafka):
        began = time.monotonic()
        self.java("peer.Load", kafka, "topics", 4)
        self.java("peer.Load", kafka, "data", self.data)
        say(f"{self.events:,} events loaded in {time.monotonic() - began:.1f} s")

    def run(self, kafka):
        """One run of its own run.sh, which also reads its output again and says what it should be."""
        environment = {**os.environ, "BOOTSTRAP": kafka, "SKIP_BUILD": "1", "SKIP_LOAD": "1", "WORKDIR": str(self.place),
                       "SHARED_DATA": str(self.data_folder), "N": str(self.events), "S": str(self.subjects),
                       "MODES": f"exactly_once_v2:{self.threads}:100"}
        out = call([self.folder / "run.sh"], env=environment)
        made = next(json.loads(line) for line in out.splitlines() if line.startswith("{"))
        return {"records_per_second": made["rps_second_half"], "cpu_seconds_per_million": made["cpu_s_per_million_second_half"],
                "peak_rss_mib": made["peak_rss_mib"]}


def wait_for_lines(log, count):
    until = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < count:
        if time.monotonic() > until:
            raise Failed("no output comes")
        time.sleep(.1)


def first_line_after(log, moment):
    """When output came first after a pause that holds `moment`: what the killed worker had committed is seen shortly after, too."""
    settled = moment + .15
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with log.open() as lines:
            times = [float(line.split()[0]) for line in lines if line.endswith("\n")]
        if after := [t for t in times if t > settled]:
            return after[0]
        time.sleep(.02)
    raise Failed("no output came for a minute after kill -9")


FIGURES = {"copy": Bench.copy, "peer": Bench.peer, "quickstart": Bench.quickstart, "recovery": Bench.recovery, "restore": Bench.restore,
           "latency": Bench.latency, "memory": Bench.memory}


def main():
    parser = argparse.ArgumentParser()
    for name in ("build", "data", "peers", "scratch", "figures"):
        parser.add_argument("--" + name, required=True)
    for name in ("entries", "events", "rounds", "kills", "load"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--keys", type=int, action="append", default=[])
    options = parser.parse_args()
    asked = options.figures.split(",") if options.figures else list(FIGURES)
    if unknown := [name for name in asked if name not in FIGURES]:
        sys.exit(f"ops/bench: no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    failed = False
    try:
        for name in asked:
            say(f"{name}: {FIGURES[name].__doc__}")
            try:
                FIGURES[name](bench)
            except (Failed, subprocess.TimeoutExpired, OSError) as why:
                say(f"{name} was not measured: {why}")
                bench.left_out.append({"figure": name, "why": str(why)})
                failed = failed or not isinstance(why, NotHere)
            finally:
                for worker in list(bench.rig.running):
                    worker.stop(signal.SIGKILL)
    finally:
        bench.rig.stop()
        (bench.scratch / "kafka.result").write_text(json.dumps({"goals": bench.goals, "rows": bench.rows, "left_out": bench.left_out}))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
