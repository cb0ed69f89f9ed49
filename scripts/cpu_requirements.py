"""Print what geoindex needs on a machine without a GPU, one requirement a line, for the container of that kind.

python scripts/cpu_requirements.py pyproject.toml [EXTRA...]
"""

import sys
import tomllib
from pathlib import Path

CUDA = "faiss-gpu"
"""Comes with 1.6 GB of CUDA libraries; faiss-cpu stands in for it, under the same module name."""


def cpu_requirements(project: dict, extras: list[str]) -> list[str]:
    """Return the requirements of a project and some of its extras, FAISS for processors and torchvision by name."""
    wanted = project["dependencies"] + [each for extra in extras for each in project["optional-dependencies"][extra]]
    plain = [each for each in wanted if not each.startswith(CUDA)]
    # by name, so that it comes from where torch comes from
    return [
        *(each.partition(";")[0].strip() if each.startswith("faiss-cpu") else each for each in plain),
        "torchvision",
    ]


if __name__ == "__main__":
    file, *names = sys.argv[1:]
    print("\n".join(cpu_requirements(tomllib.loads(Path(file).read_text("utf-8"))["project"], names)))
