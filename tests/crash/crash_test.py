#!/usr/bin/env python3
"""Kills workers on the embedded log and holds what is left against an oracle that knows nothing of the worker's code.

Each seed makes events and consents, then runs worker processes on them that die by SIGKILL: at a named step of a commit, or after a
random time. A last one runs to the end. Then:
  - each event whose subject had agreed before it is in the output once, nothing else is, per subject in order, and the running
    count that the stage `tally` keeps in its store numbers the subject's entries 1, 2, 3 ... without gap or repeat;
  - the stores and the consumed offsets equal those of one run that nothing disturbed.
SONDER_CRASH_SEEDS (default 200) says how many seeds, SONDER_CRASH_SEED the first. A failing seed is printed and reproduces.
"""
import json, os, random, shutil, subprocess, sys, tempfile, time

BUILD = os.environ["SONDER_BUILD_DIR"]
SOURCE = os.environ["SONDER_SOURCE_DIR"]
WORKER = os.path.join(BUILD, "tests", "crash_worker")
STEPS = ["begin", "assigned", "written", "visible"]
FLOW = os.path.join(SOURCE, "tests", "crash", "flow.yaml")


def worker(*args, check=True):
    done = subprocess.run([WORKER, *args], capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"crash_worker {args[0]}: exit {done.returncode}: {done.stderr}")
    return done


def make_input(rng, folder):
    """Subjects, a decision or two for each, and events around them; decisions lie before all events that they allow or refuse."""
    subjects = [f"subject-{i}" for i in range(rng.randint(5, 40))]
    consents, agreed = [], set()
    for s in subjects:
        first = rng.choice(["granted", "denied", None])
        if first is None:
            continue
        consents.append({"subject_id": s, "purpose": "ServicePersonalisation", "decision": first, "at": 1_000})
        if first == "granted":
            agreed.add(s)
            if rng.random() < 0.2:
                consents.append({"subject_id": s, "purpose": "ServicePersonalisation", "decision": "withdrawn", "at": 2_000})
                agreed.discard(s)
    events = [{"event_id": f"e{i}", "subject_id": rng.choice(subjects), "at": 10_000 + i, "n": i}
              for i in range(rng.randint(200, 2500))]
    for name, rows in (("events", events), ("consents", consents)):
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in rows)
    return events, agreed


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def check(seed, events, agreed, got, undisturbed):
    expected = [e for e in events if e["subject_id"] in agreed]
    out = [r for r in got if r.get("topic") == "out"]
    by_subject = {}
    for record in sorted(out, key=lambda r: (r["partition"], r["offset"])):
        by_subject.setdefault(record["value"]["subject_id"], []).append(record["value"])
    ids = sorted(r["value"]["event_id"] for r in out)
    assert ids == sorted(e["event_id"] for e in expected), \
        f"seed {seed}: {len(ids)} outputs ({len(set(ids))} distinct), {len(expected)} expected"
    for subject, values in by_subject.items():
        assert [v["event_id"] for v in values] == [e["event_id"] for e in expected if e["subject_id"] == subject], \
            f"seed {seed}: order of {subject}"
        assert [v["count"] for v in values] == list(range(1, len(values) + 1)), f"seed {seed}: counts of {subject}"
    for kind in ("store", "consumed"):
        mine, theirs = ([r for r in rows if kind in r] for rows in (got, undisturbed))
        assert mine == theirs, f"seed {seed}: {kind} differs from the undisturbed run"


def one_seed(seed, folder):
    rng = random.Random(seed)
    events, agreed = make_input(rng, folder)
    base, data, calm = (os.path.join(folder, n) for n in ("base", "data", "calm"))
    worker("prepare", FLOW, base, os.path.join(folder, "events.jsonl"), os.path.join(folder, "consents.jsonl"))
    shutil.copytree(base, data)
    shutil.copytree(base, calm)
    kills = 0
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.7:
            died = worker("run", FLOW, data, STEPS[seed % len(STEPS)], str(rng.randint(1, 4)), check=False).returncode
        else:
            process = subprocess.Popen([WORKER, "run", FLOW, data], stderr=subprocess.DEVNULL)
            time.sleep(rng.random() * 0.2)
            process.kill()
            died = process.wait()
        assert died in (0, -9), f"seed {seed}: a worker ended with {died}"
        kills += died == -9
    worker("run", FLOW, data)
    worker("run", FLOW, calm)
    check(seed, events, agreed, lines(worker("dump", FLOW, data).stdout), lines(worker("dump", FLOW, calm).stdout))
    return kills


def main():
    first, count = int(os.environ.get("SONDER_CRASH_SEED", "1")), int(os.environ.get("SONDER_CRASH_SEEDS", "200"))
    kills = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(prefix="sonder-crash-") as folder:
            kills += one_seed(seed, folder)
        if sys.stderr.isatty():
            print(f"\rseed {seed}, {kills} kills", end="", file=sys.stderr)
    # A schedule that never kills would prove nothing.
    assert kills >= max(1, count // 4), f"only {kills} kills in {count} seeds"
    print(f"crash: {count} seeds from {first}, {kills} workers killed, every effect once, state equal to an undisturbed run")


if __name__ == "__main__":
    main()
