"""Posteriors of validation photos that their own positions had no part in: all is fitted on the other folds."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoindex.estimate import Posterior
from geoindex.search.imagery import with_images
from geoindex.search.levels import Parts, fit_levels
from geoindex.search.posterior import Breadth, Ranker
from geoindex.search.validation import Validation

FOLDS = 5

Rows = NDArray[np.int64]


def crossfit_posteriors(
    parts: Parts, validation: Validation, prior: bool | None, breadth: Breadth
) -> Iterator[tuple[int, Posterior]]:
    """Yield the row of each image and its posterior, fold by fold; a group is whole in one of them."""
    fold = deal_groups(validation.group, FOLDS)
    for number in range(FOLDS):
        rows, others = np.flatnonzero(fold == number), validation.take(np.flatnonzero(fold != number))
        fit = fit_levels(parts, others, prior, breadth)
        rankings = Ranker.of(parts.ann, parts.geography, fit.scales).rank(validation.queries[rows], breadth)
        for row, ranking in zip(rows.tolist(), rankings, strict=True):
            posterior = ranking.posterior
            if parts.images is not None:
                posterior = with_images(ranking, parts.images, validation.queries[row], fit.images)
            yield row, posterior


def deal_groups(group: Rows, count: int) -> Rows:
    """Return a fold of each member of the groups, (V,): the largest group first, each to the smallest fold."""
    sizes, fold_of, filled = np.bincount(group), np.zeros(len(np.bincount(group)), np.int64), np.zeros(count)
    for each in np.argsort(-sizes, kind="stable"):
        fold_of[each] = filled.argmin()
        filled[fold_of[each]] += sizes[each]
    return np.asarray(fold_of[group])
