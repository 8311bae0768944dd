"""What parts of a list cost on this machine, and from that what 10,000 slides on 100 nodes would take.

    python scaling.py BIN_DIR WEIGHTS      # the folder with hubmap-demo, -infer and -merge; a file of weights

Needs strace. Measures slides per minute by one process and by two, each with one thread, taking turns; calls of the file
system and bytes for each slide; and joining as many records as there would be. Then simulates, with the assumptions printed.
What is assumed and not measured: sizes of slides, what a node does in a second, and what a shared file system can do.
"""

import argparse
import heapq
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
import time

CONFIG = """
[infer]
scale = 4
block = 128
context = 32
tta = "none"
"""
SLIDES = {"4800x3600": 4, "2400x1800": 6}
SMALL = "rle,mask,geojson"
# Calls that a shared file system sends to its metadata server.
METADATA = "open openat stat statx lstat newfstatat access mkdir unlink rmdir rename renameat renameat2 ftruncate getdents64 flock"
READS, WRITES = "read pread64 readv preadv", "write pwrite64 writev pwritev"
N_ROUNDS = 3

N_SLIDES, N_NODES, SEED = 10_000, 100, 1
# Log-normal: whole slides scanned at 20 to 40 times are mostly 0.3 to 4 gigapixels.
MEDIAN_MP, SIGMA_MP = 1200, 0.7
# Bytes for a pixel of a JPEG slide: the share of tissue and the quality differ.
MEDIAN_BYTES_PER_PX, SIGMA_BYTES = 0.2, 0.35
# Seconds for a megapixel on one node: two old cores (benchmarks.md, whole slide to files), and a node twenty times as fast.
NODES = {"two cores": 0.4, "20 times as fast": 0.02}
# A shared file system of the middle class: calls to its metadata server and bytes, each second.
FS_CALLS, FS_BYTES = 20_000, 5e9
# Nodes differ a little, and one of them is slow.
SIGMA_NODE, SLOW = 0.03, 2.0


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, **options)


def divide(sizes, n_parts):
    """Which part has which items: the largest first, each to the part that has the least (hubmap-jobs)."""
    heap = [(0, 0, part) for part in range(n_parts)]
    parts = [[] for _ in range(n_parts)]
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        load, n_items, part = heapq.heappop(heap)
        parts[part].append(place)
        heapq.heappush(heap, (load + sizes[place], n_items + 1, part))
    return [sorted(part) for part in parts]


