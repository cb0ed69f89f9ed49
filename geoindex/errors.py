"""Every error that geoindex raises on purpose, in one tree.

* GeoindexError
  x ConfigError                a recipe or an option that is not valid
  x CoordinateError            a position that is not on Earth
  x MissingExtraError          an optional package that is not installed
  x DatasetError
    + DatasetNotFoundError     no such folder, table or scheme
    + TableError               a table without the columns that are needed
    + EmptyDatasetError        nothing usable was left
  x ImageError
    + UnreadableImageError     one image that cannot be decoded
  x EncoderError
    + WeightsNotFoundError     weights that are not at hand
    + WeightsError             weights that do not fit the model
  x TrainingError              a fit that cannot go on
  x ClusterError               computers that cannot be reached, or lack what the work needs
  x StoreError
    + IndexNotFoundError       no index at this path
    + IndexVersionError        an index of another format version
    + IndexDamagedError        files that do not hold what was written
    + IndexLockedError         another process is writing
    + StorageError             the disk or object storage is full or refuses reading or writing
    + UnreachableError         object storage that does not answer
    + ConflictError            somebody else published in the meantime
    + ModelMismatchError       a query with another encoder than the index has
  x ForkError                  a forked process that uses what its parent opened
  x ServerError                a request that a server does not answer
    + RequestError             one that it cannot read or does not allow
    + OverloadedError          one too many at a time
    + DeadlineError            one that took too long
    + UnavailableError         one that it cannot answer now

Each message says what failed, with its value, and what to do about it::

    try:
        geoindex.query_image("beach.jpg", index="indexes/world")
    except geoindex.GeoindexError as error:
        print(error)
"""


class GeoindexError(Exception):
    """Base of all errors of geoindex; `exit_code` is what the command line returns for it."""

    exit_code = 1


class ConfigError(GeoindexError):
    """A recipe or an option that is not valid."""

    exit_code = 2


class CoordinateError(GeoindexError, ValueError):
    """A position that is not on Earth."""


class MissingExtraError(GeoindexError):
    """An optional package that is not installed."""


class DatasetError(GeoindexError):
    """A source of samples that cannot be used."""


class DatasetNotFoundError(DatasetError):
    """No folder, table or scheme of this name."""


class TableError(DatasetError):
    """A table without the columns that are needed."""


class EmptyDatasetError(DatasetError):
    """A source with nothing usable in it."""


class ImageError(GeoindexError):
    """An image that cannot be used."""


class UnreadableImageError(ImageError):
    """An image that cannot be decoded.

    Attributes:
        name: the file or object that was read.
        reason: what is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Cannot read image {name!r}: {reason}.")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["UnreadableImageError"], tuple[str, str]]:
        return UnreadableImageError, (self.name, self.reason)


class EncoderError(GeoindexError):
    """An encoder that cannot be made."""


class WeightsNotFoundError(EncoderError):
    """Weights that are not at hand."""


class WeightsError(EncoderError):
    """Weights that do not fit the model."""


class TrainingError(GeoindexError):
    """A fit that cannot go on."""


class ClusterError(GeoindexError):
    """A cluster of computers that cannot be reached, stops, or lacks what the work needs."""


class StoreError(GeoindexError):
    """An index that cannot be read or written."""


class IndexNotFoundError(StoreError):
    """No index at this path."""


class IndexVersionError(StoreError):
    """An index of another format version."""


class IndexDamagedError(StoreError):
    """Files that do not hold what was written."""


class IndexLockedError(StoreError):
    """Another process is writing to this index."""


class StorageError(StoreError):
    """The disk or object storage is full or refuses reading or writing."""


class UnreachableError(StoreError):
    """Object storage that does not answer."""


class ConflictError(StoreError):
    """Somebody else published in the meantime."""


class ModelMismatchError(StoreError):
    """A query with another encoder than the one that built the index."""


class ForkError(GeoindexError):
    """A forked process that uses an index or an encoder of its parent, whose threads did not come along."""


class ServerError(GeoindexError):
    """A request that a server does not answer.

    Attributes:
        status: HTTP status of its refusal.
        headers: what the refusal says beside its message.
    """

    status = 500

    def __init__(self, message: str, *, status: int = 0, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status or self.status
        self.headers = headers or {}


class RequestError(ServerError):
    """A request that the server cannot read, or does not allow."""

    status = 400


class OverloadedError(ServerError):
    """One request too many at a time."""

    status = 429


class DeadlineError(ServerError):
    """A request that took too long."""

    status = 504


class UnavailableError(ServerError):
    """A request that the server cannot answer now."""

    status = 503
