#!/usr/bin/env python3
"""Holds the Avro codec against fastavro and its columns against pyarrow, over random schemas and values.

  differential_test.py LIBRARY [--seed N] [--rounds N]

The seed is printed; a failure prints the schemas and the value that made it.
"""
import argparse
import ctypes
import datetime
import decimal
import io
import json
import math
import random
import struct
import sys
import tempfile
import uuid

try:
    import fastavro
    import pyarrow
except ImportError as missing:
    # 77 is what ctest counts as skipped.
    print(f"skipped: {missing}")
    sys.exit(77)


class Probe:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.probe_free.argtypes = [ctypes.c_void_p]

    def call(self, name, *arguments):
        function = getattr(self.library, name)
        function.restype = ctypes.c_void_p
        converted = []
        for a in arguments:
            converted.append(ctypes.c_char_p(a.encode()) if isinstance(a, str) else a)
        pointer = function(*converted)
        text = ctypes.string_at(pointer).decode()
        self.library.probe_free(pointer)
        word, _, rest = text.partition(" ")
        return word == "ok", rest

    def decode(self, writer, reader, body):
        return self.call("probe_decode", text_of(writer), text_of(reader), ctypes.c_char_p(body),
                         ctypes.c_size_t(len(body)))


PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
# What JSON shows of a type: a union with two of one kind could not be told apart there.
KIND = {"null": "null", "boolean": "boolean", "int": "number", "long": "number", "float": "number", "double": "number",
        "bytes": "text", "string": "text", "fixed": "text", "enum": "text", "array": "array", "map": "object",
        "record": "object"}
TEXTS = ["", "a", "hello", "naïve", "日本語", "emoji 🙂", "x" * 40, 'quote " and \\ and \n', "\u0000\u007f"]


NAMED = ("record", "enum", "fixed")


def kind_of(schema):
    return schema if isinstance(schema, str) else schema["type"]


def full_name(schema):
    """Of a named type that says its namespace, which is how it may be named elsewhere; else None."""
    space = schema.get("namespace") if isinstance(schema, dict) and schema["type"] in NAMED else None
    return f"{space}.{schema['name']}" if space else None


def as_written(schema, before=None):
    """The schema as a file has it: a type that stands in several places is defined in the first, and named in the others."""
    before = set() if before is None else before
    if isinstance(schema, list):
        return [as_written(branch, before) for branch in schema]
    if isinstance(schema, str):
        return schema
    name = full_name(schema)
    if name in before:
        return name
    if name is not None:
        before.add(name)
    changed = dict(schema)
    for inner in ("items", "values"):
        if inner in schema:
            changed[inner] = as_written(schema[inner], before)
    if "fields" in schema:
        changed["fields"] = [dict(f, type=as_written(f["type"], before)) for f in schema["fields"]]
    return changed


def each_apart(schema, counts, of_writer=None):
    """Every place of a named type with a type of its own, under a name of its own: fastavro gets lost where one schema names a type
    that the other defines. `counts` gets how many there are of each name; a reader finds all of the writer's by aliases."""
    if isinstance(schema, list):
        return [each_apart(branch, counts, of_writer) for branch in schema]
    if isinstance(schema, str):
        return schema
    changed = dict(schema)
    if schema["type"] in NAMED:
        name = schema["name"]
        number = counts[name] = counts.get(name, 0) + 1
        changed["name"] = f"{name}_{number}" if of_writer is None else f"reader_{name}_{number}"
        if of_writer is not None:
            old = [name] + [alias.rpartition(".")[2] for alias in schema.get("aliases", [])]
            changed["aliases"] = [f"{o}_{i}" for o in old for i in range(1, of_writer.get(o, 0) + 1)]
    for inner in ("items", "values"):
        if inner in schema:
            changed[inner] = each_apart(schema[inner], counts, of_writer)
    if "fields" in schema:
        changed["fields"] = [dict(f, type=each_apart(f["type"], counts, of_writer)) for f in schema["fields"]]
    return changed


