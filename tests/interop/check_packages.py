"""What `cargo package` makes of every library is whole: it has its licences and builds away from this workspace.

    python check_packages.py [CRATE ...]        # all under crates/ without names

Needs cargo, and the dependencies of Cargo.lock in cargo's cache. The packages are unpacked into a workspace of their own, in
which they find each other as they will on crates.io, and checked with the dependencies of Cargo.lock. `cargo package` can do
that by itself, but builds Burn anew for every crate that needs it.
"""

import glob
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib

import pages

ROOT = pages.ROOT
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
REQUIRED = ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"]
FIELDS = ["description", "license", "repository", "readme", "keywords", "categories", "rust-version"]
MOST_BYTES = 2 << 20
# Whatever is optional and free of system libraries, so that files which only such code includes are missed too.
FEATURES = {"hubmap-cli": ["networks"], "hubmap-io": ["contract", "jpeg2000", "remote"]}


def manifest(folder):
    with open(os.path.join(folder, "Cargo.toml"), "rb") as file:
        return tomllib.load(file)


def check_folder(name, folder):
    for file in REQUIRED:
        if not os.path.isfile(os.path.join(folder, file)):
            raise SystemExit("%s: its package has no %s" % (name, file))
    package = manifest(folder)["package"]
    missing = [field for field in FIELDS if not package.get(field)]
    if missing:
        raise SystemExit("%s: Cargo.toml says nothing of %s" % (name, ", ".join(missing)))
    n_bytes = sum(os.path.getsize(file) for file in glob.glob(folder + "/**", recursive=True) if os.path.isfile(file))
    if n_bytes > MOST_BYTES:
        raise SystemExit("%s: its package has %d bytes" % (name, n_bytes))
    with open(os.path.join(folder, "src", "lib.rs"), encoding="utf-8") as file:
        if '#![doc = include_str!("../README.md")]' not in file.read():
            raise SystemExit("%s: its README is not its documentation" % name)
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        # What rustdoc takes for Rust, and so compiles with the tests.
        if not any(block.language in ("", "rust", "no_run") for block in pages.blocks_of(name, file.read())):
            raise SystemExit("%s: its README has no example" % name)


def main():
    names = sys.argv[1:] or sorted(os.listdir(os.path.join(ROOT, "crates")))
    chosen = [argument for name in names for argument in ("-p", name)]
    subprocess.run(["cargo", "package", *chosen, "--no-verify", "--allow-dirty", "--locked", "--offline"], cwd=ROOT, check=True)
    place = os.path.join(TARGET, "packages")
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    patches = []
    for name in names:
        version = manifest(ROOT)["workspace"]["package"]["version"]
        with tarfile.open(os.path.join(TARGET, "package", "%s-%s.crate" % (name, version))) as archive:
            archive.extractall(place, filter="data")
        os.rename(os.path.join(place, "%s-%s" % (name, version)), os.path.join(place, name))
        # All packages say that they are of the same day of 2006; cargo would not see that one has changed since last time.
        for path in glob.glob(os.path.join(place, name, "**", "*.rs"), recursive=True):
            os.utime(path)
        check_folder(name, os.path.join(place, name))
        patches.append('%s = { path = "%s" }' % (name, name))
    with open(os.path.join(ROOT, "Cargo.toml")) as file:
        profiles = "\n\n".join(part for part in file.read().split("\n\n") if part.startswith("[profile.dev"))
    with open(os.path.join(place, "Cargo.toml"), "w") as file:
        file.write('[workspace]\nresolver = "3"\nmembers = ["*"]\n\n[patch.crates-io]\n%s\n' % "\n".join(patches))
        file.write("\n%s\n" % profiles)
    shutil.copy(os.path.join(ROOT, "Cargo.lock"), place)
    features = ["%s/%s" % (name, feature) for name in names for feature in FEATURES.get(name, [])]
    command = ["cargo", "check", "--workspace", "--offline", "--lib", "--target-dir", TARGET]
    subprocess.run(command + (["--features", ",".join(features)] if features else []), cwd=place, check=True)
    print("%d packages build by themselves" % len(names))


main()
