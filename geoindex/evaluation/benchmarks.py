"""Benchmarks by name: what they consist of, where they officially come from, and how to read a copy of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoindex.errors import ConfigError, DatasetNotFoundError
from geoindex.sources.listed import ListedSource, tables_below
from geoindex.sources.osv5m import Osv5m
from geoindex.sources.osv5m_shards import EMBEDDINGS, Osv5mShardEmbeddings, Osv5mShards, embedding_fingerprint
from geoindex.sources.source import Source

OSV5M = "osv5m"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set of photos that several systems have published figures on.

    Attributes:
        title: its name in papers.
        images: how many photos it officially has.
        tables: file names of its table, the preferred first; none: any table.
        origin: what to get, and where.
    """

    title: str
    images: int
    tables: tuple[str, ...]
    origin: str


BENCHMARKS: Mapping[str, Benchmark] = {
    "im2gps": Benchmark(
        "Im2GPS", 237, ("im2gps_places365.csv", "info.json"),
        "the images are gps_query_imgs.zip of CMU's Im2GPS project, the table "
        "im2gps_places365.csv is in TransLocator's resources (ShramanPramanick/Transformer_Based_Geo-localization)",
    ),
    "im2gps3k": Benchmark(
        "Im2GPS3k", 2997, ("im2gps3k_places365.csv",),
        "the images are im2gps3ktest.zip (mediafire.com, file 7ht7sn78q27o9we), the "
        "table im2gps3k_places365.csv is in TransLocator's resources "
        "(ShramanPramanick/Transformer_Based_Geo-localization)",
    ),
    "yfcc4k": Benchmark(
        "YFCC4k", 4536, ("yfcc4k_places365.csv", "info.txt"),
        "the images are yfcc4k.zip (mediafire.com, file 3og8y3o6c9de3ye) with info.txt, "
        "the table yfcc4k_places365.csv is on Hugging Face (Jia-py/G3-checkpoint)",
    ),
    "yfcc26k": Benchmark(
        "YFCC26k", 25600, ("yfcc25600_places365.csv",),
        "the table yfcc25600_places365.csv is in TransLocator's resources "
        "(ShramanPramanick/Transformer_Based_Geo-localization); the photos are those of YFCC100M with these ids",
    ),
    OSV5M: Benchmark(
        "OSV-5M test", 210122, (),
        "test.csv and images/test/00.zip ... 04.zip are in the Hugging Face data set osv5m/osv5m, shards with stored "
        "embeddings (test/0000.tar ...) in osv5m/osv5m-wds",
    ),
    "gws15k-like": Benchmark(
        "a set like GWS15k", 14955, (),
        "GWS15k itself was never released, since the terms of Street View forbid it; put street views of your own and "
        "a table with columns image, lat, lon there, and do not compare with published figures",
    ),
}  # fmt: skip
"""By name."""


def open_benchmark(name: str, root: str | Path, fingerprint: str = "") -> Source:
    """Open a copy of a benchmark.

    Args:
        name: out of `BENCHMARKS`.
        root: folder that holds its table and images, in any folders below.
        fingerprint: of the encoder of the index that is asked; of shards, the embeddings that it made are taken.

    Raises:
        ConfigError: if there is no such benchmark.
        DatasetNotFoundError: if the copy lacks something.
    """
    root = Path(root).expanduser()
    if name not in BENCHMARKS:
        raise ConfigError(f"No benchmark '{name}'; choose one of {', '.join(BENCHMARKS)}.")
    if not root.is_dir():
        raise DatasetNotFoundError(f"There is no folder '{root}' for {name}: {BENCHMARKS[name].origin}.")
    return _open_osv5m(root, fingerprint) if name == OSV5M else _open_listed(BENCHMARKS[name], root)


def _open_osv5m(root: Path, fingerprint: str) -> Source:
    if not any((root / "test").glob("*.tar")):
        if not (root / "test.csv").is_file():
            raise DatasetNotFoundError(f"There is no OSV-5M test split in '{root}': {BENCHMARKS[OSV5M].origin}.")
        return Osv5m(root, "test")
    for embedding in EMBEDDINGS:
        if embedding_fingerprint(embedding) == fingerprint:
            return Osv5mShardEmbeddings(root, "test", embedding)
    return Osv5mShards(root, "test")


def _open_listed(benchmark: Benchmark, root: Path) -> Source:
    tables = list(tables_below(root))
    wanted = [path for name in benchmark.tables for path in tables if path.name == name]
    found = wanted if benchmark.tables else tables
    if not found:
        missing = f"'{benchmark.tables[0]}'" if benchmark.tables else "table"
        raise DatasetNotFoundError(f"There is no {missing} in '{root}' or below: {benchmark.origin}.")
    return ListedSource(root, found[0])
