"""The real TensorBoard reads the logs of a training that was killed and resumed.

    python check_tensorboard.py BIN_DIR      # the folder with hubmap-demo, hubmap-data-gen and hubmap-train

Needs tensorboard. Trains a small network on synthetic slides, starts TensorBoard on the run folder and asks its HTTP
interface for every scalar and picture.
"""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

CONFIG = """
[model]
encoder = "regnety_002"
[data_gen]
scale = 8
tile_px = 64
folds = "drawn"
n_drawn_folds = 2
[data]
splits_dir = "{place}/input/SPLITS"
folds = ["0", "1"]
crop_px = 32
train = ["train_{{fold}}_88", "grid_{{fold}}_88"]
valid = ["val_{{fold}}_88"]
[train]
epochs = 4
batch_size = 2
valid_every = 2
"""
PER_EPOCH = ["epoch/loss", "epoch/rate", "epoch/images_per_second", "epoch/data_wait", "dice/train"]
PICTURES = "valid/image_target_prediction"
PER_VALIDATION = ["dice/valid", "dice/valid_ema"]
PER_STEP = ["step/loss", "step/bce", "step/dice"]


def train(binaries, place):
    """A run folder with fold 0, whose training was interrupted once."""

    def run(name, *args):
        subprocess.run([os.path.join(binaries, name), *args], check=True, stdout=subprocess.DEVNULL)

    config = os.path.join(place, "small.toml")
    with open(config, "w") as file:
        file.write(CONFIG.format(place=place))
    slides, out = os.path.join(place, "HUBMAP"), os.path.join(place, "output")
    run("hubmap-demo", "slides", "--out", slides, "--count", "2", "--size", "1100x900")
    run("hubmap-data-gen", "--config", config, "--input", slides, "--output", os.path.join(place, "input"))
    command = [os.path.join(binaries, "hubmap-train"), "--fold", "0"]
    child = subprocess.Popen([*command, "--config", config, "--out", out], stdout=subprocess.DEVNULL)
    state = None
    while state is None and child.poll() is None:
        time.sleep(0.01)
        for folder in os.listdir(out) if os.path.isdir(out) else []:
            path = os.path.join(out, folder, "fold_0", "last.safetensors")
            state = path if os.path.exists(path) else None
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 75, "the run ended with %d before it was interrupted" % child.returncode
    folder = os.path.dirname(os.path.dirname(state))
    run("hubmap-train", "--fold", "0", "--resume", folder)
    return folder


def ask(port, path):
    with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (port, path)) as answer:
        return json.load(answer)


def check(port, run_dir):
    runs = wait_for(lambda: ask(port, "data/runs"))
    assert runs == ["fold_0/logs"], runs
    tags = ask(port, "data/plugin/scalars/tags")["fold_0/logs"]
    assert sorted(tags) == sorted(PER_EPOCH + PER_VALIDATION + PER_STEP), sorted(tags)
    with open(os.path.join(run_dir, "fold_0", "history.csv")) as file:
        history = list(csv.DictReader(file))
    columns = {"epoch/data_wait": "data_wait"}
    columns.update({"epoch/loss": "train_loss", "epoch/rate": "rate", "dice/train": "train_dice"})
    columns.update({"dice/valid": "valid_dice", "dice/valid_ema": "valid_dice_ema"})
    n_steps = 0
    for tag in tags:
        query = urllib.parse.urlencode({"run": "fold_0/logs", "tag": tag})
        points = ask(port, "data/plugin/scalars/scalars?" + query)
        steps = [step for _, step, _ in points]
        assert steps == sorted(set(steps)), "%s has a step twice: %s" % (tag, steps)
        if tag in PER_STEP:
            assert steps == list(range(1, len(steps) + 1)), "%s lacks steps: %s" % (tag, steps)
            n_steps = len(steps)
        if tag in columns:
            expected = [float(row[columns[tag]]) for row in history if row[columns[tag]]]
            found = [value for _, _, value in points]
            assert len(found) == len(expected), (tag, found, expected)
            assert all(abs(f - e) <= 6e-5 for f, e in zip(found, expected)), (tag, found, expected)
    assert n_steps > 0 and n_steps % len(history) == 0, (n_steps, len(history))
    check_pictures(port, len([row for row in history if row["valid_dice"]]))
    print("TensorBoard shows %d tags, %d steps and %d epochs as they were" % (len(tags), n_steps, len(history)))


def check_pictures(port, n_validations):
    """One PNG per validation: image, target and prediction of up to four samples of 32 px, with gaps of 4 px."""
    tags = ask(port, "data/plugin/images/tags")["fold_0/logs"]
    assert list(tags) == [PICTURES], tags
    query = {"run": "fold_0/logs", "tag": PICTURES, "sample": 0}
    found = ask(port, "data/plugin/images/images?" + urllib.parse.urlencode(query))
    assert len(found) == n_validations, found
    for picture in found:
        url = "http://127.0.0.1:%d/data/plugin/images/individualImage?%s" % (port, picture["query"])
        with urllib.request.urlopen(url) as answer:
            png = answer.read()
        width, height = struct.unpack(">II", png[16:24])
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and width == 3 * 36 + 4, (png[:24], width)
        assert height in [n * 36 + 4 for n in (1, 2, 3, 4)], height


def wait_for(answer):
    """The first answer that is neither an error nor empty."""
    for _ in range(600):
        try:
            found = answer()
            if found:
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("TensorBoard did not answer")


def main():
    binaries = sys.argv[1]
    with tempfile.TemporaryDirectory() as place:
        run_dir = train(binaries, place)
        with open(os.path.join(place, "port"), "w+") as log:
            command = [sys.executable, "-m", "tensorboard.main", "--logdir", run_dir, "--port", "0", "--host", "127.0.0.1"]
            board = subprocess.Popen([*command, "--load_fast", "false"], stdout=log, stderr=log)
            try:
                port = wait_for(lambda: port_of(log.name))
                check(port, run_dir)
            finally:
                board.terminate()
                board.wait()


def port_of(log):
    """TensorBoard says where it listens: `TensorBoard 2.20.0 at http://127.0.0.1:41234/ (…)`."""
    with open(log) as file:
        words = file.read().split("http://127.0.0.1:")
    return int(words[1].split("/")[0]) if len(words) > 1 and "/" in words[1] else None


main()
