"""What inference leaves of a slide, opened by the tools that people open it with.

    python check_predictions.py BIN_DIR WEIGHTS      # the folder with hubmap-demo and hubmap-infer; weights of a network

Predicts a synthetic slide and compares every file with the raw probabilities: masks and probabilities in every level with
rasterio, tifffile and OpenSlide, outlines as QuPath wants them and rasterised, the table of objects, the run lengths.
Needs numpy, openslide-python, pillow, rasterio and tifffile. Ends with an error at the first difference.
"""

import csv
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import uuid
import warnings

import numpy as np
import openslide
import PIL.Image
import rasterio
import rasterio.features
import tifffile

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
ID = "d488c759a"
# No multiple of a block, a tile or a power of two.
WIDTH, HEIGHT = 1747, 1301
KINDS = "rle,mask,bitmask,probability,npy,geojson,geojson-gz,objects,overlay"
# The weights are those of a network that was trained for a moment, so that most is uncertain: a threshold with many objects.
THRESHOLD = 0.5


def check(holds, *what):
    if not holds:
        raise SystemExit(" ".join(str(part) for part in what))


def predict(binaries, weights, place):
    run = lambda name, *args: subprocess.run([os.path.join(binaries, name), *args, "--quiet"], check=True)
    slides = os.path.join(place, "slides")
    size = "%dx%d" % (WIDTH, HEIGHT)
    run("hubmap-demo", "slides", "--out", slides, "--count", "1", "--test-count", "1", "--size", size, "--glomeruli-per-mm2", "40")
    test = os.path.join(slides, "test")
    found = sorted(name for name in os.listdir(test) if name.endswith(".tiff"))
    check(len(found) == 1, "slides:", found)
    slide = os.path.join(test, ID + ".tiff")
    os.rename(os.path.join(test, found[0]), slide)
    out = os.path.join(place, "out")
    settings = ["infer.block=192", "infer.context=32", "infer.threshold=%s" % THRESHOLD]
    sets = [word for setting in settings for word in ("--set", setting)]
    run("hubmap-infer", "--model", weights, "--slides", slide, "--out", out, "--tta", "none", "--write", KINDS, *sets)
    return out


def halved(pixels, is_mean):
    if not is_mean:
        return pixels[::2, ::2]
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge").astype(np.uint32)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) // 4).astype(np.uint8)


