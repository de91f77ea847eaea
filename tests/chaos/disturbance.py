"""What strikes whom, and when: lanes side by side, one for each worker, one for brokers, for the registry, for the network.

Each lane draws from a generator of its own, so that a seed gives the same strikes in the same order, however long each takes."""
import random
import signal
import threading
import time

from cluster import FREEZE_OF_ONE_SECONDS_MAX

# And up to the how manieth. An abort comes only where an epoch fails.
CALLS = {"init": 1, "begin": 15, "produce": 60, "send_offsets": 15, "flush": 15, "commit": 15, "abort": 1, "apply": 15}
AGES = (-86_400, -7_200, -600, -5, 5, 600, 7_200, 86_400, 50 * 3_600)  # seconds that a clock jumps to; 0 comes in between
POINT_SECONDS = 5
LOST_SECONDS = 2.5  # by which the group has given a worker's tasks to others
WORKER_KINDS = ("kill", "kill", "point", "point", "point stop", "stop", "stop long", "leave", "wipe", "disk")
NETWORK_KINDS = ("cut", "cut", "stall", "stall long", "stall one", "slow", "half-open", "registry", "registry silent")
BROKER_KINDS = ("kill", "stop", "freeze")
REGISTRY_KINDS = ("kill", "stop")


class Lanes:
    """Runs them for some seconds; `told` says what was done and when."""

    def __init__(self, seed, seconds):
        self.seed, self.seconds = seed, seconds
        self.told, self.failure, self.lock = [], None, threading.Lock()

    def run(self, lanes):
        """lanes: name -> (strike, shortest and longest pause before it)."""
        self.began = time.monotonic()
        threads = [threading.Thread(target=self.lane, args=(name, *lane)) for name, lane in lanes.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failure:
            raise self.failure

    def lane(self, name, strike, pause):
        rng = random.Random(f"{self.seed} {name}")
        try:
            while True:
                time.sleep(rng.uniform(*pause))
                if self.failure or time.monotonic() - self.began > self.seconds:
                    return
                strike(rng)
        except Exception as e:  # told by the thread that runs them, which ends the trial
            self.failure = e

    def tell(self, what):
        with self.lock:
            self.told.append(f"{time.monotonic() - self.began:.1f}s {what}")


class WorkerStrikes(Lanes):
    def __init__(self, seed, seconds, workers, kinds, clocks):
        super().__init__(seed, seconds)
        self.workers, self.kinds, self.clocks = workers, kinds, clocks

    def strike_all(self):
        self.run({f"worker {w.number}": (lambda rng, w=w: self.strike(rng, w), (0.1, 2.5)) for w in self.workers})

    def strike(self, rng, w):
        w.start()  # one that has left, or that could not start where all was down
        kinds = [k for k in WORKER_KINDS if k in self.kinds] + ["clock"] * (2 * self.clocks)
        what = rng.choice(kinds)
        told = f"{what} {w.number}"
        if what == "kill":
            self.tell(told)
            w.kill()
            time.sleep(rng.random())
        elif what in ("point", "point stop"):
            call = rng.choice(list(CALLS))
            at = f"{rng.choice(('before', 'after'))}:{call}:{rng.randint(1, CALLS[call])}:{'kill' if what == 'point' else 'stop'}"
            stands = rng.uniform(0.2, 1) if rng.random() < 0.4 else rng.uniform(3, 5)
            w.kill()
            if call == "abort":
                self.come_to_abort(w, at)
            else:
                w.start(point=at)
            reached = w.await_point(POINT_SECONDS)
            self.tell(f"{told} {at}{'' if reached else ' (not reached)'}")
            if not reached and (what == "point stop" or call == "abort"):
                w.kill()  # it would stand still at some time when nobody looks
            elif what == "point stop":
                time.sleep(stands)
                w.send(signal.SIGCONT)
        elif what in ("stop", "stop long"):
            self.tell(told)
            w.send(signal.SIGSTOP)
            time.sleep(rng.uniform(0.2, 1.5) if what == "stop" else rng.uniform(3, 5))
            w.send(signal.SIGCONT)
        elif what == "leave":
            self.tell(told)
            w.leave()
            time.sleep(rng.random())
        elif what == "wipe":
            self.tell(told)
            w.wipe()
        elif what == "disk":
            self.tell(told)
            w.fill_disk()
            time.sleep(rng.uniform(0.2, 2.5))
            w.empty_disk()
        elif what == "clock":
            to = rng.choice((0,) * 3 + AGES)
            self.tell(f"{told} {to:+d} s")
            w.set_clock(to)
        w.start()

    @staticmethod
    def come_to_abort(w, at):
        """What it has begun when it stands still is refused, and aborted, as it goes on without its tasks."""
        w.start(point=f"after:begin:3:stop,{at}")
        if w.await_point(POINT_SECONDS):
            time.sleep(LOST_SECONDS)
            w.send(signal.SIGCONT)


class ClusterStrikes(Lanes):
    """What workers stand on: one for all trials that share a cluster at a time."""

    def __init__(self, seed, seconds, cluster):
        super().__init__(seed, seconds)
        self.cluster = cluster

    def strike_all(self):
        try:
            self.run({"network": (self.strike_network, (0.5, 3)), "brokers": (self.strike_broker, (1, 6)),
                      "registry": (self.strike_registry, (1, 14))})
        finally:
            self.cluster.heal()

    def strike_network(self, rng):
        what = rng.choice(NETWORK_KINDS)
        kafka, registry = self.cluster.kafka_proxy, self.cluster.registry_proxy
        share, seconds, node = rng.choice((0.3, 0.6, 1)), rng.uniform(0.3, 3), rng.randint(1, self.cluster.nodes)
        self.tell(f"{what}: {node}" if what == "stall one" else what)
        if what == "cut":
            kafka.tell(f"cut {share}")
        elif what in ("stall", "stall long"):
            kafka.tell("stall")
            time.sleep(seconds if what == "stall" else seconds + 3)
        elif what == "stall one":
            kafka.tell(f"stall {node}")
            time.sleep(seconds + 3)
        elif what == "slow":
            kafka.tell(f"slow {rng.uniform(0.005, 0.1):.4f}")
            time.sleep(seconds)
        elif what == "half-open":
            kafka.tell(f"half-open {share}")
        elif what == "registry":
            registry.tell("refuse")
            time.sleep(seconds)
        else:
            registry.tell("stall")
            time.sleep(seconds)
        self.cluster.heal()

    def strike_broker(self, rng):
        node, what, away, frozen = rng.randint(1, self.cluster.nodes), rng.choice(BROKER_KINDS), rng.uniform(0.1, 2), rng.uniform(0.5, 5)
        self.tell(f"broker {node} {what}")
        if what == "freeze":
            self.cluster.freeze(node)
            time.sleep(min(frozen, FREEZE_OF_ONE_SECONDS_MAX) if self.cluster.nodes == 1 else frozen)
            self.cluster.thaw(node)
            return
        self.cluster.kafka(what, "--node", str(node))
        time.sleep(away)
        self.cluster.start_again(node)

    def strike_registry(self, rng):
        what, away = rng.choice(REGISTRY_KINDS), rng.uniform(0.1, 3)
        self.tell(f"registry {what}")
        self.cluster.registry(what)
        time.sleep(away)
        self.cluster.registry("start")
