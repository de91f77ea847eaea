#!/usr/bin/env python3
"""The quickstart flow on made-up people and on real text, held against the rules as this program understands them."""
import collections
import csv
import json
import random
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

    def test_real_text_with_planted_identifiers_comes_out_clean_and_only_for_those_who_agreed(self):
        texts = real_texts()
        if texts is None:
            self.skipTest("counsel-chat and goemotions are not there; set SONDER_DATA (made-up texts are tested above)")
        rng = random.Random(20261121)
        subjects = [f"subject-{i:04d}-of-the-test" for i in range(400)]
        consent = [decision for s in subjects for decision in decisions_of(s, rng)]
        journal, planted = [], []
        for i, text in enumerate(texts):
            secret, sentence = plant(i, rng)
            planted.append(secret)
            at = 1_700_000_000_000 + i * 60_000
            journal.append({"event_id": f"event-{i:06d}-of-the-test", "subject_id": rng.choice(subjects), "at": at,
                            "text": f"{text} {sentence}" if i % 2 else f"{sentence} {text}"})
        self.load(journal, consent)
        summary, said = self.run_flow()
        self.assert_counts_hold(summary)
        self.assertEqual(summary["records_in"], len(journal))

        by_subject = collections.defaultdict(list)
        for decision in consent:
            by_subject[decision["subject_id"]].append(decision)
        expected = [e for e in journal if allowed(by_subject[e["subject_id"]], e)]
        out = [r["value"] for r in self.place.records("insight")]
        self.assertEqual(collections.Counter(v["at"] // 60000 for v in out),
                         collections.Counter(e["at"] // 60000 for e in expected))
        shown = "\n".join([said, json.dumps(summary)] + [json.dumps(r, ensure_ascii=False) for topic in ("insight", "dead_letter")
                                                        for r in self.place.records(topic)])
        secrets = set(planted) | set(subjects) | {e["event_id"] for e in journal}
        leaked = [v for v in secrets if v in shown]
        self.assertEqual(len(leaked), 0, f"{len(leaked)} of {len(secrets)} identifiers came out, such as {leaked[:5]}")


def real_texts():
    """What people wrote: all of counsel-chat, and as much of goemotions again; None where they are not to be had."""
    data = data_folder()
    files = [data / "counsel-chat/questions.csv", data / "goemotions/dev.tsv"] if data else []
    if not files or not all(f.exists() for f in files):
        return None
    with open(files[0], newline="", encoding="utf-8") as rows:
        table = list(csv.DictReader(rows))
    column = max(table[0], key=lambda c: sum(len(r[c] or "") for r in table))
    texts = [r[column] for r in table if r[column]]
    with open(files[1], encoding="utf-8") as rows:
        texts += [line.split("\t")[0] for line in rows][:2000]
    return texts


def decisions_of(subject, rng):
    """None, a grant, a refusal, or a grant that was withdrawn, all before or among the events."""
    purpose = {"subject_id": subject, "purpose": "ServicePersonalisation"}
    kind = rng.choice(["none", "granted", "granted", "granted", "denied", "withdrawn"])
    if kind == "none":
        return []
    first = {**purpose, "decision": "denied" if kind == "denied" else "granted",
             "at": 1_700_000_000_000 + rng.randint(-1000, 400) * 60_000}
    last = {**purpose, "decision": "withdrawn", "at": 1_700_000_000_000 + rng.randint(500, 2000) * 60_000}
    return [first, last] if kind == "withdrawn" else [first]


def plant(i, rng):
    """An identifier that nobody else has, and a sentence that holds it."""
    digits = "".join(str(rng.randint(0, 9)) for _ in range(7))
    kinds = [(f"writer{i}.{digits}@example.org", "Write to me at {} please."),
             (f"https://example.org/u/{i}-{digits}", "My page is {} if you want."),
             (f"+44 20 7946 {i % 10000:04d}", "You can call {} in the evening."),
             (f"10.{i % 250}.{rng.randint(0, 250)}.{rng.randint(1, 250)}", "It came from {} last night."),
             (card(digits), "They charged my card {} twice."),
             (f"@walker_{i}_{digits}", "Online I am {} everywhere.")]
    secret, sentence = kinds[i % len(kinds)]
    return secret, sentence.format(secret)


def card(digits):
    """A Visa number by Luhn's rule."""
    body = "4" + digits + digits
    total = sum(sum(divmod(2 * int(d), 10)) if k % 2 == 0 else int(d) for k, d in enumerate(reversed(body)))
    number = body + str(-total % 10)
    return " ".join(number[k:k + 4] for k in range(0, 16, 4))


if __name__ == "__main__":
    done = unittest.main(exit=False, verbosity=2).result
    for test, reason in done.skipped:
        print(f"skipped: {test}: {reason}")
    sys.exit(0 if done.wasSuccessful() else 1)
