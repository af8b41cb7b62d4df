"""Runs a command and measures what it costs: wall time, processor time and peak memory of it and of all its descendants.

Descendants that outlive the command (Ansible's ssh connections) are ended and counted as well, so that each run begins cold.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import threading
import time

PR_SET_CHILD_SUBREAPER = 36


def descendants():
    """The ids of all processes below this one."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parents.setdefault(int(stat.read().rsplit(") ", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, open_ = [], [os.getpid()]
    while open_:
        children = parents.get(open_.pop(), [])
        found += children
        open_ += children
    return found


def memory(pids):
    """What they use together, in MB. Pages that several share count once (proc(5), Pss)."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += next((int(line.split()[1]) for line in rollup if line.startswith("Pss:")), 0)
        except OSError:
            pass
    return total / 1024


def reap():
    """Ends what the command left behind."""
    for _ in range(100):
        left = descendants()
        for pid in left:
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        if not left:
            return
        time.sleep(0.02)


def run(command, log, limit, **options):
    """Runs it. Returns seconds, processor seconds, MB, and the status: None where it was stopped at the limit."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # A process of its own, because the processor time of children is told for all of them together.
        os.close(reader)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        result = measured(command, log, limit, options)
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return tuple(json.loads(text))


def measured(command, log, limit, options):
    peak, over = 0.0, threading.Event()

    def watch():
        nonlocal peak
        while not over.is_set():
            begun = time.monotonic()
            peak = max(peak, memory(descendants()))
            # Watching must not take more than a small part of the machine.
            over.wait(max(0.05, 20 * (time.monotonic() - begun)))

    with open(log, "wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True, **options)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        wall = time.monotonic() - begun
    over.set()
    watcher.join()
    reap()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, usage.ru_utime + usage.ru_stime, peak, status
