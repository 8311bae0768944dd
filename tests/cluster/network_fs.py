"""Parts of one list on two machines that share a network file system, and on file systems that have no locks for that.

    python network_fs.py BIN_DIR WEIGHTS [FILE_SYSTEM ...]

BIN_DIR is the folder with hubmap-demo, -infer and -merge, WEIGHTS a file of weights.

Needs to be root, and glusterfs-server, glusterfs-client, bindfs, sshfs and openssh-sftp-server of Debian's. File systems:

- GlusterFS: a volume that glusterd makes, its server, and two clients (FUSE) that talk to it over TCP. Locks (`flock`) hold.
- GlusterFS whose server is without the translator for locks: every `flock` fails, as on Lustre without `-o flock`.
- bindfs and sshfs: locks are granted by each mount for itself, as on NFS with `nolock`, so that nobody can notice.

A node is a mount of its own, below the same path as on the others, a host name and process ids of its own. Everything runs
in namespaces for mounts, network and processes, with which all mounts and daemons go, however this ends.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from file_systems import ADDRESS, bindfs, gluster, gluster_without_locks, sshfs
from slurm import files, project, run, same, wait_for

INSIDE = "HUBMAP_NETWORK_FS_INSIDE"
# What daemons keep outside of the test's folder.
STATE = ("/var/lib/glusterd", "/var/log/glusterfs", "/run")
NO_LOCKS, IN_USE = "this file system has no locks", "another job is at this slide"
DONE, SOME_FAILED = 0, 3
# Tries to lock the file that it is given: says "held" and keeps it for as long as it is left alone, or says why not.
LOCKER = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
try:
    fcntl.flock(file, getattr(fcntl, sys.argv[2]) | fcntl.LOCK_NB)
except OSError as error:
    print(error.strerror, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


def ensure(holds, message):
    if not holds:
        raise SystemExit(message)


class Node:
    """What runs here sees a mount of its own at `shared`, and has a host name and process ids of its own."""

    def __init__(self, name, mount, shared):
        self.name, self.mount, self.shared = name, mount, shared

    def start(self, *words, **options):
        script = 'hostname "$1"; mount --bind "$2" "$3"; cd "$3"; shift 3; exec "$@"'
        own = ["unshare", "--uts", "--mount", "--pid", "--fork", "--mount-proc"]
        return subprocess.Popen(
            [*own, "sh", "-ec", script, "sh", self.name, self.mount, self.shared, *words], text=True, **options
        )

    def infer(self, job, *more):
        """Starts hubmap-infer on the list; what it says comes by `communicate`."""
        words = ["hubmap-infer", "--model", "weights.safetensors", "--config", "mine.toml", "--manifest", "slides.csv"]
        words += ["--out", job, "--threads", "1", *more]
        return self.start(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def locker(self, name, kind="LOCK_EX"):
        """A process that tries to lock a file, and what it says."""
        pipe = subprocess.PIPE
        process = self.start(sys.executable, "-c", LOCKER, name, kind, stdin=pipe, stdout=pipe)
        return process, process.stdout.readline().strip()


def child_of(process):
    """The process that `unshare` has started, from outside."""
    with open("/proc/%d/task/%d/children" % (process.pid, process.pid), encoding="utf-8") as file:
        (child,) = file.read().split()
    return int(child)


def kill(process):
    """Kills what a node has started and waits until it is gone."""
    os.kill(child_of(process), signal.SIGKILL)
    process.communicate()


def ended(process, code, *says):
    """Waits for a process of which the exit code and what it says are known."""
    text = process.communicate()[0]
    ensure(process.returncode == code, "ended with %d, not %d:\n%s" % (process.returncode, code, text))
    for words in says:
        ensure(words in text, "does not say %r:\n%s" % (words, text))
    return text


def is_free(node, name):
    """Whether a node gets a lock, which it gives back."""
    process, said = node.locker(name)
    process.communicate()
    return said == "held"


def locks_between(here, there):
    """What a lock that one node holds is for another: "excludes", "is not seen", or the error of asking for it."""
    holder, said = here.locker("probe")
    is_seen = not is_free(there, "probe")
    holder.communicate()
    if said != "held":
        return said
    return "excludes" if is_seen else "is not seen"


def check_locks(here, there):
    """Locks as hubmap needs them: of one against all, of several together, and gone with a process that is killed."""
    ensure(locks_between(here, there) == "excludes", "two nodes hold one lock")
    first, _ = here.locker("probe", "LOCK_SH")
    second, said = there.locker("probe", "LOCK_SH")
    ensure(said == "held", "two nodes cannot share a lock: " + said)
    for node in (here, there):
        ensure(not is_free(node, "probe"), "%s takes for itself what is shared" % node.name)
    second.communicate()
    kill(first)
    begin = time.monotonic()
    wait_for("a lock whose holder was killed", lambda: is_free(there, "probe"))
    print("locks exclude between nodes; free %.2f s after their holder was killed" % (time.monotonic() - begin))


class Watcher(threading.Thread):
    """Reads through a mount, again and again, whatever has its final name, for as long as others write there."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.seen, self.n_reads, self.is_over = folder, {}, 0, threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.is_over.is_set():
                self.read_all()
        except (OSError, ValueError) as error:
            self.error = error

    def read_all(self):
        for base, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in ("locks", "under_way")]
            for name in (name for name in names if not name.startswith(".")):
                path = os.path.join(base, name)
                # It may be removed after the folder was listed: a record goes before its slide's files come.
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                    self.take(os.path.relpath(path, self.folder), file.read())

    def take(self, name, contents):
        self.n_reads += 1
        if name.endswith(".json"):
            # Times differ from run to run; half of an object is none.
            json.loads(contents)
        else:
            self.seen.setdefault(name, set()).add(hashlib.sha256(contents).hexdigest())

    def check(self):
        """Every file was whole whenever it was there: it never had other contents than in the end."""
        self.is_over.set()
        self.join()
        ensure(self.error is None, "reading through the other mount: %s" % self.error)
        ensure(self.seen, "nothing was there to be watched")
        for name, found in self.seen.items():
            with open(os.path.join(self.folder, name), "rb") as file:
                ensure(found == {hashlib.sha256(file.read()).hexdigest()}, "%s was seen before it was whole" % name)
        print("%d reads through the other mount: every file whole" % self.n_reads)


