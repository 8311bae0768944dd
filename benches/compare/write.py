#!/usr/bin/env python3
"""Writes a mask pyramid with hubmap-io, rasterio and tifffile in one run; prints time, peak memory and file size.

    compare/write.py [--side 20000] [--repeat 3] [--json FILE]

Needs numpy, rasterio, tifffile and imagecodecs, and the executable that `cargo build --release -p hubmap-benches`
makes. All write the same 8-bit mask with 5 % foreground in 512 px Deflate tiles, with nearest levels down to one tile,
into the same folder. Every side is a process of its own: drawing the mask is not counted in its time, everything is in
its peak memory. The sides alternate, and the best time and the largest memory of each count.

hubmap-io and rasterio get the mask in bands of 512 rows; rasterio then makes its overviews with `build_overviews`.
tifffile gets the whole mask, as its documentation has it for pyramids, and writes `mask[::2, ::2]` and so on.
"""
import argparse
import math
import os
import sys
import tempfile
import time

import harness

OURS = harness.executable("write-pyramid")
TILE = 512
SIDES = ["ours 1", "ours 2", "rasterio 1", "rasterio 2", "tifffile 1", "tifffile 2"]


def discs(side):
    """The same objects as `bin/write_pyramid.rs` draws."""
    state = 1

    def following(n):
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return (state >> 8) % n

    return [(following(side), following(side), 140 + following(100)) for _ in range(180 * side * side // 400_000_000)]


def draw(objects, y0, rows):
    for x, y, radius in objects:
        for row in range(max(0, y - radius - y0), min(len(rows), y + radius + 1 - y0)):
            half = math.isqrt(radius * radius - (y0 + row - y) ** 2)
            rows[row, max(0, x - half) : x + half + 1] = 255


def n_levels(side):
    return 1 + max(0, math.ceil(math.log2(side / TILE)))


def write_rasterio(path, side, n_threads):
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    import numpy as np
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    objects, drawing, start = discs(side), 0.0, time.perf_counter()
    profile = dict(driver="GTiff", width=side, height=side, count=1, dtype="uint8", compress="deflate")
    profile.update(tiled=True, blockxsize=TILE, blockysize=TILE, NUM_THREADS=n_threads)
    rows = np.empty((TILE, side), np.uint8)
    with rasterio.Env(GDAL_NUM_THREADS=n_threads, GDAL_TIFF_OVR_BLOCKSIZE=TILE):
        with rasterio.open(path, "w", **profile) as dataset:
            for y in range(0, side, TILE):
                began = time.perf_counter()
                band = rows[: min(TILE, side - y)]
                band.fill(0)
                draw(objects, y, band)
                drawing += time.perf_counter() - began
                dataset.write(band, 1, window=Window(0, y, side, len(band)))
        with rasterio.open(path, "r+", NUM_THREADS=n_threads) as dataset:
            dataset.build_overviews([2**level for level in range(1, n_levels(side))], Resampling.nearest)
    return time.perf_counter() - start - drawing, drawing


def write_tifffile(path, side, n_threads):
    import numpy as np
    import tifffile

    began = time.perf_counter()
    mask = np.zeros((side, side), np.uint8)
    draw(discs(side), 0, mask)
    drawing, start = time.perf_counter() - began, time.perf_counter()
    options = dict(photometric="minisblack", tile=(TILE, TILE), compression="zlib", maxworkers=n_threads)
    with tifffile.TiffWriter(path) as file:
        file.write(mask, subifds=n_levels(side) - 1, **options)
        for level in range(1, n_levels(side)):
            mask = mask[::2, ::2]
            file.write(mask, subfiletype=1, **options)
    return time.perf_counter() - start, drawing


def measure(name, path, side):
    """Runs one side in a process of its own: seconds, MB of peak memory, MB of file."""
    who, n_threads = name.split()
    if who == "ours":
        command = [OURS, path, str(side), n_threads]
    else:
        command = [sys.executable, "-W", "ignore", __file__, "--run", who, path, str(side), n_threads]
    out, _, peak_mb = harness.measure(command)
    return float(out.split()[0]), peak_mb, os.path.getsize(path) / 1e6


def check(paths, side):
    """All files must have the same mask and as many levels."""
    import numpy as np
    import rasterio

    datasets = [rasterio.open(path) for path in paths]
    for dataset in datasets:
        if len(dataset.overviews(1)) != n_levels(side) - 1:
            raise SystemExit("%s has levels %s" % (dataset.name, dataset.overviews(1)))
    covered = 0
    for y in range(0, side, TILE):
        window = ((y, min(side, y + TILE)), (0, side))
        first, *others = [dataset.read(1, window=window) for dataset in datasets]
        covered += np.count_nonzero(first)
        if not all(np.array_equal(first, other) for other in others):
            raise SystemExit("the masks differ below row %d" % y)
    return covered / side**2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    parser.add_argument("--json")
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = {name: os.path.join(folder, name.replace(" ", "_") + ".tiff") for name in SIDES}
        for _ in range(args.repeat):
            for name, path in paths.items():
                if os.path.exists(path):
                    os.remove(path)
                seconds, memory, size = measure(name, path, args.side)
                best = results.setdefault(name, {"seconds": seconds, "peak_mb": memory, "file_mb": size})
                best["seconds"] = min(best["seconds"], seconds)
                best["peak_mb"] = max(best["peak_mb"], memory)
        covered = check(paths.values(), args.side)
    print("%d x %d px, %.1f %% foreground, %d levels" % (args.side, args.side, covered * 100, n_levels(args.side)))
    print("%-11s %9s %8s %9s %9s" % ("", "seconds", "ours 2", "peak MB", "file MB"))
    for name, result in results.items():
        ratio = result["seconds"] / results["ours 2"]["seconds"]
        print("%-11s %9.3f %7.1fx %9.0f %9.3f" % (name, result["seconds"], ratio, result["peak_mb"], result["file_mb"]))
    harness.keep(args.json, {"cpus": os.cpu_count(), "side": args.side, "results": results})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        write = {"rasterio": write_rasterio, "tifffile": write_tifffile}[sys.argv[2]]
        print("%.6f %.6f" % write(sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
    else:
        main()
