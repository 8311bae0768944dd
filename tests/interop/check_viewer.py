"""The viewer in a real browser: it zooms, switches layers, jumps to objects and listens to keys.

    python check_viewer.py BIN_DIR [SHOTS]   # the folder with hubmap-demo, hubmap-ensemble and hubmap-view;
                                             # a folder for screenshots to look at

Needs numpy, pillow, selenium and Debian's chromium and chromium-driver. Makes synthetic slides, and predictions that differ
from their truth in known ways, starts hubmap-view and uses its page in Chromium.
"""

import csv
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np

from browser import Browser, is_blank, share_changed

SIZE = (3400, 2600)
# The middle of the slide in a window of 1400 x 900, without header and panel.
MIDDLE = (300, 250, 800, 650)


def run(binaries, name, *args):
    subprocess.run([os.path.join(binaries, name), *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def decoded(text, width, height):
    """A mask of 0 and 1 from run lengths, 1-based and down the columns."""
    mask = np.zeros(width * height, np.float32)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2]):
        mask[start - 1 : start - 1 + length] = 1
    return mask.reshape(width, height).T


def predicted(mask, certainty):
    """Probabilities that miss the objects in the upper third, shift the others, and find one that is not there."""
    height, width = mask.shape
    shifted = np.roll(mask, (9, 6), (0, 1))
    shifted[: height // 3] = 0
    y, x = np.ogrid[:height, :width]
    shifted[(y - 350) ** 2 + (x - 500) ** 2 < 120**2] = 1
    # Soft edges: the mean over 41 x 41 px, with 0.5 at the edge.
    for axis in (0, 1):
        sums = np.cumsum(np.pad(shifted, [(21, 20) if a == axis else (0, 0) for a in (0, 1)]), axis, dtype=np.float64)
        n = shifted.shape[axis]
        first, last = (np.take(sums, range(start, start + n), axis) for start in (0, 41))
        shifted = ((last - first) / 41).astype(np.float32)
    return 0.02 + certainty * np.clip(shifted, 0, 1)


def make(binaries, folder):
    """Slides, one of them broken, and predictions and truth of the first."""
    data = folder / "HUBMAP"
    size = "%dx%d" % SIZE
    run(binaries, "hubmap-demo", "slides", "--out", data, "--count", 1, "--test-count", 1, "--size", size,
        "--glomeruli-per-mm2", 9, "--seed", 5)  # fmt: skip
    with open(data / "truth.csv") as file:
        truth = {row["id"]: row["encoding"] for row in csv.DictReader(file)}
    (slide,) = (data / "test").glob("*.tiff")
    mask = decoded(truth[slide.stem], *SIZE)
    models = [folder / "model a", folder / "model b"]
    for model, certainty in zip(models, (0.85, 0.97)):
        raw = model / "predicts" / "raw"
        raw.mkdir(parents=True)
        np.save(raw / (slide.stem + ".npy"), predicted(mask, certainty).astype(np.float16)[None])
    results = folder / "results"
    run(binaries, "hubmap-ensemble", "--runs", *models, "--slides", slide, "--out", results, "--write",
        "rle,mask,probability,geojson,objects")  # fmt: skip
    slides = folder / "slides"
    slides.mkdir()
    shutil.copy(slide, slides / slide.name)
    for other in (data / "train").glob("*.tiff"):
        shutil.copy(other, slides / "~odd name #2, 100% <b>ä&amp;.tiff")
    (slides / "~~broken.tiff").write_bytes(b"II*\0 this is no slide")
    return slides, results, data / "truth.csv", slide.stem


class Viewer:
    """hubmap-view, and the page that it serves."""

    def __init__(self, binaries, args, shots):
        command = [os.path.join(binaries, "hubmap-view"), *map(str, args), "--quiet"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        self.page = Browser()
        self.shots = shots

    def stop(self):
        self.page.close()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait() == 0, "hubmap-view ended with %d" % self.process.returncode

    def settled(self):
        """Waits until every layer that is on is drawn and nothing moves."""
        self.page.wait_for(
            """const {viewer, outlines, page} = hubmapView;
            const {world, viewport} = viewer;
            const items = [...Array(world.getItemCount()).keys()].map((i) => world.getItemAt(i));
            const sets = [...outlines.sets.values()].flatMap((scales) => [...scales.values()]);
            return page.info !== null && items.length > 0 && items.every((item) => item.opacity === 0 || item.getFullyLoaded())
              && sets.every((polygons) => polygons !== null)
              && viewport.getZoom(true) === viewport.getZoom() && viewport.getCenter(true).equals(viewport.getCenter())""",
            "the view to settle",
        )

    def shot(self, name):
        self.settled()
        # What was asked for last is drawn with the next frame.
        self.page.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return self.page.screenshot(self.shots / (name + ".png"))

    def press(self, key, **how):
        self.page.run(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true, ...arguments[1]}))",
            key, how)  # fmt: skip

    def levels(self, layer):
        """Levels of the tiles of a layer that were requested so far."""
        paths = [request["url"].split(layer + "_files/") for request in self.page.requests()]
        return {int(path[1].split("/")[0]) for path in paths if len(path) == 2}

    def centre(self):
        """Pixel of the slide in the middle of the view, where it is headed."""
        return self.page.run(
            "const v = hubmapView.viewer.viewport; const c = v.viewportToImageCoordinates(v.getCenter()); return [c.x, c.y]"
        )

    def zoom(self):
        return self.page.run("return hubmapView.viewer.viewport.getZoom()")


