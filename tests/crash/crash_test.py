#!/usr/bin/env python3
"""Kills workers on the embedded log and holds what is left against an oracle that knows nothing of the worker's code.

Each seed makes events and consents, then runs worker processes on them that die by SIGKILL: at a named step of a commit, or after a
random time. A last one runs to the end. Then:
  - each event whose subject had agreed before it is in the output once, nothing else is, per subject in order, and the running
    count that the stage `tally` keeps in its store numbers the subject's entries 1, 2, 3 ... without gap or repeat;
  - each row that `remind` asked to have again was offered as often as it asked, and came out, or was buried, once;
  - each fifth entry of a subject emitted one row, and each timer whose time came in its partition fired once; the others are set;
  - so did each alarm that the workers' own clock has reached, while one of them ran or between two;
  - each third seed has a journal that is keyed by another rule than the flow's, and whose events wish for nothing;
  - the stores, with timers and parked rows, and the consumed offsets equal those of one run that nothing disturbed.
SONDER_CRASH_SEEDS (default 200) says how many seeds, SONDER_CRASH_SEED the first. A failing seed is printed and reproduces.
"""
import collections, json, os, random, shutil, subprocess, sys, tempfile, time

BUILD = os.environ["SONDER_BUILD_DIR"]
SOURCE = os.environ["SONDER_SOURCE_DIR"]
WORKER = os.path.join(BUILD, "tests", "crash_worker")
STEPS = ["begin", "assigned", "written", "visible"]  # of maintenance, in which no epoch takes part: embedded_log_crash_test
FLOW, REKEYED = (os.path.join(SOURCE, "tests", "crash", name) for name in ("flow.yaml", "rekey_flow.yaml"))
SEEDS_FOR_EACH_STEP = 10 * len(STEPS)
ATTEMPTS_MAX, MILESTONE = 4, 5  # as in flow.yaml
# What workers take for the time, in ms, when they start: `finish` comes an hour later.
RUN_CLOCK, FINISH_CLOCK = 1_000_000, 1_000_000 + 3_600_000


def worker(*args, check=True):
    done = subprocess.run([WORKER, *args], capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"crash_worker {args[0]}: exit {done.returncode}: {done.stderr}")
    return done


def make_input(rng, folder, wishes):
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
    events = [{"event_id": f"e{i}", "subject_id": rng.choice(subjects), "at": 10_000 + i, "n": i, "wish": make_wish(rng) if wishes else ""}
              for i in range(rng.randint(200, 1500))]
    for name, rows in (("events", events), ("consents", consents)):
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in rows)
    return events, agreed


def make_wish(rng):
    """What an event asks of the stage `remind`: mostly nothing."""
    kind = rng.random()
    if kind < 0.02:
        return f"retry {rng.randint(1, ATTEMPTS_MAX - 1)}"
    if kind < 0.025:
        return "retry"  # for ever: it is buried after the last attempt
    if kind < 0.15:
        return f"remind {rng.randint(0, 1500)}"
    if kind < 0.2:  # mostly in the time of the workers that are killed
        return f"alarm {RUN_CLOCK + rng.choice([rng.randint(0, 60), rng.randint(0, 60), 1_800_000, 1_000_000_000])}"
    return ""


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def check(seed, events, agreed, got, undisturbed):
    expected = [e for e in events if e["subject_id"] in agreed]
    topics = {}
    for record in sorted((r for r in got if "topic" in r), key=lambda r: (r["partition"], r["offset"])):
        topics.setdefault(record["topic"], []).append(record)
    check_outputs(seed, expected, [r["value"] for r in topics.get("out", [])])
    check_milestones(seed, expected, topics.get("milestones", []))
    check_parked(seed, expected, topics, stored(got, "remind.asked"))
    check_reminders(seed, events, expected, topics, stored(got, "remind.~timers"))
    assert not stored(got, "remind.~parked"), f"seed {seed}: rows are parked still"
    for kind in ("store", "consumed"):
        mine, theirs = ([r for r in rows if kind in r] for rows in (got, undisturbed))
        assert mine == theirs, f"seed {seed}: {kind} differs from the undisturbed run"


def stored(got, name):
    return {bytes.fromhex(r["key"]): bytes.fromhex(r["value"]) for r in got if r.get("store") == name}


def check_outputs(seed, expected, out):
    passing = [e for e in expected if e["wish"] != "retry"]
    assert sorted(v["event_id"] for v in out) == sorted(e["event_id"] for e in passing), \
        f"seed {seed}: {len(out)} outputs ({len({v['event_id'] for v in out})} distinct), {len(passing)} expected"
    for subject in {e["subject_id"] for e in expected}:
        mine = [e for e in expected if e["subject_id"] == subject]
        assert [(v["event_id"], v["count"]) for v in out if v["subject_id"] == subject] == \
            [(e["event_id"], i) for i, e in enumerate(mine, 1) if e["wish"] != "retry"], f"seed {seed}: order or counts of {subject}"


