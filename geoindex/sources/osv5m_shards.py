"""Turns WebDataset shards of OSV-5M into samples, with their images or with the embeddings that lie in them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, DatasetNotFoundError, EmptyDatasetError, TableError, UnreadableImageError
from geoindex.images import ImageInput
from geoindex.progress import track
from geoindex.sources.cleaning import clean
from geoindex.sources.columns import match_columns
from geoindex.sources.source import LeftOut, Scan
from geoindex.sources.tars import Tars
from geoindex.store.buckets import Place
from geoindex.types import Samples

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "val", "test")
EMBEDDINGS = ("street_clip", "dinov2_vitl14_registers")
"""What the official shards carry: StreetCLIP and DINOv2 ViT-L/14 with registers, as .npy."""

DAMAGED = "shard is damaged"
NO_FACTS = "its .json is no object"

_FACTS = ".json"
_IMAGE = ".jpg"


@dataclass(frozen=True)
class Osv5mShards:
    """OSV-5M as WebDataset (osv5m/osv5m-wds): ROOT/{train,val,test}/NNNN.tar with KEY.jpg and KEY.json.

    Shards are read in place, and some of them are a fair copy. An image is named by shard and member.

    Attributes:
        root: folder of the data set.
        split: train, val or test.
    """

    root: Place
    split: str = "train"
    _tars: Tars = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"The shards of OSV-5M have no split {self.split!r}; choose one of {', '.join(SPLITS)}.")
        object.__setattr__(self, "_tars", Tars(self._folder.absolute()))

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"osv5m-wds:{self.root.absolute()}?split={self.split}"

    def scan(self) -> Scan:
        """List the samples of every shard that is there.

        Raises:
            DatasetNotFoundError: if there is no shard.
            EmptyDatasetError: if no sample is usable.
        """
        left_out = LeftOut()
        rows = [row for shard in track(self._shards(), "Reading shards", unit="shard") for row in
                self._rows(shard, left_out)]  # fmt: skip
        if not rows:
            raise EmptyDatasetError(f"The shards in '{self._folder}' hold no usable sample ({left_out.summary()}); "
                                    "download them again.")  # fmt: skip
        samples = clean(_columns(rows, self._folder), left_out)
        if len(samples) == 0:
            raise EmptyDatasetError(f"No sample in '{self._folder}' has a usable position ({left_out.summary()}); "
                                    "download its shards again.")  # fmt: skip
        return Scan(samples, left_out)

    def read(self, image: str) -> ImageInput:
        """Return the bytes of an image.

        Raises:
            UnreadableImageError: if it is missing or its shard is damaged.
        """
        shard, _, key = image.partition("/")
        return self._tars.read(shard, key + _IMAGE)

    def file_of(self, image: str) -> Place:
        """Return the path of the shard, whether it exists or not."""
        return self._folder.absolute() / image.partition("/")[0]

    @property
    def _folder(self) -> Place:
        return self.root / self.split

    @property
    def _wanted(self) -> str:
        """Ending of what a sample must have to be one."""
        return _IMAGE

    def _shards(self) -> list[str]:
        shards = sorted(path.name for path in self._folder.glob("*.tar"))
        if not shards:
            raise DatasetNotFoundError(
                f"No OSV-5M shards in '{self.root}': expected '{self.split}/0000.tar' and so on there; "
                "download some from the Hugging Face data set osv5m/osv5m-wds."
            )
        return shards

    def _rows(self, shard: str, left_out: LeftOut) -> Iterator[dict[str, str]]:
        """Yield the facts of every sample of a shard that is complete, as text."""
        try:
            directory = self._tars.directory(shard)
            members = directory.members()
            whole = {name.removesuffix(self._wanted) for name in members if name.endswith(self._wanted)}
            keys = [key for name in members if (key := name.removesuffix(_FACTS)) != name and key in whole]
            texts = list(self._tars.read_all(shard, [key + _FACTS for key in keys]))
        except (OSError, tarfile.TarError, UnreadableImageError):
            left_out.add(DAMAGED, shard)
            return
        directory.report(shard, left_out)
        for key, text in zip(keys, texts, strict=True):
            facts = _facts(text)
            if facts is None:
                left_out.add(NO_FACTS, f"{shard}/{key}")
            else:
                yield {**facts, "id": key.rpartition("/")[2], "image": f"{shard}/{key}"}


@dataclass(frozen=True)
class Osv5mShardEmbeddings(Osv5mShards):
    """The same samples with the embeddings that lie in the shards, KEY.NAME.npy: an index without an encoder.

    Attributes:
        embedding: street_clip, dinov2_vitl14_registers, or another that the shards have.
        dim: length of a feature vector.
        fingerprint: stands for the encoder that made them.
    """

    embedding: str = EMBEDDINGS[0]
    dim: int = field(init=False)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fingerprint", embedding_fingerprint(self.embedding))
        object.__setattr__(self, "dim", self._measured())

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""
        return f"{super().uri}&embedding={self.embedding}"

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Return the stored embeddings of these samples, (N, dim).

        Raises:
            UnreadableImageError: if one is missing, damaged, or of another length.
        """
        out = np.empty((len(samples), self.dim), np.float32)
        shards, keys = np.array([image.partition("/")[::2] for image in samples.images], np.str_).reshape(-1, 2).T
        for shard in np.unique(shards).tolist():
            rows = np.flatnonzero(shards == shard)
            members = [key + self._wanted for key in keys[rows].tolist()]
            for row, member, data in zip(rows, members, self._tars.read_all(shard, members), strict=True):
                out[row] = _vector(data, f"{shard}/{member}", self.dim)
        return out

    @property
    def _wanted(self) -> str:
        return f".{self.embedding}.npy"

    def _measured(self) -> int:
        """Return the length of the first embedding there is."""
        for shard in self._shards():
            try:
                members = self._tars.directory(shard).members()
            except (OSError, tarfile.TarError):
                continue
            found = next((name for name in members if name.endswith(self._wanted)), None)
            if found is not None:
                return len(_vector(self._tars.read(shard, found), f"{shard}/{found}", None))
        raise DatasetNotFoundError(
            f"The shards in '{self._folder}' hold no embedding '{self.embedding}' (KEY{self._wanted}); "
            f"osv5m/osv5m-wds has {' and '.join(EMBEDDINGS)}."
        )