def check_zoom(viewer):
    home = viewer.shot("home")
    assert not is_blank(home, MIDDLE, fewer_than=500), "nothing is drawn"
    before = viewer.levels("slide")
    for _ in range(6):
        viewer.press("+")
    deep = viewer.shot("deep")
    after = viewer.levels("slide")
    assert max(after) > max(before), "no deeper level than %d was asked for" % max(before)
    assert share_changed(home, deep, MIDDLE) > 0.5 and not is_blank(deep, MIDDLE, fewer_than=200)
    x, _ = viewer.centre()
    viewer.press("ArrowRight")
    assert viewer.centre()[0] > x
    viewer.press("0")
    viewer.settled()
    assert share_changed(home, viewer.shot("home again"), MIDDLE) < 0.02


def check_layers(viewer):
    """Each key switches its layer, and each slider changes the picture."""
    bare = viewer.shot("outlines")
    for key, name in (("2", "mask"), ("3", "probability"), ("4", "predicted"), ("5", "truth"), ("6", "tissue")):
        viewer.press(key)
        toggled = viewer.shot("layer %s" % name)
        assert share_changed(bare, toggled, MIDDLE) > 0.0005, "%s changes nothing" % name
        if name in ("mask", "probability"):
            viewer.press("[")
            viewer.press("[")
            fainter = viewer.shot("fainter %s" % name)
            assert share_changed(toggled, fainter, MIDDLE) > 0.005, "opacity of %s changes nothing" % name
            viewer.press("]")
            viewer.press("]")
        viewer.press(key)
        assert share_changed(bare, viewer.shot("without %s" % name), MIDDLE) < 0.0005, "%s stays" % name
    # By mouse, too.
    viewer.page.run("document.querySelector('#layer-slide').click()")
    blank = viewer.shot("without the slide")
    assert share_changed(bare, blank, MIDDLE) > 0.5
    viewer.press("1")
    viewer.press("3")
    everything = viewer.shot("all probabilities")
    viewer.page.run(
        "const s = document.querySelector('#threshold'); s.value = 0.5; s.dispatchEvent(new Event('input'))"
    )
    viewer.page.wait_for(
        "return hubmapView.layers.threshold === 128 && !hubmapView.layers.replacing", "the threshold to apply"
    )
    assert share_changed(everything, viewer.shot("threshold"), MIDDLE) > 0.005
    viewer.press("3")


