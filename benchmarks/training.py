"""How much of the bare model step does the training loop keep? Images/s of both, in one process, in turns.

    python benchmarks/training.py [--quick] [--json FILE]

The bare step is forward pass, backward pass and optimiser on one batch that lies on the device: what the hardware
allows this model. The loop reads prepared images, varies them, judges them at both levels, clips, steps and journals.
Both run in turns, and medians of the rounds are compared. On a CPU: the demo's transformer at 96 pixels. On a GPU also
ViT-B/16 and ViT-L/14 in bfloat16, with the share of the device's measured rate of matrix products.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import describe_machine

from geoindex.assembly import finetuning
from geoindex.demo import ENCODER
from geoindex.encoder import load_encoder
from geoindex.pipeline import read_samples
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, GeocellRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.training.fit import ImageFit

GPU_MODELS = {"ViT-B/16": "timm:vit_base_patch16_224/random", "ViT-L/14": "open_clip:ViT-L-14/random"}
MATRIX = {"cpu": 1536, "cuda": 8192}
TARGET = 0.9


def recipe_for(encoder: str, device: str, images: int, batch: int) -> Recipe:
    """Return a fit of one epoch over synthetic scenes."""
    size = 96 if encoder == ENCODER else 224
    return Recipe(
        source=f"synthetic:{images}?seed=0&size={size}",
        split_ratio=(1.0, 0.0, 0.0),
        encoder=encoder,
        encoding=EncoderRecipe(device=device, batch_size=batch),
        geocells=GeocellRecipe(min_cells=20, max_cells=200),
        training=TrainingRecipe(method="images", epochs=1000, alpha=0.0, places=batch, images=1, projection_rate=1.0),
        finetuning=FineTuningRecipe(weights="all", lr=1e-4),
    )


def open_fit(recipe: Recipe, folder: Path) -> ImageFit:
    """Return a fit whose images are prepared, before its first step."""
    source = open_source(recipe.source)
    samples, split, _ = read_samples(source, recipe)
    encoder = load_encoder(recipe.encoder, recipe.encoding)
    device = finetuning.training_device(encoder)
    reader = finetuning.image_reader(source, samples, encoder, recipe, folder, device)
    start = finetuning._start_features(reader, encoder, folder)
    job, _ = finetuning._job(reader, start, samples, split, encoder, recipe)
    return ImageFit(job, device, folder)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare_step(fit: ImageFit, batch: int) -> Callable[[], None]:
    """Return forward, backward and optimiser of the backbone alone, on one batch that lies on the device."""
    backbone, device = fit.learner.backbone.train(), fit.device
    size = fit.job.reader.prepared.preprocessing.size
    pixels = torch.randn(batch, 3, size, size, device=device)
    if device.type == "cuda":
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(backbone.parameters(), lr=1e-6)

    def step() -> None:
        with torch.autocast(device.type, fit.dtype, enabled=fit.dtype != torch.float32):
            outputs = backbone(pixels)
            pooled = outputs[0] if isinstance(outputs, tuple) else outputs
            loss = pooled.float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def per_second(step: Callable[[], Any], steps: int, batch: int, device: torch.device) -> float:
    """Return images/s of some steps."""
    wait_for(device)
    started = perf_counter()
    for _ in range(steps):
        step()
    wait_for(device)
    return steps * batch / (perf_counter() - started)


def loop_rate(fit: ImageFit, steps: int, batch: int) -> float:
    """Return images/s of the loop over some batches, as an epoch takes them."""
    order = fit._order()[:steps]
    left = [fit.job.gallery.rows[rows] for rows in order]
    wait_for(fit.device)
    started, images = perf_counter(), 0
    fit.model.train()
    for read in fit.job.reader.batches(left):
        fit._learn(read, len(order))
        fit._tell_step(None)
        images += len(read.rows)
    wait_for(fit.device)
    fit.position.epoch, fit.position.batch = fit.position.epoch + 1, 0
    return images / (perf_counter() - started)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return multiply-adds, counted twice, a second, of large matrix products."""
    size = MATRIX[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    rates = [per_second(lambda: a @ b, 3, 1, device) for _ in range(5)]
    return median(rates) * 2.0 * size**3


def flops_of(fit: ImageFit, batch: int) -> float:
    """Return floating point operations of forward and backward an image, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    size = fit.job.reader.prepared.preprocessing.size
    with FlopCounterMode(display=False) as counter:
        outputs = fit.learner.backbone(torch.randn(batch, 3, size, size, device=fit.device))
        (outputs[0] if isinstance(outputs, tuple) else outputs).sum().backward()
    fit.learner.zero_grad(set_to_none=True)
    return float(counter.get_total_flops()) / batch


def compare(name: str, recipe: Recipe, rounds: int, steps: int) -> dict[str, Any]:
    """Measure loop and bare step in turns."""
    batch = recipe.training.places
    with tempfile.TemporaryDirectory() as folder:
        fit = open_fit(recipe, Path(folder))
        step = bare_step(fit, batch)
        loop_rate(fit, 2, batch)
        per_second(step, 2, batch, fit.device)
        pairs = [(per_second(step, steps, batch, fit.device), loop_rate(fit, steps, batch)) for _ in range(rounds)]
        flops, peak = flops_of(fit, 8), matmul_rate(fit.device, fit.dtype)
    bare, loop = (median(values) for values in zip(*pairs, strict=True))
    share = median(loop / bare for bare, loop in pairs)
    facts = {"model": name, "device": str(fit.device), "dtype": str(fit.dtype).removeprefix("torch."), "batch": batch}
    facts |= {"bare_images_per_s": bare, "loop_images_per_s": loop, "loop_over_bare": share}
    return facts | {
        "gflop_per_image": flops / 1e9,
        "matmul_gflops": peak / 1e9,
        "bare_over_matmul": bare * flops / peak,
    }


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds of five steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds, steps = (3, 5) if options.quick else (15, 16)
    jobs = [("demo ViT, 2.0 M", ENCODER, "cpu", 128)]
    if torch.cuda.is_available():
        jobs += [(name, spec, "cuda", 256 if "B/" in name else 128) for name, spec in GPU_MODELS.items()]
    print(describe_machine())
    print("| model | device | arithmetic | batch | bare images/s | loop images/s | loop / bare | bare / matmul rate |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    found = []
    for name, spec, device, batch in jobs:
        row = compare(name, recipe_for(spec, device, max(batch * steps, 2048), batch), rounds, steps)
        found.append(row)
        print(
            f"| {name} | {row['device']} | {row['dtype']} | {batch} | {row['bare_images_per_s']:,.0f} | "
            f"{row['loop_images_per_s']:,.0f} | {row['loop_over_bare']:.3f} | {row['bare_over_matmul']:.2f} |",
            flush=True,
        )
    print(f"\nTarget: loop / bare at least {TARGET}.")
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
