"""Whether workers that are left alone come to the end, become idle, and have ended as they may."""
import json
import os
import subprocess
import time

from finding import Finding, must

# Sessions, transaction timeouts and back-offs take half of it; a machine that others use needs more.
SETTLED_SECONDS = int(os.environ.get("SONDER_CHAOS_SETTLED_SECONDS", 90))
ROUNDS_SECONDS = 3 * SETTLED_SECONDS  # an event goes round twice at most
BEYOND_SECONDS = 10   # for which brokers that have come back may not know how far a partition goes
# What a worker may end with while things are broken: cannot start, failed; nothing else (no signal, no plugin's deadline).
MAY_END_WITH = {3, 4}


def await_the_end(topic, behind, go_on, settled_seconds=SETTLED_SECONDS, beyond_seconds=BEYOND_SECONDS):
    """behind: as Oracle.behind gives it, asked until it is empty; go_on: done while it is not."""
    began = last_sane = time.monotonic()
    while found := behind():
        now = time.monotonic()
        beyond = [each for each in found if each[1] > each[3]]
        last_sane = last_sane if beyond else now
        must(not beyond or now - last_sane < beyond_seconds, "offsets", f"{topic}, beyond the end: {beyond}")
        must(now - began < settled_seconds, "stuck", f"{topic}: offsets {found}")
        go_on()


def await_last_round(topic, last_records, await_past, seconds=ROUNDS_SECONDS):
    """Of a topic that may be fed by what is taken up from it. last_records: one past the last record of each partition, once what is
    written is decided; await_past: waits until what lies before these is taken up, within a time of its own."""
    began, past, seen = time.monotonic(), last_records(), None
    while past != seen:
        must(time.monotonic() - began < seconds, "stuck", f"{topic}: there comes more and more of it, up to {dict(past)}")
        await_past(past)
        past, seen = last_records(), past


def become_idle(command, env, log, seconds=SETTLED_SECONDS):
    """Runs a worker that ends by itself, with --until-idle and --json."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as e:
        log.write(e.stderr or b"")
        raise Finding("stuck", f"the last worker is not idle within {seconds} s") from e
    log.write(b"---- the last one\n" + done.stderr)
    must(done.returncode == 0, "ended", f"the last worker left with exit {done.returncode}: {done.stderr.decode()[-500:]}")
    unbalanced = json.loads(done.stdout)["unbalanced"]
    must(not unbalanced, "unbalanced", unbalanced)


def check_ended(worker):
    """By itself, that is."""
    must(set(worker.ended_alone) <= MAY_END_WITH, "ended", f"worker {worker.number} ended with {worker.ended_alone}")