def check_pyramid(path, expected, is_mean, white):
    """Every level of a pyramid of values up to `white`; OpenSlide shows them as grey up to 255."""
    with tifffile.TiffFile(path) as file:
        levels = [level.asarray().astype(np.uint8) for level in file.series[0].levels]
    check(len(levels) > 1, path, "has no pyramid")
    check(max(levels[-1].shape) <= 512 < max(levels[-2].shape), path, "ends with", levels[-1].shape)
    with rasterio.open(path) as dataset:
        check(dataset.overviews(1) == [2**level for level in range(1, len(levels))], path, dataset.overviews(1))
    with openslide.OpenSlide(path) as slide:
        check(slide.level_count == len(levels), path, "OpenSlide sees", slide.level_count, "levels")
        check(openslide.PROPERTY_NAME_MPP_X in slide.properties, path, "has no resolution for OpenSlide")
        for level, found in enumerate(levels):
            where = "%s, level %d:" % (path, level)
            check(np.array_equal(found, expected), where, "other pixels in tifffile")
            with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as dataset:
                check(np.array_equal(dataset.read(1), expected), where, "other pixels in rasterio")
            shown = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))[..., :3]
            grey = (expected * (255 // white))[..., None]
            check(np.array_equal(shown, np.broadcast_to(grey, shown.shape)), where, "other pixels in OpenSlide")
            expected = halved(expected, is_mean)


def check_ring(ring, what):
    check(len(ring) >= 4 and ring[0] == ring[-1], what, "has a ring that is not closed")
    check(all(len(point) == 2 and all(math.isfinite(value) for value in point) for point in ring), what, "is not finite")


def check_outlines(path, mask, probabilities):
    """The features of a GeoJSON file as QuPath takes them; they rasterise to the mask."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        collection = json.load(file, parse_constant=lambda name: check(False, path, "has", name))
    check(collection["type"] == "FeatureCollection", path)
    features = collection["features"]
    check(len(features) > 3, path, "has", len(features), "objects: nothing to check")
    painted = np.zeros(mask.shape, np.uint8)
    ids = set()
    for feature in features:
        what = "%s, %s" % (path, feature["id"])
        ids.add(uuid.UUID(feature["id"]))
        check(feature["type"] == "Feature", what)
        geometry, properties = feature["geometry"], feature["properties"]
        check(geometry["type"] in ("Polygon", "MultiPolygon"), what, "is a", geometry["type"])
        parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        check(geometry["type"] == "Polygon" or len(parts) > 1, what, "is a MultiPolygon of one part")
        for ring in (ring for part in parts for ring in part):
            check_ring(ring, what)
        check(properties["objectType"] == "annotation", what)
        check(len(properties["classification"]["color"]) == 3 and properties["classification"]["name"], what)
        measured = properties["measurements"]
        check(all(isinstance(value, (int, float)) for value in measured.values()), what, measured)
        inside = rasterio.features.rasterize([(geometry, 1)], out_shape=mask.shape, dtype="uint8")
        check(inside.sum() == measured["Area px^2"], what, "covers", inside.sum(), "px of", measured)
        mean = probabilities[inside == 1].astype(np.float64).mean()
        check(abs(mean - measured["Mean probability"]) < 1e-4, what, "has a mean of", mean, measured)
        painted += inside
    check(len(ids) == len(features), path, "repeats an id")
    check(np.array_equal(painted, mask), path, "does not rasterise to the mask")
    return features


def check_table(path, features):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check([row["uuid"] for row in rows] == [feature["id"] for feature in features], path, "has other objects")
    for row, feature in zip(rows, features):
        measured = feature["properties"]["measurements"]
        check(int(row["area_px"]) == measured["Area px^2"], path, row)
        check(abs(float(row["mean_probability"]) - measured["Mean probability"]) < 1e-6, path, row)
        geometry = feature["geometry"]
        rings = geometry["coordinates"] if geometry["type"] == "Polygon" else sum(geometry["coordinates"], [])
        xs, ys = zip(*(point for ring in rings for point in ring))
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        check(box == [min(xs), min(ys), max(xs), max(ys)], path, row)


def check_run_lengths(path, mask):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check([row["id"] for row in rows] == [ID], path, rows)
    # Runs ascend and do not touch.
    numbers = np.array(rows[0]["predicted"].split(), np.int64)
    check((np.diff(numbers[::2]) > numbers[1:-2:2]).all(), path, "has runs that touch or go back")
    decoded = np.zeros(mask.size, np.uint8)
    for start, length in zip(numbers[::2] - 1, numbers[1::2]):
        decoded[start : start + length] = 1
    check(np.array_equal(decoded.reshape(mask.shape, order="F"), mask), path, "is of another mask")


def main():
    csv.field_size_limit(1 << 30)
    binaries, weights = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        out = predict(binaries, weights, place)
        of = lambda kind, suffix: os.path.join(out, "predicts", kind, ID + suffix)
        raw = np.load(of("raw", ".npy"), mmap_mode="r")
        check(raw.shape == (1, HEIGHT, WIDTH) and raw.dtype == np.float16, raw.shape, raw.dtype)
        probabilities = np.asarray(raw[0])
        mask = (probabilities > np.float16(THRESHOLD)).astype(np.uint8)
        check(0.01 < mask.mean() < 0.99, "the mask is all alike:", mask.mean())
        check_pyramid(of("masks", ".tiff"), mask * np.uint8(255), False, 255)
        check_pyramid(of("bitmasks", ".tiff"), mask, False, 1)
        levels = np.floor(probabilities.astype(np.float32) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        check_pyramid(of("probabilities", ".tiff"), levels, True, 255)
        features = check_outlines(of("objects", ".geojson"), mask, probabilities)
        check(check_outlines(of("objects", ".geojson.gz"), mask, probabilities) == features, "the compressed file differs")
        check_table(of("objects", ".csv"), features)
        check_run_lengths(os.path.join(out, "submission__%s.csv" % THRESHOLD), mask)
        with PIL.Image.open(of("overlays", ".png")) as overlay:
            overlay.load()
            check(len(overlay.getcolors(1 << 24)) > 100, "the overlay is blank")
        with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
            summary = json.load(file)
        check(summary["slides"][0]["objects"] == len(features), summary)
    print("predictions: %d objects in every format, three pyramids" % len(features))


if __name__ == "__main__":
    main()
