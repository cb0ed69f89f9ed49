import ast
import json
from pathlib import Path

import pytest
from tiles import TINY_ENCODER

import geoindex
from geoindex.images import load_image
from geoindex.sources import open_source

NOTEBOOK = json.loads((Path(__file__).parents[1] / "docs/notebook.ipynb").read_text("utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the cells one after the other on a small demo; return the value that each would show."""
    folder = tmp_path_factory.mktemp("notebook")
    geoindex.build_index(
        "synthetic:120?size=32", out=folder / "geoindex-demo/index", encoder=TINY_ENCODER, encoding={"device": "cpu"}
    )
    scenes = open_source("synthetic:120")
    load_image(scenes.read(scenes.scan().samples.images[0])).save(folder / "geoindex-demo/photo.png")
    names, values = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for source in CODE:
            values.append(run_cell(source, names))
    return values


def run_cell(source, names):
    """Run a cell as a notebook does; return the value of its last expression."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_no_output_is_kept():
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in NOTEBOOK["cells"]
               if cell["cell_type"] == "code")  # fmt: skip


def test_every_answer_shows_itself(shown):
    answers = [value for value in shown if isinstance(value, geoindex.Prediction)]
    assert len(answers) == 3
    for answer in answers:
        card = answer._repr_html_()
        assert answer.place in card or "&#x27;" in card
        assert card.count("<svg") == 3


def test_an_answer_inside_a_box_is_in_it(shown):
    inside = [value for value in shown if isinstance(value, geoindex.Prediction)][1]
    assert all(candidate.lat <= 0.0 for candidate in inside.candidates)


def test_features_are_listed(shown):
    assert shown[-1][:2] == ["prediction", "candidate"]
