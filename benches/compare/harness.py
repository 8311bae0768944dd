"""What the comparisons have in common: our executables, processes that are measured, figures that are kept."""

import json
import os
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "..", "target"))


def executable(name):
    """One of our executables, as `cargo build --release` leaves it."""
    return os.path.join(TARGET, "release", name)


def seconds_by_name(command):
    """Runs one of our executables that prints `NAME SECONDS` on each line."""
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: float(seconds) for name, seconds in (line.split() for line in out.splitlines())}


def measure(command, **kwargs):
    """Standard output, seconds and peak memory in MB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **kwargs)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit("%s ended with %d" % (" ".join(command), process.returncode))
    return out, time.perf_counter() - start, usage.ru_maxrss / 1e3


def keep(path, figures):
    """Writes figures as JSON if there is a path for them."""
    if path:
        with open(path, "w") as file:
            json.dump(figures, file, indent=1)
