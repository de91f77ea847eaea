#!/usr/bin/env python3
"""What looks for findings on what is right, and on the same doctored: each kind of finding can be made (DOCTORED)."""
import collections
import hashlib
import io
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kafka"))
import broker  # noqa: E402

try:
    import fastavro
except ImportError as missing:
    broker.leave(f"{missing.name} is not installed; run ops/setup --tests")
from feed import Table, key_of  # noqa: E402
from finding import KINDS, Finding  # noqa: E402
from oracle import Oracle  # noqa: E402
from replay import PURPOSE, consent_key, consent_value  # noqa: E402
from settled import await_last_round, await_the_end, become_idle, check_ended  # noqa: E402
from shape import PARKING, PLAIN, REKEYED, ROUNDS, item_partition_of, task_of  # noqa: E402
from worker import Worker  # noqa: E402

SCHEMAS = HERE.parent.parent / "schemas"
FILES = {"journal": HERE / "event.avsc", "consent": SCHEMAS / "consent.avsc", "out": HERE / "counted.avsc",
         "milestones": HERE / "milestone.avsc", "reminders": HERE / "reminder.avsc", "dead-letter": SCHEMAS / "dead_letter.avsc",
         "items": HERE / "item.avsc", "again": HERE / "asking.avsc", "laps": HERE / "lap.avsc"}
IDS = {topic: i for i, topic in enumerate(FILES, 1)}


class Record:
    """As a client gives it."""

    def __init__(self, partition, offset, key, value, at, headers=None):
        self.parts, self.of = (partition, offset, key, value, at), headers

    def partition(self):
        return self.parts[0]

    def offset(self):
        return self.parts[1]

    def key(self):
        return self.parts[2]

    def value(self):
        return self.parts[3]

    def timestamp(self):
        return 1, self.parts[4]

    def headers(self):
        return self.of


