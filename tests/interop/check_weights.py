#!/usr/bin/env python3
"""Has hubmap-convert read checkpoints that torch wrote, and torch, SMP and timm load what it makes of them.

    cargo test --workspace --no-run
    tests/interop/check_weights.py [--convert target/debug/hubmap-convert] [--encoder regnety_006]

Needs torch, segmentation_models_pytorch 0.4 or later, timm and safetensors. Networks have random weights and running
statistics. Each is saved as training programs do it: under `model_state` beside the state of AdamW, bare, from data
parallelism, from a GPU, in the naming of SMP 0.3, in the containers of before and since PyTorch 1.6, as safetensors.
What hubmap-convert writes must load with strict=True and hold the same numbers, bit for bit.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
NETWORKS = [
    ("Unet", "regnety_002", None),
    ("Unet", "regnetx_002", None),
    ("Unet", "regnety_002", "scse"),
    ("UnetPlusPlus", "regnety_002", None),
    ("UnetPlusPlus", "regnetx_004", "scse"),
]


class CudaTag:
    """While active, torch.save labels every storage cuda:0, as a program on a GPU does."""

    def __enter__(self):
        self.saved = list(torch.serialization._package_registry)
        torch.serialization.register_package(0, lambda storage: "cuda:0", lambda storage, location: None)

    def __exit__(self, *_):
        torch.serialization._package_registry[:] = self.saved


def randomise(model):
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.uniform_(-1, 1)
        else:
            tensor.fill_(17)
    return model


def train_one_step(model):
    """The state of AdamW after a step."""
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer.step()
    return optimizer.state_dict()


def save_flavours(model, folder):
    """Paths of the same weights in every flavour."""
    optimizer_state = train_one_step(model)
    state = model.state_dict()
    old = {k.replace("encoder.model.", "encoder.", 1): v for k, v in state.items()}
    parallel = {"module." + k: v for k, v in state.items()}

    def checkpoint(weights):
        return {"epoch": 3, "loss": torch.tensor(0.5), "model_state": weights, "opt_state": optimizer_state}

    def path(name):
        return os.path.join(folder, name)

    torch.save(checkpoint(state), path("checkpoint.pth"))
    torch.save(state, path("bare.pt"))
    torch.save(checkpoint(old), path("old_legacy.pth"), _use_new_zipfile_serialization=False)
    torch.save(checkpoint(state), path("protocol4.pth"), pickle_protocol=4)
    torch.save({"state_dict": {"model." + k: v for k, v in state.items()}}, path("lightning.ckpt"))
    with CudaTag():
        torch.save(checkpoint(parallel), path("parallel_cuda.pth"))
        torch.save(parallel, path("parallel_cuda_legacy.pth"), _use_new_zipfile_serialization=False)
    save_file(state, path("input.safetensors"))
    save_file({k: v for k, v in old.items() if not k.endswith("num_batches_tracked")}, path("old.safetensors"))
    return [path(name) for name in sorted(os.listdir(folder))]


def convert(program, path, output):
    subprocess.run([program, "weights", path, output, "--quiet"], check=True)


def check_same(path, expected, found):
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, found[name]), "%s: %s has other values" % (path, name)


def check_network(program, decoder, encoder, attention):
    make = getattr(smp, decoder)
    settings = {"encoder_name": "tu-" + encoder, "encoder_weights": None, "decoder_attention_type": attention}
    model = randomise(make(**settings))
    n_parameters = sum(p.numel() for p in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        paths = save_flavours(model, folder)
        for path in paths:
            report = json.loads(subprocess.check_output([program, "weights", path, "--json"]))
            expected = {"encoder": encoder, "decoder": decoder.lower(), "attention": attention or "none"}
            assert report["network"] == expected, "%s: %s" % (path, report["network"])
            assert report["n_parameters"] == n_parameters, path
            output = os.path.join(folder, "output.safetensors")
            convert(program, path, output)
            found = load_file(output)
            make(**settings).load_state_dict(found, strict=True)
            check_same(path, model.state_dict(), found)
            os.remove(output)
    print("%-12s %-12s %-5s %d files" % (decoder, encoder, attention or "", len(paths)))


def check_encoder(program, encoder):
    classifier = randomise(timm.create_model(encoder))
    with tempfile.TemporaryDirectory() as folder:
        path, output = os.path.join(folder, "timm.pth"), os.path.join(folder, "encoder.safetensors")
        for state in (classifier.state_dict(), {"model_state": classifier.state_dict()}):
            torch.save(state, path)
            convert(program, path, output)
            found = load_file(output)
            timm.create_model(encoder, num_classes=0).load_state_dict(found, strict=True)
            weights = {k: v for k, v in classifier.state_dict().items() if not k.startswith("head.")}
            check_same(path, weights, found)
    print("timm         %-12s with and without model_state" % encoder)


def check_names(program):
    """torch.save puts the file's name into the archive; readers have stumbled over single lengths of it."""
    with tempfile.TemporaryDirectory() as folder:
        for length in range(1, 100):
            path = os.path.join(folder, "n" * length + ".pth")
            torch.save({"stem.conv.weight": torch.zeros(1)}, path)
            subprocess.run([program, "weights", path], check=True, stdout=subprocess.DEVNULL)
    print("files with names of 1 to 99 letters")


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--convert", default=os.path.join(root, "target", "debug", "hubmap-convert"))
    parser.add_argument("--encoder", help="only this one, under a Unet and alone")
    args = parser.parse_args()
    if not os.path.exists(args.convert):
        sys.exit("%s is not built: cargo test --workspace --no-run" % args.convert)
    torch.manual_seed(7)
    networks = [("Unet", args.encoder, None)] if args.encoder else NETWORKS
    check_names(args.convert)
    for network in networks:
        check_network(args.convert, *network)
    for encoder in sorted({encoder for _, encoder, _ in networks}):
        check_encoder(args.convert, encoder)


if __name__ == "__main__":
    main()
