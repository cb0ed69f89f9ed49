"""One generation, open for queries: all that an answer is made of, in one object that never changes.

A query takes the snapshot once and works on it to its end, so no answer mixes two generations, whatever another
thread or process publishes meanwhile.
"""

import logging
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from geoindex.encoder.backends import AUTO, TORCH, check_backend, may_have_cuda
from geoindex.encoder.device import Vectors, choose_device, to_host
from geoindex.encoder.device_projection import project
from geoindex.encoder.projection import Projection
from geoindex.encoder.spec import UNTRAINED
from geoindex.errors import GeoindexError, ModelMismatchError
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.recipe import EncoderRecipe
from geoindex.recipe_files import recipe_from_dict
from geoindex.search.answer import Origin, answer
from geoindex.search.options import QueryOptions
from geoindex.search.posterior import RANKED_TOGETHER, Breadth, Ranking
from geoindex.search.region import Region
from geoindex.search.searcher import Searcher
from geoindex.store.durable import reading_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import Manifest
from geoindex.store.tombstones import Tombstones

if TYPE_CHECKING:
    from geoindex.encoder import Encoder

log = logging.getLogger(__name__)

_LOADING = threading.Lock()
"""Held while an encoder is loaded: the others wait for it, and none disturbs the seeds of another."""


