"""The matrix's line protocol for Python drivers (integration/matrix says what it is).

A driver gives serve() one function per operation. Each call runs in a thread of its own; stop is a threading.Event that
is set when the operation is told to end.
"""
import importlib.metadata
import json
import sys
import threading
import time

_lock = threading.Lock()


def emit(**event):
    with _lock:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def acked(value, partition, offset):
    emit(ack=text(value), p=partition, o=offset)


def got(name, value, partition, offset):
    emit(got=text(value), name=name, p=partition, o=offset)


def trouble(name, what):
    emit(trouble=what if isinstance(what, str) else f"{type(what).__name__}: {what}", name=name)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


class Args(dict):
    """The key=value words of one line."""

    def int(self, key):
        return int(self[key])

    def records(self, stop):
        """Yields (value, key, timestamp) at the rate asked for, until all are sent or stop is set."""
        first, count, rate = self.int("first"), self.int("count"), self.int("rate")
        began = time.monotonic()
        for i in range(first, first + count):
            if rate > 0:
                stop.wait(max(0.0, began + (i - first) / rate - time.monotonic()))
            if stop.is_set():
                return
            yield f"{self['name']}-{i}".encode(), f"k{i // 5 % self.int('keys')}".encode(), self.int("timestamp") + 10 * i


def serve(distribution, ops):
    running = {}  # name -> (stop, done)
    emit(ready=distribution, version=importlib.metadata.version(distribution))

    def run(args, stop, done):
        try:
            result = ops[args["op"]](args, stop)
            event = {"ok": result or {}}
        except Exception as e:  # what the library's user would see
            event = {"error": f"{type(e).__name__}: {e}"}
        done.set()
        emit(id=args.int("id"), **event)

    def end(args, _stop):
        stop, done = running[args["name"]]
        stop.set()
        done.wait()

    ops = dict(ops, stop=end)
    threads = []
    for line in sys.stdin:
        args = Args(word.split("=", 1) for word in line.split())
        stop, done = threading.Event(), threading.Event()
        if args["op"] in ("produce", "consume"):
            running[args["name"]] = (stop, done)
        thread = threading.Thread(target=run, args=(args, stop, done), daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
