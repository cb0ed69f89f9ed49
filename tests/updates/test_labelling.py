"""Labels of stored photos, set from a table."""

import pyarrow as pa
import pytest
from planted import answers, planted_index, queries, table
from pyarrow import parquet

import geoindex
from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, TableError
from geoindex.integrity import verify_index
from geoindex.updates.labelling import _read_labels, label_images


@pytest.fixture
def path(tmp_path):
    return planted_index(tmp_path / "index", 200)


def test_labels_are_set_and_unset(path, tmp_path):
    asked = queries(path)
    before, found = table(path, "images").to_pylist(), answers(geoindex.open_index(path), asked)
    (tmp_path / "labels.csv").write_text("id,climate,country,note\nplanted-3,12,Oz,x\nplanted-5,,,y\nnobody,1,1,1\n")
    report = label_images(path, tmp_path / "labels.csv")
    assert (report.labels, report.labelled, report.unknown, report.generation) == (
        ("climate", "country"), 2, ("nobody",), "000002",
    )  # fmt: skip
    after = table(path, "images").to_pylist()
    for row in (3, 5):
        features = before[row]["features"]
        wanted = {3: ("12", "Oz"), 5: (None, None)}[row]
        assert (after[row]["climate"], after[row]["country"]) == wanted
        assert after[row]["features"] == features
        assert after[row]["city"] == before[row]["city"]
    assert [row for row in range(200) if after[row] != before[row]] == [3, 5]
    assert answers(geoindex.open_index(path), asked) == found
    assert verify_index(path, full=True).faults == ()


def test_ids_and_labels_are_what_the_table_says(tmp_path):
    for name, cell in (("007", "01"), ("7", "02"), ("2021-05-03", "1.50"), ("99999999999999999999", "1e5")):
        text = f"id,region,captured_at\n{name},{cell},2020-01-02T03:04:05Z\n"
        (tmp_path / "labels.csv").write_text(text)
        wanted = [{"id": name, "region": cell, "captured_at": "2020-01-02T03:04:05Z"}]
        assert _read_labels(tmp_path / "labels.csv").to_pylist() == wanted


def test_labels_are_cleaned_as_in_a_build(tmp_path):
    rows = pa.table({"id": [1.0, 2.0], "climate": [15.0, None], "captured_at": ["1558000000123", " 2019 "]})
    parquet.write_table(rows, tmp_path / "labels.parquet")
    assert _read_labels(tmp_path / "labels.parquet").select(["id", "climate", "captured_at"]).to_pylist() == [
        {"id": "1", "climate": "15", "captured_at": "2019-05-16T09:46:40Z"},
        {"id": "2", "climate": None, "captured_at": "2019"},
    ]


def test_other_tables(path, tmp_path, run):
    rows = pa.table({"id": ["planted-1"], "author": ["Kim"]})
    parquet.write_table(rows, tmp_path / "labels.parquet")
    assert label_images(path, tmp_path / "labels.parquet").labelled == 1
    (tmp_path / "labels.tsv").write_text("id\tauthor\nplanted-2\tLee, Ann\n")
    code, out, _ = run("label", path, tmp_path / "labels.tsv")
    assert code == 0
    assert "author of 1 photos; generation 000003" in out
    assert table(path, "images")["author"].to_pylist()[1:3] == ["Kim", "Lee, Ann"]


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("id,note\na,b\n", TableError, "needs a column id and one or more of country"),
        ("name,country\na,b\n", TableError, "needs a column id"),
        ("id,country\na,b\na,c\n", TableError, "must name each photo once"),
        ("id,country\n,b\n", TableError, "must name each photo once"),
        ("id,country\nnobody,b\n", EmptyDatasetError, "has an id of .* such as 'nobody'"),
        ("", EmptyDatasetError, "is an empty file"),
        ("id,country\na,b\nc\n", TableError, "rows that cannot be read .1 x row has not as many cells"),
    ],
)
def test_tables_that_will_not_do(path, tmp_path, text, error, sentence):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(error, match=sentence):
        label_images(path, tmp_path / "labels.csv")
    assert geoindex.open_index(path).manifest.generation == "000001"


def test_no_table(path, tmp_path):
    with pytest.raises(DatasetNotFoundError, match="There is no table"):
        label_images(path, tmp_path / "none.csv")
