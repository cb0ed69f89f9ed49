"""How far an index has moved from what its cells were made of, and when it should be rebuilt."""

from dataclasses import asdict, dataclass, replace
from typing import Any

DUE_SHARE = 0.2
"""Share of the gallery that may be added or removed before cells and clusters no longer fit its density."""

DUE_FAR_SHARE, DUE_FAR_LEAST = 0.15, 100
"""Share of added photos that may lie far out, and from how many on it counts; without drift it is about 0.05."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What changed since the last build or rebuild.

    Attributes:
        since: generation that it made.
        gallery: images of its gallery.
        added: photos that joined the gallery since.
        removed: photos that left it since.
        far: added photos outside the radius around their cell's centroid that held 95 % of its own when they came.
    """

    since: str
    gallery: int
    added: int = 0
    removed: int = 0
    far: int = 0

    def after(self, *, added: int = 0, removed: int = 0, far: int = 0) -> "Drift":
        """Return it after another change."""
        return replace(self, added=self.added + added, removed=self.removed + removed, far=self.far + far)

    @property
    def due(self) -> str:
        """Why a rebuild is due; empty if it is not."""
        share = (self.added + self.removed) / max(self.gallery, 1)
        if share > DUE_SHARE:
            return f"{share:.0%} of the gallery changed since generation {self.since}"
        if self.added >= DUE_FAR_LEAST and self.far > DUE_FAR_SHARE * self.added:
            return f"{self.far} of {self.added} photos added since generation {self.since} lie far from its cells"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)
