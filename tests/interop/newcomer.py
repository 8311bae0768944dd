"""Follows the README, the tutorial and the how-to pages literally, on clean clones.

    python newcomer.py target/debug              # with executables that are built already
    python newcomer.py --build                   # by the commands alone: release builds, 5 minutes more on two cores
    python newcomer.py target/debug --only docs/how-to/ensemble.md    # that page, after the tutorial that it builds upon

Two newcomers begin, each in an empty folder. One does what README.md says; the other does the tutorial and then the how-to
pages in the order of docs/SUMMARY.md, in the folder that the tutorial leaves. A page is one session of bash, which ends at
the first command that fails. What a page shows as output must have been printed, and the files that it speaks of must be
there. The address of the project's repository stands for this checkout: what is committed is what is followed.

With a folder of executables a stand-in for `cargo` comes first on the PATH: `cargo install --path` checks that the
package, its executable and its features are there and links the built one; `cargo run --bin` runs the built one; `cargo test
--workspace` is left to .ci/run, which calls this script after it. Everything else goes to the real cargo.
"""

import argparse
import csv
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

import pages

URL = "https://github.com/hubmap-rs/hubmap"
MARK = "\x1e"
# What must be there after a page: patterns of files, each with the least number of bytes.
EXPECTED = {
    "README.md": [
        ("hubmap/demo/results/predicts/objects/*.geojson", 1000),
        ("hubmap/demo/results/predicts/overlays/*.png", 10000),
        ("hubmap/demo/results/predicts/masks/*.tiff", 1000),
        ("hubmap/demo/results/submission__0.5.csv", 1000),
        ("hubmap/demo/output/*/config.toml", 1000),
        ("hubmap/demo/report.html", 100000),
    ],
    "docs/tutorial.md": [
        ("kidneys/input/SPLITS/manifest.json", 100),
        ("kidneys/output/*/fold_0/models/*.safetensors", 1000000),
        ("kidneys/output/*/curves.png", 1000),
        ("kidneys/results/predicts/objects/*.geojson", 1000),
        ("kidneys/results/summary.json", 100),
        ("kidneys/report.html", 100000),
    ],
}
# Least mean Dice on the unseen slide that the tutorial's model must reach; the machine's arithmetic decides the last digits.
LEAST_DICE = 0.7
# The slide that the tutorial predicts, and tables that the learner has after the last page.
SLIDE = "2ec3f1bb9"
TABLES = [
    "scores.csv",
    "scores_sweep.csv",
    "output/*/fold_0/history.csv",
    "results/submission__0.5.csv",
    "results/predicts/objects/*.csv",
]


