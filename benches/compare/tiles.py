#!/usr/bin/env python3
"""Deep Zoom tiles of a slide: hubmap-view over HTTP against OpenSlide's DeepZoomGenerator in its own process.

    compare/tiles.py [--tiles 60] [--repeat 3] [--json FILE] SLIDE ...

Needs numpy, openslide-python, pillow, and the executable that `cargo build --release -p view` makes.
Both sides make the same tiles of the same levels and places (510 px and 1 px of overlap) as JPEG of quality 85 with full colour, one
after the other, as a browser with one connection would ask for them: for each level the tiles around its middle. Ours are asked
for over HTTP; OpenSlide's are made and encoded in memory, without a server. Every pass opens the slide anew, and the sides
alternate; the least of all passes counts for each tile. `first` is the first request of a tile, `again` the second: ours
come from memory then, DeepZoomGenerator makes them anew, as the server that comes with it does.
A picture is compared, too: the mean difference of both sides' pixels, of 255.
"""
import argparse
import http.client
import io
import os
import statistics
import subprocess
import time

import numpy as np
import openslide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

import harness

TILE, OVERLAP, QUALITY = 510, 1, 85
OURS = harness.executable("hubmap-view")


def tiles_of(path, n_tiles):
    """Levels and places, from the level that fits one tile to full resolution; about `n_tiles`, around the middle of each."""
    with openslide.OpenSlide(path) as slide:
        zoom = DeepZoomGenerator(slide, TILE, OVERLAP)
        levels = [level for level in range(zoom.level_count) if max(zoom.level_dimensions[level]) > TILE / 2]
        found = []
        for level in levels:
            columns, rows = zoom.level_tiles[level]
            places = [(column, row) for row in range(rows) for column in range(columns)]
            places.sort(key=lambda at: abs(at[0] - (columns - 1) / 2) + abs(at[1] - (rows - 1) / 2))
            found += [(level, *place) for place in places[: max(1, n_tiles // len(levels))]]
        return found


def timed(make):
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, made


def openslide_pass(path, tiles):
    def encoded(zoom, tile):
        level, column, row = tile
        out = io.BytesIO()
        zoom.get_tile(level, (column, row)).save(out, "jpeg", quality=QUALITY, subsampling=0)
        return out.getvalue()

    with openslide.OpenSlide(path) as slide:
        zoom = DeepZoomGenerator(slide, TILE, OVERLAP)
        return [[timed(lambda: encoded(zoom, tile)) for tile in tiles] for _ in range(2)]


def our_pass(path, tiles):
    server = subprocess.Popen([OURS, path, "--quiet"], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip().removeprefix("http://").rstrip("/")
        connection = http.client.HTTPConnection(address)

        def asked(tile):
            connection.request("GET", "/slides/0/slide_files/%d/%d_%d.jpeg" % tile)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return body

        return [[timed(lambda: asked(tile)) for tile in tiles] for _ in range(2)]
    finally:
        server.terminate()
        server.wait()


def milliseconds(passes, n):
    """Least time of each tile's first or second request over all passes: the median and the sum of all tiles."""
    least = [min(one[n][i][0] for one in passes) for i in range(len(passes[0][n]))]
    return 1000 * statistics.median(least), 1000 * sum(least)


def difference(ours, theirs):
    pixels = [np.asarray(Image.open(io.BytesIO(tile)).convert("RGB"), np.int16) for tile in (ours, theirs)]
    # DeepZoomGenerator shrinks tiles with their proportions kept, which may cost one pixel of a side.
    height, width = (min(sides) for sides in zip(*(tile.shape[:2] for tile in pixels)))
    assert all(tile.shape[0] - height < 2 and tile.shape[1] - width < 2 for tile in pixels)
    return float(np.abs(pixels[0][:height, :width] - pixels[1][:height, :width]).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("slides", nargs="+")
    args = parser.parse_args()
    results = []
    print("| slide | request | hubmap-view median ms | OpenSlide median ms | ratio of sums |")
    print("| --- | --- | --- | --- | --- |")
    for path in args.slides:
        tiles = tiles_of(path, args.tiles)
        ours, theirs = [], []
        for _ in range(args.repeat):
            ours.append(our_pass(path, tiles))
            theirs.append(openslide_pass(path, tiles))
        apart = [difference(a[1], b[1]) for a, b in zip(ours[0][0], theirs[0][0])]
        for n, request in enumerate(("first", "again")):
            (mine, my_sum), (other, other_sum) = milliseconds(ours, n), milliseconds(theirs, n)
            name = os.path.basename(path)
            print("| %s | %s | %.2f | %.2f | %.2f |" % (name, request, mine, other, other_sum / my_sum))
            results.append({"slide": name, "request": request, "n_tiles": len(tiles), "ours_ms": mine,
                            "openslide_ms": other, "ratio": other_sum / my_sum})  # fmt: skip
        print("%s: %d tiles, pixels %.2f apart in the mean, at most %.2f in a tile" %
              (os.path.basename(path), len(tiles), statistics.mean(apart), max(apart)))  # fmt: skip
    harness.keep(args.json, results)


main()
