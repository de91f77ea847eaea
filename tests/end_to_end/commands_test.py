#!/usr/bin/env python3
"""Each command as people use it: help, examples, exit codes, and beside a worker that runs."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

from place import BUILD, QUICKSTART, ROOT, SONDER, Place, free_port, get, main, wait

COMMANDS = ["run", "validate", "test", "inspect", "produce", "consume", "topics", "group", "reset", "schemas", "schemas list", "schemas show",
            "schemas check", "try", "demo", "version", "completion", "completion bash"]
SCREEN_LINES = 40


def specified_metrics():
    """The table of metrics.md: name -> type, labels with the values that they may have (none: any), bound, meaning."""
    out = {}
    for line in (ROOT / "pipeline/observe/metrics.md").read_text().splitlines():
        if line.startswith("| sonder_"):
            name, kind, labels, series, _, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            out[name] = {"type": kind, "series": int(series), "help": meaning,
                         "labels": {label: values.split(", ") if values else []
                                    for label, values in re.findall(r"(\w+)(?: \[([^\]]*)\])?", labels)}}
    return out


class Exposition:
    """Prometheus' text format: of each metric its type, help and the label sets that it is shown with."""

    def __init__(self, text):
        self.types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
        self.helps = dict(re.findall(r"^# HELP (\w+) (.*)$", text, re.M))
        self.series = {}
        for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.M):
            of = next((name[:-len(end)] for end in ("_bucket", "_sum", "_count")
                       if name.endswith(end) and self.types.get(name[:-len(end)]) == "histogram"), name)
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
            self.series.setdefault(of, set()).add(tuple(pair for pair in pairs if of == name or pair[0] != "le"))


class CommandsTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)

    def test_each_help_fits_a_screen_and_ends_with_an_example(self):
        for command in COMMANDS:
            text = self.place.run(*command.split(), "--help").stdout.rstrip()
            with self.subTest(command=command):
                self.assertLessEqual(len(text.splitlines()), SCREEN_LINES)
                self.assertRegex(text, r"Example:\n  .*sonder [^\n]*$")

    def test_the_examples_work(self):
        build = BUILD.relative_to(ROOT) if BUILD.is_relative_to(ROOT) else BUILD
        self.place.run("demo", "--config", QUICKSTART, "--entries", 20, "--quiet")
        entries = self.place.folder / "entries.csv"  # the reader's own
        entries.write_text("event_id,subject_id,at,body\ne1,ana,2026-01-05T10:00:00Z,I slept well.\n")
        for command in COMMANDS:
            text = self.place.run(*command.split(), "--help").stdout.rstrip()
            example = text.splitlines()[-1].strip().replace("build/release", str(build))
            example = re.sub(r"\bsonder (?=[a-z])", f"{SONDER} ", example).replace("entries.csv", str(entries))
            done = subprocess.run(["bash", "-c", example], capture_output=True, text=True, cwd=ROOT, timeout=120,
                                  env=self.place.environment)
            with self.subTest(command=command):
                self.assertEqual(done.returncode, 0, example + "\n" + done.stderr)

    def test_exit_codes_are_those_of_the_readme(self):
        self.place.run("run", expect=2)
        self.place.run("no-such-command", expect=2)
        self.place.run("validate", "no/such.yaml", expect=3)
        said = self.place.run("validate", QUICKSTART, "--set", "sinks={}", "--set", "topics.journal.role=nothing", expect=1).stdout
        self.assertEqual(said.splitlines()[1:], [f"{QUICKSTART}: plugins, fields and labels are checked once this is mended"])
        self.place.run("produce", "journal", "--map", "text", "--config", QUICKSTART, expect=2)
        self.place.run("run", QUICKSTART, "--log-level", "loud", expect=2)
        self.place.run("try", BUILD / "plugins/sentiment.so", "--port", "nope", stdin='{"text": "a"}\n', expect=3)
        self.place.run("run", "no/such.yaml", expect=3)
        self.place.run("inspect", "no/such.so", expect=3)
        self.place.run("topics", "--data-dir", self.place.folder / "empty", expect=3)
        self.place.run("schemas", "show", "consnt", "--dir", "schemas", expect=3)
        self.place.run("demo", "--input", "no/such.csv", expect=3)
        self.place.run("produce", "journal", "no/such.jsonl", "--config", QUICKSTART, expect=3)

    def test_messages_name_the_nearest(self):
        said = self.place.run("schemas", "show", "consnt", "--dir", "schemas", expect=3).stderr
        self.assertIn('did you mean "consent"?', said)
        said = self.place.run("produce", "jornal", "--config", QUICKSTART, stdin="", expect=3).stderr
        self.assertIn('did you mean "journal"?', said)
        self.assertIn('did you mean "run"?', self.place.run("rnn", expect=2).stderr)
        self.place.run("demo", "--config", QUICKSTART, "--entries", 5, "--quiet")
        for where in (["--config", QUICKSTART], ["--data-dir", self.place.folder / "data"]):
            said = self.place.run("consume", "jornal", "--until-end", *where, expect=3).stderr
            self.assertIn('did you mean "journal"?', said)
            said = self.place.run("produce", "jornal", *where, stdin="", expect=3).stderr
            self.assertIn('did you mean "journal"?', said)

        for line, nearest in {("run", "--until-idel", QUICKSTART): "--until-idle", ("schemas", "lst"): "list", ("--versoin",): "--version"}.items():
            self.assertIn(f'did you mean "{nearest}"?', self.place.run(*line, expect=2).stderr)

    def test_what_an_option_cannot_mean_is_refused(self):
        for line in (("consume", "journal", "--max", 0), ("consume", "journal", "--max", -1), ("demo", "--seed", -1, "--print", "journal"),
                     ("demo", "--print", "journal", "--out", self.place.folder), ("demo", "--details", "--print", "journal")):
            with self.subTest(line=line):
                self.place.run(*line, expect=2)
        said = self.place.run("demo", "--purpose", "ServicePersonalization", "--config", QUICKSTART, expect=2).stderr
        self.assertIn('serves no such purpose; it serves ServicePersonalisation; did you mean "ServicePersonalisation"?', said)
        self.assertIn('"zsh" is none of: bash', self.place.run("completion", "zsh", expect=2).stderr)

    def test_help_is_a_command_too(self):
        self.assertEqual(self.place.run("help").stdout, self.place.run("--help").stdout)
        self.assertEqual(self.place.run("help", "schemas", "list").stdout, self.place.run("schemas", "list", "--help").stdout)

    def test_inspect_tells_what_leaves_the_flow(self):
        self.place.run("demo", "--config", QUICKSTART, "--entries", 20, "--consenting", 1, "--quiet")
        self.place.run("run", QUICKSTART, "--until-idle", "--quiet")
        written = list(self.place.records("insight")[0]["value"])
        shown = json.loads(self.place.run("inspect", QUICKSTART, "--json").stdout)
        [sink] = shown["sinks"]
        self.assertEqual(sink["from"], "sentiment.out")
        self.assertEqual([column["name"] for column in sink["columns"]], written)
        self.assertEqual([i["from"] for stage in shown["stages"] for i in stage["inputs"]],
                         ["journal", "consent", "consent.allowed", "anonymize.out"])
        row = self.place.run("inspect", QUICKSTART).stdout.split("fields of its records")[1].splitlines()[1]
        self.assertEqual(row.split()[:2], ["insight", "sentiment.out"])
        self.assertTrue(row.endswith("  " + ", ".join(written)), row)

    def test_what_was_made_is_said_in_one_line_and_in_the_singular_where_there_is_one(self):
        made = self.place.run("demo", "--config", QUICKSTART, "--entries", 1, "--subjects", 1).stderr
        self.assertEqual(made, "1 decision to topic consent, 1 entry to topic journal\n")
        made = self.place.run("demo", "--out", self.place.folder / "many", "--entries", 2000).stderr
        decisions = len((self.place.folder / "many/consent.jsonl").read_text().splitlines())
        self.assertEqual(made, f"{decisions:,} decisions to {self.place.folder}/many/consent.jsonl, "
                               f"2,000 entries to {self.place.folder}/many/journal.jsonl\n")
        self.assertEqual(self.place.run("demo", "--config", QUICKSTART, "--entries", 1, "--quiet").stderr, "")
        row = json.dumps({"event_id": "e", "subject_id": "s", "at": 1_700_000_000_000, "text": "x"}) + "\n"
        self.assertEqual(self.place.run("produce", "journal", "--config", QUICKSTART, stdin=row).stderr, "1 record to journal\n")
        refused = self.place.run("produce", "journal", "--config", QUICKSTART, stdin="nothing\n", expect=4).stderr
        self.assertRegex(refused, r"^sonder: standard input:1: ", "no count of nothing stands before the reason")

    def test_own_texts_get_people_and_times_and_nothing_else(self):
        notes = self.place.folder / "notes.csv"
        notes.write_text('body,age\n"I slept well.",31\n"",44\n"  ",45\n"A long day.",52\n')
        said = self.place.run("demo", "--config", QUICKSTART, "--input", notes, "--text", "body").stderr
        self.assertIn("2 texts as entries of 2 made-up people", said)
        self.assertIn("2 empty texts left out", said)
        self.assertIn("other columns are not read", said)
        entries = [r["value"] for r in self.place.records("journal")]
        self.assertEqual(sorted(e["text"] for e in entries), ["A long day.", "I slept well."])
        for entry in entries:
            self.assertEqual([k for k, v in entry.items() if v is not None], ["event_id", "subject_id", "at", "text", "practice"])
            self.assertEqual(entry["practice"], "other")  # the schema's word for what nobody said
        told = self.place.run("demo", "--input", notes, "--text", "body", "--details", "--print", "journal").stdout.splitlines()
        self.assertTrue(all(json.loads(line)["age"] for line in told))
        said = self.place.run("demo", "--input", self.place.folder / "notes.txt", "--config", QUICKSTART, expect=3).stderr
        self.assertIn("its name must end in .jsonl, .csv, .tsv or .avro\n", said)
        self.assertIn("say what it is with --format", self.place.run("produce", "journal", "notes.txt", "--config", QUICKSTART, expect=3).stderr)

    def test_what_run_would_miss_is_warned_of_and_nothing_is_made_without_a_secret(self):
        for setting, warning in {f"secrets.pseudonym_key.file={self.place.folder}/none": f"{self.place.folder}/none is not here, without which",
                                 f"plugins={self.place.folder}/none": "/none, which is no folder here"}.items():
            said = self.place.run("validate", QUICKSTART, "--set", setting).stdout
            self.assertRegex(said, "warning: .*" + re.escape(warning))
        self.place.run("run", QUICKSTART, "--set", f"secrets.pseudonym_key.file={self.place.folder}/none", expect=3)
        self.assertFalse((self.place.folder / "data").exists())
        said = self.place.run("validate", QUICKSTART, "--set", "run.http_address=foo", expect=1).stdout
        self.assertIn('--set run.http_address: "http_address" of run must be an IPv4 or IPv6 address', said)
        said = self.place.run("run", QUICKSTART, "--set", "run.http_port=0", "--set", "run.http_address=192.0.2.1", expect=3).stderr
        self.assertIn("sonder: HTTP server cannot listen on 192.0.2.1:0: this machine has no such address; "
                      "set run.http_address to one of its own, or to 0.0.0.0 for all", said.splitlines())
        self.assertIn("--set log.kind: log needs \"bootstrap\"", self.place.run("validate", QUICKSTART, "--set", "log.kind=kafka", expect=1).stdout)

    def test_a_quiet_topic_is_left_once_nobody_reads(self):
        self.place.run("demo", "--config", QUICKSTART, "--entries", 5, "--quiet")
        reader = self.place.start("consume", "journal", "--config", QUICKSTART)
        reader.stdout.close()
        self.assertEqual(reader.wait(30), 4)
        self.assertIn("nobody reads it any more", reader.stderr.read())
        reader.stderr.close()

    def test_the_version_is_told_in_both_ways(self):
        self.assertEqual(self.place.run("--version").stdout, self.place.run("version").stdout)

    def test_the_shipped_plugins_have_the_version_of_the_program(self):
        mine = json.loads(self.place.run("version", "--json").stdout)["version"]
        for plugin in sorted((BUILD / "plugins").glob("*.so")):
            with self.subTest(plugin=plugin.name):
                self.assertEqual(json.loads(self.place.run("inspect", "--json", plugin).stdout)["version"], mine)

    def test_output_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w") as full:
            for command in (["version"], ["topics", "--config", QUICKSTART], ["schemas", "list", "--dir", "schemas"], ["validate", QUICKSTART],
                            ["demo", "--print", "journal", "--entries", "20"], ["demo", "--print", "journal", "--entries", "2000"], ["--help"],
                            ["run", "--help"]):
                if command[0] == "topics":
                    self.place.run("demo", "--config", QUICKSTART, "--entries", 20, "--quiet")
                done = subprocess.run([SONDER, *map(str, command)], stdout=full, stderr=subprocess.PIPE, text=True, env=self.place.environment, cwd=ROOT)
                with self.subTest(command=command):
                    self.assertEqual(done.returncode, 4)
                    self.assertIn("standard output cannot be written", done.stderr)

    def test_what_is_printed_goes_nowhere_where_the_caller_closed_its_descriptors(self):
        self.place.run("demo", "--config", QUICKSTART, "--entries", 20, "--quiet")
        command = f"exec {SONDER} run {QUICKSTART} --until-idle <&- >&- 2>&-"
        done = subprocess.run(["sh", "-c", command], env=self.place.environment, cwd=ROOT, timeout=120)
        self.assertEqual(done.returncode, 0)
        written = b"".join(p.read_bytes() for p in (self.place.folder / "data").rglob("*") if p.is_file() and not p.is_socket())
        self.assertNotIn(b"dead-lettered", written)
        self.assertNotIn(b"worker runs", written)

    def test_a_worker_told_to_stop_while_it_starts_drains_and_ends_well(self):
        self.place.run("demo", "--config", QUICKSTART, "--entries", 20, "--quiet")
        for after_ms in (30, 60, 120):  # it has loaded plugins or is about to; before its handlers stand nobody is asked
            worker = self.place.start("run", QUICKSTART, "--quiet")
            status = pathlib.Path(f"/proc/{worker.pid}/status")
            wait(lambda: int(re.search(r"SigCgt:\s*([0-9a-f]+)", status.read_text()).group(1), 16) >> (signal.SIGTERM - 1) & 1)
            time.sleep(after_ms / 1000)
            worker.send_signal(signal.SIGTERM)
            said = worker.communicate(timeout=60)[1]
            self.assertEqual(worker.returncode, 0, said)

    def test_sealed_dead_letters_are_opened_with_the_key_and_not_with_another(self):
        secret = self.place.folder / "seal.key"
        secret.write_text("a key of the operator's, long enough")
        secret.chmod(0o600)
        more = ["--set", f"secrets.seal.file={secret}", "--set", "quarantine_key=seal"]
        entry = {"event_id": "e1", "subject_id": "ana", "at": "2999-01-01T00:00:00Z", "text": "I slept well."}
        self.place.run("produce", "journal", "--config", QUICKSTART, *more, "--quiet", stdin=json.dumps(entry) + "\n")
        self.place.run("run", QUICKSTART, "--until-idle", "--quiet", *more)
        read = ["consume", "dead_letter", "--from-beginning", "--until-end", "--config", QUICKSTART]
        letters = self.place.run(*read, *more).stdout
        self.assertIn('"cause":"future"', letters)
        self.assertNotIn("slept", letters)
        record = json.loads(self.place.run(*read, "--unseal", *more).stdout)
        self.assertEqual((record["topic"], record["key"], record["value"]["text"]), ("journal", "ana", "I slept well."))
        secret.write_text("a key of somebody else, long enough")
        other = self.place.run(*read, "--unseal", *more, expect=1)
        self.assertEqual(other.stdout, "")
        self.assertIn("1 one under another key", other.stderr)
        self.assertIn("names its `quarantine_key`", self.place.run(*read, "--unseal", expect=3).stderr)

    def test_a_misspelt_matcher_or_field_of_a_case_is_refused(self):
        case = f"""case: one
flow: {QUICKSTART}
given:
  - consent: {{subject_id: ana, purpose: ServicePersonalisation, decision: granted, at: 10:00}}
  - journal: {{subject_id: ana, event_id: e1, at: 10:01, text: I slept well.}}
expect:
  insight:
    - """
        file = self.place.folder / "case.yaml"
        for record, message in {
            "{valence: {abov: 0}}": 'field "valence": there is no matcher "abov"; did you mean "above"?',
            "{valence: {above: high}}": 'field "valence": matcher "above" needs a number',
            "{valense: 1}": 'the schema has no field "valense"; did you mean "valence"?',
            "{valence: {is: 0}}": 'field "valence": there is no matcher "is"; there are above, below, contains, lacks, one_of, present',
        }.items():
            file.write_text(case + record + "\n")
            said = self.place.run("test", file, expect=3).stderr
            self.assertIn(f'{file}:8:7: topic "insight": {message}', said)
        file.write_text(case + "{valence: {above: 0}, entry: {present: true}, text: {contains: slept}}\n")
        self.place.run("test", file)

    def test_what_is_produced_is_consumed_from_each_form(self):
        folder = self.place.folder
        (folder / "a.csv").write_text('who,id,when,body\nana,e1,2026-01-05T10:00:00Z,"hello, world"\n')
        self.place.run("produce", "journal", folder / "a.csv", "--config", QUICKSTART, "--map", "subject_id=who", "--map", "event_id=id",
                       "--map", "at=when", "--map", "text=body")
        [record] = self.place.records("journal")
        self.assertEqual(record["value"]["text"], "hello, world")
        self.assertEqual(record["timestamp_ms"], 1767607200000)
        self.assertEqual(list(record), ["topic", "partition", "offset", "timestamp_ms", "key", "headers", "value"])

        self.place.run("consume", "journal", "--config", QUICKSTART, "--from-beginning", "--until-end", "--container", folder / "a.avro")
        self.place.run("produce", "journal", folder / "a.avro", "--config", QUICKSTART)
        values = [r["value"] for r in self.place.records("journal")]
        self.assertEqual(len(values), 2)
        self.assertEqual(values[0], values[1])

    def test_container_files_are_written_in_each_codec_that_avro_c_has_and_read_back(self):
        self.place.run("demo", "--config", QUICKSTART, "--entries", 50, "--quiet")
        before = [r["value"] for r in self.place.records("journal")]
        for codec in ("null", "deflate", "snappy"):
            file = self.place.folder / f"{codec}.avro"
            self.place.run("consume", "journal", "--config", QUICKSTART, "--from-beginning", "--until-end", "--container", file,
                           "--codec", codec)
            self.assertIn(b"\x14avro.codec" + bytes([2 * len(codec)]) + codec.encode(), file.read_bytes()[:100])
            other = ["--data-dir", self.place.folder / codec]
            self.place.run("produce", "copy", file, "--schema", ROOT / "schemas/journal_entry.avsc", "--quiet", *other)
            out = self.place.run("consume", "copy", "--from-beginning", "--until-end", *other).stdout
            self.assertEqual([json.loads(line)["value"] for line in out.splitlines()], before)
        self.place.run("consume", "journal", "--config", QUICKSTART, "--container", file, "--codec", "zstandard", expect=2)

    def test_tombstones_take_a_key_away(self):
        decision = {"subject_id": "ana", "purpose": "ServicePersonalisation", "decision": "granted", "at": "2026-01-05T10:00:00Z"}
        key = {"subject_id": "ana", "purpose": "ServicePersonalisation"}
        lines = [decision, {"key": key, "value": None}, decision]
        self.place.run("produce", "consent", "--config", QUICKSTART, stdin="".join(json.dumps(x) + "\n" for x in lines))
        (self.place.folder / "gone.csv").write_text("subject_id,purpose,why\nana,ServicePersonalisation,moved\n")
        self.place.run("produce", "consent", self.place.folder / "gone.csv", "--tombstones", "--config", QUICKSTART)
        records = self.place.records("consent")
        self.assertEqual([r["value"] is None for r in records], [False, True, False, True])
        self.assertEqual([r["key"] for r in records], [key] * 4)
        self.assertEqual(len({r["partition"] for r in records}), 1)
        # What consume prints of a key is what produce takes.
        self.place.run("produce", "consent", "--config", QUICKSTART, stdin=json.dumps({"key": records[0]["key"], "value": None}) + "\n")
        self.assertIsNone(self.place.records("consent")[-1]["value"])
        said = self.place.run("produce", "consent", "--config", QUICKSTART, stdin='{"key": {"subject_id": "ana"}, "value": null}\n', expect=4).stderr
        self.assertIn('standard input:1', said)
        self.assertIn('purpose', said)
        where = ["--data-dir", self.place.folder / "keyless", "--schema", ROOT / "schemas/consent.avsc"]
        said = self.place.run("produce", "t", *where, stdin='{"key": "x", "value": null}\n', expect=4).stderr
        self.assertIn("a tombstone needs a key, and the topic has none; give --key FIELD or --config FILE", said)
        said = self.place.run("produce", "journal", "--config", QUICKSTART, stdin='{"key": "ana", "value": null}\n').stderr
        self.assertIn('warning: topic "journal" holds events and is not compacted: a tombstone removes nothing there', said)

    def test_a_broken_row_is_named_and_what_came_before_stays(self):
        good = json.dumps({"subject_id": "ana", "event_id": "e1", "at": 1, "text": "x"})
        said = self.place.run("produce", "journal", "--config", QUICKSTART, stdin=good + "\n{\"text\": 7}\n", expect=4).stderr
        self.assertIn("standard input:2", said)
        self.assertEqual(len(self.place.records("journal")), 1)

    def test_rows_before_one_without_subject_stay_and_are_counted(self):
        folder = self.place.folder
        text = {"type": ["null", "string"], "default": None}
        (folder / "note.avsc").write_text(json.dumps({"type": "record", "name": "note", "fields": [{"name": "who", **text}]}))
        where = ["--data-dir", folder / "notes"]
        said = self.place.run("produce", "notes", "--schema", folder / "note.avsc", "--subject", "who", "--partitions", 1, *where,
                              stdin='{"who":"ana"}\n{"who":"ben"}\n{"who":null}\n', expect=4).stderr
        self.assertIn("2 records to notes", said)
        self.assertIn("record 3", said)
        out = self.place.run("consume", "notes", "--from-beginning", "--until-end", *where).stdout
        self.assertEqual([json.loads(line)["value"]["who"] for line in out.splitlines()], ["ana", "ben"])

    def test_produce_counts_what_was_taken_before_the_worker_went_away(self):
        rows = self.place.folder / "rows.jsonl"
        row = json.dumps({"subject_id": "ana", "event_id": "e", "at": 1, "text": "x" * 200})
        rows.write_text((row + "\n") * 400_000)
        worker = self.place.start("run", QUICKSTART)
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        stored = lambda: len(self.place.run("topics", "--config", QUICKSTART, "--json", expect=None).stdout)
        wait(lambda: stored() > 0)
        producer = self.place.start("produce", "journal", rows, "--config", QUICKSTART)
        self.addCleanup(lambda: (producer.poll() is None and producer.kill(), producer.communicate()))
        end = lambda: sum(p["end"] for line in self.place.run("topics", "--config", QUICKSTART, "--json").stdout.splitlines()
                          for p in json.loads(line)["partitions"] if json.loads(line)["topic"] == "journal")
        wait(lambda: end() > 0)
        worker.kill()
        said = producer.communicate(timeout=60)[1]
        self.assertEqual(producer.returncode, 4, said)
        counted = int(re.search(r"([\d,]+) records to journal", said)[1].replace(",", ""))
        self.assertGreater(counted, 0, said)
        self.assertLessEqual(counted, end())

    def test_a_worker_serves_others_while_it_runs_and_drains_when_told(self):
        port = free_port()
        worker = self.place.start("run", QUICKSTART, "--set", f"run.http_port={port}", "--set", "run.http_address=127.0.0.2", "--json")
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        wait(lambda: get(port, "/readyz", "127.0.0.2")[0] == 200)
        self.assertEqual(get(port, "/healthz", "127.0.0.2")[0], 200)
        self.place.run("demo", "--config", QUICKSTART, "--entries", 300, "--consenting", 1, "--quiet")
        wait(lambda: len(self.place.records("insight")) == 300)

        status, text = get(port, "/metrics", "127.0.0.2")
        self.assertEqual(status, 200)
        self.assertIn('sonder_records_in_total{node="journal",port="source"} 300', text)
        self.assertNotIn("subject-", text)
        self.assertIn('sonder_end_to_end_latency_seconds_count{sink="insight"} 300', text)
        self.assertIn('sonder_batch_records_sum{node="journal",port="source"} 300', text)
        self.assertIn('sonder_source_lag_records{topic="consent",role="table"}', text)
        self.assertIn('sonder_store_bytes{stage="consent",store=', text)

        said = self.place.run("run", QUICKSTART, "--data-dir", self.place.folder / "other", "--set", f"run.http_port={port}",
                              "--set", "run.http_address=127.0.0.2", expect=3).stderr
        self.assertIn(f"sonder: HTTP server cannot listen on 127.0.0.2:{port}: the port is in use; choose another one with "
                      "--set run.http_port=PORT, 0 for any that is free, or -1 for none", said.splitlines())
        said = self.place.run("run", QUICKSTART, expect=3).stderr
        self.assertIn(f"sonder: data folder {self.place.folder}/data: process {worker.pid} writes there already; stop it, "
                      "or use another folder", said.splitlines())

        worker.send_signal(signal.SIGTERM)
        out, _ = worker.communicate(timeout=40)
        self.assertEqual(worker.returncode, 0)
        summary = json.loads(out)
        self.assertEqual(summary["stopped_because"], "signal")
        self.assertEqual(summary["records_in"], 300)

    def metrics_of_a_worker(self):
        """What /metrics shows of the quickstart flow that has done some work."""
        port = free_port()
        worker = self.place.start("run", QUICKSTART, "--set", f"run.http_port={port}", "--quiet")
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        wait(lambda: get(port, "/readyz")[0] == 200)
        self.place.run("demo", "--config", QUICKSTART, "--entries", 300, "--consenting", 0.7, "--quiet")
        worked = ('sonder_records_in_total{node="journal",port="source"} 300\n', 'sonder_end_to_end_latency_seconds_count{', "sonder_store_bytes{")
        wait(lambda: all(figure in get(port, "/metrics")[1] for figure in worked))
        return get(port, "/metrics")[1]

    def test_promtool_accepts_what_a_running_worker_shows(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool (package prometheus) is not installed")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.metrics_of_a_worker(), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_a_running_worker_shows_is_what_the_specification_says(self):
        shown = Exposition(self.metrics_of_a_worker())
        specified = specified_metrics()
        for plugin in sorted((BUILD / "plugins").glob("*.so")):
            for metric in json.loads(self.place.run("inspect", "--json", plugin).stdout)["metrics"]:
                label = metric.get("label")
                specified[metric["name"]] = {"type": metric["type"], "help": metric["help"], "series": 256,
                                             "labels": {label["name"]: label["values"]} if label else {}}
        self.assertEqual({name for name in shown.types if not name.startswith("process_")}, set(specified))
        self.assertEqual({name: shown.types[name] for name in specified}, {name: of["type"] for name, of in specified.items()})
        self.assertEqual({name: shown.helps[name] for name in specified}, {name: of["help"] for name, of in specified.items()})
        flow = json.loads(self.place.run("inspect", QUICKSTART, "--json").stdout)
        topics, stages = {"journal", "consent", "insight"}, {stage["stage"] for stage in flow["stages"]}
        ports = {i["port"] for stage in flow["stages"] for i in stage["inputs"]}
        of_this_flow = {"node": stages | topics, "stage": stages, "topic": topics, "sink": {"insight"}, "port": ports | {"source", "sink"},
                        "plugin": {"consent_filter", "anonymizer", "sentiment"}, "partition": {str(p) for p in range(8)}}
        for name, of in specified.items():
            with self.subTest(metric=name):
                series = shown.series.get(name, set())
                self.assertLessEqual(len(series), of["series"])
                for labels in series:
                    self.assertEqual([label for label, _ in labels], list(of["labels"]))
                    for label, value in labels:
                        allowed = of["labels"][label] or of_this_flow.get(label)
                        self.assertTrue(allowed is None or value in allowed, f"{label}={value}")
        # Not an empty show: these have a figure as soon as a worker has worked.
        for name in ("sonder_records_in_total", "sonder_batch_records", "sonder_store_bytes", "sonder_epochs_total", "sonder_tasks",
                     "sonder_end_to_end_latency_seconds", "sonder_anonymizer_identifiers_total"):
            self.assertTrue(shown.series.get(name), name)

    def test_completion_knows_the_options_of_each_command(self):
        script = self.place.run("completion", "bash").stdout
        check = script + '\nCOMP_WORDS=(sonder run --until); COMP_CWORD=2; _sonder; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", check], capture_output=True, text=True)
        self.assertEqual(done.stdout.strip(), "--until-idle", done.stderr)

    def test_completion_offers_files_only_where_one_can_stand(self):
        (self.place.folder / "one.yaml").write_text("")
        script = self.place.run("completion", "bash").stdout
        for words, expected in {"run ''": "one.yaml", "run --profile ''": "", "demo --config ''": "one.yaml", "demo ''": "--entries",
                                "run --json ''": "one.yaml"}.items():
            check = script + f'\nCOMP_WORDS=(sonder {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _sonder; echo "${{COMPREPLY[@]}}"'
            done = subprocess.run(["bash", "-c", check], capture_output=True, text=True, cwd=self.place.folder)
            with self.subTest(words=words):
                self.assertIn(expected, done.stdout)
                self.assertEqual("one.yaml" in done.stdout, expected == "one.yaml", done.stdout + done.stderr)


if __name__ == "__main__":
    main()