class Bench:
    """Slides in a folder, and what to run on them."""

    def __init__(self, binaries, weights, folder):
        self.binaries, self.weights, self.folder = binaries, weights, folder
        self.config = self.path("scaling.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        self.slides, self.mp = [], []
        for seed, (size, count) in enumerate(SLIDES.items()):
            out = self.path("slides-" + size)
            words = ["slides", "--out", out, "--count", "1", "--test-count", count, "--size", size, "--seed", seed, "--quiet"]
            run(self.program("demo"), *words)
            names = sorted(name for name in os.listdir(out + "/test") if name.endswith(".tiff"))
            for name in names:
                # Folders of the demo's have the same ids.
                self.slides.append(self.path("%s-%s" % (size, name)))
                os.rename(os.path.join(out, "test", name), self.slides[-1])
            width, height = map(int, size.split("x"))
            self.mp += [width * height / 1e6] * len(names)
        # The list is in no order of size.
        order = random.Random(SEED).sample(range(len(self.slides)), len(self.slides))
        self.slides = [self.slides[place] for place in order]
        self.mp = [self.mp[place] for place in order]

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, name):
        return os.path.join(self.binaries, "hubmap-" + name)

    def manifest(self, name, slides, sizes=False):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write("path,bytes\n" if sizes else "path\n")
            for slide in slides:
                file.write("%s,%d\n" % (slide, os.path.getsize(slide)) if sizes else slide + "\n")
        return self.path(name)

    def infer(self, manifest, out, *more):
        words = [self.program("infer"), "--model", self.weights, "--manifest", manifest, "--out", out, "--config", self.config]
        return [*words, "--threads", "1", "--quiet", *more]

    def processes(self, n_parts, label):
        """Seconds that some processes need for all slides, each for its part."""
        out = self.path("results-" + label)
        manifest = self.manifest("all.csv", self.slides)
        begin = time.monotonic()
        command = lambda part: self.infer(manifest, out, "--shard", "%d/%d" % (part, n_parts))
        jobs = [subprocess.Popen(command(part), stdout=subprocess.DEVNULL) for part in range(n_parts)]
        if any(job.wait() for job in jobs):
            raise SystemExit("hubmap-infer failed")
        return time.monotonic() - begin, out

    def calls(self, slides, *more):
        """Calls of the file system: those about names, reads, writes, and bytes written."""
        log = self.path("strace.txt")
        out = self.path("counted-%d-%d" % (len(slides), len(more)))
        traced = "trace=%s" % ",".join((METADATA + " " + READS + " " + WRITES).split())
        run("strace", "-f", "--seccomp-bpf", "-c", "-e", traced, "-o", log, *self.infer(self.manifest("some.csv", slides), out, *more))
        counts = {}
        with open(log, encoding="utf-8") as file:
            for found in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", file.read(), re.M):
                counts[found[2]] = int(found[1])
        sizes = [os.path.getsize(os.path.join(base, name)) for base, _, names in os.walk(out) for name in names]
        return {
            "metadata": sum(counts.get(name, 0) for name in METADATA.split()),
            "reads": sum(counts.get(name, 0) for name in READS.split()),
            "writes": sum(counts.get(name, 0) for name in WRITES.split()),
            "bytes": sum(sizes),
        }

    def asked(self):
        """Calls about names that a part of nothing makes, for each slide of its list: without sizes in it, and with them."""
        counts = []
        for sizes in (False, True):
            log = self.path("strace.txt")
            one, all_of_them = self.slides[:1], self.slides
            found = []
            for slides in (one, all_of_them):
                manifest, out = self.manifest("asked.csv", slides, sizes), self.path("asked-%d-%d" % (sizes, len(slides)))
                # More parts than slides: the last has none.
                command = self.infer(manifest, out, "--shard", "%d/%d" % (len(all_of_them), len(all_of_them) + 1))
                run("strace", "-f", "-c", "-e", "trace=file", "-o", log, *command)
                with open(log, encoding="utf-8") as file:
                    found.append(int(re.search(r"(\d+)\s+(?:\d+\s+)?total", file.read())[1]))
            counts.append((found[1] - found[0]) / (len(all_of_them) - 1))
        return counts

    def per_slide(self, *more):
        """What each further slide of the larger size costs."""
        large = [slide for slide, mp in zip(self.slides, self.mp) if mp == max(self.mp)]
        one, all_of_them = self.calls(large[:1], *more), self.calls(large, *more)
        return {name: (all_of_them[name] - one[name]) / (len(large) - 1) for name in one}, one

    def fit(self, results, seconds):
        """Seconds to start, for each slide, and for each megapixel, from the records of one process."""
        found = {}
        for entry in os.scandir(results + "/predicts/done"):
            with open(entry.path, encoding="utf-8") as file:
                slide = json.load(file)["summary"]
            found.setdefault(slide["width"] * slide["height"] / 1e6, []).append(slide["total_seconds"])
        (small, large), means = sorted(found), {mp: statistics.mean(times) for mp, times in found.items()}
        per_mp = (means[large] - means[small]) / (large - small)
        return seconds - sum(map(sum, found.values())), max(0.0, means[small] - per_mp * small), per_mp

    def merge(self, results, n_slides):
        """Seconds for joining many records: those of one slide under many names, its files by hard links."""
        source = json.load(open(next(os.scandir(results + "/predicts/done")).path, encoding="utf-8"))
        own, out = source["summary"]["id"], self.path("many")
        text = json.dumps(source)
        os.makedirs(out + "/predicts/done")
        for number in range(n_slides):
            name = "slide%06d" % number
            with open("%s/predicts/done/%s.json" % (out, name), "w", encoding="utf-8") as file:
                file.write(text.replace(own, name))
            for output in source["outputs"]:
                target = os.path.join(out, output["path"].replace(own, name))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(os.path.join(results, output["path"]), target)
        manifest = self.manifest("many.csv", ["slide%06d.tiff" % number for number in range(n_slides)])
        log = self.path("strace.txt")
        words = [self.program("merge"), "--manifest", manifest, "--out", out, "--threads", "1", "--quiet"]
        begin = time.monotonic()
        run(*words)
        seconds = time.monotonic() - begin
        run("strace", "-f", "-c", "-e", "trace=file", "-o", log, *words)
        with open(log, encoding="utf-8") as file:
            calls = int(re.search(r"(\d+)\s+(?:\d+\s+)?total", file.read())[1])
        return seconds, calls


def check_division(bench, results, n_parts):
    """Our division is that of the executable: the slides of each part are in its file."""
    parts = divide([os.path.getsize(slide) for slide in bench.slides], n_parts)
    for number, part in enumerate(parts):
        with open("%s/predicts/parts/%d-of-%d.json" % (results, number, n_parts), encoding="utf-8") as file:
            theirs = [slide["id"] for slide in json.load(file)["slides"]]
        ours = [os.path.splitext(os.path.basename(bench.slides[place]))[0] for place in part]
        if ours != theirs:
            raise SystemExit("part %d of %d: we say %s, hubmap-infer %s" % (number, n_parts, ours, theirs))


def makespan(parts, seconds, start, speeds):
    """Seconds until the last part is done; a node takes the next part when it has done one."""
    nodes = [(0.0, node) for node in range(len(speeds))]
    for part in parts:
        free, node = heapq.heappop(nodes)
        heapq.heappush(nodes, (free + speeds[node] * (start + sum(seconds[place] for place in part)), node))
    return max(free for free, _ in nodes)