def text_of(schema):
    return json.dumps(as_written(schema))


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.names = 0
        self.known = []  # named types that may stand in a second place
        self.changed = {}  # by full name: what one evolution makes of them

    def name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def schema(self, depth):
        choice = self.rng.random()
        if self.known and self.rng.random() < 0.1:
            return self.rng.choice(self.known)
        if depth == 0 or choice < 0.5:
            return self.rng.choice(PRIMITIVES)
        kind = self.rng.choice(["array", "map", "enum", "fixed", "union", "union", "nullable", "nullable", "record"])
        if kind == "array":
            return {"type": "array", "items": self.schema(depth - 1)}
        if kind == "map":
            return {"type": "map", "values": self.schema(depth - 1)}
        if kind == "enum":
            return self.named({"type": "enum", "name": self.name("E"), "symbols": [f"S{i}" for i in range(self.rng.randint(1, 5))]})
        if kind == "fixed":
            return self.named({"type": "fixed", "name": self.name("F"), "size": self.rng.randint(0, 5)})
        if kind == "record":
            return self.record(depth - 1)
        if kind == "nullable":
            inner = self.schema(depth - 1)
            while isinstance(inner, list) or inner == "null":
                inner = self.schema(depth - 1)
            return self.rng.choice([["null", inner], [inner, "null"]])
        branches, seen = [], set()
        for _ in range(self.rng.randint(2, 5)):
            branch = self.schema(depth - 1)
            if isinstance(branch, list) or KIND[kind_of(branch)] in seen:
                continue
            # fastavro takes bytes for an array of numbers when it looks for the branch to write.
            if kind_of(branch) in ("bytes", "fixed", "array") and seen & {"array", "text"}:
                continue
            seen.add(KIND[kind_of(branch)])
            branches.append(branch)
        return branches or ["null", "string"]

    def record(self, depth):
        fields = [{"name": f"f{i}", "type": self.schema(depth)} for i in range(self.rng.randint(1, 6))]
        return self.known_from_here({"type": "record", "name": self.name("R"), "namespace": self.rng.choice(["", "a", "b.c"]), "fields": fields})

    def named(self, schema):
        if self.rng.random() < 0.5:
            schema["namespace"] = self.rng.choice(["a", "d"])
        return self.known_from_here(schema)

    def known_from_here(self, schema):
        if full_name(schema):
            self.known.append(schema)
        return schema

    def value(self, schema):
        r = self.rng
        if isinstance(schema, list):
            return self.value(r.choice(schema))
        kind = kind_of(schema)
        if kind == "null":
            return None
        if kind == "boolean":
            return r.random() < 0.5
        if kind == "int":
            return r.choice([0, 1, -1, 63, 64, -65, 2**31 - 1, -2**31, r.randint(-10**6, 10**6)])
        if kind == "long":
            return r.choice([0, -1, 2**63 - 1, -2**63, r.randint(-10**15, 10**15)])
        if kind == "float":
            return struct.unpack("f", struct.pack("f", r.choice([0.0, 1.5, -3.25, r.uniform(-1e6, 1e6)])))[0]
        if kind == "double":
            return r.choice([0.0, -0.5, 1e300, 5e-324, r.uniform(-1e9, 1e9)])
        if kind == "bytes":
            return bytes(r.randrange(256) for _ in range(r.choice([0, 1, 3, 20])))
        if kind == "string":
            return r.choice(TEXTS)
        if kind == "fixed":
            return bytes(r.randrange(256) for _ in range(schema["size"]))
        if kind == "enum":
            return r.choice(schema["symbols"])
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(r.choice([0, 1, 2, 5]))]
        if kind == "map":
            return {f"k{i}": self.value(schema["values"]) for i in range(r.choice([0, 1, 3]))}
        return {f["name"]: self.value(f["type"]) for f in schema["fields"]}

    def evolved_whole(self, schema):
        """A reader's schema for what this one writes."""
        self.changed = {}
        return self.evolved(schema)

    def evolved(self, schema):
        name = full_name(schema)
        if name in self.changed:
            return self.changed[name]
        changed = self.renamed(self.evolved_anew(schema))
        if name is not None:
            self.changed[name] = changed
        return changed

    def renamed(self, schema):
        """Now and then a named type under another name, which has the old one as an alias."""
        if isinstance(schema, list) or kind_of(schema) not in NAMED or self.rng.random() < 0.8:
            return schema
        aliases = ["other", self.rng.choice([schema["name"], full_name(schema) or schema["name"]])]
        return dict(schema, name="N" + schema["name"], aliases=aliases)

    def evolved_anew(self, schema):
        r = self.rng
        if isinstance(schema, list):
            branches = [self.evolved(b) for b in schema]
            if r.random() < 0.3:
                r.shuffle(branches)
            if len(branches) > 2 and r.random() < 0.2:
                branches.pop()  # some records cannot be read then
            return branches
        kind = kind_of(schema)
        wider = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"], "string": ["bytes"],
                 "bytes": ["string"]}
        if kind in wider and r.random() < 0.3:
            return r.choice(wider[kind])
        if kind in PRIMITIVES:
            return schema
        if kind == "array":
            return {"type": "array", "items": self.evolved(schema["items"])}
        if kind == "map":
            return {"type": "map", "values": self.evolved(schema["values"])}
        if kind == "enum":
            symbols = list(schema["symbols"]) + (["T1"] if r.random() < 0.4 else [])
            r.shuffle(symbols)
            changed = dict(schema, symbols=symbols)
            if len(symbols) > 1 and r.random() < 0.3:
                changed["symbols"] = symbols[1:]
                if r.random() < 0.5:
                    changed["default"] = symbols[1]
            return changed
        if kind == "record":
            return self.evolved_record(schema)
        return schema

    def evolved_record(self, schema):
        r = self.rng
        fields = []
        for f in schema["fields"]:
            if r.random() < 0.15:
                continue
            changed = {"name": f["name"], "type": self.evolved(f["type"])}
            if not isinstance(changed["type"], list) and changed["type"] != "null" and r.random() < 0.15:
                changed["type"] = ["null", changed["type"]]
            if r.random() < 0.15:
                changed = {"name": "n_" + f["name"], "type": changed["type"], "aliases": [f["name"]]}
            fields.append(changed)
        if r.random() < 0.3:
            fields.append({"name": "added", "type": r.choice(["string", ["string", "null"]]), "default": "dé"})
        if r.random() < 0.2:
            fields.append({"name": "added2", "type": {"type": "array", "items": "int"}, "default": [1, 2]})
        r.shuffle(fields)
        return dict(schema, fields=fields)