@contextlib.contextmanager
def watched(node, job):
    watcher = Watcher(os.path.join(node.mount, job))
    watcher.start()
    yield
    watcher.check()


def wait_for_work(node, job, process):
    """Waits until another node sees a slide under way."""
    folder = os.path.join(node.mount, job, "predicts", "under_way")
    at_work = lambda: os.path.isdir(folder) and any(name.endswith(".blocks") for name in os.listdir(folder))
    wait_for("a slide under way", lambda: at_work() or process.poll() is not None)
    ensure(process.poll() is None, "ended before another node saw it at work")


class Test:
    """Parts of the list on two nodes, into one folder."""

    def __init__(self, here, there, local, job):
        self.here, self.there, self.local, self.job = here, there, local, job

    def finish(self, node):
        """Joins the parts and compares with one process on a local disk."""
        words = ["hubmap-merge", "--manifest", "slides.csv", "--out", self.job, "--quiet"]
        ensure(node.start(*words, stdout=subprocess.DEVNULL).wait() == DONE, "hubmap-merge failed")
        ours, theirs = os.path.join(node.mount, self.job), os.path.join(self.local, "results")
        # A node may see what another did only after a while: with sshfs, 20 seconds.
        wait_for("all files to be seen", lambda: files(ours).keys() == files(theirs).keys())
        same("%s, joined by %s" % (self.job, node.name), ours, theirs)
        left = [name for _, _, names in os.walk(ours) for name in names if ".unfinished" in name or name.endswith(".blocks")]
        ensure(not left, "left behind: %s" % left)

    def two_parts(self, *says):
        """A part on each node at the same time, watched from the other."""
        with watched(self.there, self.job):
            jobs = [self.here.infer(self.job, "--shard", "0/2"), self.there.infer(self.job, "--shard", "1/2")]
            for process in jobs:
                ended(process, DONE, *says)
        self.finish(self.there)

    def twice(self, are_locked, *says):
        """The same part on both nodes: the second begins and ends while the first is held in the middle of a slide."""
        with watched(self.there, self.job):
            first = self.here.infer(self.job, "--shard", "0/1")
            wait_for_work(self.there, self.job, first)
            os.kill(child_of(first), signal.SIGSTOP)
            said = ended(self.there.infer(self.job, "--shard", "0/1"), SOME_FAILED if are_locked else DONE, *says)
            ensure(said.count("error: slide") == said.count(IN_USE) == int(are_locked), said)
            os.kill(child_of(first), signal.SIGCONT)
            said = first.communicate()[0]
            # Where nobody could see that the first was there, what it had begun was taken for what a killed job leaves.
            ensure(first.returncode == (DONE if are_locked else SOME_FAILED), said)
            errors = [line.strip() for line in said.splitlines() if "error: slide" in line]
            did = "all slides but the one that the first was at" if are_locked else "all"
            print("a part twice: the second did " + did, *errors, sep="\n    ")
            ended(self.there.infer(self.job, "--shard", "0/1"), DONE, *says)
        self.finish(self.here)

    def again(self, node):
        """The same command until it is done, as a scheduler gives it again: a lock may outlive its holder a little."""
        n_tries = 0
        while True:
            n_tries += 1
            process = node.infer(self.job, "--shard", "0/1")
            said = process.communicate()[0]
            if process.returncode == DONE:
                return n_tries
            ensure(process.returncode == SOME_FAILED and IN_USE in said and n_tries < 10, said)

    def killed(self):
        """A process is killed; the other node does the rest."""
        process = self.here.infer(self.job, "--shard", "0/1")
        wait_for_work(self.there, self.job, process)
        alone = self.there.infer(self.job)
        ended(alone, 1, "another run is writing to this folder")
        kill(process)
        print("killed one node's process; done by the other in %d tries" % self.again(self.there))
        self.finish(self.there)

    def vanished(self):
        """A node loses the file system in the middle, as a machine that is switched off; the other does the rest."""
        process = self.here.infer(self.job, "--shard", "0/1")
        wait_for_work(self.there, self.job, process)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid, encoding="utf-8") as file:
                words = file.read().split("\0")
                if os.path.basename(words[0]) == "glusterfs" and self.here.mount in words:
                    os.kill(int(pid), signal.SIGKILL)
        said = process.communicate()[0]
        ensure(process.returncode not in (DONE, None), "a node without its file system ends well:\n" + said)
        print("a node lost its file system: exit code %d, %s" % (process.returncode, said.strip().splitlines()[-1]))
        print("done by the other in %d tries" % self.again(self.there))
        self.finish(self.there)


