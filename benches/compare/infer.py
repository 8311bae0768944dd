#!/usr/bin/env python3
"""Inference of whole slides, hubmap-infer against PyTorch, OpenCV and rasterio, in one run, results compared.

    compare/infer.py --weights W.safetensors [--weights …] --encoder regnety_016 [--decoder unet] [--tta d4]
                     [--device tch:cuda:0] [--set infer.batch=2 …] [--repeat 1] [--threads 2] [--json FILE] SLIDE.tiff …

Needs torch, segmentation_models_pytorch, opencv-python-headless, rasterio and safetensors, and the executable that
`cargo build --release --bin hubmap-infer` makes. Weights are files of segmentation_models_pytorch; several are folds.
The rival does what the original does, block by block: boundless read, area reduction by 3, normalisation, every fold and
every view, mean of logits, sigmoid, bilinear enlargement, float16; then threshold, run lengths and a Deflate mask.
Both sides write probabilities (npy), mask and run lengths. The sides alternate, each in a process of its own; the best time
of each counts. Then the maps are compared: mean and largest difference of probabilities, and Dice of the masks.
JPEG with reduced chroma is decoded by hubmap as by libjpeg-turbo; the wheels of rasterio bring IJG's libjpeg 9, which enlarges
chroma in another way, so that such slides differ before any network sees them.
With --device tch:cuda:0 both sides compute on the graphics card, the rival one view at a time, as on the CPU, or with --views
all views of a tile as one batch; build the executable with --features tch.
"""
import argparse
import csv
import json
import os
import sys
import tempfile
import time
import warnings

import harness

OURS = harness.executable("hubmap-infer")
DECODERS = {"unet": "Unet", "unetplusplus": "UnetPlusPlus"}
MEAN, STD = [0.6226, 0.4284, 0.6705], [0.1246, 0.1719, 0.0956]
SCALE, BLOCK, CONTEXT, THRESHOLD = 3, 1024, 256, 0.5
csv.field_size_limit(sys.maxsize)


def place(args):
    return "cuda" if args.device and "cuda" in args.device else "cpu"


def networks(args):
    import segmentation_models_pytorch as smp
    from safetensors.torch import load_file

    models = []
    for path in args.weights:
        attention = "scse" if args.attention == "scse" else None
        network = getattr(smp, DECODERS[args.decoder])
        model = network("timm-" + args.encoder, encoder_weights=None, decoder_attention_type=attention)
        state = load_file(path)
        model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
        models.append(model.eval().to(place(args)))
    return models


def run_torch(args):
    """Predicts args.slides[0] into args.out; prints seconds per phase."""
    warnings.filterwarnings("ignore")
    import cv2
    import numpy as np
    import rasterio
    import torch

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    start = time.perf_counter()
    seconds = {"read": 0.0, "prepare": 0.0, "network": 0.0, "merge": 0.0}
    models = networks(args)
    seconds["load"] = time.perf_counter() - start
    source = rasterio.open(args.slides[0])
    parts = [rasterio.open(name) for name in source.subdatasets] or [source]
    height, width = parts[0].shape
    scale = (1.0 / (np.array(STD) * 255.0)).astype(np.float32)
    shift = (np.array(MEAN) * 255.0).astype(np.float32)
    angles = {"none": [0], "d4": [0, 1, 2, 3], "kaggle": [0, 1]}[args.tta]
    views = [(flip, turns) for flip in ([False] if args.tta == "none" else [False, True]) for turns in angles]
    block, context = BLOCK * SCALE, CONTEXT * SCALE
    side = block + 2 * context
    shape = (1, height, width)
    probabilities = np.lib.format.open_memmap(os.path.join(args.out, "map.npy"), "w+", np.float16, shape)
    for x in range(0, width, block):
        for y in range(0, height, block):
            t = [time.perf_counter()]
            window = ((y - context, y - context + side), (x - context, x - context + side))
            pixels = np.concatenate([part.read(window=window, boundless=True) for part in parts])[:3]
            t.append(time.perf_counter())
            pixels = cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), (side // SCALE,) * 2, interpolation=cv2.INTER_AREA)
            tile = torch.from_numpy(np.ascontiguousarray(((pixels.astype(np.float32) - shift) * scale).transpose(2, 0, 1)))[None].to(place(args))
            t.append(time.perf_counter())
            with torch.no_grad():
                total = 0
                seen = [torch.rot90(tile.flip(3) if flip else tile, turns, (2, 3)) for flip, turns in views]
                # On the CPU a batch is slower than its images one by one.
                batches = [torch.cat(seen)] if args.views else seen
                means = torch.cat([torch.stack([model(batch) for model in models]).mean(0) for batch in batches])
                for (flip, turns), mean in zip(views, means.split(1)):
                    logits = torch.rot90(mean, -turns % 4, (2, 3))
                    total = total + (logits.flip(3) if flip else logits)
                t.append(time.perf_counter())
                large = torch.nn.functional.interpolate(torch.sigmoid(total / len(views)), scale_factor=SCALE, mode="bilinear", align_corners=False)
            large = large[0].cpu().numpy().astype(np.float16)
            h, w = min(block, height - y), min(block, width - x)
            probabilities[:, y:y + h, x:x + w] = large[:, context:context + h, context:context + w]
            t.append(time.perf_counter())
            for phase, a, b in zip(["read", "prepare", "network", "merge"], t, t[1:]):
                seconds[phase] += b - a
    t = time.perf_counter()
    mask = np.asarray(probabilities[0]) > np.float16(THRESHOLD)
    pixels = mask.T.reshape(-1).astype(np.int8)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], pixels, [0]]))) + 1
    changes[1::2] -= changes[::2]
    with open(os.path.join(args.out, "map.csv"), "w", newline="") as file:
        csv.writer(file).writerows([["id", "predicted"], ["map", " ".join(map(str, changes.tolist()))]])
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(os.path.join(args.out, "map.tiff"), "w", tiled=True, blockxsize=512, blockysize=512, **profile) as out:
        out.write(mask.astype(np.uint8) * 255, 1)
    probabilities.flush()
    seconds["outputs"] = time.perf_counter() - t
    seconds["total"] = time.perf_counter() - start
    print(json.dumps(seconds))


