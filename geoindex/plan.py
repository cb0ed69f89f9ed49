"""What a build of many images would take: time, memory, disk and files by step, from rates measured on this machine.

The rates come from a short run: a photo is decoded, batches are encoded, and a small index is built of planted
embeddings of the same length. All steps but one take as long for each image as for the one before; cells are made of a
sample of bounded size, which costs the same from some 100,000 images on.
"""

import math
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from geoindex.assembly.sizes import Extent, GroupCounts, part_bytes, work_bytes
from geoindex.dry_run import Listed, memory_bytes
from geoindex.embed import SHARD_SAMPLES
from geoindex.errors import ConfigError
from geoindex.lookahead import available_cores
from geoindex.pipeline import build_from
from geoindex.recipe import Recipe, TrainingRecipe
from geoindex.sources.planted import PlantedEmbeddings
from geoindex.store.address import cache_of, place_of
from geoindex.store.space import free_bytes, size_text

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

TRIED_IMAGES = 30_000
"""Planted embeddings of the small index."""

TRIED_S = 2.0
"""Seconds that decoding and encoding are measured for."""

PHOTO_SIDES = (4000, 3000)
"""Of the photo that is decoded: 12 megapixels, as telephones take them."""

ROWS_A_FILE = 1_048_576
"""Rows that Lance puts into one data file."""

FILES = 30
"""Files of an index of any size but for the images table's data."""

TEXT_LIMIT_BYTES = 2**31
"""Text that one column of Arrow strings holds where a step puts its parts together."""

MOST_IMAGES = 1e12

PATIENCE_S = 30 * 86_400.0
"""What nobody waits for: a month."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What an image takes, measured here.

    Attributes:
        device: what encoded.
        cores: of this machine.
        decode_s: seconds of one core for a photo of 12 megapixels; 0 without an encoder.
        embed_s: seconds of the device for an image; of one process, where features are ready.
        steps_s: seconds of one process for an image, by step.
        fixed_s: seconds of the steps that do not grow, by step.
    """

    device: str
    cores: int
    decode_s: float
    embed_s: float
    steps_s: dict[str, float]
    fixed_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a build of so many images would take.

    Attributes:
        images: how many.
        workers: devices that encode.
        cores: cores that decode.
        rates: what it is reckoned from.
        seconds: by step.
        memory_bytes: of the process that puts the index together.
        disk_bytes: of the index and its work until it is published.
        files: of the index, and of its work.
        limits: images at which each limit is reached, the lowest first.
    """

    images: int
    workers: int
    cores: int
    rates: Rates
    seconds: dict[str, float]
    memory_bytes: int
    disk_bytes: int
    files: int
    limits: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self)}

    def to_text(self) -> str:
        """Return it as lines for people."""
        total = sum(self.seconds.values())
        lines = [f"{self.images:,} images, {self.workers:,} x {self.rates.device}, {self.cores:,} cores that decode"]
        for step, seconds in sorted(self.seconds.items(), key=lambda each: -each[1]):
            lines.append(f"  {step:<22}{time_text(seconds):>12}{100 * seconds / total:>6.0f} %")
        lines.append(f"  {'in all':<22}{time_text(total):>12}")
        lines += self._encoding_lines()
        lines.append(f"memory       about {size_text(self.memory_bytes)} in the process that puts it together")
        lines.append(f"disk         about {size_text(self.disk_bytes)} until it is published, {self.files:,} files")
        first, *others = self.limits.items()
        lines.append(f"breaks first {first[0]}, from {first[1]:,} images on")
        lines += [f"then         {name}, from {count:,}" for name, count in others]
        lines.append(NOTE)
        return "\n".join(lines)

    def _encoding_lines(self) -> list[str]:
        if not self.rates.decode_s:
            return []
        decode = self.images * self.rates.decode_s / self.cores
        encode = self.images * self.rates.embed_s / self.workers
        lines = [
            f"embedding    {time_text(decode)} of decoding next to {time_text(encode)} of encoding; "
            "'embed' is what the second takes longer"
        ]
        if self.rates.device == "cpu" and self.workers > 1:
            lines.append(
                f"no GPU here  the {self.workers:,} devices are reckoned as {self.workers:,} of this processor; run "
                "this where there is a GPU, and give --cores"
            )
        return lines


NOTE = """\
Reckoned from a short run on this machine: one photo of 12 megapixels, batches of the encoder, a small index. Steps
after the embedding are those of one computer, whatever the number of GPUs; with --ray all computers store rows, divide
cells and build lists. Slow networks and disks are not reckoned with."""


def size_build(
    source: str | os.PathLike[str] | Recipe, images: float, *, gpus: int = 0, cores: int = 0, **keys: Any
) -> Sizing:
    """Say what a build of so many images like those of a source would take, after a short run of about a minute.

    Args:
        source: a source, a recipe file (.toml), or a recipe; its images say how long names and labels are.
        images: how many there would be.
        gpus: devices like that of this machine which encode; 0: one.
        cores: cores that decode; 0: those of this machine.
        keys: keys of the recipe that override it.

    Raises:
        GeoindexError: if the recipe, the source or the encoder's name is not valid.
    """
    if not 1 <= images <= MOST_IMAGES:
        raise ConfigError(f"A plan of {images:g} images makes no sense; give 1 to {MOST_IMAGES:g}.")
    if gpus < 0 or cores < 0:
        raise ConfigError(f"There cannot be {gpus} GPUs and {cores} cores; leave out what is not known.")
    listed, workers = Listed.of(source, keys), max(1, gpus)
    rates = measure_rates(listed.encoder, listed.extent.feature_dim)
    extent = _grown(listed.extent, round(images))
    return reckon(extent, listed.recipe, listed.encoder, rates, workers=workers, cores=cores or available_cores())


def reckon(
    extent: Extent, recipe: Recipe, encoder: "Encoder | None", rates: Rates, *, workers: int, cores: int
) -> Sizing:
    """Reckon with rates what a build of this extent would take."""
    images = extent.images
    seconds = {"decode": images * rates.decode_s / cores, "embed": images * rates.embed_s / workers}
    seconds |= {step: images * each for step, each in rates.steps_s.items()} | rates.fixed_s
    if rates.decode_s:
        # they go on side by side, and the slower one is waited for
        seconds["embed"] = max(0.0, seconds["embed"] - seconds["decode"])
    memory, disk = _memory(extent, recipe, encoder), _disk(extent, recipe)
    files = FILES + images // ROWS_A_FILE + -(-images // SHARD_SAMPLES)
    limits = _limits(extent, recipe, encoder, sum(seconds.values()))
    return Sizing(images, workers, cores, rates, seconds, memory, disk, files, limits)


def measure_rates(encoder: "Encoder | None", dim: int) -> Rates:
    """Decode, encode and build a little, and return what an image takes."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(source="planted", training=TrainingRecipe(method="none"))
        report = build_from(PlantedEmbeddings(TRIED_IMAGES, dim=dim), recipe, Path(folder) / "index")
    fixed = {step: report.timings_s[step] for step in ("scan", "validation", "publish")}
    grows = {step: seconds / TRIED_IMAGES for step, seconds in report.timings_s.items() if step not in fixed}
    embed = grows.pop("embed")
    decode, device = 0.0, "process"
    if encoder is not None:
        decode, embed, device = _decode_s(encoder), _encode_s(encoder), encoder.device
    return Rates(device, available_cores(), decode, embed, {k: v for k, v in grows.items() if v}, fixed)


