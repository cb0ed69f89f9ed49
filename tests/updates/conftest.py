import shutil

import pytest


@pytest.fixture
def path(base, tmp_path):
    """A copy of the index that a module calls `base`, to write to."""
    return shutil.copytree(base, tmp_path / "index")