def check_objects(viewer):
    counts = viewer.page.run(
        """const counts = {};
        for (const o of [...hubmapView.objects.all.predicted, ...hubmapView.objects.all.truth]) {
          counts[`${o.set} ${o.agreement}`] = (counts[`${o.set} ${o.agreement}`] ?? 0) + 1;
        }
        return counts"""
    )
    assert counts["predicted matched"] == counts["truth matched"] > 2, counts
    assert counts["predicted false"] > 0 and counts["truth missed"] > 0, counts
    listed = viewer.page.run("return hubmapView.objects.listed.length")
    assert listed == sum(counts.values()) - counts["truth matched"], (listed, counts)
    viewer.press("n")
    for _ in range(2):
        viewer.press("n")
        viewer.settled()
        where = viewer.page.run("return hubmapView.objects.current.centre")
        assert np.allclose(viewer.centre(), where, atol=1.5), (viewer.centre(), where)
    found = viewer.shot("object")
    assert not is_blank(found, MIDDLE, fewer_than=200)
    second = viewer.page.run("return hubmapView.objects.current.number")
    detail = viewer.page.run("return document.querySelector('#detail').textContent")
    assert "#%d" % second in detail and "µm²" in detail, detail
    viewer.press("p")
    assert viewer.page.run("return hubmapView.objects.listed.indexOf(hubmapView.objects.current)") == 1
    # The smallest comes first, and a click on its row goes there.
    areas = viewer.page.run(
        """const sort = document.querySelector('#sort');
        sort.value = 'area-up'; sort.dispatchEvent(new Event('change'));
        document.querySelector('#list').scrollTop = 0;
        document.querySelector('.row').click();
        return [hubmapView.objects.current.area_px, ...hubmapView.objects.listed.map((o) => o.area_px)]"""
    )
    assert areas[0] == areas[1] == min(areas), areas
    # A click on the outline's inside selects the object.
    viewer.settled()
    viewer.press("Escape")
    assert viewer.page.run("return hubmapView.objects.current") is None
    box = viewer.page.run("const r = document.querySelector('#viewer').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]")
    for kind in ("mousePressed", "mouseReleased"):
        at = {"type": kind, "x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        viewer.page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", at)
    viewer.page.wait_for("return hubmapView.objects.current", "a click to select")
    assert viewer.page.run("return hubmapView.objects.current.area_px") == areas[0]


def check_address(viewer, slide):
    """The address keeps slide and view; opening it anew shows the same."""
    viewer.settled()
    viewer.page.wait_for("return location.hash.includes('object=')", "the address to follow")
    address, centre, zoom = viewer.page.run("return location.href"), viewer.centre(), viewer.zoom()
    assert "slide=%s" % slide in address, address
    viewer.page.open("about:blank")
    viewer.page.open(address)
    viewer.settled()
    viewer.page.wait_for("return hubmapView.objects.current", "the object of the address")
    assert np.allclose(viewer.centre(), centre, atol=2) and abs(viewer.zoom() / zoom - 1) < 0.01


def check_other_slides(viewer):
    viewer.press("PageDown")
    viewer.shot("odd name")
    chosen = viewer.page.run("return [document.title, document.querySelector('#slides').selectedIndex]")
    assert chosen == ["~odd name #2, 100% <b>ä&amp; – hubmap-view", 1], chosen
    viewer.page.run("document.querySelector('#show-help').click()")
    assert viewer.page.run("return document.querySelector('#help').open")
    viewer.page.screenshot(viewer.shots / "help.png")
    viewer.page.run("document.querySelector('#help').close()")
    viewer.page.resize(420, 800)
    narrow = viewer.shot("narrow")
    assert not is_blank(narrow, (20, 100, 400, 300), fewer_than=200)
    assert viewer.page.run("return document.documentElement.scrollWidth") <= 420
    viewer.page.resize(1400, 900)
    viewer.page.check_clean()
    # A broken slide is said to be, and the others stay.
    viewer.press("PageDown")
    viewer.page.wait_for("return document.querySelector('#messages').textContent.includes('~~broken.tiff')", "the message")
    viewer.page.screenshot(viewer.shots / "broken.png")
    failed = viewer.page.failed_requests()
    assert [request["status"] for request in failed] == [500], failed
    viewer.press("PageUp")
    viewer.settled()


def main():
    binaries = sys.argv[1]
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        shots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else place / "shots"
        shots.mkdir(parents=True, exist_ok=True)
        slides, results, truth, slide = make(binaries, place)
        viewer = Viewer(binaries, [slides, "--predictions", results, "--truth", truth], shots)
        try:
            viewer.page.open(viewer.url)
            viewer.page.wait_for("return hubmapView.objects.listed.length", "the objects")
            check_zoom(viewer)
            check_layers(viewer)
            check_objects(viewer)
            check_address(viewer, slide)
            viewer.page.check_clean()
            check_other_slides(viewer)
        except Exception:
            viewer.page.screenshot(shots / "failed.png")
            print("\n".join(viewer.page.console()), file=sys.stderr)
            raise
        finally:
            viewer.stop()
    print("the viewer zooms, switches layers, jumps to objects and listens to keys in Chromium")


main()
