#!/usr/bin/env python3
"""`sonder group` and `sonder reset` as an operator uses them: beside workers, without any, and after one that was cut off.

  operators_test.py embedded|kafka"""
import json
import pathlib
import re
import signal
import sys
import time
import unittest

from place import BUILD, ROOT, Place, free_port, get, main, wait

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
import broker  # noqa: E402

PARTITIONS = 2
SUBJECTS = [f"person-{i}" for i in range(5)]
KIND = "embedded"


def nobody(name, of):
    return {"name": name, "type": of, "sonder.privacy": {"categories": []}}


AT = {"type": "long", "logicalType": "timestamp-millis"}
EVENT = {"type": "record", "name": "event", "fields": [nobody("event_id", "string"), nobody("subject_id", "string"), nobody("at", AT)]}
COUNTED = {"type": "record", "name": "counted", "fields": [*EVENT["fields"], nobody("count", "long")]}


def flow(name, log):
    """Consent from a table, and a stage that numbers each subject's events out of its store."""
    return f"""\
flow: {name}
log: {json.dumps(log)}
topics:
  journal: {{topic: {name}-journal, schema: event.avsc, subject: subject_id, event_time: at, partitions: {PARTITIONS}}}
  consent: {{topic: {name}-consent, schema: {ROOT}/schemas/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at,
    role: table, compact: true, partitions: {PARTITIONS}}}
  out: {{topic: {name}-out, schema: counted.avsc, subject: subject_id, key: subject_id, event_time: at, partitions: 1,
    purpose: ServicePersonalisation, carries: [behaviour, quasi_identifier]}}
  dead_letter: {{topic: {name}-dead, schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  consent: {{plugin: consent_filter, in: {{events: journal, decisions: consent}}}}
  tally: {{plugin: counter, in: {{events: consent.allowed}}, purpose: ServicePersonalisation}}
sinks: {{out: tally.out}}
run: {{commit_interval: 20ms, threads: 2, drain_max: 5s}}
plugins: {BUILD}/testing_plugins
"""


