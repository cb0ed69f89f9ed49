"""A power cut at every sync: what is on the disk is what `os.fsync` was asked for, and nothing else is sure.

While a `Disk` watches a folder, each `os.fsync` below it is a barrier. Of a file it makes the content sure, of a folder
the names in it. Before every barrier the whole tree is remembered: what is sure, and what is only written. From such a
moment the folder can be written again as a power cut might leave it, Lance's files included, since nothing but the tree
is looked at. Names are followed by inode, so a rename that is not sure is undone with all that lies below it.
"""

import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR

LOSSES = ("dropped", "emptied", "truncated", "zeroed", "unnamed", "whole")
"""What becomes of what is not sure.

* dropped: names and contents are as they were at their last sync.
* emptied, truncated, zeroed: names are as written, contents that are not sure have no bytes, half of them, or zeros.
* unnamed: contents are as written, names as at the last sync of their folder.
* whole: all is as written; this is what a killed process leaves.

Any other word seeds a draw of its own for each folder and each file.
"""

Names = dict[int, dict[str, int]]
Contents = dict[int, bytes]


@dataclass(frozen=True)
class Moment:
    """A tree at a barrier.

    Attributes:
        step: what is synced next, as a path below the folder; "returned" when the work is done.
        root: inode of the folder.
        folders: inodes of all folders, removed ones too.
        names, contents: of every folder and file by inode, as written; of removed files too.
        sure_names, sure_contents: the same at the last sync of each.
    """

    step: str
    root: int
    folders: frozenset[int]
    names: Names
    contents: Contents
    sure_names: Names
    sure_contents: Contents

    def files(self, loss):
        """Return path and content of every file after a power cut, and the folders, which have no content."""
        found = {}
        self._walk(self.root, "", loss, found)
        return found

    def _walk(self, inode, path, loss, found):
        for name, child in sorted(self._entries(inode, loss).items()):
            below = f"{path}/{name}" if path else name
            if child in self.folders:
                found[below] = None
                self._walk(child, below, loss, found)
            else:
                found[below] = self._content(child, loss)

    def _entries(self, inode, loss):
        written, sure = self.names.get(inode), self.sure_names.get(inode, {})
        undone = loss in ("dropped", "unnamed") or (loss not in LOSSES and _draw(loss, inode).random() < 0.5)
        return sure if undone or written is None else written

    def _content(self, inode, loss):
        written, sure = self.contents.get(inode, b""), self.sure_contents.get(inode)
        if written == sure or loss in ("unnamed", "whole"):
            return written
        if loss not in LOSSES:
            loss = _draw(loss, -inode).choice(["dropped", "truncated", "zeroed", "whole"])
        lost = {"truncated": written[: len(written) // 2], "zeroed": bytes(len(written)), "whole": written}
        return lost.get(loss, sure or b"")


def _draw(seed, number):
    return random.Random(f"{seed} {number}")


def restore(files, folder):
    """Write what `Moment.files` gives below a folder and return it."""
    folder.mkdir(parents=True)
    for path, content in files.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder


@dataclass
class Disk:
    """Watches a folder; all that is there at the start is sure.

    Attributes:
        folder: what is watched.
        moments: one before each barrier.
    """

    folder: Path
    moments: list[Moment] = field(default_factory=list)

    def __enter__(self):
        self._sure_names, self._sure_contents = {}, {}
        self._held, self._bytes, self._lock = {}, {}, threading.RLock()
        self._syncs = {name: getattr(os, name) for name in ("fsync", "fdatasync")}
        for path in [self.folder, *self.folder.rglob("*")]:
            self._settle(path)
        for name in self._syncs:
            setattr(os, name, self._barrier)
        return self

    def __exit__(self, *exc):
        for name, sync in self._syncs.items():
            setattr(os, name, sync)
        self.moments.append(self._moment("returned"))
        for descriptor in self._held.values():
            os.close(descriptor)

    def _barrier(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(self.folder):
            with self._lock:
                self.moments.append(self._moment(path.relative_to(self.folder).as_posix()))
                self._settle(path, descriptor)

    def _settle(self, path, descriptor=None):
        """Take content or names for sure, and hold them open, so that no inode is used again."""
        if path.is_dir():
            self._sure_names[path.stat().st_ino] = self._list(path)
            self._hold(path)
        else:
            self._hold(path)
            inode = os.fstat(descriptor).st_ino if descriptor is not None else path.stat().st_ino
            self._sure_contents[inode] = self._read(inode)

    def _hold(self, path):
        inode = path.stat().st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)

    def _list(self, folder):
        entries = {entry.name: entry.inode() for entry in os.scandir(folder)}
        for name in entries:
            self._hold(folder / name)
        return entries

    def _read(self, inode):
        descriptor = self._held[inode]
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        return self._bytes.setdefault(content, content)

    def _moment(self, step):
        names = {}
        folders = [self.folder]
        for folder in folders:
            names[folder.stat().st_ino] = self._list(folder)
            folders += [Path(entry) for entry in os.scandir(folder) if entry.is_dir()]
        below = frozenset(inode for inode, held in self._held.items() if S_ISDIR(os.fstat(held).st_mode))
        contents = {inode: self._read(inode) for inode in self._held if inode not in below}
        root = self.folder.stat().st_ino
        return Moment(step, root, below, names, contents, dict(self._sure_names), dict(self._sure_contents))
