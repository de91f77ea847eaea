"""Joins what Google Benchmark, bench_flow.py and bench_kafka.py wrote into one table: bench_table.py FOLDER_IN FOLDER_OUT [NAME]."""
import datetime
import json
import os
import pathlib
import platform
import sys


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return 0


def quantity(value):
    """A number as people read it, with three or four digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def benchmarks(folder):
    """One row a benchmark: of its turns the middle one by CPU time."""
    for path in sorted(folder.glob("*.json")):
        text = path.read_text()
        turns = {}
        for b in json.loads(text)["benchmarks"] if text.strip() else []:
            if b.get("run_type") != "aggregate":
                turns.setdefault(b["name"].partition("/min_time:")[0], []).append(b)
        for name, of in turns.items():
            row = {"program": path.stem, "name": name}
            wrong = next((b for b in of if b.get("error_occurred")), None)
            if wrong:
                yield {**row, "error": wrong.get("error_message", "failed")}
                continue
            b = sorted(of, key=lambda turn: turn["cpu_time"])[len(of) // 2]
            counters = {k: v for k, v in b.items() if isinstance(v, (int, float)) and k not in (
                "family_index", "per_family_instance_index", "repetitions", "repetition_index", "threads", "iterations",
                "real_time", "cpu_time")}
            yield {**row, "time": b["real_time"], "cpu_time": b["cpu_time"], "unit": b["time_unit"],
                   "iterations": b["iterations"], "counters": counters}


def flow_result(folder):
    path = folder / "flow.result"
    return json.loads(path.read_text()) if path.exists() else None


def kafka_result(folder):
    path = folder / "kafka.result"
    return json.loads(path.read_text()) if path.exists() else {"goals": [], "rows": [], "left_out": []}


def goals(rows, flow):
    """What was asked for, with what was measured: (what, goal, measured, unit, whether it is met)."""
    cpu_ns = {r["name"]: r["cpu_time"] * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[r["unit"]] for r in rows if "error" not in r}
    counters = {r["name"]: r["counters"] for r in rows if "error" not in r}
    rates = {f["name"]: f["entries_per_second"] for f in flow["flows"]} if flow else {}

    def goal(what, limit, at_most, unit, measure):
        try:
            measured = measure()
        except KeyError:  # was left out by --filter, or failed
            return
        met = measured <= limit if at_most else measured >= limit
        yield {"what": what, "goal": limit, "goal_is": "at most" if at_most else "at least", "measured": measured, "unit": unit, "met": met}

    yield from goal("decode: times as fast as Avro C", 5, False, "x", lambda: cpu_ns["decode_avro_c"] / cpu_ns["decode_plan_same"])
    yield from goal("decode: time of a decoder by hand", 1.5, True, "x", lambda: cpu_ns["decode_plan_same"] / cpu_ns["decode_hand_written"])
    yield from goal("decode: allocations a record", 0, True, "", lambda: counters["decode_plan_same"]["allocations_per_record"])
    yield from goal("encode: times as fast as Avro C sets and encodes", 5, False, "x",
                    lambda: cpu_ns["encode_avro_c_set_and_encode"] / cpu_ns["encode_plan_same"])
    yield from goal("encode: allocations a record", 0, True, "", lambda: counters["encode_plan_same"]["allocations_per_record"])
    for what, limit, counter in (("host: three empty stages over decode and encode, a record", 25, "host_ns"),
                                 ("host: the same, a tenth refused", 25, "host_refusing_ns"),
                                 ("plugin boundary: one empty stage more, a record", 5, "boundary_ns")):
        yield from goal(what, limit, True, "ns", lambda counter=counter: counters["host_in_turns"][counter])
    yield from goal("lexicon scoring alone", 800_000, False, "texts/s", lambda: 1e9 / cpu_ns["lexicon_scoring"])
    yield from goal("quickstart flow", 60_000, False, "entries/s", lambda: rates["quickstart_flow"])
    yield from goal("quickstart flow, emotions off", 250_000, False, "entries/s", lambda: rates["quickstart_flow_fast"])
    if len(os.sched_getaffinity(0)) == 2:  # all processors against one
        yield from goal("quickstart flow: two threads against one", 1.8, False, "x",
                        lambda: rates["quickstart_flow"] / rates["quickstart_flow_one_thread"])


def markdown(machine, rows, flow, against, kafka):
    yield f"# Benchmarks on {machine['name']}"
    yield ""
    yield f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB; {machine['system']}; {machine['at']}"
    yield ""
    if machine["load_before"] > .5:
        yield f"The machine did other work too: its load was {machine['load_before']} before the first benchmark."
        yield ""
    if against:
        how = any("how" in g for g in against)
        yield "| what | goal | measured | |" + (" how |" if how else "")
        yield "|---|---:|---:|---|" + ("---|" if how else "")
        for g in against:
            yield (f"| {g['what']} | {g['goal_is']} {quantity(g['goal'])} {g['unit']} | {quantity(g['measured'])} {g['unit']} | "
                   f"{'' if g['met'] else 'short'} |" + (f" {g.get('how', '')} |" if how else ""))
        yield ""
    yield from kafka_markdown(kafka)
    if flow:
        yield f"Flow: {quantity(flow['entries'])} entries ({flow['texts']}), median of {len(flow['flows'][0]['runs'])} runs."
        yield ""
        yield "| flow | entries/s | runs |"
        yield "|---|---:|---|"
        for f in flow["flows"]:
            yield f"| {f['name']} | {quantity(f['entries_per_second'])} | {', '.join(quantity(r['entries_per_second']) for r in f['runs'])} |"
        yield ""
        for profile in flow["profiles"]:
            yield from profile_markdown(profile)
        if flow["perf"] != "used":
            yield f"Modules and functions are left out: {flow['perf']}."
            yield ""
    if rows:
        yield "| program | benchmark | time | CPU | counters |"
        yield "|---|---|---:|---:|---|"
    for r in rows:
        if "error" in r:
            yield f"| {r['program']} | {r['name']} | failed | | {r['error']} |"
            continue
        counters = ", ".join(f"{k} {quantity(v)}" for k, v in r["counters"].items())
        yield (f"| {r['program']} | {r['name']} | {quantity(r['time'])} {r['unit']} | "
               f"{quantity(r['cpu_time'])} {r['unit']} | {counters} |")


def kafka_markdown(kafka):
    for row in kafka["rows"]:
        figures = "; ".join(f"{name.replace('_', ' ')} {', '.join(quantity(v) for v in value) if isinstance(value, list) else quantity(value)}"
                            for name, value in row.items() if name != "what")
        yield f"- {row['what']}: {figures}"
    if kafka["rows"]:
        yield ""
    for out in kafka["left_out"]:
        yield f"Not measured: `{out['figure']}`: {out['why']}"
        yield ""


def profile_markdown(profile):
    yield f"## Where the time of {profile['flow']} goes"
    yield ""
    yield (f"{profile['seconds']:.2f} s on {profile['threads']} task threads, {profile['process_cpu_seconds']:.2f} s of CPU with the start. "
           f"Parts by the clock. Beside them, on a thread of its own, commits took {profile['commit_seconds']:.2f} s.")
    yield ""
    yield "| part | seconds of task threads | share | us an entry |"
    yield "|---|---:|---:|---:|"
    for row in profile["by_part"]:
        yield f"| {row['part']} | {row['seconds']:.3f} | {row['share']:.1%} | {row['microseconds_per_entry']:.2f} |"
    yield ""
    if "by_module" in profile:
        yield "| module | samples |"
        yield "|---|---:|"
        for row in profile["by_module"]:
            if row["share"] >= .005:
                yield f"| {row['module']} | {row['share']:.1%} |"
        yield ""
        yield "| function | module | samples |"
        yield "|---|---|---:|"
        for row in profile["by_function"]:
            yield f"| `{row.get('function', '?')}` | {row['module']} | {row['share']:.1%} |"
        yield ""


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    name = sys.argv[3] if len(sys.argv) > 3 else "bench"
    machine = {"name": platform.node(), "processor": processor(), "processors": len(os.sched_getaffinity(0)),
               "memory_gib": memory_gib(), "system": platform.platform(terse=True),
               "load_before": round(float(os.environ.get("SONDER_BENCH_LOAD", "0")), 2),
               "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")}
    rows, flow, kafka = list(benchmarks(source)), flow_result(source), kafka_result(source)
    against = list(goals(rows, flow)) + kafka["goals"]
    (target / f"{name}.json").write_text(
        json.dumps({"machine": machine, "goals": against, "flow": flow, "kafka": kafka, "benchmarks": rows}, indent=1) + "\n")
    (target / f"{name}.md").write_text("\n".join(markdown(machine, rows, flow, against, kafka)) + "\n")


if __name__ == "__main__":
    main()
