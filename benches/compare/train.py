#!/usr/bin/env python3
"""Times a training step of hubmap-train and of PyTorch in one run; prints seconds per phase and their ratio.

    compare/train.py [--encoder regnety_016] [--decoder unet] [--device flex] [--batch 4] [--side 256] [--steps 8]
                     [--threads 2] [--rounds 2] [--json FILE]

Needs torch and segmentation_models_pytorch, and the executable that `cargo build --release -p hubmap-benches --features networks` makes
(`--features tch` for the devices of LibTorch, see docs/devices.md). On CUDA both sides also run with mixed precision: ours in bf16, the rival in f16 as its autocast does.
Both train the same network in single precision on one batch that stays the same: forward with BCE and Dice loss,
backward, AdamW with amsgrad and two parameter groups, moving average of weights and running statistics. The sides
alternate, each in a process of its own; the best and the median over all steps of the rounds count.
"""
import argparse
import json
import os
import statistics
import sys
import time

import harness

OURS = harness.executable("train-step")
PHASES = ["forward", "backward", "optimizer", "ema", "step"]
DECODERS = {"unet": "Unet", "unetplusplus": "UnetPlusPlus"}
WARM_UP = 2


def dice_loss(torch, logits, target):
    probability = torch.nn.functional.logsigmoid(logits).exp()
    score = 2 * (probability * target).sum() / (probability + target).sum().clamp_min(1e-7)
    return (1 - score) * (target.sum() > 0).to(logits.dtype)


def run_torch(args, amp):
    import segmentation_models_pytorch as smp
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    def build():
        # The name is that of timm's encoder in SMP since 0.4.
        network = getattr(smp, DECODERS[args.decoder])
        return network("timm-" + args.encoder, encoder_weights=None, in_channels=3, classes=1)

    device = "cuda" if "cuda" in args.device else "cpu"
    # What a user gets: TF32 is off for matrix products and on for convolutions.
    model, average = build().to(device).train(), build().to(device).eval()
    average.load_state_dict(model.state_dict())
    flat = [p for p in model.parameters() if p.ndim <= 1]
    others = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": others, "weight_decay": 1e-3}, {"params": flat, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, amsgrad=True)
    scaler = torch.amp.GradScaler(device, enabled=amp)
    images = torch.randn(args.batch, 3, args.side, args.side).to(device)
    row = torch.arange(args.side, dtype=torch.float64) - args.side / 2
    disc = (row[None] ** 2 + row[:, None] ** 2 < args.side**2 / 16).float()
    masks = disc.expand(args.batch, 1, -1, -1).contiguous().to(device)

    def finished():
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    seconds = {phase: [] for phase in PHASES}
    for step in range(args.steps + WARM_UP):
        times = [time.perf_counter()]
        with torch.autocast(device, torch.float16, enabled=amp):
            logits = model(images)
        logits = logits.float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks) + dice_loss(torch, logits, masks)
        loss.item()
        times.append(time.perf_counter())
        scaler.scale(loss).backward()
        times.append(finished())
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        times.append(finished())
        with torch.no_grad():
            for shadow, live in zip(average.state_dict().values(), model.state_dict().values()):
                shadow.copy_(0.995 * shadow + 0.005 * live)
        times.append(finished())
        if step >= WARM_UP:
            for phase, start, end in zip(PHASES, times, times[1:]):
                seconds[phase].append(end - start)
            seconds["step"].append(times[-1] - times[0])
    summary = {phase: {"best": min(all_), "median": statistics.median(all_)} for phase, all_ in seconds.items()}
    print(json.dumps({"seconds": summary, "torch": torch.__version__}))


def measure(name, args):
    """Runs one side in a process of its own: its JSON and its peak memory in MB."""
    settings = [args.encoder, args.decoder, args.device, str(args.batch), str(args.side), str(args.steps), str(args.threads)]
    if name.startswith("ours"):
        precision = "bf16" if name == "ours-bf16" else "f32"
        command = [OURS, *settings[:3], precision, *settings[3:]]
    else:
        keys = ["--encoder", "--decoder", "--device", "--batch", "--side", "--steps", "--threads"]
        pairs = [part for pair in zip(keys, settings) for part in pair]
        command = [sys.executable, "-W", "ignore", __file__, "--run", name, *pairs]
    out, _, peak_mb = harness.measure(command)
    return {**json.loads(out.splitlines()[-1]), "peak_mb": peak_mb}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="regnety_016")
    parser.add_argument("--decoder", default="unet", choices=list(DECODERS))
    parser.add_argument("--device", default="flex", help="ours: flex, tch:cpu or tch:cuda:0; torch runs on the CPU or on CUDA with it")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run_torch(args, amp=args.run == "torch-amp")
        return
    sides = ["ours", "torch"] + (["ours-bf16", "torch-amp"] if "cuda" in args.device else [])
    results = {}
    for _ in range(args.rounds):
        for name in sides:
            found = measure(name, args)
            kept = results.setdefault(name, found)
            kept["peak_mb"] = max(kept["peak_mb"], found["peak_mb"])
            for phase, times in kept["seconds"].items():
                for key in times:
                    times[key] = min(times[key], found["seconds"][phase][key])
    network = "%s with %s" % (args.decoder, args.encoder)
    where = "%s, %d threads" % (args.device, args.threads)
    print("%s, batch %d at %d px, %s, torch %s" % (network, args.batch, args.side, where, results["torch"]["torch"]))
    print("%-10s" % "seconds" + "".join("%22s" % (name + " best / median") for name in sides) + "  ours to torch, by precision")
    for phase in PHASES:
        found = [results[name]["seconds"][phase] for name in sides]
        cells = ["%12.4f / %7.4f" % (times["best"], times["median"]) for times in found]
        ratios = ["%.2fx" % (a["median"] / b["median"]) for a, b in zip(found[::2], found[1::2])]
        print("%-10s" % phase + "".join(cells) + "  " + "  ".join(ratios))
    print("%-10s" % "peak MB" + "".join("%22.0f" % results[name]["peak_mb"] for name in sides))
    harness.keep(args.json, {"cpus": os.cpu_count(), "settings": vars(args), "results": results})


if __name__ == "__main__":
    main()