def simulate(costs):
    draw = random.Random(SEED)
    mp = [MEDIAN_MP * draw.lognormvariate(0, SIGMA_MP) for _ in range(N_SLIDES)]
    sizes = [int(n * 1e6 * MEDIAN_BYTES_PER_PX * draw.lognormvariate(0, SIGMA_BYTES)) for n in mp]
    speeds = [draw.lognormvariate(0, SIGMA_NODE) for _ in range(N_NODES)]
    n_read, n_all = sum(sizes), sum(costs["bytes_per_mp"] * n for n in mp)
    n_small = sum(costs["small_bytes_per_mp"] * n for n in mp)
    print("\n%d slides: %.0f MP at the median, %.0f at most, %.1f TP in all" % (N_SLIDES, statistics.median(mp), max(mp), sum(mp) / 1e6))
    print("read %.1f TB; written %.1f TB with every output, %.1f TB with %s" % (n_read / 1e12, n_all / 1e12, n_small / 1e12, SMALL))
    for name, per_mp in NODES.items():
        seconds = [costs["open"] + per_mp * n for n in mp]
        best = sum(seconds) / sum(1 / speed for speed in speeds)
        print("\nnodes of %s: %.2f s/MP, %d of them, best possible %.2f h" % (name, per_mp, N_NODES, best / 3600))
        print("%8s %18s %18s %18s %12s" % ("parts", "by size", "list[i::n]", "one node at half", "sizes asked"))
        for n_parts in (N_NODES, 4 * N_NODES, 10 * N_NODES):
            by_size, dealt = divide(sizes, n_parts), [range(part, N_SLIDES, n_parts) for part in range(n_parts)]
            slow = [speeds[0] * SLOW, *speeds[1:]]
            spans = [makespan(by_size, seconds, costs["start"], speeds), makespan(dealt, seconds, costs["start"], speeds)]
            spans.append(makespan(by_size, seconds, costs["start"], slow))
            # Every part asks for the size of every slide, unless the list has a column `bytes`.
            n_stats = n_parts * N_SLIDES
            words = ["%.2f h (+%.0f %%)" % (span / 3600, 100 * (span / best - 1)) for span in spans]
            print("%8d %18s %18s %18s %10.1f M" % (n_parts, *words, n_stats / 1e6))
            if n_parts == N_NODES:
                steady = spans[0]
        calls = N_SLIDES * costs["metadata"]
        rates = [calls / steady, n_read / steady / 1e9, n_all / steady / 1e9, n_small / steady / 1e9]
        print("while it runs: %.1f metadata calls/s, reads %.2f GB/s, writes %.2f GB/s (%.2f with fewer outputs)" % tuple(rates))
        print("of what the file system does: %.2f %% of the calls, %.0f %% of the bytes (%.0f %% with fewer outputs)" % (
            100 * rates[0] / FS_CALLS, 100e9 * (rates[1] + rates[2]) / FS_BYTES, 100e9 * (rates[1] + rates[3]) / FS_BYTES))
    for n_parts in (N_NODES, 10 * N_NODES):
        print("start of %d parts: %.0f s of metadata server for the sizes; none if the list states them" % (n_parts, n_parts * N_SLIDES / FS_CALLS))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binaries")
    arguments.add_argument("weights")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="hubmap-scaling-") as folder:
        bench = Bench(os.path.abspath(given.binaries), os.path.abspath(given.weights), folder)
        n_slides = len(bench.slides)
        times = {1: [], 2: []}
        for number in range(N_ROUNDS):
            for n_parts, found in times.items():
                seconds, results = bench.processes(n_parts, "%d-%d" % (n_parts, number))
                found.append(seconds)
                if n_parts == 1 and seconds == min(found):
                    start, open_slide, per_mp = bench.fit(results, seconds)
                check_division(bench, results, n_parts)
        for n_parts, found in times.items():
            rounds = ", ".join("%.1f" % seconds for seconds in found)
            print("%d processes of one thread: %.1f slides/min (best of %s s)" % (n_parts, 60 * n_slides / min(found), rounds))
        print("two against one: %.2f" % (min(times[1]) / min(times[2])))

        mp = max(bench.mp)
        every, first = bench.per_slide()
        small, _ = bench.per_slide("--write", SMALL)
        for what, found in (("every output", every), (SMALL, small)):
            words = "a slide of %.1f MP, %s: %.0f metadata calls, %.0f reads, %.0f writes, %.1f MB left"
            print(words % (mp, what, found["metadata"], found["reads"], found["writes"], found["bytes"] / 1e6))
        print("asked by every part, for each slide of the list: %.2f calls; %.2f if the list states sizes" % tuple(bench.asked()))
        n_calls = first["metadata"] - every["metadata"]
        words = "start %.2f s and %d metadata calls; %.2f s for each slide; %.3f s/MP on one thread, with these small weights"
        print(words % (start, n_calls, open_slide, per_mp))
        seconds, calls = bench.merge(results, N_SLIDES)
        print("joining %d records: %.1f s, %d calls about files" % (N_SLIDES, seconds, calls))
        costs = {"start": start, "open": open_slide, "metadata": every["metadata"]}
        costs |= {"bytes_per_mp": every["bytes"] / mp, "small_bytes_per_mp": small["bytes"] / mp}
    simulate(costs)


if __name__ == "__main__":
    main()