class Operators(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)
        self.name = broker.name_of_its_own("operators")
        log = {"kind": "embedded", "dir": "data", "fsync": False}
        if KIND == "kafka":
            known = broker.of_this_run()
            log = {"kind": "kafka", "bootstrap": known["SONDER_KAFKA"], "registry": {"url": known["SONDER_REGISTRY"]}, "dir": "state",
                   "session_timeout": "3s"}
        self.config = self.place.folder / "flow.yaml"
        for schema in (EVENT, COUNTED):
            (self.place.folder / f"{schema['name']}.avsc").write_text(json.dumps(schema), encoding="utf-8")
        self.config.write_text(flow(self.name, log), encoding="utf-8")
        self.run_flow()  # makes the topics
        self.give("consent", [{"subject_id": s, "purpose": "ServicePersonalisation", "decision": "granted", "at": 1_000} for s in SUBJECTS])
        self.given = 0
        self.give_events(40)
        self.run_flow()
        self.first = self.out()
        self.assertEqual(len(self.first), 40)

    def run_flow(self, *more):
        self.place.run("run", self.config, "--until-idle", "--quiet", *more)

    def give(self, topic, rows):
        self.place.run("produce", topic, "--config", self.config, "--quiet", stdin="".join(json.dumps(row) + "\n" for row in rows))

    def give_events(self, count):
        rows = [{"event_id": f"e{i}", "subject_id": SUBJECTS[i % len(SUBJECTS)], "at": 10_000 + i}
                for i in range(self.given, self.given + count)]
        self.given += count
        self.give("journal", rows)

    def out(self):
        said = self.place.run("consume", "out", "--from-beginning", "--until-end", "--config", self.config).stdout
        return sorted((row["event_id"], row["count"]) for row in (json.loads(line)["value"] for line in said.splitlines()))

    def group(self, *more):
        return json.loads(self.place.run("group", self.config, "--json", *more).stdout)

    def reset(self, *words, expect=0):
        return self.place.run("reset", self.config, "--to", *words, expect=expect)

    def lag(self):
        return sum(p["lag_records"] for p in self.group()["partitions"] if p["kind"] == "event")

    def start_worker(self):
        port = free_port()
        worker = self.place.start("run", self.config, "--quiet", "--set", f"run.http_port={port}")
        self.addCleanup(lambda: (worker.kill(), worker.communicate()))
        wait(lambda: get(port, "/readyz")[0] == 200)
        return worker

    def test_a_group_tells_its_lag_while_nobody_works(self):
        self.assertEqual(self.lag(), 0)
        self.give_events(7)
        now = self.group("--state")
        self.assertEqual(now["workers"], [])
        self.assertEqual(sum(p["lag_records"] for p in now["partitions"]), 7)
        for one in now["partitions"]:
            if one["lag_records"]:
                self.assertGreater(one["lag_seconds"], 0)
        self.assertEqual(sum(s["entries"] for s in now["stores"] if s["store"] == "tally.counts"), len(SUBJECTS))
        self.assertEqual(bool(now["changelogs"]), KIND == "kafka")
        self.assertIn("lag in all: 7 records", self.place.run("group", self.config).stdout)

    def test_a_group_tells_who_has_which_tasks(self):
        worker = self.start_worker()
        now = self.group()
        self.assertEqual([w["tasks"] for w in now["workers"]], [list(range(PARTITIONS))])
        self.assertTrue(all(p["worker"] == now["workers"][0]["member"] for p in now["partitions"]))
        self.assertIn("1 worker\n", self.place.run("group", self.config).stdout)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0)

    def test_metrics_tell_what_stores_take(self):
        # An estimate by blocks, which may leave out the little that these stores hold; a changelog's offsets are counted.
        port = free_port()
        worker = self.place.start("run", self.config, "--quiet", "--set", f"run.http_port={port}")
        self.addCleanup(lambda: (worker.kill(), worker.communicate()))
        wait(lambda: get(port, "/readyz")[0] == 200)

        def shown(name):
            text = get(port, "/metrics")[1]
            return float(re.search(rf'^{name}{{stage="tally",store="counts"}} (\S+)$', text, re.M).group(1))

        if KIND == "kafka":
            wait(lambda: shown("sonder_changelog_records") >= len(SUBJECTS))
            self.assertLess(shown("sonder_changelog_records"), 400)
        else:
            self.assertEqual(shown("sonder_changelog_records"), 0)
        self.assertGreaterEqual(shown("sonder_store_disk_bytes"), 0)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0)

    def test_a_plan_changes_nothing(self):
        before = self.group("--state")
        plan = json.loads(self.reset("earliest", "--json").stdout)
        self.assertFalse(plan["executed"])
        self.assertEqual(plan["records_again"], 40)
        self.assertIn("nothing was changed: --execute does it", self.reset("earliest", "--dry-run").stdout)
        self.assertEqual(self.group("--state"), before)

    def test_after_a_reset_a_run_makes_what_a_fresh_one_made(self):
        """On the old folder too, where the state of the run before still lies."""
        self.assertIn("done\n", self.reset("earliest", "--execute").stdout)
        self.assertEqual(self.lag(), 40)
        self.assertEqual(sum(s["entries"] for s in self.group("--state")["stores"]), 0)
        self.run_flow()
        self.assertEqual(self.out(), sorted(self.first * 2))
        self.assertEqual(self.lag(), 0)

    def test_to_the_end_keeps_counts_and_skips_what_waits(self):
        self.give_events(5)
        self.reset("latest", "--execute")
        self.assertEqual(self.lag(), 0)
        self.give_events(5)
        self.run_flow()
        news = [row for row in self.out() if row not in self.first]
        self.assertEqual(news, [(f"e{45 + i}", 9) for i in range(5)])

    def test_while_a_worker_runs_it_is_refused_by_name(self):
        worker = self.start_worker()
        refused = self.reset("earliest", "--execute", expect=4)
        who = str(worker.pid) if KIND == "embedded" else "sonder-"
        self.assertIn(who, refused.stderr)
        self.assertIn("stop", refused.stderr)
        self.assertEqual(self.lag(), 0)
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0)
        if KIND == "kafka":  # one that was killed stays for a session
            worker = self.start_worker()
            worker.kill()
            worker.wait()
            self.assertIn("stays for log.session_timeout", self.reset("earliest", "--execute", expect=4).stderr)
            wait(lambda: not self.group()["workers"])
            self.reset("earliest", "--execute")

    def test_one_that_was_cut_off_is_finished_by_the_next(self):
        for delay in (0.05, 0.12, 0.2, 0.3, 0.5):
            cut = self.place.start("reset", self.config, "--to", "earliest", "--execute")
            time.sleep(delay)
            cut.kill()
            cut.communicate()
        wait(lambda: KIND == "embedded" or not self.group()["workers"])
        self.reset("earliest", "--execute")
        self.run_flow()
        self.assertEqual(self.out(), sorted(self.first * 2))

    def test_what_cannot_be_is_said(self):
        said = self.reset("earliest", "--set", f"flow={self.name}-other").stderr
        self.assertIn("has committed nothing yet", said)
        self.assertNotIn("has committed nothing yet", self.reset("earliest").stderr)
        self.assertIn("must be earliest, latest, a time", self.reset("tomorrow", expect=2).stderr)
        self.assertIn("no topic that the flow reads", self.reset("nothing:0:0", expect=2).stderr)
        self.assertIn("--execute excludes --dry-run", self.reset("latest", "--execute", "--dry-run", expect=2).stderr
                      .replace("--dry-run excludes --execute", "--execute excludes --dry-run"))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("embedded", "kafka"):
        KIND = sys.argv.pop(1)
    if KIND == "kafka":
        broker.of_this_run()
    main()
