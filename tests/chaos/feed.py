"""The input of a trial: people who decide and change their minds, events that wish for this and that, and records that nobody can read."""
import io
import random

import broker
from replay import PURPOSE
from shape import TASKS, task_of

PAUSE_SECONDS = 0.15
UNKNOWN_SCHEMA = 2_000_000_000
POISON = ("not framed", "nothing", "unknown schema", "cut", "nobody", "elsewhere")


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
        self.now = 10_000
        self.plain = self.producer()

    def producer(self, **more):
        from confluent_kafka import Producer
        return Producer({"log_level": 0, "bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                         "reconnect.backoff.max.ms": 500, **more})

    def write(self, records, through=None):
        """(topic, key, value, partition, timestamp)."""
        failed = []
        to = through or self.plain
        for topic, key, value, partition, at in records:
            to.produce(f"{self.name}-{topic}", value, key, partition=partition, timestamp=at,
                       on_delivery=lambda e, _: failed.append(e) if e else None)
        assert to.flush(120) == 0 and not failed, failed[:3]

    def framed(self, topic, row):
        """As any other program would: Confluent's framing."""
        schema_id, schema = self.schemas[topic]
        return broker.frame(schema_id, schema, {f["name"]: row.get(f["name"], f.get("default")) for f in schema["fields"]})

    # ---- consent ----

    def decide_first(self):
        """Before any event."""
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

    # ---- events ----

    def event(self, subject, wish=""):
        self.now += 1
        e = {"event_id": f"e{len(self.events)}", "subject_id": subject, "at": self.now, "n": len(self.events), "wish": wish}
        self.events.append(e)
        return self.as_record(e)

    def as_record(self, e, **other):
        e = {**e, **other}
        return ("journal", self.shape.key_of(e), self.framed("journal", e), self.shape.partition_of(e["subject_id"]), e["at"])

    def wish(self, rng, subject):
        """What an event asks of the stage `remind`: mostly nothing."""
        kind = rng.random()
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
            value = value[:1] + UNKNOWN_SCHEMA.to_bytes(4, "big") + value[5:]
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
                self.change_a_mind(rng)
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
        """Events of transactions that are taken back: nobody may see them."""
        return [self.as_record({"event_id": f"aborted-{i}", "subject_id": s, "at": 9_000, "n": 0, "wish": ""})
                for i, s in enumerate(rng.choices(self.everybody, k=5))]

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
