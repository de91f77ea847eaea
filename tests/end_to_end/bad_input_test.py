#!/usr/bin/env python3
"""What a running worker does with input, plugins and surroundings that are wrong, with the exact messages."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import unittest

from place import BUILD, ROOT, SONDER, Place, free_port, get, main, wait

PLUGINS = BUILD / "testing_plugins"
TEXT_BYTES = 8 << 20


def field(name, of, **more):
    # Data about nobody: what labels allow is tested elsewhere.
    return {"name": name, "type": of, "sonder.privacy": {"categories": []}, **more}


EVENT = {"type": "record", "name": "event", "fields": [
    field("event_id", "string"), field("subject_id", "string"), field("text", "string"),
    field("at", {"type": "long", "logicalType": "timestamp-millis"}), field("note", ["null", "string"], default=None)]}


def event(number, text="t"):
    return {"event_id": f"e{number}", "subject_id": "ana", "text": text, "at": 1_000 + number}


def string(text):
    return varint(len(text)) + text


def varint(number):
    left, out = (number << 1) ^ (number >> 63), b""
    while left > 0x7F:
        out += bytes([left & 0x7F | 0x80])
        left >>= 7
    return out + bytes([left])


class BadInputTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)
        self.folder = self.place.folder
        (self.folder / "event.avsc").write_text(json.dumps(EVENT))
        self.data = self.folder / "data"
        self.config = self.flow()

    def flow(self, how="not", when="", stage="", name="flow.yaml", plugins=PLUGINS):
        """A flow from `events` through the plugin that does what it must not, as configured."""
        path = self.folder / name
        path.write_text(f"""flow: bad
log: {{kind: embedded, dir: {self.data}}}
plugins: [{plugins}]
topics:
  events: {{schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}}
  out: {{schema: event.avsc, partitions: 1, carries: [quasi_identifier]}}
  dead_letter: {{schema: {ROOT}/schemas/dead_letter.avsc, partitions: 1}}
stages:
  odd: {{plugin: misbehaving, in: {{texts: events}}, config: {{how: {how}, when: "{when}"}}{stage}}}
sinks:
  out: odd.out
