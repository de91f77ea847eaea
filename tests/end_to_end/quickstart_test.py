#!/usr/bin/env python3
"""The quickstart flow on made-up people and on real text, held against the rules as this program understands them."""
import collections
import json
import sys
import unittest

from place import QUICKSTART, Place, data_folder

# What the anonymizer must not miss. Places, ages and dates stand in texts in ways that are no identifier by themselves.
DIRECT = {"email", "phone", "card", "iban", "ssn", "url", "handle", "ip", "person"}
ENTRIES = 4000


def allowed(decisions, event):
    """Whether the newest decision before which nothing is known otherwise is a grant that stood at the event (design, section 7).

    All decisions are known when the flow starts, and each was logged at its own time.
    """
    mine = sorted((d for d in decisions if d["subject_id"] == event["subject_id"]), key=lambda d: d["at"])
    if not mine or mine[-1]["decision"] != "granted":
        return False
    return mine[-1]["at"] < event["at"] < mine[-1].get("expires_at", float("inf"))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


class QuickstartTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)

    def load(self, journal, consent):
        for topic, rows in (("consent", consent), ("journal", journal)):
            self.place.run("produce", topic, "--config", QUICKSTART, "--event-time", "at", "--quiet",
                           stdin="".join(json.dumps(r) + "\n" for r in rows))

    def run_flow(self):
        done = self.place.run("run", QUICKSTART, "--until-idle", "--json")
        return json.loads(done.stdout), done.stderr

    def population(self, *more):
        rows = {what: lines(self.place.run("demo", "--entries", ENTRIES, "--subjects", 300, "--print", what, *more).stdout)
                for what in ("journal", "consent", "planted")}
        return rows["journal"], rows["consent"], rows["planted"]

    def assert_counts_hold(self, summary):
        self.assertEqual(summary["unbalanced"], [])
        for port in summary["ports"]:
            gone = sum(port["dropped"].values()) + sum(port["dead_lettered"].values())
            self.assertEqual(port["in"], port["passed"] + gone, port)

    def test_only_what_was_agreed_to_comes_out_and_every_count_holds(self):
        journal, consent, _ = self.population()
        self.load(journal, consent)
        summary, _ = self.run_flow()
        self.assert_counts_hold(summary)
        self.assertEqual(summary["records_in"], len(journal))

        decisions = collections.defaultdict(list)
        for decision in consent:
            decisions[decision["subject_id"]].append(decision)
        expected = [e for e in journal if allowed(decisions[e["subject_id"]], e)]
        self.assertGreater(len(expected), 0)
        self.assertLess(len(expected), len(journal))
        out = [r["value"] for r in self.place.records("insight")]
        minutes = collections.Counter(v["at"] // 60000 for v in out)
        self.assertEqual(minutes, collections.Counter(e["at"] // 60000 for e in expected))
        people = {e["subject_id"] for e in expected}
        self.assertEqual(len({v["pseudonym"] for v in out}), len(people), "one pseudonym a person")
        for v in out:
            self.assertTrue(-1 <= v["valence"] <= 1)

    def test_no_identifier_that_was_planted_is_in_any_output(self):
        journal, consent, planted = self.population()
        self.load(journal, consent)
        summary, said = self.run_flow()
        outputs = {topic: "\n".join(json.dumps(r, ensure_ascii=False) for r in self.place.records(topic))
                   for topic in ("insight", "dead_letter")}
        outputs["log"] = said
        outputs["summary"] = json.dumps(summary)
        values = {i["value"] for p in planted for i in p["identifiers"] if i["type"] in DIRECT}
        values |= {e["subject_id"] for e in journal} | {e["event_id"] for e in journal}
        self.assertGreater(len(values), 1000)
        source = "\n".join(json.dumps(r, ensure_ascii=False) for r in self.place.records("journal"))
        self.assertEqual([v for v in values if v not in source], [], "this way of looking finds what is there")
        for name, text in outputs.items():
            leaked = [v for v in values if v in text]
            self.assertEqual(len(leaked), 0, f"{name} holds {len(leaked)} identifiers, such as {leaked[:5]}")

    def test_taking_out_those_who_refused_changes_nothing_in_the_output(self):
        journal, consent, _ = self.population()
        self.load(journal, consent)
        self.run_flow()
        with_all = sorted(json.dumps(r["value"], sort_keys=True) for r in self.place.records("insight"))
        self.place.close()

        self.place = Place()
        self.addCleanup(self.place.close)
        last = {d["subject_id"]: d["decision"] for d in consent}
        self.load([e for e in journal if last.get(e["subject_id"]) == "granted"],
                  [d for d in consent if last[d["subject_id"]] == "granted"])
        self.run_flow()
        without = sorted(json.dumps(r["value"], sort_keys=True) for r in self.place.records("insight"))
        self.assertEqual(with_all, without)

    def test_real_questions_pass_the_flow(self):
        data = data_folder()
        file = data / "counsel-chat/questions.csv" if data else None
        if file is None or not file.exists():
            self.skipTest("counsel-chat is not there; set SONDER_DATA")
        header = file.read_text(encoding="utf-8").split("\n", 1)[0].strip().split(",")
        column = next(c for c in ("questionText", "text", "question", header[-1]) if c in header)
        made = json.loads(self.place.run("demo", "--config", QUICKSTART, "--input", file, "--text", column, "--consenting", 0.8,
                                         "--json", "--quiet").stdout)
        summary, _ = self.run_flow()
        self.assert_counts_hold(summary)
        self.assertEqual(summary["records_in"], made["entries"])
        self.assertGreater(len(self.place.records("insight")), 0)


if __name__ == "__main__":
    done = unittest.main(exit=False, verbosity=2).result
    for test, reason in done.skipped:
        print(f"skipped: {test}: {reason}")
    sys.exit(0 if done.wasSuccessful() else 1)
