"""Debian's Chromium without a screen, for the tests of pages that people look at.

Needs selenium and pillow, and the Debian packages chromium and chromium-driver.

    with Browser() as page:
        page.open("http://127.0.0.1:8080/")       # or a path of a file
        page.wait_for("return document.readyState === 'complete'", "the page to load")
        assert not is_blank(page.screenshot("page.png"))
        page.check_clean()
"""

import functools
import io
import json
import pathlib
import shutil
import tempfile
import time
import urllib.parse

from PIL import Image, ImageChops
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

LOCAL_SCHEMES = ("file", "data", "blob", "about", "chrome", "chrome-extension", "devtools")
# What a test waits for a page, in all. It only ends a test that would fail anyway.
PATIENCE_S = 120


class Browser:
    """One window of Chromium; what it requested and what went wrong in it is kept from the start."""

    def __init__(self, width=1400, height=900, scale=1):
        self._profile = tempfile.mkdtemp(prefix="hubmap-browser-")
        options = Options()
        options.binary_location = found("chromium")
        for flag in (
            "--headless=new",
            # Tests run as root in containers, with a small /dev/shm and no graphics card.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            # What Chromium itself asks of the network.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-device-scale-factor=%s" % scale,
            "--window-size=%d,%d" % (width, height),
            "--user-data-dir=%s" % self._profile,
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        try:
            self.driver = webdriver.Chrome(options=options, service=Service(found("chromedriver")))
        except Exception:
            shutil.rmtree(self._profile, ignore_errors=True)
            raise
        # The page itself gets this size, whatever frame the window has.
        self.resize(width, height)
        self._console, self._requests = [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends Chromium and removes its profile."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def resize(self, width, height):
        """Makes the page `width` x `height` CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 0, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, where):
        """Opens an address or the path of a file."""
        address = str(where)
        if urllib.parse.urlsplit(address).scheme not in (*LOCAL_SCHEMES, "http", "https"):
            address = pathlib.Path(where).resolve(strict=True).as_uri()
        self.driver.get(address)

    def run(self, script, *args):
        """The value of a JavaScript function body; it may return a promise."""
        return self.driver.execute_script(script, *args)

    def wait_for(self, script, what):
        """The first true value of a JavaScript function body."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError("waited in vain for %s; console: %s" % (what, self.console()))

    def screenshot(self, path=None):
        """The page as a picture, also written to `path`."""
        png = self.driver.get_screenshot_as_png()
        if path is not None:
            pathlib.Path(path).write_bytes(png)
        return Image.open(io.BytesIO(png)).convert("RGB")

    def console(self):
        """Everything the page said so far, as `LEVEL message`."""
        self._console += ["%s %s" % (entry["level"], entry["message"]) for entry in self.driver.get_log("browser")]
        return list(self._console)

    def console_errors(self):
        """Errors of scripts and of loading, and `console.error`."""
        return [line for line in self.console() if line.startswith("SEVERE")]

    def requests(self):
        """Requests so far, in their order: dicts of `url` and `status`, or `url` and `error`."""
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            name, found_in = event["method"], event["params"]
            if name == "Network.requestWillBeSent":
                self._requests[found_in["requestId"]] = {"url": found_in["request"]["url"]}
            elif name == "Network.responseReceived":
                self._sent(found_in)["status"] = found_in["response"]["status"]
            # A page that drops a request it no longer needs, such as for a tile that left the view, did not fail.
            elif name == "Network.loadingFailed" and not found_in.get("canceled"):
                self._sent(found_in)["error"] = found_in["errorText"]
        return list(self._requests.values())

    def _sent(self, event):
        """The request that an event is about; those that Chromium itself sent before the page are not kept."""
        return self._requests.get(event["requestId"], {})

    def failed_requests(self):
        """Requests without an answer, or whose answer is an error."""
        return [r for r in self.requests() if "error" in r or r.get("status", 0) >= 400]

    def external_requests(self):
        """Requests to anything but files and this machine's loopback."""

        def is_local(url):
            parts = urllib.parse.urlsplit(url)
            return parts.scheme in LOCAL_SCHEMES or parts.hostname in ("127.0.0.1", "localhost", "::1")

        return [r for r in self.requests() if r["url"] and not is_local(r["url"])]

    def check_clean(self):
        """Fails if the page had an error, a request failed or one left this machine."""
        for what, entries in (
            ("console errors", self.console_errors()),
            ("failed requests", self.failed_requests()),
            ("external requests", self.external_requests()),
        ):
            assert not entries, "%s: %s" % (what, entries)


def found(program):
    """The path of `program`, or an error that says how to get it."""
    path = shutil.which(program)
    if path is None:
        raise SystemExit("%s is missing: apt-get install chromium chromium-driver" % program)
    return path


def n_colours(picture, box=None):
    """Distinct colours of a picture, or of the region (left, top, right, bottom) of it."""
    region = picture.crop(box) if box else picture
    return len(region.getcolors(maxcolors=region.width * region.height))


def is_blank(picture, box=None, fewer_than=16):
    """Whether a picture, or a region of it, has so few colours that nothing is drawn there."""
    return n_colours(picture, box) < fewer_than


def share_changed(before, after, box=None):
    """Share of pixels, 0 to 1, in which two screenshots of one size differ."""
    assert before.size == after.size, (before.size, after.size)
    difference = ImageChops.difference(before, after)
    region = difference.crop(box) if box else difference
    largest = functools.reduce(ImageChops.lighter, region.split())
    return 1 - largest.histogram()[0] / (largest.width * largest.height)
