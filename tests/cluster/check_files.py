"""The files of docs/cluster, as far as they can be checked without running them.

    python check_files.py BIN_DIR      # the folder with the executables that they call

Needs tests/cluster/requirements.txt beside the Python that runs this. Every file: each call of one of our executables has only
flags that its own completions name. Beyond that, scripts go through shellcheck, the Containerfile through hadolint, the
Snakefile through snakefmt and Snakemake's lint, and the Kubernetes job through the schema of its version and through what
indexed jobs have to agree on. Nextflow itself is in no registry; where there are Java and npx, main.nf is at least parsed as
the Groovy that it is.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = os.path.join(ROOT, "docs", "cluster")
GROOVY_LINT = "npm-groovy-lint@15"
# Kubernetes tells a pod its own number by this, and nothing tells it how many there are.
N_JOBS_VARIABLE = "JOB_COMPLETIONS"
# Exit codes, as docs/reference/exit-codes.md has them.
USAGE, BAD_INPUT, MEMORY, INTERRUPTED, ABORTED, KILLED, TERMINATED = 2, 65, 71, 75, 134, 137, 143


def path(name):
    return os.path.join(FILES, name)


def read(name):
    with open(path(name), encoding="utf-8") as file:
        return file.read()


def tool(name, *words, **options):
    """Runs a tool that is beside this Python."""
    program = os.path.join(os.path.dirname(sys.executable), name)
    subprocess.run([program, *words], check=True, **options)
    print("%s %s: no complaints" % (name, " ".join(os.path.basename(word) for word in words if word.startswith(FILES))))


def ensure(holds, message):
    if not holds:
        raise SystemExit(message)


class Executables:
    """Which flags each executable takes."""

    def __init__(self, folder):
        self.folder, self.known = folder, {}

    def flags(self, name, subcommand):
        """The long flags of an executable's subcommand, or of itself."""
        if (name, subcommand) not in self.known:
            program = os.path.join(self.folder, name)
            ensure(os.access(program, os.X_OK), "there is no executable " + name)
            words = [program, *([subcommand] if subcommand else []), "--help"]
            text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            self.known[name, subcommand] = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", text, re.M))
        return self.known[name, subcommand]

    def check(self, where, words):
        """Checks one call: a name, perhaps a subcommand, and what follows."""
        name, rest = words[0], words[1:]
        subcommand = rest[0] if rest and re.fullmatch(r"[a-z]+", rest[0]) else None
        known = self.flags(name, subcommand)
        given = [word.split("=")[0] for word in rest if word.startswith("--")]
        unknown = [flag for flag in given if flag not in known]
        ensure(not unknown, "%s: %s has no %s" % (where, " ".join(filter(None, (name, subcommand))), ", ".join(unknown)))
        return given


def calls(text):
    """Calls of our executables in a script: the words from each name to the end of its command."""
    # Comments too, which show how to call things; not other things that are called hubmap-….
    joined = re.sub(r"\\\n\s*", " ", text)
    # Strings that Python joins.
    joined = re.sub(r"\"\n\s+\"", "", joined)
    for line in joined.splitlines():
        for found in re.finditer(r"(?<![\w/`.-])hubmap-(?:[a-z]+-)*[a-z]+ (?:[a-z]+ )?--.*", line):
            yield [word.strip("'\"();") for word in re.split(r"\s+", found[0]) if word]


def check_calls(executables):
    for name in sorted(os.listdir(FILES)):
        if name.endswith(".md"):
            continue
        flags = [flag for words in calls(read(name)) for flag in executables.check(name, words)]
        print("%s: %d flags, all known" % (name, len(flags)))
        # A pattern that finds nothing checks nothing.
        ensure(flags or name == "Containerfile", "%s: no call of an executable was found" % name)