class OwnEncoder:
    """The encoder that built a generation, loaded when the first image asks for it. Safe in threads."""

    def __init__(
        self,
        index: IndexFolder,
        manifest: Manifest,
        device: str,
        given: "Encoder | None" = None,
        backend: str = "torch",
    ) -> None:
        """Remember what to load, and what shall compute.

        Raises:
            ConfigError: if there is no such backend.
            MissingExtraError: if it is not installed.
            ModelMismatchError: if `given` is not the one that built the index.
        """
        check_backend(backend, device)
        self._index, self._manifest, self._device, self._backend = index, manifest, device, backend
        if given is not None:
            self._check(given)
        self._loaded = given

    @property
    def fingerprint(self) -> str:
        """Hash of the encoder that built the generation."""
        return str(self._manifest.encoder["fingerprint"])

    @property
    def device(self) -> str:
        """Where it computes, such as cpu or cuda:0; empty as long as it is not loaded."""
        return self._loaded.device if self._loaded is not None else ""

    @property
    def place(self) -> str:
        """Where it computes or, as long as it is not loaded, would.

        Raises:
            ConfigError: if there is no such device here.
        """
        return self.device or self._chosen

    @cached_property
    def _chosen(self) -> str:
        # torch takes seconds to import, and is not needed to know that there is no GPU
        elsewhere = self._device != "cpu" and self._backend in (AUTO, TORCH) and may_have_cuda()
        return str(choose_device(self._device)) if elsewhere else "cpu"

    def get(self) -> "Encoder":
        """Return it; the first caller loads it.

        Raises:
            ModelMismatchError: if the weights at hand are not those that built the index.
            EncoderError: if they cannot be loaded.
        """
        if self._loaded is None:
            with _LOADING:
                if self._loaded is None:
                    encoder = self._load()
                    self._check(encoder)
                    self._loaded = encoder
        return self._loaded

    def _load(self) -> "Encoder":
        from geoindex.encoder import open_encoder

        entry = self._manifest.encoder
        if entry["spec"] == UNTRAINED:
            log.warning(
                "The encoder of '%s' is untrained and sees little more than colours: its answers mean little. Build "
                "with a pretrained one, by --encoder and --weights.",
                self._index.root,
            )
        if not entry["spec"]:
            raise ModelMismatchError(
                f"The index at '{self._index.root}' was built from ready embeddings, so it has no encoder for images; "
                "use query_embeddings, or open it with encoder=..."
            )
        recipe = recipe_from_dict(self._manifest.recipe).encoding
        folder = self._index.encoder_folder(self.fingerprint)
        wanted = ("dtype",) if entry["kept"] else ("image_size", "mean", "std", "dtype")
        values = EncoderRecipe(**{name: getattr(recipe, name) for name in wanted}, device=self._device)
        spec = str(folder) if entry["kept"] else entry["spec"]
        return open_encoder(spec, values, self.fingerprint, backend=self._backend, kept=folder)

    def _check(self, encoder: "Encoder") -> None:
        if encoder.fingerprint != self.fingerprint:
            raise ModelMismatchError(
                f"Encoder '{encoder.spec}' ({encoder.fingerprint[:12]}) is not the one that built '{self._index.root}' "
                f"('{self._manifest.encoder['spec']}', {self.fingerprint[:12]}); "
                "use that one, or build the index again."
            )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation, open for queries.

    Attributes:
        manifest: what it is.
        searcher: its search files.
        projection: features to embeddings.
        encoder: images to features.
    """

    manifest: Manifest
    searcher: Searcher
    projection: Projection
    encoder: OwnEncoder

    def without(self, removed: Tombstones) -> "Snapshot":
        """Return it without photos that were removed since it was opened."""
        return replace(self, searcher=self.searcher.without(removed))

    def embed(self, features: Vectors) -> Vectors:
        """Turn features (N, D) into embeddings (N, dim), where they are.

        Raises:
            EncoderError: if the features have another length.
        """
        return project(self.projection, features)

    def answer(self, embeddings: Vectors, options: QueryOptions, stages: Stages) -> list[Prediction]:
        """Answer queries, (Q, dim) unit vectors; a batch shares its times evenly."""
        top_cells = options.top_cells or int(self.manifest.recipe["search"]["top_cells"])
        rule = options.rule or str(self.manifest.rule["name"])
        origin, answers = Origin(self.manifest.generation, self.encoder.fingerprint), list[Prediction]()
        for start in range(0, len(embeddings), RANKED_TOGETHER):
            asked = embeddings[start : start + RANKED_TOGETHER]
            with stages("search"):
                rankings = self.rank(asked, Breadth(top_cells, options.top_p), options.within)
            with stages("answer"):
                for ranking, query in zip(rankings, to_host(asked), strict=True):
                    answers.append(answer(self.searcher, ranking, query, rule, options, origin))
        for step, ms in stages.milliseconds().items():
            origin.timings_ms[step] = round(ms / max(len(answers), 1), 3)
        return answers

    def rank(self, embeddings: Vectors, breadth: Breadth, region: Region | None = None) -> list[Ranking]:
        """Rank the clusters of the best cells for each query, (Q, dim), where the encoder computes.

        What is asked of a region is ranked by the processor.

        Raises:
            ConfigError: if nothing of the index lies inside, or the device is not on this machine.
            IndexDamagedError: if what is read for it is not what was written.
        """
        device = self.encoder.place
        if region is None and device.startswith("cuda"):
            return self.searcher.rank_on(device, embeddings, breadth)
        return self.searcher.rank(to_host(embeddings), breadth, region)


def open_snapshot(
    index: IndexFolder,
    device: str,
    given: "Encoder | None" = None,
    before: Snapshot | None = None,
    backend: str = "torch",
) -> Snapshot:
    """Open the live generation, or the next one if it is replaced and collected while it is being opened.

    Args:
        index: its folder.
        device: where its encoder computes.
        given: an encoder that is loaded already.
        before: the one that is open; its encoder goes on if it built this one too.
        backend: what computes in its encoder.

    Raises:
        ConfigError: if there is no such backend.
        MissingExtraError: if it is not installed.
        StoreError: if there is no index, or it is damaged.
        ModelMismatchError: if `given` is not the encoder that built it.
    """
    while True:
        stamp = index.stamp()
        try:
            with reading_errors(index.root):
                return _open(index, index.current(), device, backend, given, before)
        except (GeoindexError, OSError):
            if index.stamp() == stamp:
                raise


def _open(
    index: IndexFolder, generation: Generation, device: str, backend: str, given: "Encoder | None",
    before: Snapshot | None,
) -> Snapshot:  # fmt: skip
    manifest = generation.manifest
    encoder = OwnEncoder(index, manifest, device, given, backend)
    if before is not None and before.encoder.fingerprint == encoder.fingerprint:
        encoder = before.encoder
    projection = Projection.load(generation.whole("projection.safetensors"))
    # what a killed removal left to do, or what came after a generation that is live again
    pending = index.tombstones() - generation.tombstones()
    return Snapshot(manifest, Searcher.open(generation).without(pending), projection, encoder)
