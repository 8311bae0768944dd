#!/usr/bin/env python3
"""Data generation of a competition folder, hubmap-data-gen against rasterio and OpenCV, in one run.

    compare/data_gen.py [--repeat 3] [--processes 2] [--json FILE] HUBMAP_DIR ...

Needs numpy, opencv-python-headless and rasterio, and the executable that `cargo build --release -p data-gen` makes.
Both sides write masks of 1 bit, tiles around objects and of the grid, and hard links for two drawn folds: a pool of
processes over the slides on one side, as many threads on the other. No background tile is kept, so that nothing is left
to chance. The sides alternate, and the best time of each counts; memory is the highest sum over a side's processes.
Then every tile of both sides is compared pixel for pixel.
"""
import argparse
import csv
import glob
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import cv2
import numpy as np
import rasterio
from rasterio.windows import Window

import harness

warnings.filterwarnings("ignore")
cv2.setNumThreads(1)
SCALE, TILE = 3, 1024
SIDE = SCALE * TILE
OURS = harness.executable("hubmap-data-gen")
csv.field_size_limit(sys.maxsize)


def decode(encoding, height, width):
    runs = np.array(encoding.split(), np.int64).reshape(-1, 2)
    mask = np.zeros(height * width, np.uint8)
    for start, length in runs:
        mask[start - 1:start - 1 + length] = 1
    return np.ascontiguousarray(mask.reshape(width, height).T)


def centroid(ring):
    points = np.array(ring, np.float64)
    if (points[0] != points[-1]).any():
        points = np.vstack([points, points[:1]])
    origin = points[0]
    x, y = (points - origin).T
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    area = cross.sum() / 2
    return origin + np.array([((x[:-1] + x[1:]) * cross).sum(), ((y[:-1] + y[1:]) * cross).sum()]) / (6 * area)