def as_json(value):
    """A value as our JSON has it: bytes are code points."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    return value


def as_float(number):
    return struct.pack("f", number) if abs(number) < 3e38 else number


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
            return False
        # fastavro does not round to float what it promotes; our JSON shows a float in as few digits as tell it apart.
        return a == b or math.isclose(a, b, rel_tol=1e-6) or as_float(a) == as_float(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and a == b


def fail(what, **context):
    print(f"FAILED: {what}")
    for name, value in context.items():
        if name in ("schema", "writer", "reader"):
            value = text_of(value)
        print(f"  {name}: {value if isinstance(value, (str, bytes)) else json.dumps(as_json(value))}")
    sys.exit(1)


def write_with_fastavro(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(as_written(schema)), value)
    return out.getvalue()


def read_with_fastavro(body, writer, reader=None):
    return fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(as_written(writer)),
                                      fastavro.parse_schema(as_written(reader)) if reader is not None else None)


def check_schema(probe, schema):
    good, text = probe.call("probe_schema", text_of(schema))
    if not good:
        fail("our parser refuses the schema", schema=schema, answer=text)
    canonical, fingerprint, full = text.split("\n")
    expected = fastavro.schema.to_parsing_canonical_form(as_written(schema))
    if canonical != expected:
        fail("canonical forms differ", schema=schema, ours=canonical, theirs=expected)
    if fingerprint != fastavro.schema.fingerprint(expected, "CRC-64-AVRO"):
        # fastavro gives the bytes in little-endian order.
        theirs = fastavro.schema.fingerprint(expected, "CRC-64-AVRO")
        if bytes.fromhex(theirs)[::-1].hex() != fingerprint:
            fail("fingerprints differ", schema=schema, ours=fingerprint, theirs=theirs)
    again, text = probe.call("probe_schema", full)
    if not again or text.split("\n")[2] != full:
        fail("our full JSON does not read back as itself", schema=schema, ours=full)


def check_pair(probe, writer, reader, value):
    body = write_with_fastavro(writer, value)
    good, text = probe.decode(writer, writer, body)
    if not good or not same(json.loads(text), as_json(value)):
        fail("decode differs from what fastavro wrote", writer=writer, value=value, ours=text)
    good, text = probe.call("probe_encode", text_of(writer), json.dumps(as_json(value)))
    if not good:
        fail("encode refuses", writer=writer, value=value, ours=text)
    theirs = read_with_fastavro(bytes.fromhex(text), writer)
    if not same(as_json(theirs), as_json(value)):
        fail("fastavro reads otherwise what we wrote", writer=writer, value=value, theirs=theirs)
    try:
        if as_written(writer) == writer and as_written(reader) == reader:
            theirs = read_with_fastavro(body, writer, reader)
        else:
            counts = {}
            theirs = read_with_fastavro(body, each_apart(writer, counts), each_apart(reader, {}, counts))
    except Exception as refusal:  # whatever it raises, it refuses
        theirs, refused = None, refusal
    else:
        refused = None
    good, text = probe.decode(writer, reader, body)
    if good == (refused is not None):
        fail("one refuses and the other does not", writer=writer, reader=reader, value=value, ours=text, theirs=str(refused))
    if good and not same(json.loads(text), as_json(theirs)):
        fail("resolution differs", writer=writer, reader=reader, value=value, ours=text, theirs=theirs)
    return refused is None


def check_damage(probe, rng, writer, value):
    """Damaged bytes: we may only take what fastavro takes, and as the same value."""
    body = bytearray(write_with_fastavro(writer, value))
    if not body:
        return
    body[rng.randrange(len(body))] = rng.randrange(256)
    body = bytes(body[: rng.randint(1, len(body))])
    good, text = probe.decode(writer, writer, body)
    if not good:
        return
    theirs = read_with_fastavro(body, writer)
    ours = json.loads(text)
    if not same(ours, as_json(theirs)) and "NaN" not in text and "Infinity" not in text:
        fail("damaged bytes are read otherwise", writer=writer, body=body.hex(), ours=text, theirs=theirs)


def check_decimals(probe):
    schema = {"type": "record", "name": "L", "fields": [
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}},
        {"name": "f", "type": {"type": "fixed", "name": "F8", "size": 8, "logicalType": "decimal", "precision": 15, "scale": 2}},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "n", "type": ["null", {"type": "int", "logicalType": "date"}]}]}
    for text in ["0.000", "1.500", "-1.500", "123456789.123", "-0.001", "999999999.999"]:
        # Plus zero: fastavro writes a negative zero as -2.
        cents = decimal.Decimal(text).quantize(decimal.Decimal("0.01")) + 0
        value = {"d": decimal.Decimal(text), "f": cents, "t": 1795219200123, "n": None}
        body = write_with_fastavro(schema, value)
        good, ours = probe.decode(schema, schema, body)
        row = json.loads(ours) if good else {}
        if not good or decimal.Decimal(row["d"]) != value["d"] or decimal.Decimal(row["f"]) != value["f"]:
            fail("decimals differ", value=text, ours=ours)
        good, ours = probe.call("probe_encode", json.dumps(schema), json.dumps(row))
        if not good or read_with_fastavro(bytes.fromhex(ours), schema)["d"] != value["d"]:
            fail("decimals differ when written", value=text, ours=ours)


def check_times_and_uuids(probe, rng):
    """What fastavro writes of Python's dates, times and uuids is what calendars say, and reads back from what we write."""
    base = {"date": "int", "time-millis": "int", "uuid": "string"}
    kinds = ["date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "local-timestamp-millis",
             "local-timestamp-micros", "uuid"]
    schema = {"type": "record", "name": "L", "fields": [
        {"name": k.replace("-", "_"), "type": {"type": base.get(k, "long"), "logicalType": k}} for k in kinds]}
    epoch = datetime.datetime(1970, 1, 1)
    for day in [0, -1, 11016, 20778, rng.randrange(-700_000, 2_900_000)]:
        us = rng.randrange(86_400_000) * 1000
        then = epoch + datetime.timedelta(days=day, microseconds=us)
        moment = then.replace(tzinfo=datetime.timezone.utc)
        name = uuid.UUID(int=rng.getrandbits(128))
        value = {"date": then.date(), "time_millis": then.time(), "time_micros": then.time(), "timestamp_millis": moment,
                 "timestamp_micros": moment, "local_timestamp_millis": then, "local_timestamp_micros": then, "uuid": name}
        total = day * 86_400_000_000 + us
        expected = {"date": day, "time_millis": us // 1000, "time_micros": us, "timestamp_millis": total // 1000, "timestamp_micros": total,
                    "local_timestamp_millis": total // 1000, "local_timestamp_micros": total, "uuid": str(name)}
        good, ours = probe.decode(schema, schema, write_with_fastavro(schema, value))
        if not good or json.loads(ours) != expected:
            fail("times and uuids differ", value=str(value), ours=ours, expected=expected)
        spelt = dict(expected, date=then.date().isoformat(), timestamp_millis=moment.isoformat(), timestamp_micros=moment.isoformat(),
                     local_timestamp_millis=then.isoformat(), local_timestamp_micros=then.isoformat())
        for row in (expected, spelt):
            good, ours = probe.call("probe_encode", json.dumps(schema), json.dumps(row))
            if not good or read_with_fastavro(bytes.fromhex(ours), schema) != value:
                fail("times and uuids differ when written", row=row, ours=ours)


def arrow_structs():
    """Room for an ArrowArray and an ArrowSchema; pyarrow takes their addresses."""
    return ctypes.create_string_buffer(10 * 8), ctypes.create_string_buffer(9 * 8)


def from_arrow(value, schema):
    """A pyarrow value as fastavro has it: maps are lists of pairs there."""
    if isinstance(schema, list):
        if value is None:
            return None
        fitting = [b for b in schema if b != "null"]
        return from_arrow(value, fitting[0]) if len(fitting) == 1 else value
    kind = kind_of(schema)
    if kind == "map" and value is not None:
        return {k: from_arrow(v, schema["values"]) for k, v in value}
    if kind == "array":
        return [from_arrow(v, schema["items"]) for v in value]
    if kind == "record":
        return {f["name"]: from_arrow(value[f["name"]], f["type"]) for f in schema["fields"]}
    return value


def has_general_union(schema):
    if isinstance(schema, list):
        return len(schema) != 2 or "null" not in schema or any(has_general_union(b) for b in schema)
    kind = kind_of(schema)
    if kind == "array":
        return has_general_union(schema["items"])
    if kind == "map":
        return has_general_union(schema["values"])
    return kind == "record" and any(has_general_union(f["type"]) for f in schema["fields"])


def check_arrow(probe, generator, schema):
    """pyarrow imports our columns; what it makes of them, sliced, we encode."""
    values = [generator.value(schema) for _ in range(20)]
    array, layout = arrow_structs()
    lines = "\n".join(json.dumps(as_json(v)) for v in values)
    good, text = probe.call("probe_export", text_of(schema), lines, layout, array)
    if not good:
        fail("export refuses", schema=schema, ours=text)
    batch = pyarrow.RecordBatch._import_from_c(ctypes.addressof(array), ctypes.addressof(layout))
    batch.validate(full=True)
    if not has_general_union(schema):
        rows = [from_arrow(row, schema) for row in batch.to_pylist()]
        if not same(as_json(rows), as_json(values)):
            fail("pyarrow reads our columns otherwise", schema=schema, values=values, theirs=rows)
    start = generator.rng.randint(0, 10)
    part = batch.slice(start, 7)
    array, layout = arrow_structs()
    part._export_to_c(ctypes.addressof(array), ctypes.addressof(layout))
    good, text = probe.call("probe_reencode", text_of(schema), layout, array)
    if not good:
        fail("encoding a slice of pyarrow's refuses", schema=schema, ours=text)
    for body, value in zip(text.split("\n"), values[start:start + 7]):
        theirs = read_with_fastavro(bytes.fromhex(body), schema)
        if not same(as_json(theirs), as_json(value)):
            fail("a slice of pyarrow's is encoded otherwise", schema=schema, value=value, theirs=theirs)


def codecs_of_fastavro():
    known = []
    for codec in ["null", "deflate", "snappy", "bzip2", "xz", "zstandard"]:
        try:
            fastavro.writer(io.BytesIO(), {"type": "record", "name": "r", "fields": []}, [{}], codec=codec)
            known.append(codec)
        except (ValueError, ImportError):
            print(f"skipped: container codec {codec}: fastavro has not got it; install tests/requirements.txt")
    return known


def check_containers(probe, generator, codecs):
    schema = generator.record(2)
    values = [generator.value(schema) for _ in range(50)]
    with tempfile.TemporaryDirectory() as folder:
        for codec in codecs:
            path = f"{folder}/{codec}.avro"
            with open(path, "wb") as out:
                fastavro.writer(out, as_written(schema), values, codec=codec, sync_interval=200)
            good, text = probe.call("probe_read_container", path)
            if not good or not same([json.loads(line) for line in text.splitlines()], as_json(values)):
                fail("a container file is read otherwise", codec=codec, schema=schema, ours=text)
        lines = "\n".join(json.dumps(as_json(v)) for v in values)
        for codec in [c for c in codecs if c in ("null", "deflate", "snappy")]:
            path = f"{folder}/ours-{codec}.avro"
            good, text = probe.call("probe_write_container", path, text_of(schema), codec, lines)
            if not good:
                fail("a container file is not written", codec=codec, schema=schema, ours=text)
            with open(path, "rb") as written:
                theirs = list(fastavro.reader(written))
            if not same(as_json(theirs), as_json(values)):
                fail("fastavro reads our container file otherwise", codec=codec, schema=schema, theirs=theirs)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("library")
    arguments.add_argument("--seed", type=int, default=20261121)
    arguments.add_argument("--rounds", type=int, default=400)
    options = arguments.parse_args()
    print(f"seed {options.seed}, {options.rounds} pairs of schemas")
    probe = Probe(options.library)
    rng = random.Random(options.seed)
    check_decimals(probe)
    check_times_and_uuids(probe, rng)
    read, refused = 0, 0
    codecs = codecs_of_fastavro()
    for i in range(options.rounds):
        generator = Generator(rng)
        writer = generator.record(3)
        reader = generator.evolved_whole(writer)
        check_schema(probe, writer)
        for _ in range(5):
            value = generator.value(writer)
            if check_pair(probe, writer, reader, value):
                read += 1
            else:
                refused += 1
            check_damage(probe, rng, writer, value)
        if i % 4 == 0:
            check_arrow(probe, generator, writer)
        if i % 20 == 0:
            check_containers(probe, generator, codecs)
    print(f"{read} values resolved alike, {refused} refused by both")


if __name__ == "__main__":
    main()
