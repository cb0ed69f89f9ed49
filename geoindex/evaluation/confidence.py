"""How well an index knows how good its answers are: chances against what came of them, and radii against truths."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.calibration import SHARES, WITHIN_KM, Calibration
from geoindex.estimate import Posterior, estimate_point
from geoindex.evaluation.reliability import Bin, brier_skill, calibration_error, kept_error, reliability, risk_saved
from geoindex.geo import haversine_km
from geoindex.metrics import geoscore

Floats = NDArray[np.float64]

NOTE = """\
right and told: share of the answers within the radius, and the mean chance that they told; ECE over 10 bins of equal
count, and what it would be of so many independent photos if all chances were kept; Brier skill over the base rate of
these queries; risk saved: 0 as a random order of answers, 1 as the best"""


@dataclass(frozen=True, slots=True)
class Sureness:
    """What answers told and how far off they were; parts of several indexes can be put together.

    Attributes:
        within: chance that the truth is closer than each of `WITHIN_KM`, (Q, 3).
        radius_km: that holds each of `SHARES` of the truths, (Q, 2).
        distance_km: between answer and truth, (Q,).
        constant_km: radii that hold `SHARES` of the gallery around the best constant point, (Q, 2).
    """

    within: Floats
    radius_km: Floats
    distance_km: Floats
    constant_km: Floats

    @classmethod
    def of(
        cls, calibration: Calibration, posteriors: list[Posterior], lat: Floats, lon: Floats, constant_km: Floats
    ) -> "Sureness":
        """Ask a calibration how sure the answers to queries with true positions in degrees, (Q,), are.

        Args:
            calibration: of the index.
            posteriors: of the queries, (Q,).
            lat: true latitudes.
            lon: true longitudes.
            constant_km: distances of the gallery from the best constant point, (G,).
        """
        points = [estimate_point(posterior, calibration.rule) for posterior in posteriors]
        told = [
            calibration.certainty(posterior.mass_around(*at)) for at, posterior in zip(points, posteriors, strict=True)
        ]
        own_lat, own_lon = np.array(points).T
        within = np.array([list(each.within_km.values()) for each in told])
        radii = np.array([(each.radius50_km, each.radius90_km) for each in told])
        constant = np.tile(np.quantile(constant_km, SHARES), (len(told), 1))
        return cls(within, radii, haversine_km(own_lat, own_lon, lat, lon), constant)

    @classmethod
    def joined(cls, parts: "list[Sureness]") -> "Sureness":
        """Put the queries of several indexes together."""
        names = ("within", "radius_km", "distance_km", "constant_km")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Chance:
    """How the chance of one radius was kept.

    Attributes:
        radius_km: of what counts as right.
        right, told: share of right answers, and the mean chance.
        error: expected calibration error.
        kept_error: the same if the chances were kept exactly, of so many independent photos.
        skill: of the Brier score over the base rate; None where no answer, or every one, is right.
        saved: of the risk to be wrong, if one answers where one is sure; None likewise.
        bins: the reliability table.
    """

    radius_km: float
    right: float
    told: float
    error: float
    kept_error: float
    skill: float | None
    saved: float | None
    bins: tuple[Bin, ...]

    @classmethod
    def measure(cls, radius_km: float, told: Floats, distance_km: Floats) -> "Chance":
        """Compare chances with how far off the answers were, each (Q,)."""
        right = distance_km < radius_km
        skill, saved = brier_skill(told, right), risk_saved(told, np.asarray(1.0 - right))
        errors, bins = (calibration_error(told, right), kept_error(told)), tuple(reliability(told, right))
        shares = float(right.mean()), float(told.mean())
        return cls(radius_km, *shares, *errors, _known(skill), _known(saved), bins)


@dataclass(frozen=True, slots=True)
class Radius:
    """How the radius of one share was kept.

    Attributes:
        share: of the truths that it shall hold.
        held: that it held.
        median_km: of the radius.
        constant_km: median radius around the best constant point that holds as much of the gallery.
    """

    share: float
    held: float
    median_km: float
    constant_km: float


@dataclass(frozen=True, slots=True)
class ConfidenceReport:
    """How well an index knows how good its answers are.

    Attributes:
        chances: one for each radius.
        radii: one for each share.
        saved: of the GeoScore that is lost, if one answers where the radius that holds half is small.
    """

    chances: tuple[Chance, ...]
    radii: tuple[Radius, ...]
    saved: float | None

    @classmethod
    def measure(cls, sureness: Sureness) -> "ConfidenceReport":
        """Compare what answers told with how far off they were."""
        off, radius = sureness.distance_km, sureness.radius_km
        chances = tuple(Chance.measure(km, sureness.within[:, i], off) for i, km in enumerate(WITHIN_KM))
        radii = tuple(
            Radius(share, float(np.mean(off <= radius[:, i])), *np.median([radius[:, i], constant], axis=1).tolist())
            for i, (share, constant) in enumerate(zip(SHARES, sureness.constant_km.T, strict=True))
        )
        return cls(chances, radii, _known(risk_saved(-radius[:, 0], -geoscore(off))))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return asdict(self)

    def to_text(self) -> str:
        """Return two small tables for a terminal."""
        heads = f"{'right %':>9}{'told %':>9}{'ECE':>9}{'if kept':>9}{'skill':>9}{'risk saved':>12}"
        lines = [f"{'confidence':<12}{heads}"]
        for each in self.chances:
            shares = f"{100 * each.right:>9.1f}{100 * each.told:>9.1f}{each.error:>9.3f}{each.kept_error:>9.3f}"
            lines.append(f"{f'<{each.radius_km:g} km':<12}{shares}{signed(each.skill):>9}{signed(each.saved):>12}")
        for radius in self.radii:
            told = f"holds {radius.held:.1%} of the truths, median {radius.median_km:,.0f} km"
            lines.append(f"{radius.share:.0%} radius  {told}; around the best constant {radius.constant_km:,.0f} km")
        lines.append(f"of the GeoScore lost, an order by the 50% radius saves {signed(self.saved)}")
        return "\n".join([*lines, "", NOTE])


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def signed(value: float | None) -> str:
    """Write a skill, or that there is none."""
    return "none" if value is None else f"{value:+.3f}"
