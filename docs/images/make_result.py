"""The picture at the top of the README, from what `hubmap-demo` leaves.

    pip install numpy opencv-python-headless tifffile imagecodecs
    cargo run --release --bin hubmap-demo
    python3 docs/images/make_result.py demo docs/images/result.jpg

Left the whole slide, right a part of it at full resolution. Outlines that were found are drawn from the GeoJSON, those
that were to be found from truth.csv.
"""

import csv
import json
import os
import sys

import cv2
import numpy as np
import tifffile

SIDE = 720  # of each half, in pixels
GAP = 8
DETAIL = (1150, 1590)  # upper left corner of the part at full resolution
FOUND, TRUE, FRAME = (20, 215, 255), (190, 70, 0), (40, 40, 40)  # blue, green, red


def found_rings(path):
    with open(path) as file:
        features = json.load(file)["features"]
    return [np.array(ring, np.float64) for feature in features for ring in feature["geometry"]["coordinates"]]


def true_rings(table, slide_id, height, width):
    """Outlines of a mask as it is in a table: runs down the columns, numbered from 1."""
    with open(table) as file:
        text = next(row["encoding"] for row in csv.DictReader(file) if row["id"] == slide_id)
    mask = np.zeros(width * height, np.uint8)
    runs = np.array(text.split(), int).reshape(-1, 2)
    for start, length in runs:
        mask[start - 1 : start - 1 + length] = 1
    rings, _ = cv2.findContours(mask.reshape(width, height).T.copy(), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [ring[:, 0].astype(np.float64) for ring in rings]


def draw(image, rings, color, thickness, origin, scale):
    """Draws outlines in slide pixels on a part of the slide that begins at `origin`, in sixteenths of a pixel."""
    for ring in rings:
        points = np.round((ring - origin) * scale * 16).astype(np.int32)
        cv2.polylines(image, [points], True, color, thickness, cv2.LINE_AA, 4)


def panel(slide, origin, side, found, true):
    """A square part of the slide, reduced to SIDE, with both kinds of outlines."""
    x, y = origin
    part = slide[y : y + side, x : x + side]
    scale = SIDE / side
    if scale < 1:
        part = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    part = part.copy()
    thickness = 2 if scale < 1 else 3
    draw(part, true, TRUE, thickness + 2, np.array(origin), scale)
    draw(part, found, FOUND, thickness, np.array(origin), scale)
    return part


def main():
    demo, out = sys.argv[1], sys.argv[2]
    test = os.path.join(demo, "input", "HUBMAP", "test")
    slide_id = next(name[: -len(".tiff")] for name in sorted(os.listdir(test)) if name.endswith(".tiff"))
    slide = tifffile.imread(os.path.join(test, slide_id + ".tiff"))
    slide = np.moveaxis(slide, 0, 2) if slide.shape[0] == 3 else slide
    slide = np.ascontiguousarray(slide[..., ::-1])
    height, width, _ = slide.shape
    found = found_rings(os.path.join(demo, "results", "predicts", "objects", slide_id + ".geojson"))
    true = true_rings(os.path.join(demo, "input", "HUBMAP", "truth.csv"), slide_id, height, width)
    whole = panel(slide, (0, 0), min(height, width), found, true)
    detail = panel(slide, DETAIL, SIDE, found, true)
    scale = SIDE / min(height, width)
    corners = [tuple(int(round(scale * (v + add))) for v in DETAIL) for add in (0, SIDE)]
    cv2.rectangle(whole, corners[0], corners[1], FRAME, 2, cv2.LINE_AA)
    picture = np.hstack([whole, np.full((SIDE, GAP, 3), 255, np.uint8), detail])
    cv2.imwrite(out, picture, [cv2.IMWRITE_JPEG_QUALITY, 82])


main()
