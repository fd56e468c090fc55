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


def start(workers):
    """Milliseconds to the first result of a new pool, and until all workers of another are busy."""
    begin = now()
    with fork.Pool(workers) as fresh:
        fresh.apply(add_one, (1,))
        first = now() - begin
    meeting = Meeting()
    begin = now()
    with fork.Pool(workers) as fresh:
        for _ in range(workers):
            fresh.apply_async(meet, (meeting.path,))
        meeting.wait(workers)
        every = now() - begin
        meeting.end()
    return [first * 1e3, every * 1e3]


def compute(workers, limit, chunks):
    """Serial time / (workers * parallel time)."""
    warm = pool(workers)
    parts = [(n * limit // chunks, (n + 1) * limit // chunks) for n in range(chunks)]
    parallel = took(lambda: warm.map(primes, parts, 1))
    return [took(lambda: [primes(part) for part in parts]) / (workers * parallel)]


def memory(workers):
    """KiB of an idle worker that has worked: private, and its share of all."""
    meeting = Meeting()
    with fork.Pool(workers) as fresh:
        waits = [fresh.apply_async(meet, (meeting.path,)) for _ in range(workers)]
        pids = meeting.wait(workers)
        meeting.end()
        for one in waits:
            one.get()
        private = pss = 0
        for pid in pids:
            with open(f"/proc/{pid}/smaps_rollup") as lines:
                for name, size, *_ in (line.split() for line in itertools.islice(lines, 1, None)):
                    private += int(size) if name in ("Private_Clean:", "Private_Dirty:") else 0
                    pss += int(size) if name == "Pss:" else 0
    return [private / workers, pss / workers]


def killed(workers):
    """A call whose worker is killed: the call, the killed process, and when that was."""
    meeting = Meeting()
    call = pool(workers).apply_async(meet, (meeting.path,))
    pid = meeting.wait(1)[0]
    os.kill(pid, signal.SIGKILL)
    begin = now()
    meeting.end()
    return call, pid, begin


def error_after_kill(workers):
    """Milliseconds."""
    call, _, begin = killed(workers)
    try:
        call.get(timeout=3)
    except multiprocessing.TimeoutError:
        return "no error within 3 s"
    except Exception:
        pass
    return [(now() - begin) * 1e3]


def whole_after_kill(workers):
    """Milliseconds until there are as many workers as before."""
    _, pid, begin = killed(workers)
    while pid in (pids := [worker.pid for worker in list(pool(workers)._pool)]) or len(pids) < workers:
        time.sleep(0.0005)
    return [(now() - begin) * 1e3]


def status_kib(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def stream(workers, items):
    """Items a second, and by how many MiB the parent's peak has grown."""
    warm = pool(workers)
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = status_kib("VmRSS:")
    count = 0

    def all_of_them():
        nonlocal count
        count = sum(1 for _ in warm.imap_unordered(add_one, iter(range(items))))

    seconds = took(all_of_them)
    return [count / seconds, (status_kib("VmHWM:") - before) / 1024]


def read_ahead(workers, pause):
    """Items that were taken from an endless source while the caller has taken one result."""
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    fresh = fork.Pool(workers)
    next(fresh.imap_unordered(add_one, endless()))
    time.sleep(pause)
    seen = pulled
    # It is not ended: that would wait for the end of the source. The process ends soon.
    return [seen]


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
