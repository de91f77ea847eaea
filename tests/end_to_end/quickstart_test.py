#!/usr/bin/env python3
"""The quickstart flow on made-up people and on real text, held against the rules as this program understands them."""
import base64
import collections
import csv
import json
import random
import re
import signal
import unittest

from place import QUICKSTART, Place, data_folder, free_port, get, main, wait

# What the anonymizer must not miss: all that the demo plants but ages, which are numbers that stand in texts for other reasons too.
PLANTED = {"email", "phone", "card", "iban", "ssn", "url", "handle", "ip", "person", "dob", "place"}
ENTRIES = 4000
PURPOSE = "ServicePersonalisation"
TEXT_BYTES_MAX = 1 << 20  # `text_bytes_max` of the anonymizer


def allowed(decisions, event):
    """Whether the newest decision before which nothing is known otherwise is a grant that stood at the event (design, section 7).

    All decisions are known when the flow starts, and each was logged at its own time.
    """
    mine = sorted((d for d in decisions if d["subject_id"] == event["subject_id"]), key=lambda d: d["at"])
    if not mine or mine[-1]["decision"] != "granted":
        return False
    return mine[-1]["at"] < event["at"] < mine[-1].get("expires_at", float("inf"))


def texts_in(value):
    """All names and texts in a JSON document, and what stands in it in base64: keys and headers that are no UTF-8."""
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            yield base64.b64decode(value["base64"]).decode("utf-8", errors="replace")
        for name, member in value.items():
            yield name
            yield from texts_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts_in(member)
    else:
        yield str(value)


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
        bad, secrets, expected = self.give_with_poison(journal, consent)
        outputs = self.run_watched(len(journal) + bad)
        letters = self.place.records("dead_letter")
        self.assertEqual(collections.Counter(r["value"]["cause"] for r in letters), expected)
        self.assertEqual({r["value"]["sealed"] for r in letters}, {None}, "without a quarantine key nothing of a record is kept")

        outputs |= {topic: "\n".join(texts_in(r)) for topic in ("insight", "dead_letter") for r in [self.place.records(topic)]}
        values = {i["value"] for p in planted for i in p["identifiers"] if i["type"] in PLANTED}
        self.assertEqual({i["type"] for p in planted for i in p["identifiers"]} - {"age"}, PLANTED)
        values |= {e["subject_id"] for e in journal} | {e["event_id"] for e in journal}
        self.assertGreater(len(values), 1000)
        source = "\n".join(json.dumps(e, ensure_ascii=False) for e in journal)
        self.assertEqual([v for v in values if v not in source], [], "this way of looking finds what is there")
        self.assert_holds_none(outputs, values | secrets)

    def give_with_poison(self, journal, consent):
        """Puts everything into its topics, and among it records that must become dead letters and hold identifiers of their own.
        Answers how many those are, the identifiers, and how many dead letters of each cause are expected."""
        secrets = set()
        subject = "subject-poison-of-the-test"

        def event(cause, number, **fields):
            mail, name = f"{cause}{number}@poison.example.org", f"event-{cause}-{number}-of-the-test"
            secrets.update({mail, name})
            return {"event_id": name, "subject_id": subject, "at": 1_790_000_000_000, "text": f"Write to {mail}, please.", **fields}

        refused = {"future": [event("future", i, at=1 << 45) for i in range(3)],
                   "text_too_long": [event("text_too_long", i) for i in range(2)]}
        for e in refused["text_too_long"]:
            e["text"] = f"{e['text']} " * (1 + TEXT_BYTES_MAX // len(e["text"]))
        secrets.add(subject)
        consent = consent + [{"subject_id": subject, "purpose": PURPOSE, "decision": "granted", "at": 1_600_000_000_000}]
        self.load(journal + [e for events in refused.values() for e in events], consent)

        listed = self.place.run("schemas", "list", "--json", "--config", QUICKSTART).stdout
        [schema_id] = {s["id"] for s in lines(listed) if s["subject"] == "journal-value"}
        frame = b"\0" + schema_id.to_bytes(4, "big")
        mail = b"undecodable@poison.example.org"
        start = frame + string(b"event-undecodable-of-the-test") + string(subject.encode()) + varint(1_790_000_000_000)
        secrets.update({mail.decode(), "event-undecodable-of-the-test"})
        nobodys = event("no_subject", 0)  # `produce` would not take it
        no_subject = frame + string(nobodys["event_id"].encode()) + string(b"") + varint(nobodys["at"]) + string(nobodys["text"].encode())
        raw = {"not_framed": [b"\7" + mail, b"{\"text\": \"" + mail + b"\"}"],
               "unknown_schema": [b"\0\0\0\x27\x0f" + string(mail)],
               "no_subject": [no_subject + bytes(8)],  # the first practice, and nothing in seven fields
               "undecodable": [start + string(b"\xc3\x28 " + mail + b" \xff"), start + varint(1 << 40) + mail]}
        for values in raw.values():
            for value in values:
                self.give_bytes(value)
        expected = collections.Counter({cause: len(rows) for cause, rows in (refused | raw).items()})
        return expected.total(), secrets, expected

    def give_bytes(self, value):
        """One record of just these bytes in `journal`: a bare topic of a fixed has nothing around them."""
        name = f"raw{len(value)}"
        fixed = {"type": "fixed", "name": f"{name}_bytes", "size": len(value)}
        (self.place.folder / f"{name}.avsc").write_text(json.dumps({"type": "record", "name": name, "fields": [
            {"name": "b", "type": fixed, "sonder.privacy": {"categories": []}}]}))
        config = self.place.folder / f"{name}.yaml"
        config.write_text(f"flow: raw\nlog: {{kind: embedded, dir: {self.place.folder / 'data'}}}\n"
                          f"topics:\n  journal: {{schema: {name}.avsc, framing: bare}}\n")
        self.place.run("produce", "journal", "--config", config, "--quiet", stdin=json.dumps({"b": value.decode("latin-1")}) + "\n")

    def run_watched(self, records):
        """The flow in a worker whose metrics are read all the while, until it has taken up so many entries; then it is asked to leave.
        Answers what it said on each of its ways."""
        port = free_port()
        said = self.place.folder / "said.txt"
        series = set()
        with open(said, "w", encoding="utf-8") as log:
            worker = self.place.start("run", QUICKSTART, "--json", "--log-level", "debug", "--set", f"run.http_port={port}", stderr=log)
            self.addCleanup(lambda: worker.poll() is None and worker.kill())

            def taken_up():
                shown = get(port, "/metrics")[1]
                series.update(line.rpartition(" ")[0] for line in shown.splitlines())
                taken = re.findall(r'^sonder_records_in_total\{node="journal"[^}]*\} (\d+)', shown, re.MULTILINE)
                return sum(map(int, taken)) == records

            wait(taken_up)
            worker.send_signal(signal.SIGTERM)
            summary = worker.communicate(timeout=60)[0]
        self.assertEqual(worker.returncode, 0)
        self.assert_counts_hold(json.loads(summary))
        self.assertIn('sonder_dead_letters_total{cause="undecodable"}', series)
        return {"log": said.read_text(encoding="utf-8"), "metrics": "\n".join(series), "summary": summary}

    def assert_holds_none(self, outputs, values):
        for name, text in outputs.items():
            with self.subTest(output=name):
                self.assertGreater(len(text), 100, "there is something to look at")
                leaked = sorted(v for v in values if v in text)
                self.assertEqual(len(leaked), 0, f"{name} holds {len(leaked)} of {len(values)} identifiers, such as {leaked[:5]}")

    def test_taking_out_those_who_refused_changes_nothing_in_the_output(self):
        journal, consent, _ = self.population()
        self.load(journal, consent)
        self.run_flow()
        self.assert_same_without_those_who_refused(journal, consent, expected=self.insight())

    def insight(self):
        return sorted(json.dumps(r["value"], sort_keys=True) for r in self.place.records("insight"))

    def assert_same_without_those_who_refused(self, journal, consent, expected):
        """The flow in a new place, over everybody else."""
        last = {d["subject_id"]: d["decision"] for d in sorted(consent, key=lambda d: d["at"])}
        agreed = lambda row: last.get(row["subject_id"]) == "granted"
        self.assertLess(sum(map(agreed, journal)), len(journal), "somebody refused")
        self.place.close()
        self.place = Place()
        self.addCleanup(self.place.close)
        self.load(list(filter(agreed, journal)), list(filter(agreed, consent)))
        self.run_flow()
        self.assertEqual(self.insight(), expected)

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
        bad, secrets, _ = self.give_with_poison(journal, consent)
        outputs = self.run_watched(len(journal) + bad)
        self.assertEqual(json.loads(outputs["summary"])["records_in"], len(journal) + bad)

        by_subject = collections.defaultdict(list)
        for decision in consent:
            by_subject[decision["subject_id"]].append(decision)
        expected = [e for e in journal if allowed(by_subject[e["subject_id"]], e)]
        out = [r["value"] for r in self.place.records("insight")]
        self.assertEqual(collections.Counter(v["at"] // 60000 for v in out),
                         collections.Counter(e["at"] // 60000 for e in expected))
        outputs |= {topic: "\n".join(texts_in(r)) for topic in ("insight", "dead_letter") for r in [self.place.records(topic)]}
        self.assert_holds_none(outputs, secrets | set(planted) | set(subjects) | {e["event_id"] for e in journal})
        self.assert_same_without_those_who_refused(journal, consent, expected=self.insight())


def string(text):
    """As Avro writes a string."""
    return varint(len(text)) + text


def varint(number):
    left, out = number << 1, b""
    while left > 0x7F:
        out += bytes([left & 0x7F | 0x80])
        left >>= 7
    return out + bytes([left])


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
    purpose = {"subject_id": subject, "purpose": PURPOSE}
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
    national, called = national_id(rng)
    kinds = [(f"writer{i}.{digits}@example.org", "Write to me at {} please."),
             (f"https://example.org/u/{i}-{digits}", "My page is {} if you want."),
             (f"+44 20 7946 {i % 10000:04d}", "You can call {} in the evening."),
             (f"10.{i % 250}.{rng.randint(0, 250)}.{rng.randint(1, 250)}", "It came from {} last night."),
             (card(digits), "They charged my card {} twice."),
             (f"@walker_{i}_{digits}", "Online I am {} everywhere."),
             (f"walker{i}_{digits}", "My user name is {} there."),
             (f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}", "My sister {} said the same."),
             (iban(digits), "Please send it to {} this week."),
             (national, f"The form wanted my {called}, {{}}, again."),
             (f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1945, 2005)}", "I was born on {} in the north.")]
    secret, sentence = kinds[i % len(kinds)]
    return secret, sentence.format(secret)


GIVEN = ["Anna", "Tomasz", "Fatima", "Kwame", "Siobhan", "Diego", "Yuki", "Priya", "Oluwaseun", "Zsófia"]
FAMILY = ["Keller", "Nowak", "Haddad", "Mensah", "O'Brien", "Fernández", "Tanaka", "Sharma", "Adeyemi", "Kovács"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]


def iban(digits):
    """A German account number by ISO 13616, whose number without its spaces is 1 modulo 97."""
    account = digits + digits + "0815"
    number = f"DE{98 - int(account + '131400') % 97:02d}{account}"
    return " ".join(number[k:k + 4] for k in range(0, len(number), 4))


def national_id(rng):
    """One of the United States or the United Kingdom (no check digits), Spain (a letter by the rest modulo 23), Poland, Italy, Belgium
    and France (97 less the rest), or the Netherlands (the sum of nine to two times the digits, less the last, is a multiple of 11);
    and what its bearer calls it."""
    digits = [rng.randint(1, 9) for _ in range(10)]
    number = int("".join(map(str, digits[:8])))
    born = f"{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{number % 10000:04d}"
    check = -sum(int(d) * w for d, w in zip(born, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3))) % 10
    nine = f"{born[:6]}{number % 997 + 1:03d}"
    belgian = f"{nine[:2]}.{nine[2:4]}.{nine[4:6]}-{nine[6:]}.{97 - int(nine) % 97:02d}"
    french = f"{rng.randint(1, 2)}{born[:4]}75{number % 990 + 1:03d}{number // 7 % 990 + 1:03d}"
    dutch = "".join(map(str, digits[:8]))
    while (last := sum(int(d) * w for d, w in zip(dutch, range(9, 1, -1))) % 11) == 10:
        dutch = f"{int(dutch) + 1:08d}"
    return rng.choice([(f"219-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}", "number"),
                       (f"AB {number % 100:02d} {number // 100 % 100:02d} {number // 10000 % 100:02d} C", "number"),
                       (f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}", "number"), (f"{born}{check}", "number"),
                       (fiscal_code(rng, born), "codice fiscale"), (belgian, "number"),
                       (f"{french}{97 - int(french) % 97:02d}", "number"), (f"{dutch}{last}", "BSN")])


def fiscal_code(rng, born):
    """An Italian one: its last letter is the sum of what the others count, those in odd places by a table, modulo 26."""
    odd = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)))
    letters = lambda count: "".join(rng.choice("BCDFGLMNPRSTVZ") for _ in range(count))
    code = f"{letters(6)}{born[:2]}{'ABCDEHLMPRST'[int(born[2:4]) - 1]}{born[4:6]}H{rng.randint(100, 999)}"
    as_letter = lambda c: "ABCDEFGHIJ"[int(c)] if c.isdigit() else c
    counted = [odd[as_letter(c)] if i % 2 == 0 else ord(as_letter(c)) - ord("A") for i, c in enumerate(code)]
    return code + chr(ord("A") + sum(counted) % 26)


def card(digits):
    """A Visa number by Luhn's rule."""
    body = "4" + digits + digits
    total = sum(sum(divmod(2 * int(d), 10)) if k % 2 == 0 else int(d) for k, d in enumerate(reversed(body)))
    number = body + str(-total % 10)
    return " ".join(number[k:k + 4] for k in range(0, 16, 4))


if __name__ == "__main__":
    main()
