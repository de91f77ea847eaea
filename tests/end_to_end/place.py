"""A folder of its own for one test, with the built program and the quickstart flow in it."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(os.environ.get("SONDER_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("SONDER_BUILD_DIR", ROOT / "build/release"))
SONDER = BUILD / "bin/sonder"
QUICKSTART = ROOT / "config/quickstart.yaml"
SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef"


def data_folder():
    """Where public data sets may be, or None."""
    given = pathlib.Path(os.environ.get("SONDER_DATA", ROOT.parent / "shared/data"))
    return given if given.is_dir() else None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path, address="127.0.0.1"):
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def wait(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if what():
                return
        except OSError:
            pass  # not listening yet
        time.sleep(0.05)
    raise AssertionError("did not come true in time")


def main():
    """The tests of the file that runs. Names each skip as ops/test reads it: a suite that passes would hide those within."""
    done = unittest.main(exit=False, verbosity=2).result
    for test, reason in done.skipped:
        print(f"skipped: {test}: {reason}")
    sys.exit(0 if done.wasSuccessful() else 1)


class Place:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sonder_e2e_"))
        (self.folder / "secrets").mkdir()
        (self.folder / "secrets/pseudonym.key").write_text(SECRET)
        self.environment = {**os.environ, "SONDER_DATA_DIR": str(self.folder / "data"),
                            "SONDER_SECRETS_DIR": str(self.folder / "secrets")}

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments, stdin=None, expect=0):
        """A command to its end; fails the test with what it said if it answers another code."""
        done = subprocess.run([SONDER, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=300,
                              env=self.environment, cwd=ROOT)
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"sonder {' '.join(map(str, arguments))}: exit {done.returncode}, expected {expect}\n"
                                 f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done

    def start(self, *arguments, stderr=subprocess.PIPE):
        return subprocess.Popen([SONDER, *map(str, arguments)], stdout=subprocess.PIPE, stderr=stderr, text=True,
                                env=self.environment, cwd=ROOT)

    def records(self, topic):
        out = self.run("consume", topic, "--from-beginning", "--until-end", "--config", QUICKSTART).stdout
        return [json.loads(line) for line in out.splitlines()]