def inside(binaries, weights, wanted):
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", ADDRESS + "/32", "dev", "lo")
    for folder in STATE:
        run("mount", "-t", "tmpfs", "none", folder)
    os.mkdir("/run/gluster")
    os.environ["PATH"] = binaries + os.pathsep + os.environ["PATH"]
    # Not where temporary folders are: the server keeps extended attributes, which tmpfs has only in part.
    with tempfile.TemporaryDirectory(prefix="network-fs-", dir=os.getcwd()) as place:
        local, shared = os.path.join(place, "local"), os.path.join(place, "shared")
        os.mkdir(local)
        os.mkdir(shared)
        project(local)
        shutil.copyfile(weights, os.path.join(local, "weights.safetensors"))
        alone = Node("alone", local, shared)
        ended(alone.infer("results"), DONE)
        for name in wanted:
            file_system, check = FILE_SYSTEMS[name]
            print("\n== " + name)
            folder = os.path.join(place, file_system.__name__)
            os.mkdir(folder)
            with file_system(folder) as folders:
                for entry in ("HUBMAP", "mine.toml", "slides.csv", "weights.safetensors"):
                    run("cp", "-a", os.path.join(local, entry), folders[0])
                nodes = [Node("node-" + os.path.basename(mount), mount, shared) for mount in folders]
                check(*nodes, lambda job: Test(*nodes, local, job))


def with_locks(here, there, test):
    check_locks(here, there)
    test("two-parts").two_parts()
    test("twice").twice(True)
    test("killed").killed()
    test("vanished").vanished()


def without_locks(here, there, test):
    error = locks_between(here, there)
    ensure(error in ("Function not implemented", "Operation not supported"), "there are locks: " + error)
    print("flock: " + error)
    test("two-parts").two_parts(NO_LOCKS)
    test("twice").twice(False, NO_LOCKS)


def with_locks_of_its_own(here, there, test):
    ensure(locks_between(here, there) == "is not seen", "locks hold between mounts")
    print("each mount grants the same lock")
    test("two-parts").two_parts()
    test("twice").twice(False)


FILE_SYSTEMS = {
    "GlusterFS": (gluster, with_locks),
    "GlusterFS without locks": (gluster_without_locks, without_locks),
    "bindfs": (bindfs, with_locks_of_its_own),
    "sshfs": (sshfs, with_locks_of_its_own),
}


def main():
    if INSIDE not in os.environ:
        own = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        os.environ[INSIDE] = "1"
        os.execvp(own[0], [*own, sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    binaries, weights, *wanted = sys.argv[1:]
    ensure(set(wanted) <= set(FILE_SYSTEMS), "file systems are: " + ", ".join(FILE_SYSTEMS))
    inside(os.path.abspath(binaries), os.path.abspath(weights), wanted or FILE_SYSTEMS)


if __name__ == "__main__":
    main()