def ours(args, slide, out):
    """A run folder of the weights as folds, predicted."""
    model = args.weights[0]
    if len(args.weights) > 1:
        model = os.path.join(out, "run")
        for i, path in enumerate(args.weights):
            folder = os.path.join(model, "fold_%d" % i, "models")
            os.makedirs(folder)
            os.symlink(os.path.abspath(path), os.path.join(folder, "e0_t1_raw_0.5000.safetensors"))
        with open(os.path.join(model, "config.toml"), "w") as file:
            settings = (args.encoder, args.decoder, args.attention)
            file.write('[model]\nencoder = "%s"\ndecoder = "%s"\nattention = "%s"\n' % settings)
    command = [OURS, "--model", model, "--slides", slide, "--out", os.path.join(out, "ours"), "--quiet", "--json"]
    command += ["--set", "infer.tta=" + args.tta, "--threads", str(args.threads)]
    command += ["--device", args.device] if args.device else []
    command += [part for setting in args.set for part in ("--set", setting)]
    text, seconds, peak = harness.measure(command)
    return {"seconds": seconds, "peak_mb": peak, "phases": json.loads(text)["slides"][0]["seconds"]}


def rival(args, slide, out):
    command = [sys.executable, "-W", "ignore", os.path.abspath(__file__), "--run-torch", "--out", out, "--tta", args.tta]
    command += ["--encoder", args.encoder, "--decoder", args.decoder, "--attention", args.attention]
    command += ["--device", args.device] if args.device else []
    command += ["--views"] if args.views else []
    command += ["--threads", str(args.threads), *[part for path in args.weights for part in ("--weights", path)], slide]
    text, seconds, peak = harness.measure(command)
    return {"seconds": seconds, "peak_mb": peak, "phases": json.loads(text.splitlines()[-1])}


def compare(ours_path, rival_path):
    import numpy as np

    found, expected = np.load(ours_path, mmap_mode="r")[0], np.load(rival_path, mmap_mode="r")[0]
    assert found.shape == expected.shape, (found.shape, expected.shape)
    total, largest, both, sizes = 0.0, 0.0, 0, 0
    for y in range(0, found.shape[0], 1024):
        a, b = (np.asarray(part[y:y + 1024]) for part in (found, expected))
        difference = np.abs(a.astype(np.float32) - b.astype(np.float32))
        total, largest = total + float(difference.sum(dtype=np.float64)), max(largest, float(difference.max()))
        a, b = a > np.float16(THRESHOLD), b > np.float16(THRESHOLD)
        both, sizes = both + int((a & b).sum()), sizes + int(a.sum()) + int(b.sum())
    return {"mean_difference": total / found.size, "largest_difference": largest, "dice": 2 * both / sizes if sizes else 1.0, "positive": sizes / 2 / found.size}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="append", required=True)
    parser.add_argument("--encoder", default="regnety_016")
    parser.add_argument("--decoder", default="unet", choices=list(DECODERS))
    parser.add_argument("--attention", default="none", choices=["none", "scse"])
    parser.add_argument("--tta", default="d4", choices=["none", "d4", "kaggle"])
    parser.add_argument("--set", action="append", default=[], help="a setting of hubmap-infer that does not change what it computes")
    parser.add_argument("--device", help="where both sides compute: flex (the default), tch:cpu, tch:cuda:0")
    parser.add_argument("--views", action="store_true", help="the rival takes all views of a tile as one batch")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--run-torch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("slides", nargs="+", metavar="SLIDE.tiff")
    args = parser.parse_args()
    if args.run_torch:
        run_torch(args)
        return
    results = {}
    for slide in args.slides:
        best = {}
        for _ in range(args.repeat):
            for name, side in [("ours", ours), ("rival", rival)]:
                with tempfile.TemporaryDirectory() as out:
                    found = side(args, slide, out)
                    if name == "ours":
                        kept = tempfile.TemporaryDirectory()
                        stem = os.path.splitext(os.path.basename(slide))[0]
                        os.rename(os.path.join(out, "ours", "predicts", "raw", stem + ".npy"), os.path.join(kept.name, "map.npy"))
                    else:
                        difference = compare(os.path.join(kept.name, "map.npy"), os.path.join(out, "map.npy"))
                        kept.cleanup()
                if name not in best or found["seconds"] < best[name]["seconds"]:
                    best[name] = found
        ratio = best["rival"]["seconds"] / best["ours"]["seconds"]
        results[slide] = {**best, **difference, "ratio": ratio}
        print("%s, %s with %s, %d fold(s), tta %s, %d threads" % (slide, args.decoder, args.encoder, len(args.weights), args.tta, args.threads))
        for name, found in best.items():
            phases = ", ".join("%s %.1f" % pair for pair in found["phases"].items())
            print("  %-6s %8.1f s, peak %5.0f MB  (%s)" % (name, found["seconds"], found["peak_mb"], phases))
        print("  %.2fx as fast; probabilities differ by %.2e on average and %.2e at most; Dice of the masks %.6f at %.1f %% positive" % (
            ratio, difference["mean_difference"], difference["largest_difference"], difference["dice"], 100 * difference["positive"]))
    harness.keep(args.json, {"cpus": os.cpu_count(), "settings": vars(args), "results": results})


if __name__ == "__main__":
    main()