def check_milestones(seed, expected, emitted):
    events = collections.Counter(e["subject_id"] for e in expected)
    assert sorted((r["value"]["subject_id"], r["value"]["count"]) for r in emitted) == \
        sorted((s, n) for s, most in events.items() for n in range(MILESTONE, most + 1, MILESTONE)), f"seed {seed}: emitted rows"


def check_parked(seed, expected, topics, asked):
    wishes = {e["event_id"]: e["wish"] for e in expected if e["wish"].startswith("retry")}
    offered = {i.encode(): str(ATTEMPTS_MAX if w == "retry" else int(w[6:]) + 1).encode() for i, w in wishes.items()}
    assert asked == offered, f"seed {seed}: rows were offered {asked}, expected {offered}"
    journal = {(r["partition"], r["offset"]): r["value"]["event_id"] for r in topics["journal"]}
    buried = sorted(journal[r["value"]["partition"], r["value"]["offset"]] for r in topics.get("dead_letter", []))
    assert buried == sorted(i for i, w in wishes.items() if w == "retry"), f"seed {seed}: buried are {buried}"


def check_reminders(seed, events, expected, topics, timers):
    partition = {r["value"]["event_id"]: r["partition"] for r in topics["journal"]}
    ends = {}
    for e in events:
        ends[partition[e["event_id"]]] = e["at"]
    wished = [(e["event_id"], e["at"] + int(e["wish"][7:])) for e in expected if e["wish"].startswith("remind")]
    alarms = [(e["event_id"], int(e["wish"][6:])) for e in expected if e["wish"].startswith("alarm")]
    due = sorted([(i, at) for i, at in wished if at <= ends[partition[i]]] + [(i, at) for i, at in alarms if at <= FINISH_CLOCK])
    fired = sorted((r["value"]["event_id"], r["value"]["at_ms"]) for r in topics.get("reminders", []))
    assert fired == due, f"seed {seed}: {len(fired)} timers fired, {len(due)} were due"
    waiting = sorted(value.decode() for key, value in timers.items() if key.startswith(b"t"))
    assert waiting == sorted([i for i, at in wished if at > ends[partition[i]]] + [i for i, at in alarms if at > FINISH_CLOCK]), \
        f"seed {seed}: timers that are set still"


def one_seed(seed, folder, killed):
    """Adds to `killed`, by the step at which a worker died."""
    rng = random.Random(seed)
    flow = REKEYED if seed % 3 == 0 else FLOW
    events, agreed = make_input(rng, folder, flow == FLOW)
    base, data, calm = (os.path.join(folder, n) for n in ("base", "data", "calm"))
    worker("prepare", flow, base, os.path.join(folder, "events.jsonl"), os.path.join(folder, "consents.jsonl"))
    shutil.copytree(base, data)
    shutil.copytree(base, calm)
    for _ in range(rng.randint(1, 4)):
        step = STEPS[seed % len(STEPS)] if rng.random() < 0.7 else "at random"
        if step != "at random":
            died = worker("run", flow, data, str(RUN_CLOCK), step, str(rng.randint(1, 8)), check=False).returncode
        else:
            process = subprocess.Popen([WORKER, "run", flow, data, str(RUN_CLOCK)], stderr=subprocess.DEVNULL)
            time.sleep(rng.random() * 0.2)
            process.kill()
            died = process.wait()
        assert died in (0, -9), f"seed {seed}: a worker ended with {died}"
        killed[step] += died == -9
    finished = [lines(worker("finish", flow, folder, str(FINISH_CLOCK)).stdout) for folder in (data, calm)]
    check(seed, events, agreed, *finished)


def main():
    first, count = int(os.environ.get("SONDER_CRASH_SEED", "1")), int(os.environ.get("SONDER_CRASH_SEEDS", "200"))
    killed = collections.Counter()
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(prefix="sonder-crash-") as folder:
            one_seed(seed, folder, killed)
        if sys.stderr.isatty():
            print(f"\rseed {seed}, {killed.total()} kills", end="", file=sys.stderr)
    # A schedule that never kills would prove nothing.
    assert killed.total() >= max(1, count // 4), f"only {killed.total()} kills in {count} seeds"
    if count >= SEEDS_FOR_EACH_STEP:
        assert all(killed[step] for step in STEPS), f"a step at which no worker died: {dict(killed)}"
    told = ", ".join(f"{n} {step}" if step == "at random" else f"{n} at {step}" for step, n in sorted(killed.items()))
    print(f"crash: {count} seeds from {first}, {killed.total()} workers killed ({told}), every effect once, "
          "state equal to an undisturbed run")


if __name__ == "__main__":
    main()