def check_job(executables):
    job = yaml.safe_load(read("job.yaml"))
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    ensure(spec["completionMode"] == "Indexed", "job.yaml: pods get their number in Indexed mode only")
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    ensure(
        variables.get(N_JOBS_VARIABLE) == str(spec["completions"]),
        "job.yaml: %s is not spec.completions, %s" % (N_JOBS_VARIABLE, spec["completions"]),
    )
    ensure(spec["parallelism"] <= spec["completions"], "job.yaml: more pods at a time than there are parts")
    executables.check("job.yaml", container["command"] + container["args"])

    arguments = dict(argument.lstrip("-").split("=", 1) for argument in container["args"] if "=" in argument)
    ensure(arguments["shard"] == "auto", "job.yaml: pods do not take their own part")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    ensure(set(mounts.values()) == volumes, "job.yaml: volumes that are not mounted, or mounts of none")
    for name in ("model", "manifest", "out", "scratch"):
        ensure(any(arguments[name].startswith(mount) for mount in mounts), "job.yaml: --%s is on no volume" % name)

    codes = {"FailJob": set(), "FailIndex": set()}
    for rule in spec["podFailurePolicy"]["rules"]:
        if rule["action"] != "Ignore":
            codes[rule["action"]].update(rule["onExitCodes"]["values"])
            ensure(rule["onExitCodes"]["containerName"] == container["name"], "job.yaml: codes of another container")
    ensure(codes["FailJob"] == {USAGE}, "job.yaml: wrong usage, and nothing else, is to end all parts")
    ensure(codes["FailIndex"] == {BAD_INPUT, MEMORY}, "job.yaml: what another pod cannot do better is tried again, or more")
    ensure(spec["backoffLimitPerIndex"] > 0, "job.yaml: parts are not given up by themselves, or never tried again")
    ensure(spec["template"]["spec"]["restartPolicy"] == "Never", "job.yaml: podFailurePolicy needs restartPolicy Never")
    check_part(executables, variables, arguments["shard"])
    print("job.yaml: %d parts, as the contract has it" % spec["completions"])


def check_part(executables, variables, shard):
    """What a pod would be: the executable itself has to read its part from these variables."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = os.path.join(folder, "slides.csv")
        with open(manifest, "w", encoding="utf-8") as file:
            file.write("path\nnone.tiff\n")
        words = ["hubmap-infer", "--model", folder, "--manifest", manifest, "--out", os.path.join(folder, "out")]
        last = int(variables[N_JOBS_VARIABLE]) - 1
        told = dict(os.environ, **variables, JOB_COMPLETION_INDEX=str(last))
        for name in [name for name in told if name.startswith("SLURM_")]:
            del told[name]
        words[0] = os.path.join(executables.folder, words[0])
        found = subprocess.run([*words, "--shard", shard], env=told, capture_output=True, text=True)
        part = "part %d/%d " % (last, last + 1)
        ensure(part in found.stderr, "hubmap-infer does not take %sfrom job.yaml's variables:\n%s" % (part, found.stderr))


def check_retries():
    """What Nextflow tries again: what was interrupted, and what had too little memory."""
    (listed,) = re.findall(r"task\.exitStatus in \[([\d, ]+)\]", read("main.nf"))
    codes = {int(code) for code in listed.split(",")}
    ensure(codes == {MEMORY, INTERRUPTED, ABORTED, KILLED, TERMINATED}, "main.nf: these are tried again: %s" % listed)
    ensure("task.attempt }" in read("main.nf"), "main.nf: a task that had too little memory gets no more")
    print("main.nf: tries again after %s" % listed)


def check_codes(executables):
    """The codes here are those that the executables name in their help."""
    program = os.path.join(executables.folder, "hubmap-infer")
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    known = {int(code) for code in re.findall(r"^  (\d+) +", text.split("Exit codes:")[1], re.M)}
    ensure(known == {0, 1, USAGE, 3, BAD_INPUT, MEMORY, INTERRUPTED}, "the exit codes of hubmap-infer are %s" % known)


def check_nextflow():
    npx = shutil.which("npx")
    if not (npx and shutil.which("java")):
        print("main.nf: not parsed, without npx and Java")
        return
    words = [npx, "--yes", GROOVY_LINT, "--noserver", "--failon", "warning", "--path", FILES, "--files", "*.nf"]
    found = subprocess.run(words, capture_output=True, text=True)
    ensure(found.returncode == 0, found.stdout + found.stderr)
    print("npm-groovy-lint main.nf: no complaints")


def main():
    (binaries,) = sys.argv[1:]
    executables = Executables(os.path.abspath(binaries))
    check_calls(executables)
    tool("shellcheck", path("array.sh"), path("pipeline.sh"))
    tool("hadolint", path("Containerfile"))
    tool("kubernetes-validate", "--strict", "--quiet", path("job.yaml"))
    check_codes(executables)
    check_job(executables)
    check_retries()
    tool("snakefmt", "--check", path("Snakefile"))
    # A project of any names; an image stands for the environment that the lint wants for each rule.
    names = ["slides=HUBMAP", "settings=mine.toml", "manifest=slides.csv", "work=work", "image=hubmap.sif"]
    with tempfile.TemporaryDirectory() as folder:
        tool("snakemake", "--lint", "--snakefile", path("Snakefile"), "--config", *names, cwd=folder)
    check_nextflow()


if __name__ == "__main__":
    main()
