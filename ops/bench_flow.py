"""Times the quickstart flow, embedded log to embedded log, and says where its time goes. Called by ops/bench.

Writes SCRATCH/flow.result. The runs of a round follow each other, so that what else the machine does meets them alike.
"""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

TEXT_CHARACTERS = 150
FORMS = {  # what is timed: arguments of `sonder run`
    "quickstart_flow": [],
    "quickstart_flow_one_thread": ["--set", "run.threads=1"],
    "quickstart_flow_fast": ["--profile", "fast"],
}
PROFILED = ["quickstart_flow", "quickstart_flow_fast"]
FUNCTIONS_MAX = 25
SECONDS_MAX = 600  # of one run
SAMPLES_PER_SECOND = 997


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = pathlib.Path(options.scratch)
        self.made = self.scratch / "made"
        self.data = self.scratch / "data"
        secrets = self.scratch / "secrets"
        secrets.mkdir(mode=0o700)
        (secrets / "pseudonym.key").write_text(os.urandom(32).hex())
        self.environment = {**os.environ, "SONDER_SECRETS_DIR": str(secrets)}

    def sonder(self, *arguments, data=None):
        return [self.options.sonder, *arguments], {**self.environment, "SONDER_DATA_DIR": str(data or self.data)}

    def call(self, *arguments, data=None):
        command, environment = self.sonder(*arguments, data=data)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX)
        if done.returncode != 0:
            sys.exit(f"ops/bench: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def fill(self):
        """The topics, filled once; each run gets a copy. Answers what the texts are."""
        demo = ["demo", "--config", self.options.config, "--consenting", "1", "--quiet"]
        comments = pathlib.Path(self.options.data) / "goemotions" / "train.tsv"
        if not comments.is_file():
            self.call(*demo, "--entries", str(self.options.entries), data=self.made)
            return "made up"
        pieces = [line.split("\t")[0] for line in comments.read_text(encoding="utf-8").splitlines()]
        draw = random.Random(1)
        texts = self.scratch / "texts.jsonl"
        with texts.open("w", encoding="utf-8") as out:
            for _ in range(self.options.entries):
                text = draw.choice(pieces)
                while len(text) < TEXT_CHARACTERS:
                    text += " " + draw.choice(pieces)
                # Cut at a word near the length asked for.
                cut = text.rfind(" ", 0, TEXT_CHARACTERS + draw.randrange(-20, 21))
                out.write(json.dumps({"text": text[:cut] if cut > 0 else text}) + "\n")
        self.call(*demo, "--input", str(texts), "--details", data=self.made)
        texts.unlink()
        return "GoEmotions comments put together"

    def fresh(self):
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.made, self.data)

    def run(self, form):
        self.fresh()
        out = self.call("run", self.options.config, "--until-idle", "--json", "--quiet", *FORMS[form])
        summary = json.loads(out.strip().splitlines()[-1])
        return {"seconds": summary["seconds"], "entries_per_second": self.options.entries / summary["seconds"]}

    def profile(self, form, perf):
        """One run that is watched: what its metrics say of each stage, what perf says of modules and functions."""
        self.fresh()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        samples = self.scratch / "perf.data"
        command, environment = self.sonder("run", self.options.config, "--quiet", "--set", f"run.http_port={port}", *FORMS[form])
        if perf:
            command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", str(samples), "--", *command]
        worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            metrics, seconds = self.watch(worker, port)
        finally:
            # perf hands the signal on to the worker and ends with it.
            worker.send_signal(signal.SIGINT if perf else signal.SIGTERM)
            worker.communicate(timeout=SECONDS_MAX)
        made = {"flow": form, **by_part(metrics, seconds, self.options.entries)}
        if perf:
            made["by_module"] = report(samples, "dso")
            made["by_function"] = report(samples, "dso,sym")[:FUNCTIONS_MAX]
        return made

    def watch(self, worker, port):
        """The metrics once every entry is committed, and how long that took since the worker answered first."""
        answered = None
        until = time.monotonic() + SECONDS_MAX
        while time.monotonic() < until:
            if worker.poll() is not None:
                sys.exit(f"ops/bench: the worker ended with {worker.returncode}:\n{worker.communicate()[1][-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                    metrics = parse(page.read().decode())
                    answered = answered or time.monotonic()
            except OSError:
                metrics = []
            taken = sum(v for n, l, v in metrics if n == "sonder_records_in_total" and l == {"node": "journal", "port": "source"})
            if taken >= self.options.entries:
                return metrics, time.monotonic() - answered
            time.sleep(.05)
        sys.exit(f"ops/bench: the flow took longer than {SECONDS_MAX} s")


def parse(page):
    """(name, labels, value) of each line of Prometheus' text format."""
    made = []
    for line in page.splitlines():
        hit = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if hit:
            made.append((hit[1], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', hit[2] or "")), float(hit[3])))
    return made


def by_part(metrics, seconds, entries):
    """Seconds of each stage, source and sink in all task threads, and what of these threads' time remains.

    By the clock: on a machine that does other work, what they wait for a processor counts too.
    """
    threads = len(os.sched_getaffinity(0))
    parts = {}
    commits = 0
    for name, labels, value in metrics:
        if name == "sonder_stage_duration_seconds_sum":
            part = " ".join(filter(None, [labels.get("node"), labels.get("port")]))
            parts[part] = parts.get(part, 0) + value
        elif name == "sonder_epoch_duration_seconds_sum":
            commits += value
    rows = [{"part": part, "seconds": spent} for part, spent in parts.items() if spent > 0]
    rows.append({"part": "the rest: host, log, waiting", "seconds": max(0, threads * seconds - sum(r["seconds"] for r in rows))})
    for row in rows:
        row["share"] = row["seconds"] / (threads * seconds)
        row["microseconds_per_entry"] = row["seconds"] * 1e6 / entries
    rows.sort(key=lambda r: -r["seconds"])
    cpu = next((v for n, _, v in metrics if n == "process_cpu_seconds_total"), None)
    return {"seconds": seconds, "threads": threads, "process_cpu_seconds": cpu, "commit_seconds": commits, "entries": entries, "by_part": rows}


def report(samples, keys):
    """perf's report as rows of share and names, largest first."""
    done = subprocess.run(["perf", "report", "-i", str(samples), "--stdio", "-q", "--no-children", "-g", "none", "--sort", keys,
                           "-w", "0,0", "-F", "overhead," + keys], capture_output=True, text=True, timeout=SECONDS_MAX)
    rows = []
    for line in done.stdout.splitlines():
        hit = re.match(r"\s*([0-9.]+)%\s+(\S+)(?:\s+\[[.k]\]\s+(.*))?", line)
        if hit:
            rows.append({"share": float(hit[1]) / 100, "module": hit[2], **({"function": hit[3].strip()} if hit[3] else {})})
    return sorted(rows, key=lambda r: -r["share"])


def why_no_perf(scratch):
    """Empty where perf can sample here."""
    if shutil.which("perf") is None:
        return "perf is not installed (Debian: linux-perf)"
    probe = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", str(pathlib.Path(scratch) / "probe.data"), "true"],
                           capture_output=True, text=True)
    return "" if probe.returncode == 0 else "perf may not sample here (kernel.perf_event_paranoid?)"


def main():
    parser = argparse.ArgumentParser()
    for name in ("sonder", "config", "data", "scratch"):
        parser.add_argument("--" + name, required=True)
    for name in ("entries", "rounds"):
        parser.add_argument("--" + name, type=int, required=True)
    options = parser.parse_args()
    bench = Bench(options)
    say(f"quickstart_flow: {options.entries} entries")
    texts = bench.fill()
    runs = {form: [] for form in FORMS}
    for _ in range(options.rounds):
        for form in FORMS:
            runs[form].append(bench.run(form))
            say(f"{form}: {runs[form][-1]['entries_per_second']:,.0f} entries/s")
    missing = why_no_perf(options.scratch)
    made = {
        "texts": texts,
        "entries": options.entries,
        "flows": [{"name": form, "entries_per_second": statistics.median(r["entries_per_second"] for r in of), "runs": of}
                  for form, of in runs.items()],
        "profiles": [bench.profile(form, not missing) for form in PROFILED],
        "perf": missing or "used",
    }
    (bench.scratch / "flow.result").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