def _decode_s(encoder: "Encoder") -> float:
    import io

    from PIL import Image

    from geoindex.images import load_image

    noise = np.random.default_rng(0).integers(0, 255, (PHOTO_SIDES[1] // 50, PHOTO_SIDES[0] // 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(PHOTO_SIDES).save(buffer, "JPEG", quality=90)
    return _seconds_each(lambda: encoder.prepare(load_image(buffer.getvalue(), min_side=encoder.min_side)))


def _encode_s(encoder: "Encoder") -> float:
    side = encoder.image_size
    batch = np.random.default_rng(0).integers(0, 255, (encoder.batch_size, 3, side, side), np.uint8)
    return _seconds_each(lambda: encoder.features(batch)) / len(batch)


def _seconds_each(work: Any) -> float:
    """Return how long a call takes, the mean over some seconds after the first."""
    work()
    started, calls = perf_counter(), 0
    while (passed := perf_counter() - started) < TRIED_S or calls == 0:
        work()
        calls += 1
    return passed / calls


def _grown(extent: Extent, images: int) -> Extent:
    """Return an extent of so many images like these."""
    share = images / max(1, extent.images)
    numbers = {key: math.ceil(share * getattr(extent, key)) for key in ("gallery", "text_bytes", "locator_bytes")}
    return replace(extent, images=images, **numbers)


def _memory(extent: Extent, recipe: Recipe, encoder: "Encoder | None") -> int:
    return memory_bytes(extent, GroupCounts.expected(extent.gallery, recipe), encoder, recipe, extent.images // 10)


def _disk(extent: Extent, recipe: Recipe) -> int:
    groups = GroupCounts.expected(extent.gallery, recipe)
    return sum(part_bytes(extent, groups, recipe).values()) + work_bytes(extent, 0, 0)


def _limits(extent: Extent, recipe: Recipe, encoder: "Encoder | None", seconds: float) -> dict[str, int]:
    """Return how many images like these each limit allows, the lowest first."""
    images = extent.images
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = free_bytes(_disk_of(recipe))
    reached = {
        f"memory, of which this machine has {size_text(memory)}": memory / _memory(extent, recipe, encoder),
        f"the disk, where {size_text(free)} are free": free / _disk(extent, recipe),
        "time, beyond 30 days": PATIENCE_S / seconds,
        "text of names in one Arrow column of 2 GiB": TEXT_LIMIT_BYTES / max(1, extent.locator_bytes / 2),
    }
    return {name: int(images * share) for name, share in sorted(reached.items(), key=lambda each: each[1])}


def _disk_of(recipe: Recipe) -> Path:
    """Return where the build would write."""
    place = place_of(recipe.out or ".")
    return place if isinstance(place, Path) else cache_of(place)


def time_text(seconds: float) -> str:
    """Write a time for people."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"