class Newcomer:
    """Somebody with a home of their own, an empty folder and a shell."""

    def __init__(self, name, place, source, executables):
        self.name, self.folder = name, os.path.join(place, name)
        self.installed = os.path.join(place, name + "-cargo", "bin")
        os.makedirs(self.folder)
        os.makedirs(self.installed)
        self.environment = dict(
            os.environ,
            CARGO_INSTALL_ROOT=os.path.dirname(self.installed),
            XDG_DATA_HOME=os.path.join(place, name + "-share"),
            GIT_CONFIG_COUNT="2",
            GIT_CONFIG_KEY_0="url.%s.insteadOf" % source,
            GIT_CONFIG_VALUE_0=URL,
            GIT_CONFIG_KEY_1="safe.directory",
            GIT_CONFIG_VALUE_1="*",
        )
        path = [self.installed, os.environ["PATH"]]
        if executables is not None:
            stand_in = os.path.join(place, "stand-in")
            path.insert(0, stand_in)
            self.environment.update(NEWCOMER_EXECUTABLES=executables, NEWCOMER_CARGO=shutil.which("cargo"))
            if not os.path.isdir(stand_in):
                os.makedirs(stand_in)
                write_script(os.path.join(stand_in, "cargo"))
        self.environment["PATH"] = os.pathsep.join(path)

    def follow(self, page):
        """Runs the commands of a page from this newcomer's folder, and checks what it shows."""
        shown = pages.shown_after(pages.blocks_of(page, pages.read(page)))
        if not shown:
            return
        print("\n== %s follows %s" % (self.name, page), flush=True)
        script = ["set -euo pipefail"]
        for block, _ in shown:
            script += ["printf '%s%d\\n'" % (MARK, block.line), *block.lines]
        began = time.monotonic()
        code, printed = self.run_script("\n".join(script) + "\n")
        if code != 0:
            raise SystemExit("%s:%d: the commands ended with %d" % (page, max(printed), code))
        for block, text in shown:
            line = pages.missing_line(text.lines, printed[block.line]) if text is not None else None
            if line is not None:
                raise SystemExit("%s: the commands above did not print: %s" % (text.place, line))
        for pattern, n_bytes in EXPECTED.get(page, []):
            files = glob.glob(os.path.join(self.folder, pattern))
            if not files or any(os.path.getsize(file) < n_bytes for file in files):
                raise SystemExit("%s leaves no file %s of %d bytes" % (page, pattern, n_bytes))
        print("-- %s: %d blocks in %.0f s" % (page, len(shown), time.monotonic() - began), flush=True)

    def run_script(self, text):
        """The exit code, and the lines that each block printed, by the line at which the block begins."""
        start = os.path.join(self.folder, "kidneys")
        child = subprocess.Popen(
            ["bash", "-c", text],
            cwd=start if os.path.isdir(start) else self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        printed, block = {}, 0
        for line in child.stdout:
            if line.startswith(MARK):
                block = int(line[len(MARK) :])
                printed[block] = []
            else:
                printed[block].append(line.rstrip("\n"))
                sys.stdout.write("   " + line)
        return child.wait(), printed


def write_script(path):
    """The stand-in for cargo: this file, called by the name `cargo`."""
    with open(path, "w") as file:
        file.write('#!/bin/sh\nexec "%s" "%s" "$@"\n' % (sys.executable, os.path.abspath(__file__)))
    os.chmod(path, 0o755)


def packages(folder):
    """The manifests under bins/ of a clone, by executable."""
    found = {}
    for path in glob.glob(os.path.join(folder, "bins", "*", "Cargo.toml")):
        with open(path, "rb") as file:
            manifest = tomllib.load(file)
        for binary in manifest.get("bin", []):
            found[binary["name"]] = (os.path.dirname(path), manifest)
    return found


def clone_of(folder):
    """The checkout around a folder."""
    while not os.path.isdir(os.path.join(folder, "bins")):
        if folder == os.path.dirname(folder):
            raise SystemExit("cargo: not inside the clone")
        folder = os.path.dirname(folder)
    return folder


def stand_in_for_cargo(arguments):
    """What the pages ask of cargo, with executables that are there already."""
    parser = argparse.ArgumentParser(prog="cargo")
    for flag in ("--release", "--locked", "--workspace"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--path")
    parser.add_argument("--bin", action="append", default=[])
    parser.add_argument("--features", default="")
    command, own, rest = arguments[0], arguments[1:], []
    if "--" in own:
        rest = own[own.index("--") + 1 :]
        own = own[: own.index("--")]
    real = os.environ["NEWCOMER_CARGO"]
    if command == "test" and own == ["--workspace"]:
        print("the tests of the workspace have been run before this script")
        return
    if not (command == "install" or (command in ("run", "build") and "--bin" in own)):
        os.execv(real, [real, *arguments])
    options = parser.parse_args(own)
    there = packages(clone_of(os.path.abspath(options.path or ".")))
    if command == "install":
        folder = os.path.abspath(options.path)
        names = [name for name, (package, _) in there.items() if package == folder]
    else:
        names = options.bin
    if not names or any(name not in there for name in names):
        raise SystemExit("cargo %s: no such executable" % " ".join(arguments))
    for name in names:
        for feature in filter(None, options.features.split(",")):
            if feature not in there[name][1].get("features", {}):
                raise SystemExit("cargo: %s has no feature %s" % (name, feature))
        built = os.path.join(os.environ["NEWCOMER_EXECUTABLES"], name)
        if not os.access(built, os.X_OK):
            raise SystemExit("%s is not built" % built)
        if command == "install":
            link = os.path.join(os.environ["CARGO_INSTALL_ROOT"], "bin", name)
            if not os.path.lexists(link):
                os.symlink(built, link)
    if command == "run":
        os.execv(built, [built, *rest])


def source_repository(place):
    """What stands for the project's repository: this checkout, or a copy of it if it has no history."""
    if os.path.exists(os.path.join(pages.ROOT, ".git")):
        changed = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", pages.ROOT, "status", "--porcelain"], capture_output=True, text=True
        )
        if changed.stdout:
            print("note: what is not committed is not followed\n" + changed.stdout, end="")
        return pages.ROOT
    copy = os.path.join(place, "checkout")
    shutil.copytree(pages.ROOT, copy, ignore=shutil.ignore_patterns("target"))
    git = ["git", "-C", copy, "-c", "user.name=newcomer", "-c", "user.email=newcomer@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Checkout"]):
        subprocess.run(git + command, check=True)
    return copy


