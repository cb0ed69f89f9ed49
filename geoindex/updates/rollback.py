"""A way back: an earlier generation answers again."""

from os import PathLike

from geoindex.assembly.revision import Added
from geoindex.assembly.successor import succeed
from geoindex.errors import ConfigError
from geoindex.progress import Stages
from geoindex.store.address import folder_of
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import check_parts


def roll_back(path: str | PathLike[str], name: str = "") -> Generation:
    """Make an earlier generation the live one, after a look at every byte of it. The later ones stay.

    Photos that were removed since stay removed: if there are any, a successor of that generation without them goes
    live in its place.

    Args:
        path: folder of the index.
        name: of the generation; empty: the parent of the live one.

    Returns:
        The generation that answers now.

    Raises:
        ConfigError: if the live one has no parent.
        EmptyDatasetError: if all photos of its gallery were removed since.
        IndexNotFoundError: if there is no such generation.
        IndexDamagedError: if it is not as it was written; the live one is then as it was.
    """
    index = IndexFolder(folder_of(path))
    index.current()
    with index.writing():
        wanted = index.generation(name or _parent(index))
        check_parts(wanted.manifest, wanted.folder)
        wanted.check()
        if index.tombstones() - wanted.tombstones():
            nothing = Added.nothing(wanted.manifest.dim)
            return succeed(index, wanted, wanted.manifest.tables["images"], nothing, Stages())
        index.switch(wanted)
    return wanted


def _parent(index: IndexFolder) -> str:
    live = index.current().manifest
    if not live.parent:
        raise ConfigError(f"Generation {live.generation} of '{index.root}' is the first; name the one to go to.")
    return live.parent
