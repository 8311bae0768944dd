#!/usr/bin/env python3
"""Windowed reads of slides, hubmap-io against rasterio, in one run; prints a table of MB/s and ratios.

    compare/read.py [--repeat 3] [--json FILE] SLIDE.tiff ...

Needs numpy and rasterio, and the executable that `cargo build --release -p hubmap-benches` makes.
Both sides open the slide anew for every pass, get the same windows, and return every window as a new array:
12 random windows of 3072 px, the grid of 3072 px windows, and that grid with 768 px more on every side
(boundless). For each pass the sides alternate, and the best time of each counts.
The limits beside the ratios are measured in the same run: `memcpy` copies as many bytes between two arrays that
exist already, `fresh` copies them into a new array for every window.
"""
import argparse
import os
import subprocess
import time
import warnings

os.environ.setdefault("GDAL_CACHEMAX", "256")
import numpy as np
import rasterio

import harness

warnings.filterwarnings("ignore")
SIDE, CONTEXT, N_RANDOM = 3072, 768, 12
OURS = harness.executable("read-windows")


def rasterio_pass(path, windows):
    start = time.perf_counter()
    dataset = rasterio.open(path)
    parts = [rasterio.open(name) for name in dataset.subdatasets] or [dataset]
    n_bytes = checksum = 0
    for x, y, w, h in windows:
        for part in parts:
            pixels = part.read(window=((y, y + h), (x, x + w)), boundless=True)
            n_bytes += pixels.nbytes
            checksum += int(pixels[:, h // 2, w // 2].sum())
    return time.perf_counter() - start, n_bytes, checksum


def our_pass(path, windows, n_threads):
    text = ";".join(",".join(map(str, window)) for window in windows)
    out = subprocess.run([OURS, path, text, str(n_threads)], check=True, capture_output=True, text=True).stdout
    seconds, n_bytes, checksum = out.split()
    return float(seconds), int(n_bytes), int(checksum)


def copy_pass(windows, n_bands, is_fresh):
    source = {(w, h): np.ones((h, w, n_bands), np.uint8) for _, _, w, h in windows}
    target = {size: np.empty_like(array) for size, array in source.items()}
    start = time.perf_counter()
    for _, _, w, h in windows:
        if is_fresh:
            source[w, h].copy()
        else:
            np.copyto(target[w, h], source[w, h])
    return time.perf_counter() - start


def passes(width, height):
    random = np.random.RandomState(0)
    side = min(SIDE, width, height)
    yield "random", [(int(random.randint(0, width - side + 1)), int(random.randint(0, height - side + 1)), side, side) for _ in range(N_RANDOM)]
    origins = [(x, y) for x in range(0, width, SIDE) for y in range(0, height, SIDE)]
    yield "grid", [(x, y, min(SIDE, width - x), min(SIDE, height - y)) for x, y in origins]
    yield "context", [(x - CONTEXT, y - CONTEXT, SIDE + 2 * CONTEXT, SIDE + 2 * CONTEXT) for x, y in origins]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    print("%-22s %-8s %9s %9s %7s %9s %7s %9s %9s" % ("slide", "windows", "rasterio", "ours 1", "ratio", "ours 2", "2 thr", "memcpy", "fresh"))
    for path in args.slides:
        with rasterio.open(path) as dataset:
            first = rasterio.open(dataset.subdatasets[0]) if dataset.subdatasets else dataset
            width, height = first.width, first.height
        for what, windows in passes(width, height):
            seconds = {}
            checks = {}
            for _ in range(args.repeat):
                for name, run in (("rasterio", lambda: rasterio_pass(path, windows)), ("ours 1", lambda: our_pass(path, windows, 1)), ("ours 2", lambda: our_pass(path, windows, 2))):
                    took, n_bytes, checksum = run()
                    seconds[name] = min(took, seconds.get(name, took))
                    checks[name] = (n_bytes, checksum)
                for name, is_fresh in (("memcpy", False), ("fresh", True)):
                    took = copy_pass(windows, 3, is_fresh)
                    seconds[name] = min(took, seconds.get(name, took))
            # Decoders of JPEG differ by rounding; everything else must agree.
            tolerance = 3 * len(windows) * 3 if "jpeg" in os.path.basename(path) else 0
            if checks["ours 1"] != checks["ours 2"] or checks["ours 1"][0] != checks["rasterio"][0] or abs(checks["ours 1"][1] - checks["rasterio"][1]) > tolerance:
                raise SystemExit("%s %s: the sides read different pixels: %s" % (path, what, checks))
            mb = {name: checks["ours 1"][0] / 1e6 / took for name, took in seconds.items()}
            rows.append({"slide": os.path.basename(path), "windows": what, "n_bytes": checks["ours 1"][0], "seconds": seconds})
            print("%-22s %-8s %9.0f %9.0f %6.1fx %9.0f %6.2fx %9.0f %9.0f" % (os.path.basename(path), what, mb["rasterio"], mb["ours 1"], mb["ours 1"] / mb["rasterio"], mb["ours 2"], mb["ours 2"] / mb["ours 1"], mb["memcpy"], mb["fresh"]), flush=True)
    harness.keep(args.json, {"cpus": os.cpu_count(), "rasterio": rasterio.__version__, "gdal": rasterio.__gdal_version__, "rows": rows})


if __name__ == "__main__":
    main()
