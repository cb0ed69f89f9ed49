"""Published weights, or what describes them -> a local file: out of a cache, or with a download that says so first."""

import logging
from pathlib import Path

from geoindex.encoder.backbone import RemoteWeights
from geoindex.errors import WeightsNotFoundError

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 5.0
_CURES = "name a folder with the files, or set HF_HOME to a cache that has them"
_OWN_WEIGHTS = "give weights=FILE (--weights FILE), "


def fetch_weights(weights: RemoteWeights, model: str) -> Path:
    """Return the local file of published weights; it is downloaded if the cache does not have it.

    Args:
        weights: where they lie.
        model: whose they are, for messages.

    Raises:
        WeightsNotFoundError: if they are not in the cache and cannot be downloaded.
    """
    if not weights.repo:
        raise WeightsNotFoundError(f"Weights of {model} are not on the hub; fetch {weights.url} and give weights=FILE.")
    if Path(weights.repo).is_absolute():
        return _in_folder(weights)
    return _cached(weights) or _download(weights, model)


def _in_folder(weights: RemoteWeights) -> Path:
    for file in weights.files:
        if (found := Path(weights.repo, file)).is_file():
            return found
    names = " or ".join(weights.files)
    raise WeightsNotFoundError(f"No {names} in '{weights.repo}'; copy it there from where the model was published.")


def _cached(weights: RemoteWeights) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in weights.files:
        found = try_to_load_from_cache(weights.repo, file, revision=weights.revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _download(weights: RemoteWeights, model: str) -> Path:
    """Ask once for the size, which fails fast without a network, then download."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise _not_found(weights, model, "HF_HUB_OFFLINE forbids the network")
    for file in weights.files:
        try:
            size = _size_of(weights, file)
            _LOG.warning("Downloading %s/%s (%s)", weights.repo, file, size)
            revision = weights.revision
            return Path(hf_hub_download(weights.repo, file, revision=revision, etag_timeout=_TIMEOUT_S))
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise _not_found(weights, model, "the network refused") from error
        except RepositoryNotFoundError as error:
            why = "the hub shows no such repository (to see one that is private or gated, run hf auth login)"
            raise _not_found(weights, model, why) from error
        except Exception as error:  # the HTTP library and its errors differ between versions of the hub
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise _not_found(weights, model, f"the download failed ({first})") from error
    raise _not_found(weights, model, f"the repository has none of {', '.join(weights.files)}")


def _size_of(weights: RemoteWeights, file: str) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(weights.repo, file, revision=weights.revision)
    size = get_hf_file_metadata(url, timeout=_TIMEOUT_S).size
    return f"{size / 1e6:.0f} MB" if size else "size unknown"


def _not_found(weights: RemoteWeights, model: str, why: str) -> WeightsNotFoundError:
    where = f"{weights.repo} is not in the local cache"
    cures = _OWN_WEIGHTS + _CURES if weights.kind == "weights" else _CURES
    return WeightsNotFoundError(f"No {weights.kind} for {model}: {where} and {why}; {cures}.")
