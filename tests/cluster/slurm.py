"""A project through a real Slurm, with tasks that are killed, against the same by single processes.

    python slurm.py BIN_DIR      # the folder with hubmap-demo, hubmap-data-gen, hubmap-train, hubmap-infer, hubmap-merge

Needs munged, slurmctld and slurmd (Debian: slurm-wlm) and to be root. Starts them on the loopback interface with keys and
configuration of their own, submits docs/cluster/pipeline.sh, kills a task of each array in the middle, once as the system
does for lack of memory and once as Slurm does on preemption, and compares every output with that of one process for each
stage, byte for byte. Everything is stopped and removed at the end.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = """
[model]
encoder = "regnety_002"
[data_gen]
scale = 8
tile_px = 64
folds = "drawn"
n_drawn_folds = 4
[data]
folds = ["0", "1", "2", "3"]
crop_px = 32
train = ["train_{fold}_88", "grid_{fold}_88"]
valid = ["val_{fold}_88"]
[train]
epochs = 3
batch_size = 2
[infer]
scale = 8
block = 48
context = 8
tta = "none"
"""
SLURM_CONF = """
ClusterName=hubmap
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
DEADLINE = 600


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, **options)


def out(*words, **options):
    return run(*words, stdout=subprocess.PIPE, text=True, **options).stdout


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def wait_for(what, holds):
    end = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("gave up waiting for " + what)
        time.sleep(0.05)


@contextlib.contextmanager
def slurm(place):
    """Starts Slurm; yields the environment of its clients."""
    os.chmod(place, 0o755)
    for folder in ("state", "spool", "munge"):
        os.mkdir(os.path.join(place, folder), 0o700)
    key = os.path.join(place, "munge", "key")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(os.urandom(1024))
    conf = os.path.join(place, "slurm.conf")
    host = socket.gethostname().split(".")[0]
    with open(conf, "w", encoding="utf-8") as file:
        file.write(SLURM_CONF.format(host=host, place=place, controller_port=free_port(), node_port=free_port()))
    with open(os.path.join(place, "cgroup.conf"), "w", encoding="utf-8") as file:
        # Not used: no plugin above tracks or limits by cgroups. Slurm 22 knows no way to say so.
        file.write("CgroupPlugin=cgroup/v1\n")
    env = dict(os.environ, SLURM_CONF=conf)
    munge = ["--foreground", "--force", "--socket=%s/munge.socket" % place, "--key-file=" + key]
    munge += ["--pid-file=%s/munge/pid" % place, "--seed-file=%s/munge/seed" % place, "--log-file=%s/munge/log" % place]
    processes = []
    with open(os.path.join(place, "daemons.log"), "w", encoding="utf-8") as log:
        start = lambda *words: processes.append(subprocess.Popen(words, env=env, stdout=log, stderr=log))
        try:
            start("/usr/sbin/munged", *munge)
            wait_for("munged", lambda: os.path.exists(os.path.join(place, "munge.socket")))
            start("/usr/sbin/slurmctld", "-D", "-f", conf)
            start("/usr/sbin/slurmd", "-D", "-f", conf)
            idle = lambda: "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True).stdout
            wait_for("a node of Slurm's", idle)
            yield env
        except BaseException:
            for name in ("daemons.log", "slurmctld.log", "slurmd.log"):
                with contextlib.suppress(OSError), open(os.path.join(place, name), encoding="utf-8") as file:
                    sys.stderr.write("== %s\n%s" % (name, file.read()[-3000:]))
            raise
        finally:
            subprocess.run(["scancel", "--user=root"], env=env, check=False)
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                process.kill()


def tasks(env, name):
    """Running tasks of the jobs of a name: their number and the id of their first process."""
    lines = out("squeue", "-h", "-r", "-t", "RUNNING", "-n", name, "-o", "%A %F %K", env=env).split("\n")
    return [line.split() for line in lines if line]


