import json
from dataclasses import replace

import pytest

from geoindex.errors import ConfigError
from geoindex.prediction import SCHEMA_VERSION, Candidate, Evidence, Prediction

FIRST = Candidate(1, 48.85, 2.35, 0.6, 0.31, 7, 40, 12, 3.5, "Paris, France")
SECOND = Candidate(2, -18.14, 178.44, 0.1, 0.28, 2, 11, 5, 20.0, "Suva, Fiji")
PHOTO = Evidence("id1", "street/1.jpg", 48.86, 2.36, 0.9, 1.3)
ANSWER = Prediction(
    48.85, 2.35, "Paris, France", None, 120.0, "posterior", (FIRST, SECOND), (PHOTO,),
    {"search": 1.5}, "000003", "abc",
)  # fmt: skip


def test_the_dictionary_is_plain_json():
    values = ANSWER.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_the_dictionary_starts_with_its_schema_and_keeps_its_keys():
    values = ANSWER.to_dict()
    assert list(values) == [
        "schema", "lat", "lon", "place", "confidence", "radius_km", "rule", "candidates", "evidence", "timings_ms",
        "generation", "encoder", "max_precision_km", "within_km", "radius50_km", "radius90_km", "locatability",
    ]  # fmt: skip
    assert values["schema"] == SCHEMA_VERSION == 1
    assert list(values["candidates"][0]) == [
        "rank", "lat", "lon", "probability", "score", "cell", "cluster", "n_images", "radius_km", "place",
    ]  # fmt: skip
    assert list(values["evidence"][0]) == ["id", "image", "lat", "lon", "similarity", "distance_km"]


def test_the_dictionary_holds_the_values():
    values = ANSWER.to_dict()
    assert (values["lat"], values["lon"], values["confidence"]) == (48.85, 2.35, None)
    assert values["timings_ms"] == {"search": 1.5}
    assert [c["cluster"] for c in values["candidates"]] == [40, 11]
    assert values["evidence"][0]["image"] == "street/1.jpg"


def test_changing_the_dictionary_leaves_the_prediction():
    values = ANSWER.to_dict()
    values["timings_ms"]["search"] = 0
    values["candidates"].clear()
    assert ANSWER.timings_ms == {"search": 1.5}
    assert len(ANSWER.candidates) == 2


def test_geojson_lists_answer_then_candidates_then_evidence():
    collection = ANSWER.to_geojson()
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    assert [f["properties"]["kind"] for f in features] == ["prediction", "candidate", "candidate", "evidence"]
    for feature in features:
        assert set(feature) == {"type", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Point"
        assert not {"lat", "lon"} & set(feature["properties"])
    assert json.loads(json.dumps(collection, allow_nan=False)) == collection


def test_geojson_puts_longitude_first():
    coordinates = [f["geometry"]["coordinates"] for f in ANSWER.to_geojson()["features"]]
    assert coordinates == [[2.35, 48.85], [2.35, 48.85], [178.44, -18.14], [2.36, 48.86]]


def test_geojson_properties_tell_the_rest():
    prediction, first, _, evidence = (f["properties"] for f in ANSWER.to_geojson()["features"])
    assert prediction == {
        "kind": "prediction", "place": "Paris, France", "radius_km": 120.0, "confidence": None,
        "radius50_km": None, "radius90_km": None, "locatability": None,
    }  # fmt: skip
    assert (first["rank"], first["probability"], first["n_images"]) == (1, 0.6, 12)
    assert (evidence["id"], evidence["similarity"]) == ("id1", 0.9)


@pytest.mark.parametrize("item", [ANSWER, FIRST])
def test_libraries_read_predictions_and_candidates_as_points(item):
    assert item.__geo_interface__ == {"type": "Point", "coordinates": [2.35, 48.85]}


def test_coordinates_are_given_to_the_centimetre():
    candidate = Candidate(1, 12.34567890123, -98.76543210987, 1, 1, 0, 0, 1, 0, "")
    assert candidate.__geo_interface__["coordinates"] == [-98.7654321, 12.3456789]


SURE = replace(ANSWER, confidence=0.4, within_km={"25": 0.1, "200": 0.4}, radius50_km=300.0, radius90_km=2000.0)


def test_what_is_calibrated_is_told_by_dictionary_and_geojson():
    values = SURE.to_dict()
    assert (values["within_km"], values["radius50_km"], values["radius90_km"]) == ({"25": 0.1, "200": 0.4}, 300, 2000)
    values["within_km"].clear()
    assert SURE.within_km == {"25": 0.1, "200": 0.4}
    told = SURE.to_geojson()["features"][0]["properties"]
    assert (told["within_25_km"], told["within_200_km"], told["radius90_km"]) == (0.1, 0.4, 2000)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan")])
@pytest.mark.parametrize("name", ["confidence", "locatability", "within_km"])
def test_a_probability_that_is_none_is_refused(name, wrong):
    with pytest.raises(ConfigError, match=f"Prediction.{name}.* is {wrong}; give a probability from 0 to 1"):
        replace(ANSWER, **{name: {"25": wrong} if name == "within_km" else wrong})


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_certain_answers_are_answers(right):
    assert replace(ANSWER, confidence=right).confidence == right
