"""A project through a real Snakemake that is killed twice, against the same by single processes.

    python run_snakemake.py BIN_DIR      # the folder with hubmap-demo, -data-gen, -train, -infer, -merge

Needs snakemake beside the Python that runs this. docs/cluster/Snakefile is run with four folds and four parts.
While it trains, and again while it predicts, Snakemake and all that it has started are killed. Then the same command goes on,
after --unlock, as its message says. Every output is compared with that of one process for each stage, byte for byte, and
nothing that was killed may have left anything behind.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile

from slurm import ROOT, project, run, same_as_one_process, wait_for

SNAKEFILE = os.path.join(ROOT, "docs", "cluster", "Snakefile")
N_FOLDS = N_PARTS = 4


def tool(name):
    return os.path.join(os.path.dirname(sys.executable), name)


def killed_at(command, what, is_under_way, **options):
    """Runs a command in a group of its own, and kills the group when something is under way."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log, **options)
        try:
            wait_for(what, lambda: is_under_way() or process.poll() is not None)
            if process.poll() is not None:
                log.seek(0)
                raise SystemExit("ended with %d before %s:\n%s" % (process.returncode, what, log.read()))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print("killed while " + what)


def names(folder):
    """Every file below a folder, hidden ones too."""
    return {os.path.relpath(os.path.join(base, name), folder) for base, _, found in os.walk(folder) for name in found}


def nothing_left_behind(ours, theirs):
    """Killed jobs may have left nothing that one process alone does not leave, but files to lock, which stay empty."""
    unfinished = sorted(name for name in names(ours) if ".unfinished" in name or name.endswith(".blocks"))
    for name in ("input", "results"):
        more = names(os.path.join(ours, name)) - names(os.path.join(theirs, name))
        unfinished += sorted(os.path.join(name, found) for found in more if os.path.basename(found) != "lock")
    if unfinished:
        raise SystemExit("left behind: %s" % unfinished)
    print("nothing is left behind")


def main():
    (binaries,) = sys.argv[1:]
    os.environ["PATH"] = os.path.abspath(binaries) + os.pathsep + os.environ["PATH"]
    with tempfile.TemporaryDirectory(prefix="hubmap-snakemake-") as place:
        path = lambda name: os.path.join(place, name)
        work, one = path("work"), path("one")
        slides, config, manifest = project(place)
        settings = ["slides=" + slides, "settings=" + config, "manifest=" + manifest, "work=" + work]
        settings += ["folds=%d" % N_FOLDS, "parts=%d" % N_PARTS]
        command = [tool("snakemake"), "--snakefile", SNAKEFILE, "--cores", "2", "--config", *settings]
        has_state = lambda: any(os.path.exists(path("work/folds/%d/fold_%d/last.safetensors" % (i, i))) for i in range(N_FOLDS))
        under_way = path("work/results/predicts/under_way")
        has_journal = lambda: os.path.isdir(under_way) and any(name.endswith(".blocks") for name in os.listdir(under_way))
        for what, is_under_way in (("training", has_state), ("predicting", has_journal)):
            killed_at(command, what, is_under_way, cwd=place)
            refused = subprocess.run(command, cwd=place, capture_output=True, text=True)
            if refused.returncode == 0 or "--unlock" not in refused.stderr:
                raise SystemExit("Snakemake does not ask for --unlock after it was killed:\n" + refused.stderr)
            run(*command, "--unlock", cwd=place, stderr=subprocess.DEVNULL)
        finished = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if finished.returncode != 0:
            raise SystemExit(finished.stderr)
        again = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if again.returncode != 0 or "Nothing to be done" not in again.stderr:
            raise SystemExit("a project that is done is not left alone:\n" + again.stderr)

        same_as_one_process(place, work)
        nothing_left_behind(work, one)


if __name__ == "__main__":
    main()
