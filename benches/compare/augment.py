#!/usr/bin/env python3
"""Augmentation on one thread, hubmap-data against albumentations, in one run; prints samples/s, milliseconds and ratios.

    compare/augment.py [--n 200] [--repeat 3] [--json FILE]

Needs numpy, opencv-python-headless and albumentations 2.0.8, and the executable that
`cargo build --release -p hubmap-benches --bin augment` makes.
Both sides turn tiles of 1024 x 1024 px, in memory, into planes of floats of 512 x 512 px: image (3, 512, 512), normalised,
and mask (1, 512, 512). `light_scale` is the training transform of the winning solution, as our base config has it and
as albumentations users write it: the nearest steps of 2.0.8 with the probabilities of 0.5.2, and a step of their own
for the two gammas. Below it the steps one by one, on 512 px. OpenCV and we run on one thread.

For each repeat the sides alternate, and the best time of each counts.
"""
import argparse
import os
import random
import time

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2
import numpy as np

import harness

OURS = harness.executable("augment")
MEAN, STD = [0.6226, 0.4284, 0.6705], [0.1246, 0.1719, 0.0956]
CROP = 512


class GammaPair(A.ImageOnlyTransform):
    """Gamma 2.5 for pixels darker than mean - 0.8 std, 4 elsewhere."""

    def apply(self, img, **params):
        tables = [(255 * (np.arange(256) / 255) ** (1 / gamma)).astype(np.uint8) for gamma in (2.5, 4.0)]
        dark = img.mean(2) < img.mean() - 0.8 * img.std()
        out = cv2.LUT(img, tables[1])
        out[dark] = cv2.LUT(img, tables[0])[dark]
        return out


def both_flips():
    return A.Compose([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)])


def transforms():
    crop = A.OneOf([A.CenterCrop(CROP, CROP, p=0.2), A.RandomCrop(CROP, CROP, p=0.8)], p=1)
    flip = A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1), both_flips()], p=0.5)
    colors = [A.HueSaturationValue(10, 15, 10), A.CLAHE(clip_limit=4), A.RandomBrightnessContrast(0.4, 0.4), A.ChannelShuffle()]
    holes = [
        A.CoarseDropout((24, 24), (64, 64), (64, 64), fill=0, p=0.3),
        A.GridDropout(0.5, fill=230, random_offset=True, p=0.3),
        A.CoarseDropout((1, 24), (16, 64), (16, 64), fill=220, p=0.4),
    ]
    group = A.Compose(
        [
            A.ShiftScaleRotate(0.1, 0.2, 45, border_mode=cv2.BORDER_REFLECT_101, p=0.2),
            GammaPair(p=0.1),
            A.OneOf(colors, p=0.3),
            A.OneOf(holes, p=0.1),
            A.GaussianBlur((3, 9), sigma_limit=0, p=0.2),
        ],
        p=0.4,
    )
    normalize = A.Normalize(mean=MEAN, std=STD)
    return {
        "light_scale": A.Compose([crop, flip, A.RandomRotate90(), group, normalize]),
        "geometric": A.Compose([crop, flip, A.RandomRotate90(), normalize]),
        "val": A.Compose([A.CenterCrop(CROP, CROP), normalize]),
    }


def steps():
    return {
        "flip": A.HorizontalFlip(p=1),
        "quarter_turn": A.RandomRotate90(p=1),
        "shift_scale_rotate": A.ShiftScaleRotate(0.1, 0.2, 45, border_mode=cv2.BORDER_REFLECT_101, p=1),
        "gamma_pair": GammaPair(p=1),
        "hue_saturation_value": A.HueSaturationValue(10, 15, 10, p=1),
        "clahe": A.CLAHE(clip_limit=4, p=1),
        "brightness_contrast": A.RandomBrightnessContrast(0.4, 0.4, p=1),
        "channel_shuffle": A.ChannelShuffle(p=1),
        "grid_dropout": A.GridDropout(0.5, fill=230, random_offset=True, p=1),
        "gaussian_blur": A.GaussianBlur((7, 7), sigma_limit=0, p=1),
        "normalize": A.Normalize(mean=MEAN, std=STD),
    }


def their_seconds(tiles, mask, n_samples):
    """A name and the seconds of one sample, for everything."""
    seconds = {}
    for name, transform in transforms().items():
        start = time.perf_counter()
        for i in range(n_samples):
            out = transform(image=tiles[i % len(tiles)], mask=mask)
            image = np.ascontiguousarray(out["image"].transpose(2, 0, 1))
            assert image.shape == (3, CROP, CROP) and out["mask"][None].shape == (1, CROP, CROP)
        seconds[name] = (time.perf_counter() - start) / n_samples
    crop, crop_mask = np.ascontiguousarray(tiles[0][:CROP, :CROP]), np.ascontiguousarray(mask[:CROP, :CROP])
    for name, step in steps().items():
        step = A.Compose([step])
        step(image=crop, mask=crop_mask)
        start = time.perf_counter()
        for _ in range(20):
            step(image=crop, mask=crop_mask)
        seconds[name] = (time.perf_counter() - start) / 20
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    random.seed(0)
    noise = np.random.RandomState(0)
    tiles = [cv2.GaussianBlur(noise.randint(0, 256, (1024, 1024, 3)).astype(np.uint8), (0, 0), 2) for _ in range(8)]
    mask = np.zeros((1024, 1024), np.float32)
    cv2.circle(mask, (512, 512), 200, 1.0, -1)

    best = {"albumentations": {}, "hubmap": {}}
    for _ in range(args.repeat):
        for side, seconds in (("albumentations", their_seconds(tiles, mask, args.n)), ("hubmap", harness.seconds_by_name([OURS, str(args.n), "1"]))):
            for name, value in seconds.items():
                best[side][name] = min(value, best[side].get(name, value))

    theirs, ours = best["albumentations"], best["hubmap"]
    print("albumentations %s, OpenCV %s; one thread" % (A.__version__, cv2.__version__))
    print("%-22s %16s %16s %8s" % ("", "albumentations", "hubmap-data", "ratio"))
    for name in theirs:
        unit = "%9.1f /s" % (1 / theirs[name]) if name in transforms() else "%9.3f ms" % (1e3 * theirs[name])
        our_unit = "%9.1f /s" % (1 / ours[name]) if name in transforms() else "%9.3f ms" % (1e3 * ours[name])
        print("%-22s %16s %16s %7.1fx" % (name, unit, our_unit, theirs[name] / ours[name]))
    for name in ours:
        if name not in theirs:
            print("%-22s %16s %13.1f /s" % (name, "", 1 / ours[name]))
    harness.keep(args.json, {"albumentations": A.__version__, "cv2": cv2.__version__, "seconds": best})


if __name__ == "__main__":
    main()