""")
        return path

    def give(self, *events):
        self.place.run("produce", "events", "--config", self.config, "--quiet", stdin="".join(json.dumps(e) + "\n" for e in events))

    def give_bytes(self, value):
        """One record of just these bytes: a bare topic of a fixed has nothing around them."""
        name = f"raw{len(value)}"
        (self.folder / f"{name}.avsc").write_text(json.dumps({"type": "record", "name": name, "fields": [
            field("b", {"type": "fixed", "name": f"{name}_bytes", "size": len(value)})]}))
        config = self.folder / f"{name}.yaml"
        config.write_text(f"flow: bad\nlog: {{kind: embedded, dir: {self.data}}}\n"
                          f"topics:\n  events: {{schema: {name}.avsc, framing: bare, partitions: 1}}\n")
        self.place.run("produce", "events", "--config", config, "--quiet", stdin=json.dumps({"b": value.decode("latin-1")}) + "\n")

    def values(self, topic):
        out = self.place.run("consume", topic, "--from-beginning", "--until-end", "--config", self.config).stdout
        return [json.loads(line)["value"] for line in out.splitlines()]

    def start(self, config, *more):
        worker = self.place.start("run", config, "--quiet", *more)
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        return worker

    def run_once(self, config, expect=0):
        return self.place.run("run", config, "--until-idle", "--json", expect=expect)

    def said(self, done):
        """What it said to its user: neither warnings nor lines of its log."""
        return [line for line in done.stderr.splitlines() if not line.startswith("{") and ": warning: " not in line]

    def logged(self, done, level):
        lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        return [{name: value for name, value in line.items() if name not in ("at", "level")} for line in lines if line["level"] == level]

    # ---- records ----

    def test_each_bad_record_ends_as_a_dead_letter_of_its_cause_and_the_rest_goes_on(self):
        port = free_port()
        worker = self.start(self.config, "--set", f"run.http_port={port}")
        wait(lambda: get(port, "/readyz")[0] == 200)
        self.give(event(0))
        schemas = [json.loads(line) for line in self.place.run("schemas", "list", "--json", "--config", self.config).stdout.splitlines()]
        [schema_id] = {s["id"] for s in schemas if s["subject"] == "events-value"}
        frame = b"\0" + schema_id.to_bytes(4, "big")
        good = string(b"e9") + string(b"ana") + string(b"text") + varint(2_000)
        bad = {
            "not_framed": [b"\7abc", b""],
            "unknown_schema": [b"\0\0\0\x27\x0f" + good + b"\0"],
            "undecodable": [frame + good + varint(9),             # a branch that the union does not have
                            frame + good,                         # cut short
                            frame + good + b"\0trailing",
                            frame + string(b"e9") + string(b"ana") + string(b"\xc3\x28") + varint(2_000) + b"\0",  # no UTF-8
                            frame + varint(1 << 60) + b"e9"],     # a length beyond the record
            "no_subject": [frame + string(b"e9") + string(b"") + string(b"text") + varint(2_000) + b"\0"],
            "future": [frame + string(b"e9") + string(b"ana") + string(b"text") + varint(1 << 45) + b"\0"],
        }
        for values in bad.values():
            for value in filter(None, values):
                self.give_bytes(value)
        self.give_bytes(frame + good + b"\0")                     # without a key, and fine
        self.give(event(1, "x" * TEXT_BYTES))
        wait(lambda: len(self.values("out")) == 3)
        counted = dict(re.findall(r'sonder_dead_letters_total\{cause="(\w+)"\} (\d+)', get(port, "/metrics")[1]))
        self.assertEqual({cause: int(n) for cause, n in counted.items() if n != "0"}, {c: len(list(filter(None, v))) for c, v in bad.items()})
        letters = self.values("dead_letter")
        self.assertEqual({(x["stage"], x["cause"]) for x in letters}, {("source", cause) for cause in bad})
        self.assertEqual([x["offset"] for x in letters], list(range(1, 1 + len(letters))))
        self.assertEqual(max(len(v["text"]) for v in self.values("out")), TEXT_BYTES)
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=60)[1]
        self.assertEqual(worker.returncode, 0, said)
        refused = [json.loads(line) for line in said.splitlines() if line.startswith("{") and '"a record is dead-lettered' in line]
        self.assertEqual([(x["topic"], x["partition"], x["offset"], x["cause"], x["because"]) for x in refused], [
            ("events", 0, letters[i]["offset"], letters[i]["cause"], because) for i, because in enumerate((
                "it does not begin with a schema id (zero byte, four bytes); is the topic's framing bare?",
                "the registry has no schema with its id",
                'field "note": bad_union_branch at byte 15',
                'field "note": truncated at byte 14',
                "record: trailing_bytes at byte 15",
                'field "text": bad_utf8 at byte 8',
                'field "event_id": length_out_of_range at byte 9',
                "its subject is null or empty",
                "its time is further ahead than `future_max` allows"))])

    # ---- plugins ----

    def test_rows_for_which_a_plugin_misbehaves_are_buried_one_by_one_with_a_line_that_says_why(self):
        expected = {
            "throw": ("plugin_failed", "thrown on purpose"),
            "bad_records": ("plugin_failed", "one of them is bad"),
            "nonsense_status": ("bad_output", "status 77 is none of sonder_status, or none that was asked for"),
            "nonsense_verdict": ("bad_output", "verdict 99 is none of sonder_verdict"),
            "nonsense_reason": ("bad_output", "reason 7 is not declared; the manifest has 1"),
            "wrong_length": ("bad_output", 'column "length": has 2 rows, should have 1'),
            "bad_utf8": ("bad_output", 'column "echo": row 0 is not valid UTF-8'),
            "left_out": ("bad_output", 'column "length" is missing and its type has no null'),
            "nonsense_emit": ("bad_output", "emit: a source row outside the batch"),
        }
        for how, (cause, message) in expected.items():
            with self.subTest(how=how):
                self.data = self.folder / f"data_{how}"
                self.config = self.flow(how, when="bad")
                self.give(event(1), event(2, "bad"), event(3))
                done = self.run_once(self.config)
                [port] = [p for p in json.loads(done.stdout)["ports"] if p["node"] == "odd"]
                self.assertEqual((port["passed"], port["dead_lettered"]), (2, {cause: 1}), done.stderr)
                self.assertEqual(self.logged(done, "warning"), [{
                    "message": "a plugin's row is dead-lettered; further ones of this cause are only counted", "stage": "odd",
                    "plugin": "misbehaving", "cause": cause, "because": message}])
                self.assertEqual([(x["stage"], x["cause"], x["offset"]) for x in self.values("dead_letter")], [("odd", cause, 1)])

    def test_a_plugin_that_cannot_go_on_ends_the_worker_and_nothing_passes(self):
        self.config = self.flow("fatal")
        self.give(event(1))
        done = self.run_once(self.config, expect=4)
        self.assertEqual(self.said(done), ['sonder: stage "odd": plugin misbehaving cannot go on: cannot go on'])
        self.assertEqual(self.values("out"), [])

    def test_a_plugin_that_refuses_its_start_is_named_with_its_place(self):
        self.config = self.flow("bad_config")
        done = self.run_once(self.config, expect=3)
        self.assertEqual(self.said(done), [f'sonder: {self.config}:9:3: stage "odd": plugin misbehaving does not start: '
                                           'property "how" asks for trouble; choose another'])

    def test_a_call_that_never_returns_ends_the_worker_by_its_deadline(self):
        self.config = self.flow("hang", when="bad", stage=", deadline: 300ms")
        self.give(event(1), event(2, "bad"))
        done = self.run_once(self.config, expect=70)
        self.assertEqual(self.logged(done, "error"), [{
            "message": "a plugin's call passed its deadline; the process ends, and what is not committed is not kept", "stage": "odd",
            "plugin": "misbehaving 1.0.0", "call": "process", "deadline_ms": 300,
            "next": "mend or replace the plugin, or raise stages.odd.deadline where it needs the time"}])
        self.assertEqual(self.values("out"), [])

    def test_a_crash_inside_of_a_plugin_names_it_and_ends_by_the_signal(self):
        for how, number in {"segfault": signal.SIGSEGV, "crash": signal.SIGABRT, "overflow": signal.SIGSEGV}.items():
            with self.subTest(how=how):
                self.data = self.folder / f"data_{how}"
                self.config = self.flow(how)
                self.give(event(1))
                done = self.run_once(self.config, expect=-number)
                self.assertEqual(self.said(done), [
                    f'sonder: {number.name} inside of stage "odd": plugin misbehaving 1.0.0 ({PLUGINS}/misbehaving.so); '
                    "what is not committed is read again by the next run. Look at the plugin alone with: sonder try"])
                self.assertEqual(self.values("out"), [])
        done = self.place.run("try", PLUGINS / "misbehaving.so", "--config", '{"how":"segfault"}', stdin='{"text":"x"}\n',
                              expect=-signal.SIGSEGV)
        self.assertEqual(self.said(done), [f"sonder: SIGSEGV inside of plugin misbehaving 1.0.0 ({PLUGINS}/misbehaving.so); "
                                           "the rows of the call are lost"])

    def test_try_ends_a_call_by_its_deadline_and_says_when_a_plugin_cannot_go_on(self):
        plugin = PLUGINS / "misbehaving.so"
        rows = '{"text":"good"}\n{"text":"bad"}\n'
        done = self.place.run("try", plugin, "--config", '{"how":"hang","when":"bad"}', "--batch", 1, "--deadline-ms", 200, stdin=rows, expect=70)
        self.assertEqual(done.stderr, f"sonder: a call of plugin misbehaving 1.0.0 ({plugin}) passed its deadline of 200 ms; "
                                      "the rows of the call are lost\n")
        self.assertEqual([json.loads(x)["verdict"] for x in done.stdout.splitlines()], ["pass"])
        done = self.place.run("try", plugin, "--config", '{"how":"wrong_length","when":"bad"}', "--batch", 1, stdin=rows, expect=4)
        self.assertEqual(self.said(done), [f'sonder: {plugin}: row 1 or later: broke the contract: column "length": has 2 rows, should have 1'])
        self.assertEqual([json.loads(x)["verdict"] for x in done.stdout.splitlines()], ["pass"])
        done = self.place.run("try", plugin, "--config", '{"how":"bad_config"}', stdin=rows, expect=3)
        self.assertEqual(self.said(done), [f'sonder: {plugin}: property "how" asks for trouble; choose another'])

    def test_a_plugin_of_another_abi_is_refused_before_it_runs(self):
        original = (PLUGINS / "misbehaving.so").read_bytes()
        changed = re.sub(rb'("abi":\s*\{\s*"major":\s*)1', rb"\g<1>2", original)
        self.assertNotEqual(changed, original)
        (self.folder / "plugins").mkdir()
        (self.folder / "plugins/misbehaving.so").write_bytes(changed)
        self.config = self.flow(plugins=self.folder / "plugins")
        done = self.run_once(self.config, expect=3)
        mine = json.loads(self.place.run("version", "--json").stdout)["abi"]
        self.assertEqual(self.said(done), [
            f'{self.config}:9:17: stage "odd": {self.folder}/plugins/misbehaving.so: built for sonder ABI 2.0, this host offers {mine}; '
            "rebuild against sonder 1.x or use a newer host"])

    # ---- signals ----

    def start_and_wait_for(self, line, *more):
        """A worker that has said so, and what tells all that it has said."""
        file = self.folder / "said"
        with open(file, "w") as said:
            worker = self.place.start("run", self.config, "--quiet", *more, stderr=said)
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        wait(lambda: line in file.read_text() or worker.poll() is not None)
        self.assertIsNone(worker.poll(), file.read_text())
        return worker, file.read_text

    def ask_to_stop(self, worker):
        worker.send_signal(signal.SIGTERM)
        # Two that wait for a process at once are one.
        status = pathlib.Path(f"/proc/{worker.pid}/status")
        wait(lambda: worker.poll() is not None or
             not int(re.search(r"ShdPnd:\s*([0-9a-f]+)", status.read_text())[1], 16) >> (signal.SIGTERM - 1) & 1)

    def assert_left(self, worker, told, why):
        """It left a call that hangs, and the next worker reads again what was not committed."""
        worker.wait(30)
        self.assertEqual(worker.returncode, 4, told())
        [line] = [json.loads(x) for x in told().splitlines() if "left before" in x]
        self.assertEqual((line["message"], line["why"]), ("left before all was drained; what was not committed is read again", why))
        self.assertRegex(line["worker"], r"""^(draining|stopped), waits for a plugin's call, of stage "odd" in task 0$""")
        self.assertEqual(self.values("out"), [])
        self.config = self.flow()
        self.run_once(self.config)
        self.assertEqual([v["event_id"] for v in self.values("out")], ["e1", "e2"])

    def test_a_second_signal_ends_a_worker_whose_call_hangs_and_loses_nothing(self):
        self.config = self.flow("hang")
        self.give(event(1), event(2))
        worker, told = self.start_and_wait_for("a call hangs", "--set", "run.drain_max=1h")
        self.ask_to_stop(worker)
        self.ask_to_stop(worker)
        self.assert_left(worker, told, "was asked twice to stop")

    def test_one_signal_ends_a_worker_whose_call_hangs_once_the_drain_has_taken_its_time(self):
        self.config = self.flow("hang")
        self.give(event(1), event(2))
        worker, told = self.start_and_wait_for("a call hangs", "--set", "run.drain_max=300ms")
        self.ask_to_stop(worker)
        self.assert_left(worker, told, "had not come to its end after run.drain_max")

    def test_a_second_signal_stops_a_worker_in_the_midst_of_its_work_and_loses_nothing(self):
        events = [event(i, "slow" if i % 50 == 49 else "t") for i in range(5_000)]
        self.config = self.flow("linger", when="slow")
        self.give(*events)
        worker, told = self.start_and_wait_for("a call lingers", "--set", "run.drain_max=1h", "--set", "run.batch_rows=10",
                                               "--set", "run.commit_interval=5ms")
        wait(lambda: self.values("out"))
        self.ask_to_stop(worker)
        self.ask_to_stop(worker)
        worker.wait(30)
        self.assertIn(worker.returncode, (0, 4), told())  # 4 where a call lasted longer than the grace
        self.assertLess(len(self.values("out")), len(events))
        self.config = self.flow()
        self.run_once(self.config)
        self.assertEqual([v["event_id"] for v in self.values("out")], [e["event_id"] for e in events])

    # ---- surroundings ----

    def test_a_data_folder_of_a_newer_program_is_refused(self):
        self.give(event(1))
        (self.data / "format").write_text("sonder-log 99\n")
        for command in (["run", self.config, "--until-idle"], ["consume", "events", "--config", self.config, "--until-end"]):
            done = self.place.run(*command, expect=3)
            self.assertEqual(self.said(done), [f"sonder: data folder {self.data}: has disk format 99, this program knows up to 1; "
                                               "use a newer sonder, or another folder"])

    def test_a_full_disk_is_said_and_what_was_acknowledged_is_there_once_there_is_space(self):
        limit = 2 << 20  # of one file: what the log cannot grow beyond, as on a full disk
        worker = subprocess.Popen([SONDER, "run", self.config, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=self.place.environment,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        wait(lambda: (self.data / "worker.sock").exists())
        acknowledged, said = [], ""
        while not said and len(acknowledged) < 400:
            batch = [event(len(acknowledged) + i, os.urandom(8_000).hex()) for i in range(20)]
            done = self.place.run("produce", "events", "--config", self.config, expect=None, stdin="".join(json.dumps(e) + "\n" for e in batch))
            if done.returncode == 0:
                acknowledged += [e["event_id"] for e in batch]
            else:
                self.assertIn(done.returncode, (3, 4), done.stderr)
                said = done.stderr
        self.assertRegex(said, rf"(?m)^sonder: data folder {self.data}: ([a-z ]+: )?the disk is full( \(.*\))?; "
                               r"free space, then work goes on by itself$")
        worker.send_signal(signal.SIGTERM)
        told = worker.communicate(timeout=120)[1]
        self.assertIn(worker.returncode, (0, 4), told)
        self.run_once(self.config)
        out = [v["event_id"] for v in self.values("out")]
        self.assertEqual(len(out), len(set(out)))
        self.assertLessEqual(set(acknowledged), set(out))

    def test_work_goes_on_by_itself_once_a_full_disk_has_space_again(self):
        self.data.mkdir()
        ballast = 12 << 20
        mount = f'mount -t tmpfs -o size={2 * ballast} none "$0" && head -c {ballast} /dev/zero > "$0/ballast" && exec "$@"'
        alone = ["unshare", "--map-root-user", "--mount"]
        if not shutil.which("unshare") or subprocess.run([*alone, "sh", "-c", mount, self.data, "true"], capture_output=True).returncode != 0:
            self.skipTest("no disk of one's own may be mounted here (unshare --map-root-user --mount)")
        worker = subprocess.Popen([*alone, "sh", "-c", mount, self.data, SONDER, "run", self.config, "--quiet"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, env=self.place.environment)
        self.addCleanup(lambda: (worker.poll() is None and worker.kill(), worker.communicate()))
        disk = pathlib.Path(f"/proc/{worker.pid}/root{self.data}")
        wait(lambda: (disk / "worker.sock").exists())

        def give(events):
            return self.place.run("produce", "events", "--config", self.config, "--data-dir", disk, "--quiet", expect=None,
                                  stdin="".join(json.dumps(e) + "\n" for e in events))

        acknowledged, refused = [], None
        while refused is None and len(acknowledged) < 2_000:
            batch = [event(len(acknowledged) + i, os.urandom(8_000).hex()) for i in range(20)]
            done = give(batch)
            if done.returncode == 0:
                acknowledged += [e["event_id"] for e in batch]
            else:
                refused = done
        self.assertEqual(refused.returncode, 4)
        self.assertRegex("\n".join(self.said(refused)), rf"^sonder: data folder {self.data}: (cannot [a-z ]+: )?the disk is full"
                         r"( \(.*No space left on device\))?; free space, then work goes on by itself$")
        (disk / "ballast").unlink()
        wait(lambda: give([event(9_999)]).returncode == 0)
        read = ["consume", "out", "--from-beginning", "--until-end", "--data-dir", disk]
        out = lambda: [json.loads(line)["value"]["event_id"] for line in self.place.run(*read).stdout.splitlines()]
        wait(lambda: "e9999" in out())
        got = out()
        # What was refused may be there all the same, whole.
        self.assertEqual([e for e in got if e in set(acknowledged)], acknowledged)
        self.assertLessEqual(set(got) - set(acknowledged), {"e9999", *(e["event_id"] for e in batch)})
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0)

    def test_a_folder_that_may_not_be_written_says_what_to_do(self):
        self.give(event(1))
        self.folder.chmod(0o755)
        self.data.chmod(0o555)
        nobody = 65534 if os.getuid() == 0 else os.getuid()
        if subprocess.run(["test", "-x", SONDER], user=nobody).returncode != 0:
            self.skipTest("another user may not run the built program")
        done = subprocess.run([SONDER, "run", self.config, "--until-idle"], capture_output=True, text=True, timeout=60,
                              env=self.place.environment, user=nobody, group=nobody if os.getuid() == 0 else None, extra_groups=[] if os.getuid() == 0 else None)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(self.said(done), [f"sonder: {self.data}/writer.lock: cannot open: Permission denied; let the user who runs sonder "
                                           "write to the data folder, or use another one (--data-dir DIR)"])

    def test_a_quarantine_key_that_can_be_guessed_is_refused(self):
        secret = self.folder / "secrets/seal.key"
        secret.write_text("x")
        secret.chmod(0o600)
        more = ["--set", f"secrets.seal.file={secret}", "--set", "quarantine_key=seal"]
        done = self.place.run("validate", ROOT / "config/quickstart.yaml", *more, expect=1)
        self.assertEqual([line for line in done.stdout.splitlines() if ": warning: " not in line], [
            '--set secrets.seal.file: secret "seal": has 1 byte, and a quarantine key needs at least 16; make one, for example with: '
            "head -c 32 /dev/urandom > FILE"])

    def test_a_secret_that_everybody_may_read_is_warned_of(self):
        secret = self.folder / "secrets/pseudonym.key"
        for mode, warned in ((0o644, True), (0o600, False)):
            secret.chmod(mode)
            said = self.place.run("validate", ROOT / "config/quickstart.yaml").stdout
            self.assertEqual(f'warning: secret "pseudonym_key": everybody on this machine may read {secret}; close it with: chmod 600 {secret}' in said,
                             warned, said)

    def test_an_address_that_is_none_is_refused(self):
        done = self.place.run("run", self.config, "--until-idle", "--set", "run.http_port=0", "--set", "run.http_address=everywhere", expect=3)
        self.assertEqual(self.said(done), ['sonder: --set run.http_address: "http_address" of run must be an IPv4 or IPv6 address such as '
                                           '127.0.0.1, 0.0.0.0 or ::1, not "everywhere"'])

    def test_a_worker_on_kafka_without_a_folder_or_a_broker_is_told_what_to_give(self):
        flow = ROOT / "config/quickstart.yaml"
        done = self.place.run("run", flow, "--profile", "kafka", "--until-idle", "--set", "log.dir=", expect=3)
        [said] = self.said(done)
        self.assertRegex(said, rf'^sonder: {flow}:\d+:\d+: log needs "dir", where a worker keeps state between runs; or give --data-dir DIR$')
        done = self.place.run("run", flow, "--profile", "kafka", "--until-idle", "--set", "log.bootstrap=127.0.0.1:1", expect=3)
        [said] = self.said(done)
        self.assertRegex(said, r"^sonder: --set log\.bootstrap: kafka 127\.0\.0\.1:1: no broker answers: .*; is `bootstrap` right "
                               r"\(of the shipped flows: SONDER_KAFKA\)\? ops/kafka start starts a broker$")


if __name__ == "__main__":
    main()