def embedding_fingerprint(embedding: str) -> str:
    """Return what stands for the encoder of an embedding of the shards."""
    return "osv5m-wds-" + hashlib.sha256(embedding.encode()).hexdigest()[:16]


def _vector(data: bytes, name: str, dim: int | None) -> NDArray[np.float32]:
    """Return an embedding as one row."""
    try:
        vector = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32).ravel()
    except (ValueError, EOFError, TypeError) as error:
        raise UnreadableImageError(name, f"it is no array ({error})") from error
    if dim is not None and len(vector) != dim:
        raise UnreadableImageError(name, f"it has {len(vector)} numbers and others have {dim}")
    if not np.isfinite(vector).all():
        raise UnreadableImageError(name, "it holds what is no number")
    return np.asarray(vector, np.float32)


def _facts(text: bytes) -> dict[str, str] | None:
    """Return what a .json says, as text; None if it is no object."""
    try:
        facts = json.loads(text)
    except ValueError:
        return None
    return {k: str(v) for k, v in facts.items() if v is not None} if isinstance(facts, dict) else None


def _columns(rows: list[dict[str, str]], folder: Place) -> "dict[str, pa.ChunkedArray]":
    """Return the columns that mean something to us; whatever a .json calls an image, ours is shard and key."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    matched: dict[str, Any] = match_columns(names, {"id": "id", "image": "image"}, str(folder))
    if not {"lat", "lon"} <= set(matched):
        raise TableError(f"The shards in '{folder}' have no coordinates in their .json; download them again.")
    return {
        meaning: pa.chunked_array([pa.array([row.get(name) for row in rows], pa.string())])
        for meaning, name in matched.items()
    }
