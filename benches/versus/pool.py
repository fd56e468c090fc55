"""The same jobs in multiprocessing.Pool.

A request is a line: a JSON list of a function's name and a list of its arguments. An answer is a line too: a list of
numbers, or a text that says why there are none.
"""
import functools
import itertools
import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time

now = time.perf_counter
fork = multiprocessing.get_context("fork")


# What runs in the workers.

def add_one(n):
    return n + 1


def echo(data):
    return data


def busy(seconds):
    end = now() + seconds
    while now() < end:
        pass


def meet(path):
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(path)
        guest.sendall(os.getpid().to_bytes(4, "little"))
        guest.recv(1)


def primes(chunk):
    count = 0
    for n in range(max(chunk[0], 2), chunk[1]):
        d = 2
        while d * d <= n and n % d:
            d += 1
        count += d * d > n
    return count


# What is asked for.

@functools.cache
def pool(workers):
    """A warm pool that later requests find again."""
    made = fork.Pool(workers)
    made.map(add_one, range(100))
    return made


class Meeting:
    """A socket at which workers arrive and stay."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1024)
        self.listener.settimeout(60)
        self.guests = []

    def wait(self, guests):
        """The pids of those who have come."""
        self.guests += [self.listener.accept()[0] for _ in range(guests)]
        return [int.from_bytes(guest.recv(4), "little") for guest in self.guests]

    def end(self):
        for guest in self.guests:
            guest.close()
        self.listener.close()
        self.folder.cleanup()


def took(call):
    begin = now()
    call()
    return now() - begin


def ready():
    return []


def round_trip(workers, calls):
    """Microseconds: half of the calls take no longer, 99 in 100."""
    warm = pool(workers)
    times = sorted(took(lambda: warm.apply(add_one, (1,))) for _ in range(calls))
    return [times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6]


def submit(workers, jobs):
    """Jobs a second."""
    warm = pool(workers)
    return [jobs / took(lambda: [one.get() for one in [warm.apply_async(add_one, (n,)) for n in range(jobs)]])]


def tiny_map(workers, items, chunks):
    """Items a second, with the best of the chunk sizes; null is Python's own choice."""
    warm = pool(workers)
    return [max(items / took(lambda: warm.map(add_one, range(items), chunk)) for chunk in chunks)]


def busy_map(workers, times):
    """Seconds for all items together, with chunks of one item or more."""
    warm = pool(workers)
    return [took(lambda: warm.map(busy, times))]


def echoes(size, times):
    """Bytes a second, each way."""
    warm, data = pool(1), os.urandom(size)
    warm.apply(echo, (data,))
    return [2 * size * times / took(lambda: [warm.apply(echo, (data,)) for _ in range(times)])]


def main():
    for line in sys.stdin:
        function, arguments = json.loads(line)
        try:
            answer = globals()[function](*arguments)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)
    # Without the pools' own way to end, which can take long.
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


main()
