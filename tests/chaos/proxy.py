#!/usr/bin/env python3
"""TCP between workers and servers, to be cut, stalled, slowed and left half-open.

  proxy.py FRONT:HOST:PORT...     FRONT is a port of 127.0.0.1, 0 for a free one; what comes to it is handed on to HOST:PORT

Prints the front ports on one line, then obeys commands on its standard input, one a line, and answers each with `ok`. Ends with its
input. A process of its own: in a busy test a thread would not come to its turn.

  cut SHARE        resets so many of the connections
  half-open SHARE  so many swallow what they are given from now on, without an end; new ones are well
  stall [FRONT]    nothing moves, nothing ends: of all, or of the FRONT-th server alone (from 1)
  slow SECONDS     every piece waits, each after the one before it
  refuse           connections are reset, new ones at once
  heal             ends stall, slow and refuse
"""
import asyncio
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import threading

CHUNK = 64 << 10
LINGER_SECONDS = 0.2  # for what is under way in one direction once the other has ended


class Proxy:
    """Hands it the commands. May be used from any thread."""

    def __init__(self, *routes):
        self.lock = threading.Lock()
        self.process = subprocess.Popen([sys.executable, pathlib.Path(__file__), *routes], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.ports = [int(port) for port in self.process.stdout.readline().split()]

    def tell(self, command):
        with self.lock:
            self.process.stdin.write(command + "\n")
            answer = self.process.stdout.readline()
        assert answer == "ok\n", f"proxy: {command}: {answer}"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Link:
    def __init__(self, *writers):
        self.writers, self.deaf = writers, False

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()


class Server:
    def __init__(self):
        self.rng, self.links = random.Random(0), []
        self.delay_seconds, self.refusing = 0.0, False
        self.flowing = []  # of each front, in their order

    async def listen(self, front, behind):
        flowing = asyncio.Event()
        flowing.set()
        self.flowing.append(flowing)
        server = await asyncio.start_server(lambda r, w: self.serve(r, w, behind, flowing), "127.0.0.1", front)
        return server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer, behind, flowing):
        if self.refusing:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*behind)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, there_writer)
        self.links.append(link)
        ways = [asyncio.create_task(self.carry(link, flowing, *way)) for way in ((reader, there_writer), (there_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ways, timeout=LINGER_SECONDS)
        for way in ways:
            way.cancel()
        link.abort()
        self.links.remove(link)

    async def carry(self, link, flowing, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await flowing.wait()
                if link.deaf:
                    continue  # as where the other side has gone without a word
                writer.write(data)
                await writer.drain()

    def some(self, share):
        return [link for link in self.links if self.rng.random() < share]

    def obey(self, command, value=0.0):
        """`value`: a share, seconds, or which front."""
        if command == "cut":
            for link in self.some(value):
                link.abort()
        elif command == "half-open":
            for link in self.some(value):
                link.deaf = True
        elif command == "stall":
            for flowing in [self.flowing[int(value) - 1]] if value else self.flowing:
                flowing.clear()
        elif command == "slow":
            self.delay_seconds = value
        elif command == "refuse":
            self.refusing = True
            for link in self.links:
                link.abort()
        elif command == "heal":
            self.delay_seconds, self.refusing = 0.0, False
            for flowing in self.flowing:
                flowing.set()
        else:
            return f"unknown: {command}"
        return "ok"


async def main(routes):
    server = Server()
    ports = []
    for route in routes:
        front, host, port = route.split(":")
        ports.append(await server.listen(int(front), (host, int(port))))
    print(*ports, flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command, *value = line.decode().split()
        print(server.obey(command, *map(float, value)), flush=True)
    os._exit(0)  # what is still connected is cut; asyncio would report each connection as a task that was cancelled


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
