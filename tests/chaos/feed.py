"""The input of a trial: people who decide and change their minds, events that wish for this and that, and records that nobody can read."""
import dataclasses
import io
import random

import broker
from replay import PURPOSE
from shape import TASKS, item_partition_of, task_of

PAUSE_SECONDS = 0.15
UNKNOWN_SCHEMA = 2_000_000_000
ITEMS, ITEMS_NEVER_THERE = 12, 2  # that events ask for; of these
POISON = ("not framed", "nothing", "unknown schema", "cut", "nobody", "elsewhere")


@dataclasses.dataclass
class Table:
    """What was acknowledged of the global table: the brokers may have compacted it since."""
    changes: list = dataclasses.field(default_factory=list)  # (partition, offset, item, title or None)
    unsure: set = dataclasses.field(default_factory=set)     # items of which no broker has told an offset
    ends: dict = dataclasses.field(default_factory=dict)     # partition -> one past the last row
    known: list = dataclasses.field(default_factory=list)    # (n, ends): what events must know, from the n-th on


class Feed:
    """Makes and writes it; `events` and `decisions` are those that were acknowledged, in the order of their writing. A decision is
    acknowledged before the next event is written, and the other way round: times tell what came first."""

    def __init__(self, name, seed, shape, bootstrap, schemas):
        """schemas: topic -> (id, parsed)."""
        self.name, self.seed, self.shape, self.bootstrap, self.schemas = name, seed, shape, bootstrap, schemas
        self.rng = random.Random(f"{seed} people")
        self.everybody = [f"subject-{i}" for i in range(self.rng.randint(5, 40))]
        # What waits for another attempt or a timer is asked for consent again: whose withdrawal would meet it half-way wishes for nothing.
        self.changing = {s for s in self.everybody if self.rng.random() < 0.4}
        self.events, self.decisions, self.standing = [], [], {}
        self.asks, self.items_rng, self.titles = random.Random(f"{seed} asks"), random.Random(f"{seed} items"), 0
        self.table = Table()
        self.now = 10_000
        self.plain = self.producer()

    def producer(self, **more):
        from confluent_kafka import Producer
        return Producer({"log_level": 0, "bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                         "reconnect.backoff.max.ms": 500, **more})

    def write(self, records, through=None):
        """(topic, key, value, partition, timestamp). Their offsets; negative ones where the brokers have lost count."""
        failed, offsets = [], [None] * len(records)
        to = through or self.plain

        def told(i):
            return lambda e, m: failed.append(e) if e else offsets.__setitem__(i, m.offset())
        for i, (topic, key, value, partition, at) in enumerate(records):
            to.produce(f"{self.name}-{topic}", value, key, partition=partition, timestamp=at, on_delivery=told(i))
        assert to.flush(120) == 0 and not failed, failed[:3]
        return offsets

    def framed(self, topic, row):
        """As any other program would: Confluent's framing."""
        schema_id, schema = self.schemas[topic]
        return broker.frame(schema_id, schema, {f["name"]: row.get(f["name"], f.get("default")) for f in schema["fields"]})

    # ---- consent ----

    def decide_first(self):
        """Before any event."""
        if self.shape.rounds:
            self.change_items(range(ITEMS - ITEMS_NEVER_THERE), self.items_rng)
        if not self.shape.consents:
            return
        made = []
        for s in self.everybody:
            first = self.rng.choice(["granted", "granted", "denied", None])
            if first is not None:
                made.append((s, first, 1_000))
            if first == "granted" and self.rng.random() < 0.2:
                made.append((s, "withdrawn", 2_000))
        self.write_decisions(made)

    def change_a_mind(self, rng):
        who = rng.choice(self.everybody)
        if self.standing.get(who) != "granted":
            what = "granted"
        elif who in self.changing:
            what = rng.choice(["withdrawn", "denied"])
        else:
            return
        self.now += 1
        self.write_decisions([(who, what, self.now)])

    def write_decisions(self, made):
        rows = [{"subject_id": s, "purpose": PURPOSE, "decision": what, "at": at} for s, what, at in made]
        self.write([("consent", key_of(d), self.framed("consent", d), task_of(d["subject_id"]), d["at"]) for d in rows])
        for d in rows:
            self.decisions.append(d)
            self.standing[d["subject_id"]] = d["decision"]

    # ---- the global table ----

    def change_items(self, which, rng):
        """New titles, and now and then a removal or a row that nobody can read, under a key that no later row takes over."""
        made, titles = [], []
        for i in which:
            self.now += 1
            self.titles += 1
            item, title = f"item-{i}", None if rng.random() < 0.3 else f"{i} the {self.titles}th"
            good = self.framed("items", {"id": item, "title": title or ""})
            value = None if title is None else good
            if rng.random() < 0.1:
                item, value = f"poison-{self.titles}", rng.choice((b"no frame", self.unknown(good), good[:-1]))
            made.append(("items", item.encode(), value, item_partition_of(item.encode()), self.now))
            titles.append((item, title))
        for (_, _, _, partition, _), (item, title), offset in zip(made, titles, self.write(made)):
            if offset < 0:
                self.table.unsure.add(item)
                continue
            self.table.changes.append((partition, offset, item, title))
            self.table.ends[partition] = max(offset + 1, self.table.ends.get(partition, 0))

    def must_be_known(self):
        """What the table has now, from the next event on."""
        self.table.known.append((len(self.events), dict(self.table.ends)))

    @staticmethod
    def unknown(value):
        return value[:1] + UNKNOWN_SCHEMA.to_bytes(4, "big") + value[5:]

    # ---- events ----

    def event(self, subject, wish=""):
        self.now += 1
        e = {"event_id": f"e{len(self.events)}", "subject_id": subject, "at": self.now, "n": len(self.events), "wish": wish}
        if self.shape.rounds:
            e["item"] = f"item-{self.asks.randrange(ITEMS)}"
        self.events.append(e)
        return self.as_record(e)

    def as_record(self, e, **other):
        e = {**e, **other}
        return ("journal", self.shape.key_of(e), self.framed("journal", e), self.shape.partition_of(e["subject_id"]), e["at"])

    def wish(self, rng, subject):
        """What an event asks of the stage `remind`, mostly nothing; how often it goes round."""
        kind = rng.random()
        if self.shape.rounds:
            return "" if kind < 0.5 else f"round {1 if kind < 0.75 else 2}"
        if not self.shape.wishes or subject in self.changing or kind > 0.15:
            return ""
        if kind < 0.02:
            return f"retry {rng.randint(1, 3)}"
        return "retry" if kind < 0.03 else f"remind {rng.randint(0, 1500)}"

    def poison(self, rng):
        """What nobody can read, or must not."""
        what, e = rng.choice(POISON), {"event_id": "poison", "subject_id": rng.choice(self.everybody), "at": 9_000, "n": 0, "wish": ""}
        topic, key, value, partition, at = self.as_record(e)
        if what == "not framed":
            value = rng.choice([b"", b"no frame", value[1:]])
        elif what == "nothing":
            value = None
        elif what == "unknown schema":
            value = self.unknown(value)
        elif what == "cut":
            value = value[:rng.randint(5, len(value) - 1)]
        elif what == "nobody":
            value = self.as_record(e, subject_id="")[2]
        elif self.shape.rekeyed:
            value = value[:-1]  # it may be anywhere
        else:
            partition = (partition + rng.randint(1, TASKS - 1)) % TASKS
        return topic, key, value, partition, at

    def run(self, until):
        rng = random.Random(f"{self.seed} events")
        while not until.wait(PAUSE_SECONDS):
            for _ in range(rng.choice((0, 0, 1, 2))):
                if self.shape.consents:
                    self.change_a_mind(rng)
            if self.shape.rounds and self.items_rng.random() < 0.3:
                self.change_items(self.items_rng.choices(range(ITEMS - ITEMS_NEVER_THERE), k=2), self.items_rng)
            people = [rng.choice(self.everybody) for _ in range(rng.randint(5, 60))]
            some = [self.event(who, self.wish(rng, who)) for who in people]
            for _ in range(rng.choice((0, 0, 0, 1, 3))):
                some.insert(rng.randint(0, len(some)), self.poison(rng))
            self.write(some)

    def write_last(self):
        """Each subject once more: every key of the store is read again by the worker that has it last."""
        self.write([self.event(s) for s in self.everybody])

    # ---- of others ----

    def aborted(self, rng):
        """Events of transactions that are taken back: nobody may see them. Nor rows of the global table and what comes back."""
        events = [{"event_id": f"aborted-{i}", "subject_id": s, "at": 9_000, "n": 0, "wish": ""}
                  for i, s in enumerate(rng.choices(self.everybody, k=5))]
        made = [self.as_record(e) for e in events]
        if self.shape.rounds:
            made += [("again", e["subject_id"].encode(), self.framed("again", e), task_of(e["subject_id"]), e["at"]) for e in events]
            key = f"item-{rng.randrange(ITEMS)}".encode()
            made.append(("items", key, self.framed("items", {"id": key.decode(), "title": "aborted"}), item_partition_of(key), 9_000))
        return made

    def aborter(self):
        made = self.producer(**{"transactional.id": f"{self.name}-other", "transaction.timeout.ms": 5_000})
        made.init_transactions(10)
        return made


def key_of(decision):
    """As the flow says: subject and purpose, as Avro has them."""
    import fastavro
    out = io.BytesIO()
    for field in ("subject_id", "purpose"):
        fastavro.schemaless_writer(out, "string", decision[field])
    return out.getvalue()
