#!/usr/bin/env python3
"""Forward passes of whole networks, hubmap against PyTorch, in one run; prints seconds, ratios and memory.

    compare/forward.py [--models unet-regnety_016,...] [--side 512] [--batches 1,4] [--threads 2] [--rounds 3] [--json FILE]
                       [--device tch:cuda:0]

Needs torch, segmentation_models_pytorch and timm (`pip install torch==2.9.1 segmentation_models_pytorch==0.6.0`), and
the executable that `cargo build --release -p hubmap-benches --features networks` makes.

The sides take turns, `--rounds` times each; every turn is a process of its own that makes the network with random
weights, warms up and times several passes. The best pass of all turns counts, because other users of a machine only ever
make a pass slower. `torch` is eager fp32 under inference_mode with tensors as they come, `torch channels_last` in that
memory format; `ours` is the inference form, `training form` the same network on Burn's flex backend.
Memory is the largest resident size of a process. With --device, both sides take images from host memory to the device and
bring logits back, and there are neither a training form nor a limit; build the executable with --features tch.

`limit` is the time that the products of the convolutions as the network defines them take at the rate that the same threads
reach when they multiply and add in registers and do nothing else. Upsampled pixels are counted four times there, although
a kernel need not multiply them four times, so a time below the limit is possible.
"""
import argparse
import json
import os
import subprocess
import sys

import harness

OURS = harness.executable("forward")
SIDES = ("ours", "training form", "torch", "torch channels_last")


def torch_side(name, side, batch, threads, repeats, channels_last, device):
    """Runs in a process of its own; prints one line of JSON."""
    import resource
    import time

    import segmentation_models_pytorch as smp
    import torch

    torch.set_num_threads(threads)
    parts = name.split("-")
    make = {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus}[parts[0]]
    attention = parts[2] if len(parts) > 2 else None
    model = make("tu-" + parts[1], encoder_weights=None, decoder_attention_type=attention).eval().to(device)
    image = torch.rand(batch, 3, side, side)
    if channels_last:
        model, image = (x.to(memory_format=torch.channels_last) for x in (model, image))

    def forward():
        return model(image) if device == "cpu" else model(image.to(device)).cpu()

    products = 0

    def count(layer, _, output):
        nonlocal products
        products += output.numel() // batch * layer.weight[0].numel()

    with torch.inference_mode():
        hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        forward()
        for hook in hooks:
            hook.remove()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            forward()
            seconds.append(time.perf_counter() - start)
    seconds.sort()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"best_s": seconds[0], "median_s": seconds[len(seconds) // 2], "max_rss_mb": rss, "products": products}))


def turn(who, name, side, batch, threads, repeats, device):
    sizes = [str(x) for x in (side, batch, threads, repeats)]
    if who.startswith("torch"):
        place = "cuda" if device and "cuda" in device else "cpu"
        command = [sys.executable, os.path.abspath(__file__), "--torch", name, *sizes, who, place]
    else:
        command = [OURS, name, *sizes, device or ("cpu" if who == "ours" else "burn")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--torch":
        name, side, batch, threads, repeats, who, place = sys.argv[2:]
        torch_side(name, int(side), int(batch), int(threads), int(repeats), who.endswith("last"), place)
        return
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--models", default="unet-regnety_016,unetplusplus-regnety_016,unet-regnetx_032")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batches", default="1,4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=6, help="passes of each turn")
    parser.add_argument("--device", help="where both sides compute, such as tch:cuda:0; without it, on the CPU")
    parser.add_argument("--json", help="write all figures to this file")
    args = parser.parse_args()
    sides = [who for who in SIDES if not (args.device and who == "training form")]
    results = []
    for name in args.models.split(","):
        for batch in map(int, args.batches.split(",")):
            best = {}
            for _ in range(args.rounds):
                for who in sides:
                    found = turn(who, name, args.side, batch, args.threads, args.repeats, args.device)
                    kept = best.setdefault(who, found)
                    kept["best_s"] = min(kept["best_s"], found["best_s"])
                    kept["max_rss_mb"] = min(kept["max_rss_mb"], found["max_rss_mb"])
                    if "peak_gflops" in found:
                        kept["peak_gflops"] = max(kept["peak_gflops"], found["peak_gflops"])
            limit = 2 * best["torch"]["products"] * batch / best["ours"]["peak_gflops"] / 1e9
            if args.device:
                limit = None
            results.append({"model": name, "device": args.device, "side": args.side, "batch": batch, "threads": args.threads, "limit_s": limit, "sides": best})
            place = f"{args.threads} threads; limit {limit:.3f} s" if limit else args.device
            print(f"{name}, batch {batch}, {args.side} px, {place}", flush=True)
            for who in sides:
                side = best[who]
                of_limit = f"{side['best_s'] / limit:.2f} of the limit   " if limit else ""
                print(f"  {who:20} {side['best_s']:.4f} s   {side['best_s'] / best['torch']['best_s']:.2f} of torch   "
                      f"{of_limit}{side['max_rss_mb']} MB", flush=True)
    harness.keep(args.json, results)


if __name__ == "__main__":
    main()
