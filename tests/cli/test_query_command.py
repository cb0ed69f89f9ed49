"""The command line: queries and reports, results on stdout alone."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from terminal import sentence
from tiles import HUBS, save_tile, snapshot, world_rows, write_world

from geoindex.geo import haversine_km


class TestQuery:
    """`geoindex query`: inputs, formats, exit codes."""

    @pytest.fixture
    def ask(self, run, built):
        return lambda *arguments: run("query", "--index", built.path, *arguments)

    def answers(self, out):
        return [json.loads(line) for line in out.splitlines()]

    def test_a_photo_as_a_table(self, ask, photo):
        code, out, err = ask(photo)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == str(photo)
        lat, lon = (float(number) for number in lines[1].split("   ")[0].split(","))
        assert haversine_km(lat, lon, *HUBS["nl"]) < 500

    def test_a_photo_on_stdin(self, ask, photo, monkeypatch):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(photo.read_bytes())))
        code, out, _ = ask("-", "--format", "jsonl")
        (answer,) = self.answers(out)
        assert (code, answer["input"]) == (0, "stdin")
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
        code, out, err = ask("-")
        assert code == 1
        assert "'stdin': it is empty" in sentence(err)

    def test_folders_and_patterns(self, ask, tmp_path):
        for name, hub in (("b.jpg", "jp"), ("a.jpg", "us"), ("deep/c.jpg", "br")):
            save_tile(tmp_path / "trip" / name, *HUBS[hub])
        code, out, _ = ask(tmp_path / "trip", tmp_path / "trip" / "*.jpg", "--format", "jsonl")
        answers = self.answers(out)
        assert code == 0
        assert [Path(a["input"]).name for a in answers] == ["a.jpg", "b.jpg", "c.jpg", "a.jpg", "b.jpg"]
        for answer, hub in zip(answers, ["us", "jp", "br", "us", "jp"], strict=True):
            assert haversine_km(answer["lat"], answer["lon"], *HUBS[hub]) < 500

    def test_a_pattern_that_fits_nothing(self, ask, tmp_path):
        code, out, err = ask(tmp_path / "*.webp")
        assert code == 1
        assert "not answered: no file fits this pattern" in out
        assert "no file fits this pattern" in sentence(err)

    def test_what_stands_for_no_photo_leaves_the_others_their_answers(self, ask, photo, tmp_path):
        (tmp_path / "empty").mkdir()
        code, out, err = ask(tmp_path / "empty", photo, tmp_path / "*.webp", "--format", "jsonl")
        first, second, third = self.answers(out)
        assert code == 3
        assert "this folder holds no photo" in first["error"]["message"]
        assert haversine_km(second["lat"], second["lon"], *HUBS["nl"]) < 500
        assert "no file fits" in third["error"]["message"]
        assert len(err.splitlines()) == 2

    def test_a_photo_that_is_missing_is_1(self, ask, tmp_path):
        code, _, err = ask(tmp_path / "gone.jpg")
        assert code == 1
        assert "there is no such file" in sentence(err)

    def test_a_bad_photo_beside_a_good_one_is_3(self, ask, photo, bad_photo, tmp_path):
        code, out, err = ask(bad_photo, photo, tmp_path / "gone.jpg", "--format", "jsonl")
        first, second, third = self.answers(out)
        assert code == 3
        assert first["error"]["type"] == third["error"]["type"] == "UnreadableImageError"
        assert haversine_km(second["lat"], second["lon"], *HUBS["nl"]) < 500
        assert len(err.splitlines()) == 2
        assert all(line.startswith("geoindex: Cannot read image") for line in err.splitlines())

    def test_every_format_holds_every_input(self, ask, photo, bad_photo):
        outs = {f: ask(photo, bad_photo, "--format", f) for f in ("table", "json", "jsonl", "geojson", "csv")}
        assert {code for code, _, _ in outs.values()} == {3}
        text = {name: out for name, (_, out, _) in outs.items()}
        point = pytest.approx((json.loads(text["json"])[0]["lat"], json.loads(text["json"])[0]["lon"]), abs=1e-5)
        assert [item["input"] for item in json.loads(text["json"])] == [str(photo), str(bad_photo)]
        first, second = self.answers(text["jsonl"])
        assert (first["lat"], first["lon"]) == point
        assert "error" in second
        features = json.loads(text["geojson"])["features"]
        assert tuple(reversed(features[0]["geometry"]["coordinates"])) == point
        assert {f["properties"]["kind"] for f in features} == {"prediction", "candidate", "evidence"}
        rows = list(csv.DictReader(io.StringIO(text["csv"])))
        assert (float(rows[0]["lat"]), float(rows[0]["lon"])) == point
        assert (rows[1]["lat"], rows[1]["input"]) == ("", str(bad_photo))
        assert rows[1]["error"].startswith("Cannot read image")
        assert "not answered: " in text["table"]

    def test_options_reach_the_search(self, ask, photo):
        flags = ["--top-k", 2, "--evidence", 1, "--rule", "nearest", "--top-cells", 1, "--max-precision-km", 50]
        _, out, _ = ask(photo, "--format", "json", *flags)
        (answer,) = json.loads(out)
        assert (len(answer["candidates"]), answer["rule"], answer["max_precision_km"]) == (2, "nearest", 50)
        assert len(answer["evidence"]) <= 1

    def test_a_folder_that_may_only_be_read(self, run, index_folder, photo):
        before = snapshot(index_folder)
        for command in (["query", photo, "--index", index_folder], ["eval", index_folder], ["info", index_folder]):
            assert run(*command)[0] == 0
        assert snapshot(index_folder) == before

    def test_names_of_other_scripts(self, ask, tmp_path):
        photo = save_tile(tmp_path / "Köln 東京.jpg", *HUBS["jp"])
        code, out, _ = ask(photo, "--format", "csv")
        assert code == 0
        assert "Köln 東京.jpg" in out


class TestReports:
    """`geoindex eval` and `info`."""

    def test_eval(self, run, built):
        code, out, err = run("eval", built.path)
        assert (code, err) == (0, "")
        assert "best constant" in out
        code, out, _ = run("eval", built.path, "--format", "json", "--split", "train")
        assert json.loads(out)["in_gallery"] == built.counts["gallery"]

    def test_eval_of_another_source(self, run, built, tmp_path):
        table = write_world(tmp_path / "world", [("n" + r[0], *r[1:]) for r in world_rows(per_hub=1, seed=5)])
        code, out, _ = run("eval", built.path, "--source", table, "--format", "json")
        assert (code, json.loads(out)["count"]) == (0, 8)
        next(table.parent.glob("*.jpg")).unlink()
        code, out, _ = run("eval", built.path, "--source", table, "--format", "json")
        assert (code, json.loads(out)["unreadable"]) == (3, 1)

    def test_info(self, run, built):
        code, out, err = run("info", built.path)
        assert (code, err) == (0, "")
        assert "79 in the gallery" in out
        code, out, _ = run("info", built.path, "--format", "json")
        assert json.loads(out)["generation"] == "000001"
