"""What is told of an index and of one of its clusters, as JSON types."""

from typing import Any

from geoindex.encoder.spec import LIBRARIES
from geoindex.server.settings import ServerSettings
from geoindex.snapshot import Snapshot
from geoindex.store.manifest import Manifest

LIMITS = ("max_image_bytes", "max_pixels", "max_body_bytes", "max_views", "max_batch_images", "max_precision_km")


def index_facts(manifest: Manifest, settings: ServerSettings) -> dict[str, Any]:
    """Return what an index holds and what its server allows; nothing that names files of the server."""
    encoder, spec = manifest.encoder, str(manifest.encoder["spec"])
    return {
        "generation": manifest.generation,
        "created": manifest.created,
        "encoder": {
            "spec": spec if spec.partition(":")[0] in LIBRARIES else None,
            "fingerprint": encoder["fingerprint"],
        },
        "dim": manifest.dim,
        "counts": dict(manifest.counts),
        "rule": manifest.rule["name"],
        "calibrated": manifest.calibration is not None,
        "thumbnails": settings.thumbnails,
        "limits": {name: getattr(settings, name) for name in LIMITS},
    }


def cluster_facts(snapshot: Snapshot, cluster: int) -> dict[str, Any] | None:
    """Return what is known of a cluster; None if there is none of this id."""
    clusters = snapshot.searcher.sidecar.clusters
    if cluster >= len(clusters):
        return None
    (facts,) = clusters.rows([cluster])
    told = {name: facts[name] for name in ("cluster", "cell", "lat", "lon", "n_images", "radius_km", "radius95_km")}
    return told | {"place": facts["place"], "generation": snapshot.manifest.generation}