def check_score(newcomer):
    """The model of the tutorial is of use: mean Dice in the table that it writes."""
    with open(os.path.join(newcomer.folder, "kidneys", "scores.md")) as file:
        found = re.search(r"\| mean \| (\d\.\d+)", file.read())
    if found is None or float(found[1]) < LEAST_DICE:
        raise SystemExit("the tutorial's model reaches %s, not %s" % (found and found[1], LEAST_DICE))


def check_reference(newcomer):
    """Every column of the tables and every key of the summary that the pages leave stands in docs/reference/files.md."""
    reference = pages.read("docs/reference/files.md")
    place = os.path.join(newcomer.folder, "kidneys")
    names = {}
    for pattern in TABLES:
        tables = glob.glob(os.path.join(place, pattern))
        if not tables:
            raise SystemExit("the pages leave no table %s" % pattern)
        with open(tables[0], encoding="utf-8") as file:
            # The columns of a sweep end with one for each slide.
            header = [name for name in next(csv.reader(file)) if name != SLIDE]
        names.update((name, pattern) for name in header)
    with open(os.path.join(place, "results", "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    names.update((name, "summary.json") for name in [*summary, *summary["slides"][0]])
    missing = ["%s of %s" % found for found in names.items() if "`%s`" % found[0] not in reference]
    if missing:
        raise SystemExit("docs/reference/files.md does not explain " + ", ".join(missing))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executables", nargs="?", metavar="BIN_DIR")
    parser.add_argument("--build", action="store_true", help="no stand-in for cargo")
    parser.add_argument("--only", metavar="PAGE", help="one page, with what it builds upon")
    options = parser.parse_args()
    if options.build == (options.executables is not None):
        parser.error("give BIN_DIR or --build")
    faults = list(pages.faults())
    if faults:
        raise SystemExit("\n".join(faults))
    executables = None if options.build else os.path.abspath(options.executables)
    with tempfile.TemporaryDirectory() as place:
        source = source_repository(place)
        if options.only in (None, "README.md"):
            Newcomer("reader", place, source, executables).follow("README.md")
        if options.only == "README.md":
            return
        learner = Newcomer("learner", place, source, executables)
        for page in pages.followed_pages()[1:]:
            if options.only in (None, page) or page == "docs/tutorial.md":
                learner.follow(page)
            if page == "docs/tutorial.md":
                check_score(learner)
        if options.only is None:
            check_reference(learner)


if __name__ == "__main__":
    if "NEWCOMER_CARGO" in os.environ:
        stand_in_for_cargo(sys.argv[1:])
    else:
        main()
