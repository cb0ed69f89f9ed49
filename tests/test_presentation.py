import csv
import io
import json
from dataclasses import replace

import pytest

from geoindex.errors import UnreadableImageError
from geoindex.prediction import Candidate, Evidence, Prediction
from geoindex.presentation import ANYWHERE, COLUMNS, FORMATS, Outcome, prediction_lines

FIRST = Candidate(1, 48.8512, 2.3498, 0.61234, 0.3125, 7, 40, 12, 3.5, 'Paris, "Île-de-France", France')
SECOND = Candidate(2, -18.1416, 178.4419, 0.1, -0.02, 2, 11, 5000, 1234.5, "Suva, Fiji")
PHOTO = Evidence("id1", "street/1.jpg", 48.86, 2.36, 0.9, 1300.4)
ANSWER = Prediction(48.8512, 2.3498, FIRST.place, None, 1234.56, "posterior", (FIRST, SECOND), (PHOTO,))
SURE = replace(ANSWER, confidence=0.825, evidence=())
BROKEN = UnreadableImageError("bad.jpg", "it is empty")

NAMES = ["plain.jpg", "comma, and 'quotes' \"both\".jpg", "new\nline.jpg", "return\rhere.jpg", "ünï 東京.jpg", ""]
OUTCOMES = [Outcome(name, ANSWER) for name in NAMES] + [Outcome("bad, worse.jpg", BROKEN)]

TABLE = """\
a.jpg
  48.8512, 2.3498   Paris, "Île-de-France", France
  half of the probability lies within 1,235 km   confidence not calibrated   rule posterior
  candidates, with their images
     1  p 0.612  cos +0.312    48.8512     2.3498     12 within   3.5 km  Paris, "Île-de-France", France
     2  p 0.100  cos -0.020   -18.1416   178.4419   5000 within 1,234 km  Suva, Fiji
  evidence, with its distance from the answer
        cos +0.900    48.8600     2.3600   1,300 km off  id1

bad.jpg
  not answered: it is empty

"""


def text_of(name, outcomes):
    return "".join(FORMATS[name](iter(outcomes)))


def test_every_format_is_text_that_ends_its_last_line():
    assert list(FORMATS) == ["table", "json", "jsonl", "geojson", "csv"]
    for name in FORMATS:
        assert text_of(name, OUTCOMES).endswith("\n")


def test_outcomes_know_whether_they_failed():
    assert Outcome("a", BROKEN).failed
    assert not Outcome("a", ANSWER).failed


def test_json_is_one_list_of_predictions_and_failures():
    values = json.loads(text_of("json", OUTCOMES))
    assert [v["input"] for v in values] == [*NAMES, "bad, worse.jpg"]
    assert values[0] == {"input": "plain.jpg", **ANSWER.to_dict()}
    message = "Cannot read image 'bad.jpg': it is empty."
    assert values[-1] == {"input": "bad, worse.jpg", "error": {"type": "UnreadableImageError", "message": message}}


def test_json_lines_hold_one_object_each():
    lines = text_of("jsonl", OUTCOMES).removesuffix("\n").split("\n")
    assert [json.loads(line) for line in lines] == [outcome.to_dict() for outcome in OUTCOMES]
    assert "東京" in lines[4]


def test_geojson_names_the_input_of_every_feature():
    collection = json.loads(text_of("geojson", [Outcome("a.jpg", ANSWER), Outcome("b", BROKEN), Outcome("c", SURE)]))
    assert collection["type"] == "FeatureCollection"
    named = [(f["properties"]["input"], f["properties"]["kind"]) for f in collection["features"]]
    parts = ["prediction", "candidate", "candidate"]
    assert named == [("a.jpg", kind) for kind in [*parts, "evidence"]] + [("c", kind) for kind in parts]


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(text_of("csv", OUTCOMES), newline="")))
    assert [row["input"] for row in rows] == [*NAMES, "bad, worse.jpg"]
    assert rows[0] == {
        "input": "plain.jpg", "lat": "48.851200", "lon": "2.349800", "place": FIRST.place, "radius_km": "1234.6",
        "confidence": "", "probability": "0.6123", "error": "",
    }  # fmt: skip
    failure = dict.fromkeys(COLUMNS, "") | {"input": "bad, worse.jpg", "error": str(BROKEN)}
    assert rows[-1] == failure


def test_csv_tells_a_confidence_and_ends_lines_with_newlines():
    text = text_of("csv", [Outcome("a.jpg", SURE)])
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert ",0.8250," in text
    assert "\r" not in text


def test_table():
    assert text_of("table", [Outcome("a.jpg", ANSWER), Outcome("bad.jpg", BROKEN)]) == TABLE


def test_table_tells_a_confidence_and_no_evidence():
    text = text_of("table", [Outcome("a.jpg", SURE)])
    assert "confidence 82%" in text
    assert "evidence" not in text


def test_table_tells_in_words_how_sure_an_answer_is():
    within = {"25": 0.124, "200": 0.4, "750": 0.7}
    sure = replace(SURE, within_km=within, radius50_km=310.4, radius90_km=2400.0, locatability=0.3)
    lines = text_of("table", [Outcome("a.jpg", sure)]).splitlines()
    assert lines[2:4] == [
        "  right within 25 km 12%, 200 km 40%, 750 km 70%",
        "  of such answers the truth lies within 310 km for half, 2,400 km for nine in ten",
    ]
    assert not any("anywhere" in line for line in lines)


def test_table_says_anywhere_of_a_photo_that_tells_nothing():
    nothing, something = (replace(SURE, locatability=value) for value in (ANYWHERE - 0.001, ANYWHERE))
    assert "it could be anywhere" in text_of("table", [Outcome("a.jpg", nothing)])
    assert "anywhere" not in text_of("table", [Outcome("a.jpg", something)])


def test_table_tells_no_radius_of_nothing():
    text = text_of("table", [Outcome("a.jpg", replace(ANSWER, radius_km=0.0))])
    assert "half of the probability lies in the cluster of the answer   confidence" in text


@pytest.mark.parametrize(
    ("name", "empty"),
    [("table", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", ",".join(COLUMNS) + "\n")],
)
def test_no_input_is_no_output_but_valid(name, empty):
    assert text_of(name, []) == empty
    assert json.loads(text_of("geojson", [])) == {"type": "FeatureCollection", "features": []}


@pytest.mark.parametrize("name", ["table", "jsonl", "csv"])
def test_answers_are_printed_as_they_come(name):
    def outcomes():
        yield Outcome("first.jpg", ANSWER)
        pytest.fail("the second answer was asked for before the first was printed")

    text = ""
    for part in FORMATS[name](outcomes()):
        text += part
        if FIRST.place.split(",")[0] in text:
            break
    assert "first.jpg" in text


def test_a_photo_that_is_in_the_index_is_told():
    here = Evidence("a.jpg", "a.jpg", 46.1673, 7.0997, 0.99996, 500.0)
    alike = replace(here, similarity=0.99)
    own = replace(ANSWER, evidence=(here, alike))
    assert "this photo or a copy is in the index: a.jpg at 46.1673, 7.0997" in prediction_lines(own)
    assert not any("copy is in the index" in line for line in prediction_lines(replace(own, evidence=(alike,))))
