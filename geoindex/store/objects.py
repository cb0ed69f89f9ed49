"""Objects below a URL: read, written, written only if nobody else did, listed; every refusal as one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from geoindex.errors import ConflictError, GeoindexError, MissingExtraError, StorageError, UnreachableError

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

RETRIES = 6
"""Tries after the first, with pauses that double from 0.1 s; what a busy or broken service needs."""

LIMITS = {"connect_timeout": "5s", "timeout": "120s"}
"""Longest that a connection and a request may take; a request carries at most `PART_BYTES`."""

PART_BYTES = 8 * 2**20
"""Bytes of a request; a larger object is sent in parts of this size, or larger ones if it would take too many."""

MAX_PARTS = 9_000
PARTS_AT_ONCE = 2
"""Parts of one object that are under way together."""

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_SKIP_SIGNATURE=true for a public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Environment variables that name an account, by scheme."""

NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")
NO_ACCOUNT = ("169.254.169.254", "metadata.google.internal", "Account must be specified")
WRONG_ACCOUNT = ("401", "403")
BUSY = ("408", "429", "500", "502", "503", "504")


@dataclass(frozen=True, slots=True)
class Stored:
    """What an object held when it was read.

    Attributes:
        data: its bytes.
        version: what tells this writing of it from any other, as the service counts.
    """

    data: bytes
    version: dict[str, str]


class ObjectFolder:
    """The objects below one URL. Safe in threads."""

    def __init__(self, url: str) -> None:
        """Remember where; nothing is asked yet.

        Args:
            url: as `url_of` gives it.

        Raises:
            MissingExtraError: if the extra `objects` is not installed.
            StorageError: if the environment names no account, or one that is not valid.
        """
        self.url = url
        with self._answers():
            self._store = _open_store(url)

    def read(self, name: str) -> Stored | None:
        """Return a small object; None if there is none.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        with self._answers():
            try:
                found = self._store.get(name)
                facts: dict[str, Any] = {key: found.meta.get(key) for key in ("e_tag", "version")}
                return Stored(bytes(found.bytes()), {key: value for key, value in facts.items() if value})
            except FileNotFoundError as error:
                if _names(error, NO_BUCKET):
                    raise
                return None

    def read_pieces(self, name: str, size: int) -> Iterator[bytes]:
        """Yield an object of a known size in pieces, each with a request of its own, so that a broken one is repeated.

        It ends early where the object does, and at once where there is none.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        for start in range(0, size, PART_BYTES):
            piece = self.read_range(name, start, min(start + PART_BYTES, size))
            if not piece:
                return
            yield piece

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Return some bytes of an object; none where there is none, or it ends before.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        with self._answers():
            try:
                return bytes(self._store.get_range(name, start=start, end=end))
            except Exception as error:
                if _names(error, NO_BUCKET) or _reason(error)[0] not in ("404", "416"):
                    raise
                return b""

    def write(self, name: str, data: bytes) -> None:
        """Write a small object, or write over it.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        with self._answers():
            self._store.put(name, data, use_multipart=False)

    def write_pieces(self, name: str, pieces: Iterator[bytes], size: int) -> None:
        """Write an object that is there when it is whole; if the iterator raises, nothing is.

        Args:
            name: of the object.
            pieces: its bytes.
            size: how many these are.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        if size <= PART_BYTES:
            return self.write(name, b"".join(pieces))
        part = max(PART_BYTES, -(-size // MAX_PARTS))
        with self._answers():
            self._store.put(name, pieces, use_multipart=True, chunk_size=part, max_concurrency=PARTS_AT_ONCE)

    def exchange(self, name: str, data: bytes, before: Stored | None) -> None:
        """Write a small object if it still is as it was read, or still is not there.

        Raises:
            ConflictError: if somebody else wrote it.
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if before is None else before.version
        with self._answers():
            try:
                self._store.put(name, data, mode=mode)
            except (AlreadyExistsError, PreconditionError) as error:
                # a write that was repeated, as its answer was lost, meets itself
                if (now := self.read(name)) is None or now.data != data:
                    raise ConflictError(
                        f"Somebody else published to '{self.url}' in the meantime, and nothing was replaced; run the "
                        "same command again."
                    ) from error

    def sizes(self, below: str) -> dict[str, int]:
        """Return the size in bytes of every object whose name begins with a folder's, by name.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        return {name: size for name, size, _ in self.listed(below)}

    def listed(self, below: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, size in bytes and time of writing, in ns since 1970, of every object below a folder.

        Raises:
            UnreachableError: if the service does not answer.
            StorageError: if it refuses, or there is no such bucket.
        """
        with self._answers():
            for page in self._store.list(below):
                for each in page:
                    yield str(each["path"]), int(each["size"]), int(1e9 * each["last_modified"].timestamp())

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the library has many kinds, and what iterators raise comes through it
            own = type(error).__module__.partition(".")[0] == "obstore" or isinstance(error, FileNotFoundError)
            if not own or isinstance(error, GeoindexError):
                raise
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> StorageError | UnreachableError:
        """Turn what the library says into one sentence with the cure."""
        scheme, _, path = self.url.partition("://")
        bucket, account = path.partition("/")[0], CREDENTIALS[scheme]
        code, reason = _reason(error)
        if _names(error, NO_BUCKET):
            return StorageError(f"There is no bucket '{bucket}' for '{self.url}'; make it, or name another.")
        if _names(error, NO_ACCOUNT):
            return StorageError(f"No credentials for '{self.url}' were found; set {account}.")
        if code in WRONG_ACCOUNT:
            return StorageError(f"'{self.url}' must not be read or written ({reason}); look after {account}.")
        # not by 301 anywhere: the text also tells how many ms it took
        if code == "301" or (_names(error, ("builder error", "redirect")) and code not in BUSY):
            return StorageError(
                f"'{self.url}' cannot be reached with these settings ({reason}); look after {account}, the endpoint, "
                "and AWS_ALLOW_HTTP=true for one without TLS."
            )
        if not code or code in BUSY:
            return UnreachableError(f"'{self.url}' does not answer ({reason}); look after the network, and try again.")
        return StorageError(f"'{self.url}' refuses ({reason}); look after the bucket and its settings.")


def _names(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word in str(error) for word in words)


def _reason(error: Exception) -> tuple[str, str]:
    """Return the HTTP status that an error tells, or nothing, and what is wrong in a few words."""
    text = str(error).partition("\n\nDebug source")[0]
    status = re.search(r"status code: (\d+) ?([A-Za-z ]*)", text)
    kind = re.search(r"<Code>(\w+)</Code>", text)
    if status is None:
        return "", text.splitlines()[0].rpartition(" - ")[2].rstrip(". ") if text else type(error).__name__
    return status[1], " ".join(filter(None, (status[1], status[2].strip(), kind[1] if kind else "")))


def _open_store(url: str) -> "S3Store | GCSStore | AzureStore":
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise MissingExtraError(f"'{url}' needs an extra: pip install 'geoindex[objects]'.") from None
    scheme, _, path = url.partition("://")
    bucket, _, prefix = path.partition("/")
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    retries = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(minutes=3),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=15), "base": 2},
    }
    store: S3Store | GCSStore | AzureStore = kind(bucket, prefix=prefix, retry_config=retries, **LIMITS)
    return store
