"""Runs a command and measures it: wall time, CPU time, peak anonymous memory, and bytes written to the disk.

Memory is the sum of RssAnon (proc_pid_status(5)) over the command and all processes it starts, looked at every 20 ms: what
the machine must have, without the page cache, which it need not. CPU time is the kernel's (wait4(2)), of the command and
of all its children that ended; "others" is what the rest of the machine used meanwhile, this program not counted. Bytes
written are those of pages that became dirty (getrusage(2), ru_oublock), whether or not the file was removed later. The
command gets two CPUs, however many the machine has.
"""

import os
import subprocess
import time
from pathlib import Path

CPUS = 2
INTERVAL = 0.02
BLOCK = 512  # ru_oublock's unit


def descendants(pid: int) -> list:
    found = [pid]
    for parent in found:  # grows while it is read
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            continue  # it ended meanwhile
    return found


def anonymous(pid: int) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:")), 0)
    except OSError:
        return 0


def busy() -> float:
    """Seconds that all CPUs together have worked since boot: proc_stat(5) without idle, iowait and guests."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command did not do what it was measured for."""


def measured(command: list, stdout=None, stderr=None, environment=None, directory: Path = None) -> dict:
    """Runs the command; seconds and bytes by name. `stdout` and `stderr` are open files, or this program's own."""
    cpus = sorted(os.sched_getaffinity(0))[:CPUS]
    before, own = busy(), time.process_time()
    start, peak = time.monotonic(), 0
    child = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment, cwd=directory,
                             preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    while True:
        peak = max(peak, sum(map(anonymous, descendants(child.pid))))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(INTERVAL)
    wall = time.monotonic() - start
    cpu = usage.ru_utime + usage.ru_stime
    others = busy() - before - cpu - (time.process_time() - own)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Failed(f"exit code {child.returncode}: {' '.join(map(str, command))}")
    return {"wall": wall, "cpu": cpu, "anonymous": peak, "written": usage.ru_oublock * BLOCK, "others": max(0.0, others)}
