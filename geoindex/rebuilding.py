"""From the stored images to a new generation: other cells, clusters and geo-embeddings, or another encoder.

The features are reused where the encoder is the same; only for another one are the images read again.
"""

import shutil
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from geoindex.assembly.report import BuildReport
from geoindex.assembly.rereading import embed_again
from geoindex.assembly.sizes import require_rebuild_room
from geoindex.assembly.steps import Origin, assemble
from geoindex.distributed.executor import LOCAL, Executor, executing
from geoindex.errors import ConfigError
from geoindex.pipeline import keep_encoder, merge_recipe
from geoindex.progress import Stages
from geoindex.recipe import Recipe
from geoindex.recipe_files import load_recipe, recipe_from_dict
from geoindex.remote.staging import staging
from geoindex.sources.source import LeftOut
from geoindex.store.address import folder_of, url_of
from geoindex.store.durable import waiting
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import Manifest, check_parts

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

WORK = "rebuilding"

OF_IMAGES = ("source", "column", "sample", "balance", "split_by", "split_ratio", "block_km")
"""Keys of a recipe that chose the stored images; a rebuild cannot change them."""

OF_ENCODER = ("encoder", "weights")
OF_PIXELS = ("image_size", "mean", "std")
"""Keys of a recipe, and of its encoding, that another encoder may have; they change where a rebuild names them."""


def rebuild_index(
    index: str | PathLike[str],
    *,
    recipe: str | PathLike[str] | Recipe | None = None,
    executor: str = LOCAL,
    **keys: Any,
) -> BuildReport:
    """Make new cells, clusters, geo-embeddings and search files from the stored images.

    With another encoder, or another size of its images, every image that was not removed is read again from its source
    and embedded; what cannot be read any more is left out of the new generation. Otherwise no image is looked at.
    A rebuild that was stopped goes on where it was, if it is asked for the same.

    Args:
        index: folder of the index, or its URL: it is then rebuilt in the cache and published.
        recipe: replaces the stored one for everything but the images and their encoder: these stay.
        executor: where the heavy steps run, as for `build_index`.
        keys: keys of the recipe that override it, such as `encoder=...`, with `weights=...` and
            `encoding={"image_size": ...}` where they are not the model's own.

    Returns:
        What was built; what is left out are the images that this rebuild could not read.

    Raises:
        ConfigError: if `keys` would choose other images, or another encoder for ready embeddings.
        DatasetError: if no image can be read again.
        GeoindexError: if anything else fails; the live generation is then as it was.
    """
    if url := url_of(index):
        with staging(url) as stage:
            stage.remote.live()
            stage.catch_up()
            report = rebuild_index(stage.folder, recipe=recipe, executor=executor, **keys)
            stage.publish("rebuild")
        return replace(report, path=url)
    folder, stages = IndexFolder(folder_of(index)), Stages()
    folder.current()  # before anything is written: a wrong path leaves nothing behind
    with folder.writing():
        before = folder.current()
        live = check_parts(before.manifest, before.folder)
        wanted = _rebuild_recipe(recipe_from_dict(live.recipe), recipe, keys)
        folder = replace(folder, durability=wanted.durability)
        with waiting(wanted.durability), executing(executor, stages) as heavy:
            folder.tables.checksums.settle("images", live.tables["images"])
            images = _images(folder, live, wanted, keys, stages, heavy)
            origin = Origin(live.source, images.encoder, _joined(live.left_out, images.left_out), live.generation)
            generation = assemble(folder, wanted, images.version, origin, stages, heavy)
        if images.version != live.tables["images"]:  # else they may be of another rebuild that was stopped
            shutil.rmtree(folder.work / WORK, ignore_errors=True)
    return BuildReport.of(folder, generation, images.left_out.to_dict(), stages)


@dataclass(frozen=True, slots=True)
class RebuiltImages:
    """What a rebuild starts from.

    Attributes:
        version: of the images table.
        encoder: which made the features, as the manifest has it.
        left_out: images that could not be read again.
    """

    version: int
    encoder: dict[str, Any]
    left_out: LeftOut


def _images(
    index: IndexFolder, live: Manifest, wanted: Recipe, keys: dict[str, Any], stages: Stages, heavy: Executor
) -> RebuiltImages:
    """Return the images as they are stored, or embedded again where another encoder is asked for."""
    version = live.tables["images"]
    if not _names_encoder(keys):
        require_rebuild_room(index, live, wanted)
        return RebuiltImages(version, live.encoder, LeftOut())
    if not live.encoder["spec"]:
        raise ConfigError(
            f"The index at '{index.root}' was built from ready embeddings, so there are no images that another encoder "
            "could read; build one from features of that encoder in another folder."
        )
    encoder, left_out = _load_encoder(index, live, wanted, keys), LeftOut()
    same = encoder.fingerprint == live.encoder["fingerprint"]
    require_rebuild_room(index, live, wanted, None if same else encoder)
    if not same:
        with stages("embed"):
            version, left_out = embed_again(index, live, encoder, index.work / WORK, heavy)
    with stages("store"):
        entry = keep_encoder(index, encoder, wanted.encoder)
    own = any(key in keys for key in OF_ENCODER)
    return RebuiltImages(version, entry if own else entry | {"spec": live.encoder["spec"]}, left_out)


def _names_encoder(keys: dict[str, Any]) -> bool:
    return any(key in keys for key in OF_ENCODER) or any(key in keys.get("encoding", {}) for key in OF_PIXELS)


def _load_encoder(index: IndexFolder, live: Manifest, wanted: Recipe, keys: dict[str, Any]) -> "Encoder":
    """Load the encoder that is asked for: another one, or the live one for other pixels."""
    from geoindex.encoder import choose_encoder

    if any(key in keys for key in OF_ENCODER):
        return choose_encoder(wanted.encoder, wanted.encoding, wanted.weights)
    kept = str(index.encoder_folder(live.encoder["fingerprint"]))
    return choose_encoder(kept if live.encoder["kept"] else live.encoder["spec"], wanted.encoding)


def _rebuild_recipe(stored: Recipe, given: str | PathLike[str] | Recipe | None, keys: dict[str, Any]) -> Recipe:
    """Return the recipe of a rebuild: what made the images stays, so that queries are still prepared like them."""
    fixed = [key for key in keys if key in OF_IMAGES]
    if fixed:
        raise ConfigError(f"A rebuild keeps the stored images, so '{fixed[0]}' cannot change; build the index again.")
    if given is not None and not isinstance(given, Recipe):
        given = load_recipe(given)
    wanted = merge_recipe(stored if given is None else given, keys)
    kept = {key: getattr(stored, key) for key in (*OF_IMAGES, *OF_ENCODER)}
    pixels = {key: getattr(stored.encoding, key) for key in OF_PIXELS}
    if "encoder" in keys:  # weights and pixels of another model than those were for
        kept |= {"encoder": wanted.encoder, "weights": ""}
        pixels = dict.fromkeys(OF_PIXELS)
    if "weights" in keys:
        kept["weights"] = wanted.weights
    pixels |= {key: getattr(wanted.encoding, key) for key in OF_PIXELS if key in keys.get("encoding", {})}
    return replace(wanted, encoding=replace(wanted.encoding, **pixels), **kept)


def _joined(before: dict[str, Any], now: LeftOut) -> dict[str, Any]:
    left_out = LeftOut.from_dict(before)
    left_out.absorb(now)
    return left_out.to_dict()
