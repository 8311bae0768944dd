#!/usr/bin/env python3
"""Opens pyramids with rasterio, tifffile and OpenSlide and compares every level's shape and pixels with numpy's.

    cargo run -p hubmap-io --example write_pyramids -- FOLDER
    tests/interop/check_pyramids.py FOLDER

Needs numpy, rasterio, tifffile, imagecodecs and openslide-python. The pictures are those of
`crates/hubmap-io/examples/write_pyramids.rs`, computed here anew from the same formulas.
Ends with a table of what was checked, or with an error at the first difference.
"""
import argparse
import json
import os
import warnings
import xml.etree.ElementTree

import numpy as np
import openslide
import rasterio
import tifffile

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
OME_TYPES = {1: "bit", 8: "uint8", 16: "uint16", 32: "float"}
# Mean difference that JPEG of quality 95 and 4:2:0 chroma may make, most on the smallest level, whose waves are short.
LOSS = 5.0


def picture(entry):
    """Full resolution as [height, width, bands]; bits are 0 and 1."""
    y, x, band = np.ogrid[: entry["height"], : entry["width"], : entry["bands"]]
    if entry["bands"] == 3:
        wave = (x // 8 + y // 8 * (band + 1) + band * 40) % 400
        pixels = np.minimum(wave, 400 - wave).astype(np.uint8)
    else:
        is_inside = (x % 400 - 200) ** 2 + (y % 300 - 150) ** 2 < 90 * 90
        values = (x * 3 + y * 2) % 256 if entry["is_mean"] else 255
        pixels = np.where(is_inside, values, 0)
        if entry["bits"] == 32:
            pixels = (pixels / 256).astype(np.float32)
        elif entry["bits"] == 16:
            pixels = (pixels * 257).astype(np.uint16)
        else:
            pixels = (pixels if entry["bits"] == 8 else pixels != 0).astype(np.uint8)
    first, end = (column * entry["tile"] for column in entry["absent_columns"])
    pixels[:, first:end] = 0
    return pixels


def reduced(pixels, is_mean):
    if not is_mean:
        return pixels[::2, ::2]
    # Repeating the last row or column leaves the mean of those that exist.
    height, width, _ = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.float64)
    mean = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    if pixels.dtype == np.float32:
        return mean.astype(np.float32)
    return np.floor(mean + 0.5).astype(pixels.dtype)


def expected_levels(entry):
    levels = [picture(entry)]
    while len(levels) < len(entry["levels"]):
        levels.append(reduced(levels[-1], entry["is_mean"]))
    for level, (width, height) in zip(levels, entry["levels"]):
        assert level.shape[:2] == (height, width), (level.shape, width, height)
    return levels


def compare(who, entry, level, found, expected):
    name = "%s, level %d with %s" % (entry["file"], level, who)
    if found.shape != expected.shape:
        raise SystemExit("%s: shape %s, expected %s" % (name, found.shape, expected.shape))
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    if difference.max() > 0 and not (entry["is_lossy"] and difference.mean() < LOSS):
        at = np.unravel_index(difference.argmax(), difference.shape)
        raise SystemExit("%s: differs by %s at %s, on average by %s" % (name, difference.max(), at, difference.mean()))


def check_rasterio(path, entry, levels):
    with rasterio.open(path) as dataset:
        if dataset.subdatasets:
            raise SystemExit("%s: rasterio sees subdatasets" % path)
        # GDAL lists levels that are in both the chain and the SubIFDs twice.
        factors = [2 ** (level + 1) for level in range(len(levels) - 1)] * (2 if entry["is_ome"] else 1)
        if dataset.overviews(1) != factors:
            raise SystemExit("%s: rasterio sees overviews %s, expected %s" % (path, dataset.overviews(1), factors))
    for level, expected in enumerate(levels):
        kwargs = {} if level == 0 else {"overview_level": level - 1}
        with rasterio.open(path, **kwargs) as dataset:
            compare("rasterio", entry, level, dataset.read().transpose(1, 2, 0), expected)


def check_tifffile(path, entry, levels):
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        kind = "ome" if entry["is_ome"] else "generic"
        if series.kind != kind or len(file.series) != 1:
            raise SystemExit("%s: tifffile sees %d series, the first %s" % (path, len(file.series), series.kind))
        if not series.is_pyramidal or len(series.levels) != len(levels):
            raise SystemExit("%s: tifffile sees %d levels of %d" % (path, len(series.levels), len(levels)))
        for level, expected in enumerate(levels):
            found = series.levels[level].asarray()
            found = found.reshape(found.shape[0], found.shape[1], -1)
            compare("tifffile", entry, level, found, expected)
        if entry["is_ome"]:
            check_ome(path, entry, file.ome_metadata)
    with tifffile.TiffFile(path, is_ome=False) as file:
        if len(file.pages) != len(levels):
            raise SystemExit("%s: tifffile sees %d pages of %d" % (path, len(file.pages), len(levels)))
        for level, (page, expected) in enumerate(zip(file.pages, levels)):
            compare("tifffile's pages", entry, level, page.asarray().reshape(expected.shape), expected)


def check_ome(path, entry, text):
    pixels = xml.etree.ElementTree.fromstring(text).find(OME + "Image").find(OME + "Pixels")
    wanted = {
        "DimensionOrder": "XYCZT",
        "Type": OME_TYPES[entry["bits"]],
        "SizeX": str(entry["width"]),
        "SizeY": str(entry["height"]),
        "SizeC": str(entry["bands"]),
        "SizeZ": "1",
        "SizeT": "1",
        "PhysicalSizeX": str(entry["microns_per_px"]),
        "PhysicalSizeXUnit": "µm",
    }
    for key, value in wanted.items():
        if pixels.get(key) != value:
            raise SystemExit("%s: OME-XML has %s=%s, expected %s" % (path, key, pixels.get(key), value))


def check_openslide(path, entry, levels):
    """OpenSlide draws 8-bit pixels: bits become 0 and 255, and it takes neither wider samples nor every codec."""
    if entry["bits"] > 8:
        return "not read"
    with openslide.OpenSlide(path) as slide:
        sizes = [tuple(size) for size in entry["levels"]]
        if list(slide.level_dimensions) != sizes:
            raise SystemExit("%s: OpenSlide sees %s, expected %s" % (path, slide.level_dimensions, sizes))
        for level, expected in enumerate(levels):
            pixels = np.asarray(slide.read_region((0, 0), level, sizes[level]))
            if pixels[..., 3].min() != 255:
                raise SystemExit("%s: level %d is transparent in OpenSlide" % (path, level))
            drawn = expected * np.uint8(255) if entry["bits"] == 1 else expected
            compare("OpenSlide", entry, level, pixels[..., :3], np.broadcast_to(drawn, drawn.shape[:2] + (3,)))
    return "%d levels" % len(levels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    folder = parser.parse_args().folder
    with open(os.path.join(folder, "pyramids.json")) as file:
        entries = json.load(file)
    if not entries:
        raise SystemExit("no pyramids in %s" % folder)
    for entry in entries:
        path = os.path.join(folder, entry["file"])
        levels = expected_levels(entry)
        check_rasterio(path, entry, levels)
        check_tifffile(path, entry, levels)
        in_openslide = check_openslide(path, entry, levels)
        print("%-28s rasterio and tifffile: %d levels; OpenSlide: %s" % (entry["file"], len(levels), in_openslide))


if __name__ == "__main__":
    main()
