"""Chromium opens pages of hubmap-report from the disk.

    python check_report.py BIN_DIR [SHOTS]    # the folder with hubmap-demo and hubmap-report; where pictures are kept

Needs numpy, pillow, selenium and tifffile, and the Debian packages chromium and chromium-driver. Makes synthetic slides,
lays predictions and a run beside them, writes the page and looks at it: wide, as narrow as a phone, and dark.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy
import tifffile
from browser import Browser, is_blank, share_changed

SIZE = 1200
# What the page must not take for anything but letters.
NAME = "<i>slide & more"
LAYERS = ["predicted", "truth", "probability", "stain"]


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def disc(x, y, radius):
    rows, columns = numpy.mgrid[:SIZE, :SIZE]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def write_predictions(place, slide):
    """An output folder as inference leaves it, and the truth."""
    centres = [(250, 300, 90), (700, 350, 70), (400, 850, 110), (900, 800, 60)]
    truth = sum(disc(x, y, r) for x, y, r in centres[:3] + [(950, 200, 80)]) > 0
    probability = numpy.full((SIZE, SIZE), 0.02, numpy.float16)
    for i, (x, y, r) in enumerate(centres):
        probability[disc(x + 10 * i, y, r)] = 0.95 - 0.1 * i
    predicts = os.path.join(place, "results", "predicts")
    for name in ("masks", "probabilities", "raw", "objects"):
        os.makedirs(os.path.join(predicts, name))
    tifffile.imwrite(os.path.join(predicts, "masks", NAME + ".tiff"), (probability > 0.5) * numpy.uint8(255))
    levels = (probability * 255).astype(numpy.uint8)
    tifffile.imwrite(os.path.join(predicts, "probabilities", NAME + ".tiff"), levels)
    numpy.save(os.path.join(predicts, "raw", NAME + ".npy"), probability[None])
    os.mkdir(os.path.join(place, "truth"))
    tifffile.imwrite(os.path.join(place, "truth", NAME + ".tiff"), truth * numpy.uint8(255))
    seconds = dict.fromkeys(["tissue", "read", "reduce", "wait", "infer", "merge", "journal", "write"], 1.5)
    summary = {
        "settings": {"threshold": 0.5},
        "model": "0" * 64,
        "n_models": 2,
        "outputs": ["mask", "npy", "probability"],
        "slides": [
            {
                **{"id": NAME, "path": slide, "width": SIZE, "height": SIZE, "microns_per_px": 0.5},
                **{"n_blocks": 4, "n_skipped": 0, "n_replayed": 0, "objects": len(centres), "positive_pixels": 1},
                **{"seconds": seconds, "total_seconds": 6.0, "blocks_per_second": 0.7},
            }
        ],
        "failed": [{"id": "lost", "path": "lost.tiff", "error": "<script>document.title = 'broken'</script>"}],
        "total_seconds": 6.0,
    }
    with open(os.path.join(place, "results", "summary.json"), "w") as file:
        json.dump(summary, file)


def write_run(place):
    """A run folder of two folds."""
    folder = os.path.join(place, "run")
    os.mkdir(folder)
    with open(os.path.join(folder, "config.toml"), "w") as file:
        file.write('[data]\nfolds = ["0", "1"]\n[model]\nencoder = "regnety_002"\ndecoder = "unet"\n')
    for fold in range(2):
        os.makedirs(os.path.join(folder, "fold_%d" % fold, "models"))
        with open(os.path.join(folder, "fold_%d" % fold, "history.csv"), "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow("epoch rate train_loss train_dice valid_dice valid_dice_ema seconds data_wait".split())
            for epoch in range(20):
                valid = [0.6 + epoch / 60, 0.5 + epoch / 50] if epoch % 5 == 4 else ["", ""]
                rows.writerow([epoch, 1e-3 / (epoch + 1), 2 / (epoch + 1 + fold), epoch / 22, *valid, 3.0, 0.01])
        open(os.path.join(folder, "fold_%d" % fold, "models", "e19_t20_ema_0.8800.safetensors"), "w").close()


def box_of(page, selector):
    """Where an element is in a screenshot, after scrolling to it."""
    box = page.run(
        """document.documentElement.style.scrollBehavior = "auto";
        const element = document.querySelector(arguments[0]);
        element.scrollIntoView({ block: "center" });
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return [Math.max(0, left), Math.max(0, top), Math.min(innerWidth, right), Math.min(innerHeight, bottom)];""",
        selector,
    )
    return tuple(int(side) for side in box)


def check_layers(page):
    """Every layer changes the picture of the slide, and comes back as it was."""
    picture = ".layers svg"
    found = page.run("return [...document.querySelectorAll('[data-layer]')].map((box) => box.dataset.layer)")
    assert found == LAYERS, found
    box = box_of(page, picture)
    first = page.screenshot()
    assert not is_blank(first, box, fewer_than=1000), "the slide is not shown"
    for layer in LAYERS:
        click = "document.querySelector('[data-layer=%s]').click()" % layer
        page.run(click)
        after = page.screenshot()
        changed = share_changed(first, after, box)
        assert changed > 0.002, "%s: %f of the picture changed" % (layer, changed)
        page.run(click)
        # A part that is painted anew has other edges of lines than the whole picture.
        left = share_changed(first, page.screenshot(), box)
        assert left < changed / 10, "%s: %f of the picture stays changed" % (layer, left)


def check_readout(page):
    """A curve says its values where the pointer is and where the arrow keys lead."""
    chart = "#training svg[data-chart]"
    box = box_of(page, chart)
    readout = "return document.querySelector('#training .readout').textContent"
    assert page.run(readout) == ""
    at = {"type": "mouseMoved", "x": (box[0] + box[2]) / 2, "y": (box[1] + box[3]) / 2}
    page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", at)
    middle = page.wait_for(readout, "the values of a curve")
    assert middle.startswith("epoch 1") and "fold 1 EMA 0." in middle, middle
    page.run("document.querySelector(arguments[0]).focus()", chart)
    for kind in ("keyDown", "keyUp"):
        page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": "ArrowRight"})
    page.wait_for(readout + " !== %s" % json.dumps(middle), "the next values")


def check_mark(page):
    """The number of an object leads to its place on its slide."""
    page.run("document.querySelector('a[data-mark]').click()")
    mark = "return document.querySelectorAll('.layers .mark circle').length"
    assert page.wait_for(mark, "a mark on the slide") == 2
    assert page.run("return location.hash") == "#slide-0"


def check_text(page):
    """Names are letters, and the parts of the page have names that can be read out."""
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.run("return document.title") == "run · results"
    assert NAME in page.run("return document.querySelector('#slide-0 h3').textContent")
    missing = """return [...document.querySelectorAll('svg:not([aria-hidden]), table, section, .scroll')].filter((part) =>
        !(part.ariaLabel || part.getAttribute('aria-labelledby') || part.querySelector('caption'))).length"""
    assert page.run(missing) == 0
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3')].map((title) => Number(title.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:])), levels


def check_clean(page):
    """The page had no error and asked for nothing but itself."""
    page.check_clean()
    asked = [request["url"] for request in page.requests()]
    # What Chromium shows before the page is its own.
    own = [url for url in asked if not url.startswith(("chrome:", "data:"))]
    assert len(own) == 1 and own[0].startswith("file:"), own


def check_page(path, shots):
    with Browser(1280, 1000) as page:
        page.open(path)
        assert not is_blank(page.screenshot(os.path.join(shots, "report_wide.png")), fewer_than=100)
        check_text(page)
        check_layers(page)
        page.screenshot(os.path.join(shots, "report_slide.png"))
        check_readout(page)
        check_mark(page)
        check_clean(page)

    with Browser(390, 844) as page:
        page.open(path)
        box_of(page, ".crops")
        assert not is_blank(page.screenshot(os.path.join(shots, "report_narrow.png")), fewer_than=100)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.run(wide) == 0, "the page scrolls sideways on a phone"
        light = page.run("return getComputedStyle(document.body).backgroundColor")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
        assert page.run("return getComputedStyle(document.body).backgroundColor") != light
        assert not is_blank(page.screenshot(os.path.join(shots, "report_dark.png")), fewer_than=100)
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
        assert page.run("return getComputedStyle(document.body).backgroundColor") == light, "paper is white"
        check_clean(page)


def main(binaries, shots=None):
    with tempfile.TemporaryDirectory() as place:
        slides = os.path.join(place, "HUBMAP")
        size = "%dx%d" % (SIZE, SIZE)
        run(os.path.join(binaries, "hubmap-demo"), "slides", "--out", slides, "--count", "0", "--size", size, "-q")
        [made] = [name for name in os.listdir(os.path.join(slides, "test")) if name.endswith(".tiff")]
        slide = os.path.join(place, NAME + ".tiff")
        os.rename(os.path.join(slides, "test", made), slide)
        write_predictions(place, slide)
        write_run(place)
        page = os.path.join(place, "report.html")
        folders = [os.path.join(place, name) for name in ("run", "results")]
        truth = os.path.join(place, "truth")
        run(os.path.join(binaries, "hubmap-report"), *folders, "--truth", truth, "--out", page, "-q")
        check_page(page, shots or place)
    print("hubmap-report: the page is whole, clean and moves as it should")


if __name__ == "__main__":
    main(*sys.argv[1:])