def command_of(env, job):
    """The process of ours that a job has started, or None."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/environ" % pid, "rb") as file:
                if ("SLURM_JOB_ID=%s" % job).encode() not in file.read().split(b"\0"):
                    continue
            name = os.path.basename(os.readlink("/proc/%s/exe" % pid))
            if name.startswith("hubmap-"):
                return int(pid)
    return None


def disturb(env, name, is_under_way):
    """Kills one task of an array while it works, and requeues another, as for preemption."""
    done = {}

    def killed():
        hurry(env)
        for job, array, task in tasks(env, name):
            pid = command_of(env, job)
            if pid and is_under_way():
                os.kill(pid, signal.SIGKILL)
                done["killed"] = "%s_%s" % (array, task)
                return True
        return False

    def requeued():
        for job, array, task in tasks(env, name):
            label = "%s_%s" % (array, task)
            if label != done["killed"] and command_of(env, job):
                run("scontrol", "requeue", label, env=env)
                done["requeued"] = label
                return True
        return False

    wait_for("a task of %s to kill" % name, killed)
    wait_for("a task of %s to requeue" % name, requeued)
    print("%s: killed task %s, requeued %s" % (name, done["killed"], done["requeued"]))


def hurry(env):
    """Lets tasks that went back into the queue begin at once: Slurm waits for two minutes."""
    for line in out("squeue", "-h", "-r", "-t", "PENDING", "-o", "%A %r", env=env).splitlines():
        job, reason = line.split(None, 1)
        if reason == "BeginTime":
            subprocess.run(["scontrol", "update", "JobId=" + job, "StartTime=now"], env=env, check=False, capture_output=True)


def files(folder):
    """Contents by name, but what says how long things took, and what is hidden."""
    found = {}
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and not name.endswith(".json"):
                path = os.path.join(base, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def same(what, ours, theirs):
    ours, theirs = files(ours), files(theirs)
    if sorted(ours) != sorted(theirs) or not ours:
        raise SystemExit("%s: other files: %s" % (what, sorted(set(ours) ^ set(theirs)) or "none"))
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        raise SystemExit("%s: other contents: %s" % (what, different))
    print("%s: %d files, the same bytes" % (what, len(ours)))


def models(folder):
    """A copy of a run folder's weights alone; logs and histories say how long things took."""
    target = folder + ".weights"
    ignore = lambda base, names: [name for name in names if name in ("logs", "history.csv", "last.safetensors", "curves.png")]
    shutil.copytree(folder, target, ignore=ignore)
    return target


def project(place):
    """Makes slides, settings and a list of what to predict in a folder."""
    path = lambda name: os.path.join(place, name)
    slides, config, manifest = path("HUBMAP"), path("mine.toml"), path("slides.csv")
    demo = ["hubmap-demo", "slides", "--out", slides, "--count", "8", "--test-count", "8", "--size", "1700x1300"]
    run(*demo, "--glomeruli-per-mm2", "20", "--quiet")
    with open(config, "w", encoding="utf-8") as file:
        file.write(CONFIG)
    test = sorted(name for name in os.listdir(os.path.join(slides, "test")) if name.endswith(".tiff"))
    with open(manifest, "w", encoding="utf-8") as file:
        file.write("path\n" + "".join("HUBMAP/test/%s\n" % name for name in test))
    return slides, config, manifest


def same_as_one_process(place, work):
    """Does the same by one process for each stage, in `one`, and compares every output."""
    slides, config, manifest = (os.path.join(place, name) for name in ("HUBMAP", "mine.toml", "slides.csv"))
    one = os.path.join(place, "one")
    run("hubmap-data-gen", "--config", config, "--input", slides, "--output", one + "/input", "--quiet")
    splits = "data.splits_dir=%s/input/SPLITS" % work
    run("hubmap-train", "--config", config, "--set", splits, "--run", one + "/model", "--threads", "1", "--quiet")
    # With the weights of the jobs, whose hash is in the records.
    run("hubmap-infer", "--model", one + "/model", "--manifest", manifest, "--out", one + "/results", "--quiet")
    for name in ("input/bigmasks", "input/CUTS", "input/SPLITS"):
        same(name, os.path.join(work, name), os.path.join(one, name))
    same("weights", models(work + "/model"), models(one + "/model"))
    for name in ("locks", "parts", "under_way"):
        for folder in (work, one):
            shutil.rmtree("%s/results/predicts/%s" % (folder, name), ignore_errors=True)
    same("predictions", work + "/results", one + "/results")


def main():
    (binaries,) = sys.argv[1:]
    os.environ["PATH"] = os.path.abspath(binaries) + os.pathsep + os.environ["PATH"]
    with tempfile.TemporaryDirectory(prefix="hubmap-slurm-") as place:
        path = lambda name: os.path.join(place, name)
        slides, config, manifest = project(place)
        os.mkdir(path("slurm"))
        work = path("work")
        with slurm(path("slurm")) as env:
            env["SBATCH_OPTIONS"] = "--cpus-per-task=1 --export=ALL,RAYON_NUM_THREADS=1"
            print(out(os.path.join(ROOT, "docs", "cluster", "pipeline.sh"), slides, config, manifest, work, 4, 4, env=env), end="")
            has_state = lambda: any(os.path.exists(path("work/folds/%d/fold_%d/last.safetensors" % (i, i))) for i in range(4))
            disturb(env, "train", has_state)
            under_way = path("work/results/predicts/under_way")
            disturb(env, "infer", lambda: os.path.isdir(under_way) and any(name.endswith(".blocks") for name in os.listdir(under_way)))

            def is_over():
                hurry(env)
                return not out("squeue", "-h", env=env).strip()

            wait_for("the last job", is_over)

        same_as_one_process(place, work)


if __name__ == "__main__":
    main()