class Topics:
    """Stands for brokers and registry."""

    def __init__(self, shape):
        self.records = collections.defaultdict(list)
        files = {**FILES, **({"journal": HERE / "asking.avsc", "out": HERE / "found.avsc"} if shape.rounds else {})}
        self.schemas = {IDS[t]: fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8"))) for t, path in files.items()}

    def read(self, topic):
        return self.records[topic]

    def text_of(self, schema_id):
        assert schema_id in self.schemas, f"/schemas/ids/{schema_id}: 404"
        return self.schemas[schema_id]

    def put(self, topic, partition, key, value, at=0, headers=None):
        mine = self.records[f"t{topic}"]
        mine.append(Record(partition, sum(r.partition() == partition for r in mine), key, value, at, headers))
        return mine[-1]

    def framed(self, topic, row):
        schema = self.schemas[IDS[topic]]
        return broker.frame(IDS[topic], schema, {f["name"]: row.get(f["name"], f.get("default")) for f in schema["fields"]})

    def row_of(self, record):
        return broker.unframe(self, record.value())[1]


class Asked(Oracle):
    """With the brokers' answers: ends of partitions, members and places of the group."""
    stable, high, group, standing = {("t-out", 0): 7}, {("t-out", 0): 7}, (), ()

    def ends(self, asked_of):
        return self.stable, self.high

    def members(self):
        return self.group

    def places(self, topic):
        return self.standing


class Right:
    """An input, and what workers that do everything right make of it."""

    def __init__(self, shape, once=True):
        self.shape, self.topics, self.table = shape, Topics(shape), Table()
        self.oracle = Asked("t", self.topics, self.topics, shape, once)
        self.events, self.decisions, self.standing, self.counts = [], [], {}, collections.Counter()

    def decide(self, who, what, at):
        row = {"subject_id": who, "purpose": PURPOSE, "decision": what, "at": at}
        self.decisions.append(row)
        self.topics.put("-consent", task_of(who), key_of(row), self.topics.framed("consent", row), at)
        self.standing[who] = what
        mine = [d for d in self.decisions if d["subject_id"] == who]
        self.topics.put(".consent.consents-changelog", task_of(who), consent_key(who, PURPOSE), consent_value(mine))

    def happen(self, who, at, wish="", passes=None, again=None):
        """again: one that is written a second time."""
        e = again or {"event_id": f"e{len(self.events)}", "subject_id": who, "at": at, "n": len(self.events), "wish": wish}
        self.events += [e] * (again is None)
        record = self.topics.put("-journal", self.shape.partition_of(who), self.shape.key_of(e), self.topics.framed("journal", e), at)
        if self.standing.get(who) != "granted" if passes is None else not passes:
            return
        self.counts[who] += 1
        self.topics.put(".tally.counts-changelog", task_of(who), who.encode(), str(self.counts[who]).encode())
        if self.shape.milestones and self.counts[who] % 5 == 0:
            self.emit("milestones", {"subject_id": who, "count": self.counts[who]})
        if wish.startswith("retry"):
            times = 4 if wish == "retry" else int(wish[6:]) + 1
            self.topics.put(".remind.asked-changelog", task_of(who), e["event_id"].encode(), str(times).encode())
        if wish == "retry":
            self.bury(record, "retries_exhausted", "remind")
        else:
            self.emit("out", {**e, "count": self.counts[who]})

    def name_item(self, item, title):
        partition, row = item_partition_of(item.encode()), {"id": item, "title": title or ""}
        record = self.topics.put("-items", partition, item.encode(), None if title is None else self.topics.framed("items", row))
        self.table.changes.append((partition, record.offset(), item, title))
        self.table.ends[partition] = record.offset() + 1

    def must_be_known(self):
        self.table.known.append((len(self.events), dict(self.table.ends)))

    def reached(self, less=0):
        """By how much of the table something is decided now."""
        return [("sonder.tables", json.dumps({"items": [max(0, self.table.ends.get(p, 0) - less) for p in range(3)]}).encode())]

    def ask(self, who, item, title, wish="", again=None):
        """An event of the flow `rounds`, which goes each of its rounds at once. again: one that is written a second time."""
        e = again or {"event_id": f"e{len(self.events)}", "subject_id": who, "at": 10_000 + len(self.events), "n": len(self.events),
                      "wish": wish, "item": item}
        self.events += [e] * (again is None)
        self.topics.put("-journal", task_of(who), who.encode(), self.topics.framed("journal", e), e["at"])
        for key, store in ((who, "tally.counts"), (item, "look.times")):
            self.counts[store, task_of(who), key] += 1
            self.topics.put(f".{store}-changelog", task_of(who), key.encode(), str(self.counts[store, task_of(who), key]).encode())
        self.emit("out", {**e, "title": title, "count": self.counts["tally.counts", task_of(who), who],
                          "times": self.counts["look.times", task_of(who), item]}, self.reached())
        for left in reversed(range(int(wish[6:] or 0))):
            self.come_back(e, f"round {left}")

    def come_back(self, e, wish):
        who = e["subject_id"]
        self.topics.put("-again", task_of(who), who.encode(), self.topics.framed("again", {**e, "wish": wish}), e["at"])
        self.counts["lap", who] += 1
        self.topics.put(".lap.counts-changelog", task_of(who), who.encode(), str(self.counts["lap", who]).encode())
        self.emit("laps", {**e, "wish": wish, "count": self.counts["lap", who]})

    def check(self):
        self.oracle.check_records(self.events, self.decisions, self.table)

    def emit(self, topic, row, headers=None):
        self.topics.put(f"-{topic}", 0, b"", self.topics.framed(topic, row), headers=headers)

    def spoil(self, value, cause, partition=0):
        self.bury(self.topics.put("-journal", partition, b"k", value, 9_000), cause, "rekey" if self.shape.rekeyed else "source")

    def bury(self, record, cause, stage, topic="t-journal"):
        self.emit("dead-letter", {"cause": cause, "stage": stage, "topic": topic, "partition": record.partition(),
                                  "offset": record.offset(), "timestamp": record.timestamp()[1], "at": 0,
                                  "value_hash": b"" if record.value() is None else hashlib.sha256(record.value()).digest()})

    def doctor(self, topic, place, change):
        """One row of an output, otherwise."""
        record = self.topics.records[f"t-{topic}"][place]
        value = self.topics.framed(topic, {**self.topics.row_of(record), **change})
        record.parts = (*record.parts[:3], value, record.parts[4])


def plain(shape=PLAIN, once=True):
    """Of five people: ana and dan agree, bob denies, cy takes it back before and fay during the run, and gives it again; eve says nothing."""
    right = Right(shape, once)
    for who, what, at in (("ana", "granted", 1_000), ("bob", "denied", 1_000), ("cy", "granted", 1_000), ("cy", "withdrawn", 2_000),
                          ("dan", "granted", 1_000), ("fay", "granted", 1_000)):
        right.decide(who, what, at)
    for i in range(30):
        right.happen(("ana", "bob", "cy", "dan", "eve")[i % 5], 10_000 + i)
    for i in range(4):  # the withdrawal finds the last two still under way
        right.happen("fay", 10_100 + i, passes=i < 2)
    right.decide("fay", "withdrawn", 10_200)
    right.happen("fay", 10_201)
    right.decide("fay", "granted", 10_300)
    right.happen("fay", 10_301)
    good = right.topics.framed("journal", {**right.events[0], "at": 9_000})
    right.spoil(b"no frame", "not_framed")
    right.spoil(None, "no_value")
    right.spoil(b"\0" + (99).to_bytes(4, "big") + good[5:], "unknown_schema", 1)
    right.spoil(good[:-1], "undecodable", 2)
    right.spoil(right.topics.framed("journal", {**right.events[0], "subject_id": ""}), "no_subject")
    if not shape.rekeyed:
        right.spoil(good, "wrong_partition", (task_of("ana") + 1) % 4)
    return right


def parking():
    right = Right(PARKING)
    right.decide("ana", "granted", 1_000)
    for i, wish in enumerate(["", "retry 2", "remind 1", "retry", "", "remind 500", ""]):
        right.happen("ana", 10_000 + i, wish)
    right.emit("reminders", {"event_id": "e2", "at_ms": 10_003})
    right.topics.put(".remind.-timers-changelog", task_of("ana"), b"t5", b"e5")
    right.topics.put(".remind.-timers-changelog", task_of("ana"), b"t2", None)
    right.topics.put(".remind.-parked-changelog", task_of("ana"), b"r1", None)
    return right


def rounds(once=True):
    """Of two people who ask for three items: one that gets another title, one that is removed, one that was never there."""
    right = Right(ROUNDS, once)
    right.name_item("item-1", "one")
    right.name_item("item-2", "two")
    right.must_be_known()
    right.ask("ana", "item-1", "one")
    right.ask("ana", "item-2", "two", "round 2")
    right.ask("bob", "item-3", "none", "round 1")
    right.name_item("item-1", "uno")
    right.name_item("item-2", None)
    right.ask("ana", "item-1", "uno", "round 1")
    right.must_be_known()
    right.ask("bob", "item-2", "none")
    right.ask("ana", "item-1", "uno")
    for cause, value in (("not_framed", b"no frame"), ("undecodable", right.topics.framed("items", {"id": "i", "title": "t"})[:-1])):
        right.bury(right.topics.put("-items", 0, f"poison {cause}".encode(), value), cause, "source", "t-items")
    right.spoil(b"no frame", "not_framed")
    return right


def multiplied(right, topic):
    """A record of it comes again."""
    mine = records(right, topic)
    right.topics.put(f"-{topic}", mine[0].partition(), mine[0].key(), mine[0].value(), headers=mine[0].headers())


def seen_by(right, n, headers):
    records(right, "out")[n].of = headers


class OracleTest(unittest.TestCase):
    def finds(self, right, kind):
        with self.assertRaises(Finding) as found:
            right.check()
        self.assertEqual(found.exception.kind, kind, found.exception)

    @staticmethod
    def finds_nothing(right):
        right.check()

    def test_finds_nothing_where_all_is_right(self):
        self.finds_nothing(plain())
        self.finds_nothing(plain(REKEYED))
        self.finds_nothing(plain(once=False))
        self.finds_nothing(plain(REKEYED, once=False))

    # ---- outputs ----

    def test_sees_an_output_too_many(self):
        right = plain()
        right.emit("out", {**right.events[0], "count": 7})
        self.finds(right, "twice")

    def test_sees_an_output_of_somebody_who_did_not_agree(self):
        right = plain()
        right.emit("out", {**right.events[1], "count": 1})
        self.finds(right, "strange")

    def test_sees_an_output_after_a_withdrawal_that_was_acknowledged_before_the_event(self):
        right = plain()
        after = next(e for e in right.events if e["at"] == 10_201)
        right.emit("out", {**after, "count": 3})
        self.finds(right, "strange")

    def test_sees_an_event_left_out_between_two_that_a_later_withdrawal_let_pass(self):
        right = plain()
        fay = [i for i, r in enumerate(right.topics.records["t-out"]) if right.topics.row_of(r)["subject_id"] == "fay"]
        del right.topics.records["t-out"][fay[0]]
        self.finds(right, "missing")

    def test_sees_that_a_grant_given_again_had_no_effect(self):
        right = plain()
        del right.topics.records["t-out"][-1]
        self.finds(right, "missing")

    def test_sees_a_missing_output(self):
        right = plain()
        del right.topics.records["t-out"][3]
        self.finds(right, "missing")

    def test_sees_another_order(self):
        right = plain()
        out = right.topics.records["t-out"]
        out[0].parts, out[2].parts = (*out[0].parts[:3], *out[2].parts[3:]), (*out[2].parts[:3], *out[0].parts[3:])
        self.finds(right, "order")

    def test_sees_a_count_that_stood_still(self):
        right = plain()
        right.doctor("out", 2, {"count": 1})
        self.finds(right, "counts")

    # ---- dead letters ----

    def test_sees_a_dead_letter_too_many(self):
        right = plain()
        letters = right.topics.records["t-dead-letter"]
        right.emit("dead-letter", right.topics.row_of(letters[0]))
        self.finds(right, "dead letters")

    def test_sees_a_record_that_nobody_buried(self):
        right = plain()
        del right.topics.records["t-dead-letter"][4]
        self.finds(right, "dead letters")

    def test_sees_a_buried_record_that_was_well(self):
        right = plain()
        right.bury(right.topics.records["t-journal"][0], "undecodable", "source")
        self.finds(right, "dead letters")

    def test_sees_what_a_dead_letter_says_otherwise(self):
        for change in ({"cause": "no_value"}, {"stage": "tally"}, {"partition": 3}, {"offset": 77}, {"timestamp": 1}, {"value_hash": b"x"},
                       {"topic": "t-consent"}):
            with self.subTest(change):
                right = plain()
                right.doctor("dead-letter", 0, change)
                self.finds(right, "dead letters")

    # ---- stores ----

    def test_sees_a_count_in_the_store_that_only_ends_alike(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", b"16")
        self.finds(right, "store")

    def test_sees_a_key_of_somebody_without_output(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", task_of("bob"), b"bob", b"1")
        self.finds(right, "store")

    def test_sees_a_key_of_nobody_that_only_ends_alike(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"\0ana", b"6")
        self.finds(right, "store")

    def test_sees_a_key_that_is_gone(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", None)
        self.finds(right, "store")

    def test_takes_a_key_that_came_back_after_its_removal(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", None)
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", b"6")
        self.finds_nothing(right)

    def test_sees_the_state_of_another_task(self):
        right = plain()
        right.topics.put(".tally.counts-changelog", (task_of("ana") + 1) % 4, b"ana", b"6")
        self.finds(right, "store")

    def test_sees_a_consent_that_nobody_gave(self):
        right = plain()
        right.topics.put(".consent.consents-changelog", task_of("eve"), consent_key("eve", PURPOSE),
                         consent_value([{"decision": "granted", "at": 1_000}]))
        self.finds(right, "store")

    def test_sees_a_withdrawal_that_the_store_has_lost(self):
        right = plain()
        right.topics.put(".consent.consents-changelog", task_of("cy"), consent_key("cy", PURPOSE),
                         consent_value([{"decision": "granted", "at": 1_000}]))
        self.finds(right, "store")

    # ---- rows that wait, timers, rows that stages emit ----

    def test_finds_nothing_where_rows_waited_and_timers_fired(self):
        self.finds_nothing(parking())

    def test_finds_nothing_where_the_input_has_a_record_twice_that_sets_a_timer(self):
        right = parking()
        twice = right.events[5]
        right.topics.put("-journal", right.shape.partition_of("ana"), right.shape.key_of(twice), right.topics.framed("journal", twice), twice["at"])
        right.counts["ana"] += 1
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", str(right.counts["ana"]).encode())
        right.emit("out", {**twice, "count": right.counts["ana"]})
        self.finds_nothing(right)

    def test_sees_a_timer_that_fired_again(self):
        right = parking()
        right.emit("reminders", {"event_id": "e2", "at_ms": 10_003})
        self.finds(right, "timers")

    def test_sees_a_timer_that_never_fired(self):
        right = parking()
        del right.topics.records["t-reminders"][0]
        self.finds(right, "timers")

    def test_sees_a_timer_that_fired_too_early(self):
        right = parking()
        right.emit("reminders", {"event_id": "e5", "at_ms": 10_505})
        self.finds(right, "timers")

    def test_sees_a_timer_that_is_lost(self):
        right = parking()
        right.topics.put(".remind.-timers-changelog", task_of("ana"), b"t5", None)
        self.finds(right, "timers")

    def test_sees_a_row_that_was_offered_once_too_often(self):
        right = parking()
        right.topics.put(".remind.asked-changelog", task_of("ana"), b"e1", b"4")
        self.finds(right, "store")

    def test_sees_a_row_that_waits_still(self):
        right = parking()
        right.topics.put(".remind.-parked-changelog", task_of("ana"), b"r2", b"row")
        self.finds(right, "parked")

    def test_sees_a_row_that_is_out_though_it_was_buried(self):
        right = parking()
        right.emit("out", {**right.events[3], "count": 4})
        self.finds(right, "strange")

    def test_sees_an_emitted_row_too_many_and_one_too_few(self):
        right = parking()
        right.emit("milestones", {"subject_id": "ana", "count": 5})
        self.finds(right, "milestones")
        right = parking()
        del right.topics.records["t-milestones"][0]
        self.finds(right, "milestones")

    # ---- the global table ----

    def test_finds_nothing_where_rows_asked_and_went_round(self):
        self.finds_nothing(rounds())
        self.finds_nothing(rounds(once=False))

    def test_sees_a_title_that_was_not_there_by_then(self):
        for n, title in ((0, "uno"), (0, "none"), (3, "one"), (4, "two")):
            with self.subTest(n=n, title=title):
                right = rounds()
                right.doctor("out", n, {"title": title})
                self.finds(right, "titles")

    def test_sees_what_was_decided_by_less_than_it_must_know(self):
        right = rounds()
        right.doctor("out", 0, {"title": "none"})
        seen_by(right, 0, [("sonder.tables", b'{"items":[0,0,0]}')])
        self.finds(right, "titles")
        right = rounds()
        right.doctor("out", 5, {"title": "one"})
        seen_by(right, 5, records(right, "out")[0].headers())
        self.finds(right, "titles")

    def test_sees_a_task_that_went_back_in_the_table(self):
        right = rounds()
        right.table.known.pop()
        right.doctor("out", 5, {"title": "one"})
        seen_by(right, 5, records(right, "out")[0].headers())
        self.finds(right, "titles")

    def test_sees_a_row_that_does_not_say_by_what_it_was_decided(self):
        right = rounds()
        seen_by(right, 1, None)
        self.finds(right, "titles")

    def test_knows_a_title_that_the_brokers_have_compacted_away(self):
        right = rounds()
        del records(right, "items")[0]
        self.finds_nothing(right)

    def test_sees_how_often_an_item_was_asked_for_otherwise(self):
        right = rounds()
        right.doctor("out", 3, {"times": 1})
        self.finds(right, "counts")
        right = rounds()
        right.topics.put(".look.times-changelog", task_of("ana"), b"item-1", b"4")
        self.finds(right, "store")

    def test_sees_a_row_of_the_table_that_nobody_buried(self):
        right = rounds()
        del records(right, "dead-letter")[1]
        self.finds(right, "dead letters")

    # ---- what comes back as input ----

    def test_sees_what_came_back_too_often_or_not_at_all(self):
        for topic in ("again", "laps"):
            for change in (lambda right, topic: multiplied(right, topic), lambda right, topic: records(right, topic).pop(1)):
                right = rounds()
                change(right, topic)
                self.finds(right, "rounds")

    def test_sees_what_came_back_and_never_should(self):
        right = rounds()
        right.come_back(right.events[0], "round 0")
        self.finds(right, "rounds")
        right = rounds()
        right.come_back(right.events[2], "round -1")
        self.finds(right, "rounds")

    def test_sees_those_who_came_back_in_another_order(self):
        right = rounds()
        again = records(right, "again")
        first, last = (next(i for i, r in enumerate(again) if right.topics.row_of(r)["event_id"] == e) for e in ("e1", "e3"))
        again[first].parts, again[last].parts = (*again[first].parts[:3], *again[last].parts[3:]), (*again[last].parts[:3], *again[first].parts[3:])
        self.finds(right, "rounds")

    def test_sees_a_lap_that_is_counted_otherwise(self):
        right = rounds()
        right.doctor("laps", 1, {"count": 7})
        self.finds(right, "rounds")
        right = rounds()
        right.topics.put(".lap.counts-changelog", task_of("ana"), b"ana", b"1")
        self.finds(right, "store")

    def test_takes_rounds_and_answers_that_come_again_where_that_may_be(self):
        for topic in ("again", "laps", "out"):
            right = rounds(once=False)
            multiplied(right, topic)
            self.finds_nothing(right)
        for topic in ("again", "laps"):
            right = rounds(once=False)
            del records(right, topic)[1]
            self.finds(right, "rounds")
        right = rounds(once=False)
        right.doctor("out", 0, {"title": "uno"})
        self.finds(right, "titles")

    # ---- at least once ----

    def test_takes_milestones_as_counts_that_come_again_make_them(self):
        right = plain(REKEYED, once=False)
        for i in range(4):  # counted a second time
            right.emit("out", {**right.events[0], "count": 7 + i})
            right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", str(7 + i).encode())
        self.finds(right, "milestones")  # the tenth
        right.emit("milestones", {"subject_id": "ana", "count": 10})
        self.finds_nothing(right)
        right.emit("milestones", {"subject_id": "ana", "count": 10})
        self.finds_nothing(right)

    def test_sees_milestones_that_no_counts_can_make(self):
        for row in ({"subject_id": "ana", "count": 6}, {"subject_id": "ana", "count": 10}, {"subject_id": "bob", "count": 5}):
            right = plain(REKEYED, once=False)
            right.emit("milestones", row)
            self.finds(right, "milestones")
        right = plain(REKEYED, once=False)
        records(right, "milestones").pop()
        self.finds(right, "milestones")

    def test_takes_what_comes_again_where_that_may_be(self):
        right = plain(once=False)
        right.emit("out", {**right.events[0], "count": 7})
        right.emit("dead-letter", right.topics.row_of(right.topics.records["t-dead-letter"][0]))
        right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", b"7")
        self.finds_nothing(right)

    def test_sees_loss_what_should_not_be_and_another_order_there_too(self):
        right = plain(once=False)
        del right.topics.records["t-out"][3]
        self.finds(right, "missing")
        right = plain(once=False)
        right.emit("out", {**right.events[1], "count": 1})
        self.finds(right, "strange")
        right = plain(once=False)
        del right.topics.records["t-dead-letter"][4]
        self.finds(right, "dead letters")
        right = plain(once=False)
        first = right.topics.records["t-out"].pop(0)
        first.parts = (0, 99, *first.parts[2:])
        right.topics.records["t-out"].append(first)
        self.finds(right, "order")

    def test_takes_an_output_whose_state_a_withdrawal_forestalled_when_it_came_again(self):
        for once in (False, True):
            right = plain(once=once)
            right.decide("gil", "granted", 10_400)
            right.happen("gil", 10_401)
            right.decide("gil", "withdrawn", 10_402)
            right.topics.put(".tally.counts-changelog", task_of("gil"), b"gil", None)
            if once:
                self.finds(right, "store")
            else:
                self.finds_nothing(right)

    # ---- whose fault it is ----

    def test_takes_the_effects_of_what_brokers_made_a_producer_write_again(self):
        for once in (True, False):
            right = plain(once=once)
            twice = [e for e in right.events if e["subject_id"] == "ana"][-2:]
            for e in twice:
                right.happen("ana", e["at"], again=e)
            self.finds_nothing(right)
            del records(right, "out")[-1]
            if once:
                self.finds(right, "missing")
            right = rounds(once=once)
            twice = [e for e in right.events if e["event_id"] in ("e1", "e3")]
            right.name_item("item-2", "due")
            right.ask("ana", "item-2", "due", "round 2", again=twice[0])
            right.ask("ana", "item-1", "uno", "round 1", again=twice[1])
            self.finds_nothing(right)

    def test_does_not_blame_the_workers_for_an_input_that_the_brokers_lost(self):
        for topic in ("journal", "consent"):
            right = plain()
            del right.topics.records[f"t-{topic}"][0]
            with self.assertRaises(AssertionError) as found:
                right.check()
            self.assertNotIsInstance(found.exception, Finding)


# ---- what each kind of finding is made of ----

def doctored(right, change):
    """Topics as they must be, but for one thing."""
    change(right)
    right.check()


def records(right, topic):
    return right.topics.records[f"t-{topic}"]


def swap_first_and_third(right):
    out = records(right, "out")
    out[0].parts, out[2].parts = (*out[0].parts[:3], *out[2].parts[3:]), (*out[2].parts[:3], *out[0].parts[3:])


def asked(check, **answers):
    """What brokers answer, otherwise."""
    oracle = Right(PLAIN).oracle
    oracle.__dict__.update(answers)
    check(oracle)


def idle_after(script, seconds=30):
    """A program in the place of the last worker."""
    become_idle(["sh", "-c", script], None, io.BytesIO(), seconds)


def end_with(*codes):
    worker = Worker.__new__(Worker)
    worker.number, worker.ended_alone = 0, []
    for code in codes:
        worker.ended(code)
    check_ended(worker)


def leave_deaf(seconds):
    """A process that lets SIGTERM pass."""
    with tempfile.TemporaryDirectory() as place:
        worker = Worker(pathlib.Path(place), 0, pathlib.Path(place), None, {}, None)
        worker.process = subprocess.Popen(["sh", "-c", "trap '' TERM; echo deaf; exec sleep 600"], stdout=subprocess.PIPE)
        try:
            worker.process.stdout.readline()
            worker.leave(seconds)
        finally:
            worker.process.stdout.close()
            worker.close()


LONG_BEHIND = [(0, 5, 7, 9)]
#: kind -> what must end with a finding of this kind
DOCTORED = {
    "strange": [lambda: doctored(plain(), lambda right: right.emit("out", {**right.events[1], "count": 1}))],
    "twice": [lambda: doctored(plain(), lambda right: right.emit("out", {**right.events[0], "count": 7}))],
    "missing": [lambda: doctored(plain(), lambda right: records(right, "out").pop(3))],
    "order": [lambda: doctored(plain(), swap_first_and_third)],
    "counts": [lambda: doctored(plain(), lambda right: right.doctor("out", 2, {"count": 1}))],
    "milestones": [lambda: doctored(parking(), lambda right: records(right, "milestones").pop())],
    "rounds": [lambda: doctored(rounds(), lambda right: records(right, "again").pop())],
    "titles": [lambda: doctored(rounds(), lambda right: right.doctor("out", 0, {"title": "uno"}))],
    "timers": [lambda: doctored(parking(), lambda right: records(right, "reminders").pop())],
    "parked": [lambda: doctored(parking(), lambda right: right.topics.put(".remind.-parked-changelog", 0, b"r2", b"row"))],
    "dead letters": [lambda: doctored(plain(), lambda right: records(right, "dead-letter").pop())],
    "store": [lambda: doctored(plain(), lambda right: right.topics.put(".tally.counts-changelog", task_of("ana"), b"ana", b"16"))],
    "offsets": [
        # Short of the last record, and beyond the end.
        lambda: asked(lambda oracle: (oracle.kafka.put("-journal", 0, b"", b""), oracle.check_places()), standing=[(0, 0, 1)]),
        lambda: asked(Oracle.check_places, standing=[(0, 2, 1)]),
        lambda: await_the_end("t", lambda: [(0, 12, 7, 9)], lambda: None, beyond_seconds=0),
    ],
    "open": [lambda: asked(lambda oracle: oracle.await_markers(0), stable={("t-out", 0): 6})],
    "members": [lambda: asked(lambda oracle: oracle.await_empty_group(0), group=["one"])],
    "stuck": [
        lambda: await_the_end("t", lambda: LONG_BEHIND, lambda: None, settled_seconds=0),
        lambda: await_last_round("t", lambda more=itertools.count(): {0: next(more)}, lambda past: None, seconds=0.01),
        lambda: idle_after("exec sleep 600", 0.1),
        lambda: leave_deaf(0.1),
    ],
    "ended": [
        lambda: idle_after("exit 4"),   # nothing is broken any more
        lambda: idle_after("kill -SEGV $$"),
        lambda: end_with(3, 4, -11),    # a signal
        lambda: end_with(70),
        lambda: end_with(1),
    ],
    "unbalanced": [lambda: idle_after("""echo '{"unbalanced": ["consent.events"]}'""")],
}


class EachKindTest(unittest.TestCase):
    def test_every_kind_of_finding_can_be_made(self):
        self.assertEqual(set(DOCTORED), set(KINDS), "a kind that nothing proves, or a proof of none")
        for kind, cases in DOCTORED.items():
            self.assertTrue(cases, kind)
            for n, case in enumerate(cases):
                with self.subTest(kind=kind, n=n):
                    with self.assertRaises(Finding) as found:
                        case()
                    self.assertEqual(found.exception.kind, kind, found.exception)

    def test_there_is_no_kind_beside_these(self):
        with self.assertRaises(AssertionError) as found:
            Finding("another", "")
        self.assertNotIsInstance(found.exception, Finding)

    def test_finds_nothing_where_workers_come_to_the_end_and_leave_as_they_may(self):
        asked(lambda oracle: (oracle.await_markers(0), oracle.await_empty_group(0)))
        # Markers and what was aborted may lie behind the last record.
        asked(lambda oracle: (oracle.kafka.put("-journal", 0, b"", b""), oracle.check_places()), standing=[(0, 1, 1), (1, 3, 5)])
        behind = [LONG_BEHIND, [(0, 12, 7, 9)], LONG_BEHIND, []]
        await_the_end("t", lambda: behind.pop(0), lambda: None)
        self.assertEqual(behind, [])
        lasts, awaited = [{0: 2}, {0: 3}, {0: 4}, {0: 4}], []
        await_last_round("t", lambda: lasts.pop(0), awaited.append)
        self.assertEqual(awaited, [{0: 2}, {0: 3}, {0: 4}])
        idle_after("""echo '{"unbalanced": []}'""")
        end_with(3, 4, 0, -9, -15)


if __name__ == "__main__":
    unittest.main()
