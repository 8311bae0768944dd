#!/usr/bin/env python3
"""Run-length encoding and decoding of a big mask, hubmap-io against numpy, in one run; prints Mpx/s and ratios.

    compare/rle.py [--side 20000] [--repeat 3] [--json FILE]

Needs numpy, 6 GB of memory, and the executable that `cargo build --release -p hubmap-benches` makes.
Both sides work on the same bytes: a row-major mask of round objects, about 5 % of its pixels, 0 and 255.

numpy works as the published pipelines do: to encode, transpose, flatten, put a zero before and after with
`concatenate([[0], pixels, [0]])` (which makes the pixels 64-bit integers) and find where neighbours differ; to
decode, set slices of a flat array run by run, reshape, transpose, and copy to row-major order, which is what the
next step needs. `numpy u8` is the same encoder without the wide integers.

For each repeat the sides alternate, and the best time of each counts. Texts and pixels must be equal.
The limits, in the same run and on the same bytes: `limit_read` reads every byte once, `limit_write` and
`limit_copy` write into an array that exists, `limit_copy_fresh` into a new one.
"""
import argparse
import os
import tempfile
import time

import numpy as np

import harness

OURS = harness.executable("rle-mask")


def round_objects(side, seed=0):
    """Wavy discs, as many and as large as the glomeruli of a slide of this size."""
    random = np.random.RandomState(seed)
    mask = np.zeros((side, side), np.uint8)
    for _ in range(max(int(side * side / 2.2e6), 1)):
        cx, cy, radius, phase = random.randint(side), random.randint(side), random.randint(130, 215), random.uniform(0, 6)
        x0, x1, y0, y1 = max(cx - 240, 0), min(cx + 241, side), max(cy - 240, 0), min(cy + 241, side)
        y, x = np.mgrid[y0:y1, x0:x1]
        rim = radius * (1 + 0.08 * np.sin(5 * np.arctan2(y - cy, x - cx) + phase))
        mask[y0:y1, x0:x1][np.hypot(y - cy, x - cx) < rim] = 255
    return mask


def numpy_encode(mask):
    flat = np.concatenate([[0], mask.T.flatten(), [0]])
    ends = np.where(flat[1:] != flat[:-1])[0] + 1
    ends[1::2] -= ends[::2]
    return " ".join(str(end) for end in ends)


def numpy_encode_u8(mask):
    flat = np.zeros(mask.size + 2, np.uint8)
    flat[1:-1] = mask.T.reshape(-1)
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends[1::2] -= ends[::2]
    return " ".join(map(str, ends.tolist()))


def numpy_decode(text, side):
    numbers = np.array(text.split(), dtype=np.int64)
    flat = np.zeros(side * side, np.uint8)
    for start, length in zip(numbers[::2] - 1, numbers[1::2]):
        flat[start : start + length] = 255
    return np.ascontiguousarray(flat.reshape(side, side).T)


def our_passes(mask_path, text_path, side, n_threads):
    return harness.seconds_by_name([OURS, mask_path, str(side), str(side), text_path, str(n_threads), "2"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    mask = round_objects(args.side)
    text = numpy_encode_u8(mask)
    best = {}

    def keep(name, seconds):
        best[name] = min(seconds, best.get(name, seconds))

    def timed(name, work):
        start = time.perf_counter()
        result = work()
        keep(name, time.perf_counter() - start)
        return result

    with tempfile.TemporaryDirectory() as folder:
        mask_path, text_path = os.path.join(folder, "mask.raw"), os.path.join(folder, "mask.txt")
        mask.tofile(mask_path)
        with open(text_path, "w") as file:
            file.write(text)
        for _ in range(args.repeat):
            assert timed("numpy encode", lambda: numpy_encode(mask)) == text
            assert timed("numpy u8 encode", lambda: numpy_encode_u8(mask)) == text
            assert np.array_equal(timed("numpy decode", lambda: numpy_decode(text, args.side)), mask)
            for n_threads in (1, 2):
                for name, seconds in our_passes(mask_path, text_path, args.side, n_threads).items():
                    keep("%s %d" % (name, n_threads), seconds)

    megapixels = mask.size / 1e6
    print("%d x %d px, %.1f %% set, %d runs, %.2f MB of text" % (args.side, args.side, 100 * (mask != 0).mean(), len(text.split()) // 2, len(text) / 1e6))
    print("%-18s %9s %9s" % ("", "ms", "Mpx/s"))
    for name in ("numpy encode", "numpy u8 encode", "numpy decode"):
        print("%-18s %9.1f %9.0f" % (name, 1e3 * best[name], megapixels / best[name]))
    # What each way is measured against, and the least it must do with the bytes.
    ways = {
        "encode": ("numpy encode", "limit_read"),
        "encode_stream": ("numpy encode", "limit_read"),
        "encode_packed": ("numpy encode", None),
        "decode_packed": ("numpy decode", None),
        "decode_fresh": ("numpy decode", "limit_copy_fresh"),
        "decode_into": ("numpy decode", "limit_write"),
        "decode_stream": ("numpy decode", "limit_write"),
        "text_parse": (None, None),
        "text_write": (None, None),
        "limit_read": (None, None),
        "limit_write": (None, None),
        "limit_copy": (None, None),
        "limit_copy_fresh": (None, None),
    }
    print("\n%-18s %9s %9s %8s %9s %9s %8s  %s" % ("hubmap-io", "1 thr ms", "Mpx/s", "ratio", "2 thr ms", "Mpx/s", "ratio", "1 thr time / limit"))
    for name, (rival, limit) in ways.items():
        cells = []
        for n_threads in (1, 2):
            seconds = best["%s %d" % (name, n_threads)]
            ratio = "%.1fx" % (best[rival] / seconds) if rival else ""
            cells.append("%9.1f %9.0f %8s" % (1e3 * seconds, megapixels / seconds, ratio))
        of_limit = "%.2f x %s" % (best[name + " 1"] / best[limit + " 1"], limit) if limit else ""
        print("%-18s %s %s  %s" % (name, cells[0], cells[1], of_limit))
    harness.keep(args.json, {"cpus": os.cpu_count(), "numpy": np.__version__, "side": args.side, "seconds": best})


if __name__ == "__main__":
    main()
