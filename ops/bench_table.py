"""Joins what Google Benchmark and `sonder run --json` wrote into one table: bench_table.py FOLDER_IN FOLDER_OUT."""
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
    for path in sorted(folder.glob("*.json")):
        text = path.read_text()
        for b in json.loads(text)["benchmarks"] if text.strip() else []:
            if b.get("run_type") == "aggregate":
                continue
            row = {"program": path.stem, "name": b["name"]}
            if b.get("error_occurred"):
                yield {**row, "error": b.get("error_message", "failed")}
                continue
            counters = {k: v for k, v in b.items() if isinstance(v, (int, float)) and k not in (
                "family_index", "per_family_instance_index", "repetitions", "repetition_index", "threads", "iterations",
                "real_time", "cpu_time")}
            yield {**row, "time": b["real_time"], "cpu_time": b["cpu_time"], "unit": b["time_unit"],
                   "iterations": b["iterations"], "counters": counters}


def flows(folder):
    for path in sorted(folder.glob("*.flow")):
        summary = json.loads(path.read_text().strip().splitlines()[-1])
        yield {"name": path.stem, "summary": summary}


def find(value, key):
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        hit = find(item, key)
        if hit is not None:
            return hit
    return None


def markdown(machine, rows, runs):
    yield f"# Benchmarks on {machine['name']}"
    yield ""
    yield f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB; {machine['system']}; {machine['at']}"
    yield ""
    if runs:
        yield "| flow | records in | seconds | records/s |"
        yield "|---|---:|---:|---:|"
        for r in runs:
            records, seconds = find(r["summary"], "records_in"), find(r["summary"], "seconds")
            rate = records / seconds if records and seconds else 0
            yield f"| {r['name']} | {quantity(records or 0)} | {quantity(seconds or 0)} | {quantity(rate)} |"
        yield ""
    yield "| program | benchmark | time | CPU | counters |"
    yield "|---|---|---:|---:|---|"
    for r in rows:
        if "error" in r:
            yield f"| {r['program']} | {r['name']} | failed | | {r['error']} |"
            continue
        counters = ", ".join(f"{k} {quantity(v)}" for k, v in r["counters"].items())
        yield (f"| {r['program']} | {r['name']} | {quantity(r['time'])} {r['unit']} | "
               f"{quantity(r['cpu_time'])} {r['unit']} | {counters} |")


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    machine = {"name": platform.node(), "processor": processor(), "processors": len(os.sched_getaffinity(0)),
               "memory_gib": memory_gib(), "system": platform.platform(terse=True),
               "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")}
    rows, runs = list(benchmarks(source)), list(flows(source))
    (target / "bench.json").write_text(json.dumps({"machine": machine, "flows": runs, "benchmarks": rows}, indent=1) + "\n")
    (target / "bench.md").write_text("\n".join(markdown(machine, rows, runs)) + "\n")


if __name__ == "__main__":
    main()
