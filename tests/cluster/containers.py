"""The pods of docs/cluster/job.yaml as containers of podman's, one of them killed and one evicted, against a single process.

    python containers.py IMAGE      # made by: podman build -f docs/cluster/Containerfile -t hubmap .

Needs podman, to be root, and PyYAML. There is no Kubernetes here: what its kubelet would make of the job, this makes of it,
with fewer parts. Command, arguments, variables, user, groups, volumes, the read-only file system and the limit of memory are
read from job.yaml. /data is a folder that belongs to root and to the group that job.yaml says, as Kubernetes makes it of a
volume; /scratch is an empty folder for each container. Slides, networks and the single process come from the same image.
Containers have no network. Where podman has to be told more (runtime, storage), CONTAINERS_CONF and CONTAINERS_STORAGE_CONF
do so.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

import yaml

from run_snakemake import names
from slurm import CONFIG, ROOT, out, run, same, wait_for

N_PARTS = 4
# Exit codes, as docs/reference/exit-codes.md has them.
DONE, FAILED, INTERRUPTED, KILLED = 0, 1, 75, 137
UNITS = {"Mi": "m", "Gi": "g"}


def ensure(holds, message):
    if not holds:
        raise SystemExit(message)


class Pods:
    """Containers as job.yaml has them."""

    def __init__(self, image, place):
        with open(os.path.join(ROOT, "docs", "cluster", "job.yaml"), encoding="utf-8") as file:
            pod = yaml.safe_load(file)["spec"]["template"]["spec"]
        (self.container,) = pod["containers"]
        self.image, self.place, self.label = image, place, os.path.basename(place)
        whole, own = pod["securityContext"], self.container["securityContext"]
        ensure(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], "job.yaml: more rights than needed")
        self.group = whole["fsGroup"]
        self.words = ["--user", "%d:%d" % (whole["runAsUser"], whole["runAsGroup"]), "--group-add", str(self.group)]
        self.words += ["--read-only", "--read-only-tmpfs=false", "--security-opt", "no-new-privileges", "--network", "none"]
        self.words += ["--cap-drop=" + name for name in own["capabilities"]["drop"]]
        amount, unit = re.fullmatch(r"(\d+)(\w+)", self.container["resources"]["limits"]["memory"]).groups()
        self.words += ["--memory", amount + UNITS[unit]]
        self.n_started = 0

    def folder(self, name, mode, group):
        path = os.path.join(self.place, name)
        os.makedirs(path)
        os.chown(path, 0, group)
        os.chmod(path, mode)
        return path

    def start(self, *command, **variables):
        """Starts a container with an empty /scratch, and returns its name."""
        self.n_started += 1
        name = "%s-%d" % (self.label, self.n_started)
        folders = {"data": os.path.join(self.place, "data"), "scratch": self.folder(name, 0o2777, self.group)}
        words = self.words + ["--env=%s=%s" % pair for pair in variables.items()]
        for mount in self.container["volumeMounts"]:
            words += ["--volume", "%s:%s" % (folders[mount["name"]], mount["mountPath"])]
        run("podman", "run", "--detach", "--name", name, *words, self.image, *command, stdout=subprocess.DEVNULL)
        return name

    def part(self, number):
        """What Kubernetes starts as the pod of a number."""
        variables = {variable["name"]: variable["value"] for variable in self.container["env"]}
        variables |= {"JOB_COMPLETIONS": N_PARTS, "JOB_COMPLETION_INDEX": number}
        return self.start(*self.container["command"], *self.container["args"], **variables)

    def ended(self, name, code):
        """Waits for a container, whose exit code is known and which leaves nothing in /scratch unless it was killed."""
        found = int(out("podman", "wait", name))
        state = json.loads(out("podman", "inspect", "--format", "{{json .State}}", name))
        said = subprocess.run(["podman", "logs", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        ensure(found == code and not state["OOMKilled"], "%s ended with %d, not %d:\n%s" % (name, found, code, said))
        left = os.listdir(os.path.join(self.place, name))
        ensure(code == KILLED or not left, "%s left in /scratch: %s" % (name, left))
        return said

    def do(self, *command):
        return self.ended(self.start(*command), DONE)

    def is_running(self, name):
        return out("podman", "inspect", "--format", "{{.State.Running}}", name).strip() == "true"

    def remove(self):
        for number in range(1, self.n_started + 1):
            run("podman", "rm", "--force", "%s-%d" % (self.label, number), stdout=subprocess.DEVNULL)


def make_project(pods, data):
    """Slides, settings, a list and networks in /data, by executables of the image."""
    demo = ["hubmap-demo", "slides", "--out", "/data/HUBMAP", "--count", "8", "--test-count", "8", "--size", "3400x2600"]
    pods.do(*demo, "--glomeruli-per-mm2", "20", "--quiet")
    with open(os.path.join(data, "mine.toml"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    slides = sorted(name for name in os.listdir(os.path.join(data, "HUBMAP", "test")) if name.endswith(".tiff"))
    with open(os.path.join(data, "slides.csv"), "w", encoding="utf-8") as file:
        file.write("path\n" + "".join("HUBMAP/test/%s\n" % name for name in slides))
    config = ["--config", "/data/mine.toml"]
    pods.do("hubmap-data-gen", *config, "--input", "/data/HUBMAP", "--output", "/data/input", "--quiet")
    settings = ["data.splits_dir=/data/input/SPLITS", 'data.folds=["0"]', "train.epochs=1"]
    settings = [word for setting in settings for word in ("--set", setting)]
    pods.do("hubmap-train", *config, *settings, "--run", "/data/model", "--threads", "2", "--quiet")


def disturbed(pods, data):
    """All parts at once; one is killed, one is evicted, and both are started again."""
    parts = [pods.part(number) for number in range(N_PARTS)]
    under_way = os.path.join(data, "results", "predicts", "under_way")
    at_work = lambda: os.path.isdir(under_way) and any(name.endswith(".blocks") for name in os.listdir(under_way))
    wait_for("slides under way", lambda: at_work() or not any(map(pods.is_running, parts)))
    run("podman", "kill", "--signal", "KILL", parts[1], stdout=subprocess.DEVNULL)
    # As the kubelet evicts: SIGTERM, and SIGKILL only after terminationGracePeriodSeconds.
    run("podman", "stop", "--time", "120", parts[2], stdout=subprocess.DEVNULL)
    pods.ended(parts[1], KILLED)
    pods.ended(parts[2], INTERRUPTED)
    again = [pods.part(1), pods.part(2)]
    for name in (parts[0], parts[3], *again):
        said = pods.ended(name, DONE)
        ensure('"slides"' in said, "no results on stdout:\n" + said)
    print("%d containers at once: one killed (%d), one evicted (%d), both started again" % (N_PARTS, KILLED, INTERRUPTED))


def refused(pods):
    """A volume that the group may not write to: an error that names it, at once."""
    pods.folder("data/closed", 0o755, 0)
    arguments = [word.replace("/data/results", "/data/closed/results") for word in pods.container["args"]]
    said = pods.ended(pods.start(*pods.container["command"], *arguments, JOB_COMPLETIONS=1, JOB_COMPLETION_INDEX=0), FAILED)
    ensure("/data/closed/results" in said and "Permission denied" in said, said)
    print("a closed volume: exit code %d, %s" % (FAILED, json.loads(said.splitlines()[-1])["message"]))


def main():
    (image,) = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="hubmap-containers-") as place:
        os.chmod(place, 0o755)
        pods = Pods(image, place)
        try:
            data = pods.folder("data", 0o2775, pods.group)
            # What the image does by itself, and in the place of a pod.
            print(out("podman", "run", "--rm", "--network", "none", image))
            pods.do("hubmap-doctor", "--dir", "/data")
            make_project(pods, data)
            refused(pods)
            disturbed(pods, data)
            pods.do("hubmap-merge", "--manifest", "/data/slides.csv", "--out", "/data/results", "--json")
            one = [word.replace("/data/results", "/data/one") for word in pods.container["args"] if "--shard" not in word]
            pods.do(*pods.container["command"], *one)
        finally:
            pods.remove()
        results, alone = os.path.join(data, "results"), os.path.join(data, "one")
        same("predictions", os.path.join(results, "predicts"), os.path.join(alone, "predicts"))
        more = {name for name in names(results) - names(alone) if not name.startswith("predicts/parts/")}
        ensure(not more, "left behind: %s" % sorted(more))
        states = [os.lstat(os.path.join(results, name)) for name in names(results)]
        print("results belong to user and group", *sorted({(state.st_uid, state.st_gid) for state in states}))


if __name__ == "__main__":
    main()