def polygons(path):
    features = json.load(open(path))
    for feature in features if isinstance(features, list) else features["features"]:
        geometry = feature["geometry"]
        yield from [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


class Slide:
    def __init__(self, path):
        dataset = rasterio.open(path)
        self.bands = [rasterio.open(name) for name in dataset.subdatasets] or [dataset]
        self.height, self.width = self.bands[0].height, self.bands[0].width

    def inside(self, x, y):
        return max(x, 0), max(y, 0), min(x + SIDE, self.width), min(y + SIDE, self.height)

    def read(self, x, y):
        x0, y0, x1, y1 = self.inside(x, y)
        out = np.zeros((SIDE, SIDE, 3), np.uint8)
        if x0 < x1 and y0 < y1:
            window = Window(x0, y0, x1 - x0, y1 - y0)
            parts = np.concatenate([band.read(window=window) for band in self.bands])
            out[y0 - y:y1 - y, x0 - x:x1 - x] = parts.transpose(1, 2, 0)
        return out

    def read_mask(self, mask, x, y):
        x0, y0, x1, y1 = self.inside(x, y)
        out = np.zeros((SIDE, SIDE), np.uint8)
        if x0 < x1 and y0 < y1:
            out[y0 - y:y1 - y, x0 - x:x1 - x] = mask[y0:y1, x0:x1] * 255
        return out


def is_background(image):
    flat = image.reshape(-1, 1)
    mean, std = (float(value[0, 0]) for value in cv2.meanStdDev(flat))
    dark = (cv2.transform(image.astype(np.float32), np.full((1, 3), 1 / 3, np.float32)) < 10 - 1e-3).mean()
    return mean < 10 or (mean > 205 and std < 20) or dark > 0.1


def write(folder, slide_id, index, image, mask):
    for part, pixels in (("imgs", image[:, :, ::-1]), ("masks", mask)):
        cv2.imwrite(os.path.join(folder, part, slide_id, "%06d.png" % index), pixels)


def rival_slide(job):
    hubmap, out, slide_id, encoding = job
    slide = Slide(os.path.join(hubmap, "train", slide_id + ".tiff"))
    mask = decode(encoding, slide.height, slide.width)
    profile = dict(driver="GTiff", width=slide.width, height=slide.height, count=1, dtype="uint8", nbits=1, tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    with rasterio.open(os.path.join(out, "bigmasks", slide_id + ".tiff"), "w", **profile) as target:
        target.write(mask, 1)
    for kind in ("glomi", "grid"):
        for part in ("imgs", "masks"):
            os.makedirs(os.path.join(out, "CUTS", kind + "_x33_1024", part, slide_id))
    folder = os.path.join(out, "CUTS", "glomi_x33_1024")
    for index, polygon in enumerate(polygons(os.path.join(hubmap, "train", slide_id + ".json"))):
        x, y = (int(round(v)) - SIDE // 2 for v in centroid(polygon[0]))
        image = cv2.resize(slide.read(x, y), (TILE, TILE), interpolation=cv2.INTER_AREA)
        reduced = cv2.resize(slide.read_mask(mask, x, y), (TILE, TILE), interpolation=cv2.INTER_AREA)
        write(folder, slide_id, index, image, reduced)
    folder = os.path.join(out, "CUTS", "grid_x33_1024")
    origins = [(x, y) for y in range(0, slide.height, SIDE) for x in range(0, slide.width, SIDE)]
    for index, (x, y) in enumerate(origins):
        full = slide.read(x, y)
        if not is_background(full):
            image = cv2.resize(full, (TILE, TILE), interpolation=cv2.INTER_AREA)
            reduced = cv2.resize(slide.read_mask(mask, x, y), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
            write(folder, slide_id, index, image, reduced)


def rival(hubmap, out, n_processes):
    rows = list(csv.DictReader(open(os.path.join(hubmap, "train.csv"))))
    os.makedirs(os.path.join(out, "bigmasks"))
    jobs = [(hubmap, out, row["id"], row["encoding"]) for row in rows]
    with multiprocessing.Pool(n_processes) as pool:
        for _ in pool.imap_unordered(rival_slide, jobs, 1):
            pass
    ids = sorted(row["id"] for row in rows)
    for kind in ("glomi", "grid"):
        for fold in range(2):
            for index, slide_id in enumerate(ids):
                side = "val" if index % 2 == fold else "train"
                for part in ("imgs", "masks"):
                    source = os.path.join(out, "CUTS", kind + "_x33_1024", part, slide_id)
                    target = os.path.join(out, "SPLITS", kind + "_split", str(fold), side, part, slide_id)
                    os.makedirs(target)
                    for name in os.listdir(source):
                        os.link(os.path.join(source, name), os.path.join(target, name))


def memory_of(pid):
    """Resident bytes of a process and its children."""
    total, pending = 0, [pid]
    while pending:
        pid = pending.pop()
        try:
            total += int(open("/proc/%d/statm" % pid).read().split()[1]) * os.sysconf("SC_PAGESIZE")
            for task in os.listdir("/proc/%d/task" % pid):
                pending += map(int, open("/proc/%d/task/%s/children" % (pid, task)).read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def timed(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], memory_of(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, stderr = process.communicate()
    took = time.perf_counter() - start
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit("%s: %s" % (command, stderr))
    return took, peak[0]


def same(ours, theirs, is_lossy):
    """Number of tiles, after comparing all of them."""
    names = {side: sorted(os.path.relpath(path, side) for path in glob.glob(side + "/CUTS/**/*.png", recursive=True)) for side in (ours, theirs)}
    if names[ours] != names[theirs]:
        raise SystemExit("the sides made different tiles: %s" % sorted(set(names[ours]) ^ set(names[theirs]))[:5])
    for name in names[ours]:
        a, b = (cv2.imread(os.path.join(side, name), cv2.IMREAD_UNCHANGED).astype(int) for side in (ours, theirs))
        difference = abs(a - b) if a.shape == b.shape else np.array([255])
        if is_lossy and "/imgs/" in name:
            is_same = difference.mean() < 0.5 and difference.max() <= 16
        else:
            is_same = difference.max() == 0
        if not is_same:
            raise SystemExit("%s differs by up to %d levels, %.2f on average" % (name, difference.max(), difference.mean()))
    for path in glob.glob(ours + "/bigmasks/*.tiff"):
        a, b = (rasterio.open(os.path.join(side, "bigmasks", os.path.basename(path))).read(1) for side in (ours, theirs))
        if (a != b).any():
            raise SystemExit("%s differs" % os.path.basename(path))
    return len(names[ours]) // 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--place", help="folder for the outputs, which are removed")
    parser.add_argument("--json")
    parser.add_argument("--rival", nargs=2, metavar=("HUBMAP_DIR", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rival:
        return rival(*args.rival, args.processes)
    rows = []
    print("%-14s %6s %9s %9s %7s %12s %12s" % ("folder", "tiles", "rival s", "ours s", "ratio", "rival MB", "ours MB"))
    for hubmap in args.folders:
        with tempfile.TemporaryDirectory(dir=args.place) as place:
            outs = {side: os.path.join(place, side) for side in ("rival", "ours")}
            settings = ["data_gen.background.keep_probability=0", "data_gen.folds=drawn", "data_gen.n_drawn_folds=2"]
            ours = [OURS, "--input", hubmap, "--output", outs["ours"], "--threads", str(args.processes), "--quiet"]
            ours += [part for setting in settings for part in ("--set", setting)]
            theirs = [sys.executable, os.path.abspath(__file__), "--processes", str(args.processes), "--rival", hubmap, outs["rival"], hubmap]
            seconds, memory = {}, {}
            for _ in range(args.repeat):
                for side, command in (("rival", theirs), ("ours", ours)):
                    shutil.rmtree(outs[side], ignore_errors=True)
                    took, peak = timed(command)
                    seconds[side] = min(took, seconds.get(side, took))
                    memory[side] = max(peak, memory.get(side, 0))
            # Decoders of JPEG differ in how they round and spread chroma; everything else must agree.
            is_lossy = any("jpeg" in str(rasterio.open(path).compression).lower() for path in glob.glob(hubmap + "/train/*.tiff"))
            n_tiles = same(outs["ours"], outs["rival"], is_lossy)
        name = os.path.basename(os.path.normpath(hubmap))
        rows.append({"folder": name, "n_tiles": n_tiles, "seconds": seconds, "bytes": memory})
        print("%-14s %6d %9.2f %9.2f %6.1fx %12.0f %12.0f" % (name, n_tiles, seconds["rival"], seconds["ours"], seconds["rival"] / seconds["ours"], memory["rival"] / 1e6, memory["ours"] / 1e6), flush=True)
    harness.keep(args.json, {"cpus": os.cpu_count(), "rasterio": rasterio.__version__, "opencv": cv2.__version__, "rows": rows})


if __name__ == "__main__":
    main()
