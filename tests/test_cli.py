"""The command line: exit codes, one sentence for what goes wrong, results on stdout alone."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiles import HUBS, TINY_ENCODER, points, save_tile, snapshot, tile, world_rows, write_table, write_world

import geoindex
from geoindex.cli import app, main
from geoindex.geo import haversine_km
from geoindex.recipe import recipe_from_dict
from geoindex.store.generations import IndexFolder

ROOT = Path(geoindex.__file__).parents[1]
PROGRAM = "import sys; from geoindex.cli import main; sys.exit(main())"
TINY = ["--encoder", TINY_ENCODER, "--encoding.device", "cpu"]


@pytest.fixture
def run(capsys):
    """Run a command; return exit code, stdout, stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def photo(tmp_path):
    return save_tile(tmp_path / "photo.jpg", 52.2, 5.3)


@pytest.fixture
def bad_photo(tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"no photo")
    return path


def program(*arguments, **options):
    """Start geoindex as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True, **options
    )


def sentence(err):
    """Return the one line on stderr, and see that it is one."""
    (line,) = err.splitlines()
    assert line.startswith("geoindex: ")
    assert line.endswith((".", "?"))
    assert "Traceback" not in line
    return line


def recipe_of(folder):
    return recipe_from_dict(IndexFolder(folder).current().manifest.recipe)


class TestUsage:
    """Help, and commands that cannot be meant."""

    @pytest.mark.parametrize("command", [[], ["build"], ["rebuild"], ["query"], ["eval"], ["info"], ["demo"]])
    def test_help_goes_to_stdout(self, run, command):
        code, out, err = run(*command, "--help")
        assert (code, err) == (0, "")
        assert out.startswith("Usage: geoindex")

    def test_the_version(self, run):
        assert run("--version")[:2] == (0, f"{geoindex.__version__}\n")

    def test_help_of_build_names_every_key_of_a_recipe(self, run):
        out = run("build", "--help")[1]
        for flag in ("--split-by", "--encoder", "--geocells.max-cells", "--search.rule", "--encoding.projection"):
            assert flag in out

    @pytest.mark.parametrize(
        "arguments",
        [
            ["build", "x", "--spilt-by", "author"],
            ["locate", "x.jpg"],
            ["query", "x.jpg", "--format", "yaml"],
            ["query", "x.jpg", "--top-k", "many"],
            ["query"],
            ["info"],
            ["eval", "x", "--split", "dev"],
            ["build", "x", "--sample", "few"],
        ],
    )
    def test_wrong_usage_is_2_and_on_stderr(self, run, arguments):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "--help" in sentence(err)

    @pytest.mark.parametrize(
        ("flags", "what"),
        [
            (["--top-k", "0"], "top_k"),
            (["--max-precision-km", "-1"], "max_precision_km"),
            (["--evidence", "-1"], "evidence"),
        ],
    )
    def test_values_that_cannot_be_meant_are_2(self, run, built, photo, flags, what):
        code, out, err = run("query", photo, "--index", built.path, *flags)
        assert (code, out) == (2, "")
        assert what in sentence(err)


class TestBuild:
    """`geoindex build` and `rebuild`."""

    def test_a_table_becomes_an_index(self, run, world, tmp_path):
        code, out, err = run("build", world, "--out", tmp_path / "index", *TINY)
        assert (code, err) == (0, "")
        assert out.startswith(f"{tmp_path / 'index'}: generation 000001, 79 gallery images")

    def test_the_report_as_json(self, run, world, tmp_path):
        _, out, _ = run("build", world, "--out", tmp_path / "index", "--format", "json", *TINY)
        assert json.loads(out)["counts"]["images"] == 96

    def recipe(self, folder, world, extra=""):
        path = folder / "mine.toml"
        path.write_text(
            f'source = "{world}"\nencoder = "{TINY_ENCODER}"\nsplit_by = "country"\nsplit_ratio = [0.8, 0.1, 0.1]\n'
            f'{extra}\n[encoding]\ndevice = "cpu"\n[geocells]\nmin_cells = 2\nmax_cells = 9\n'
        )
        return path

    def test_a_recipe_becomes_an_index_beside_it(self, run, world, tmp_path):
        code, _, err = run("build", self.recipe(tmp_path, world))
        assert (code, err) == (0, "")
        recipe = recipe_of(tmp_path / "mine")
        assert (recipe.split_by, recipe.geocells.max_cells, recipe.source) == ("country", 9, str(world))

    def test_flags_override_the_recipe(self, run, world, tmp_path):
        path = self.recipe(tmp_path, world)
        flags = ["--split-by", "author", "--geocells.max-cells", "5", "--out", tmp_path / "other"]
        code, _, err = run("build", path, *flags)
        assert (code, err) == (0, "")
        recipe = recipe_of(tmp_path / "other")
        assert (recipe.split_by, recipe.geocells.min_cells, recipe.geocells.max_cells) == ("author", 2, 5)
        code, _, err = run("build", "--split-by", "none", "--out", tmp_path / "third", path)
        assert (code, err) == (0, "")
        assert recipe_of(tmp_path / "third").split_by == "none"

    def test_a_recipe_and_flags_mean_the_same(self, run, world, tmp_path):
        path = self.recipe(tmp_path, world)
        run("build", path, "--out", tmp_path / "a")
        flags = ["--split-by", "country", "--geocells.min-cells", "2", "--geocells.max-cells", "9"]
        run("build", world, "--out", tmp_path / "b", *flags, *TINY)
        first, second = (recipe_of(tmp_path / name) for name in "ab")
        assert first.geocells == second.geocells
        assert (first.split_by, first.encoder, first.encoding) == (second.split_by, second.encoder, second.encoding)

    def test_a_recipe_does_not_linger(self, run, world, tmp_path):
        run("build", self.recipe(tmp_path, world, 'balance = "area"'))
        run("build", world, "--out", tmp_path / "plain", *TINY)
        assert recipe_of(tmp_path / "plain").split_by == "ratio"
        assert recipe_of(tmp_path / "plain").balance == "uniform"

    @pytest.mark.parametrize("extra", ["spilt_by = 'x'", "sample = 'many'", "[gecells]\nmax_cells = 3", "sample = 0"])
    def test_a_recipe_with_a_wrong_key_is_2_in_a_sentence(self, run, world, tmp_path, extra):
        path = self.recipe(tmp_path, world, extra)
        code, out, err = run("build", path)
        assert (code, out) == (2, "")
        sentence(err)
        assert not (tmp_path / "mine").exists()

    def test_a_recipe_that_is_not_toml_is_2_in_a_sentence(self, run, tmp_path):
        path = tmp_path / "broken.toml"
        path.write_text("split_by = = 3")
        code, out, err = run("build", path)
        assert (code, out) == (2, "")
        assert "broken.toml" in sentence(err)

    def test_a_missing_recipe_is_2_in_a_sentence(self, run, tmp_path):
        code, out, err = run("build", tmp_path / "none.toml")
        assert (code, out) == (2, "")
        assert "No recipe at" in sentence(err)

    def test_no_source_is_2_in_a_sentence(self, run, tmp_path):
        code, _, err = run("build", "--out", tmp_path / "index")
        assert code == 2
        assert "names no source" in sentence(err)

    def test_unreadable_images_are_3_and_the_rest_is_indexed(self, run, tmp_path):
        rows = world_rows(per_hub=3)
        table = write_world(tmp_path / "world", rows)
        (table.parent / rows[5][0]).write_bytes(b"")
        code, out, err = run("build", table, "--out", tmp_path / "index", "--split-by", "none", *TINY)
        assert (code, err) == (3, "")
        assert f"left out 1: it is empty (0 bytes) (such as {rows[5][0]})" in out
        code, out, _ = run("rebuild", tmp_path / "index")
        assert (code, out.splitlines()[0].count("23 gallery images")) == (0, 1)

    def test_rebuild(self, run, index_folder, tmp_path):
        code, out, err = run("rebuild", index_folder)
        assert (code, err) == (0, "")
        assert "generation 000002" in out
        recipe = tmp_path / "cells.toml"
        recipe.write_text("[geocells]\nmin_cells = 2\nmax_cells = 3\n")
        assert run("rebuild", index_folder, "--recipe", recipe)[0] == 0
        assert recipe_of(index_folder).geocells.max_cells == 3


class TestBadSources:
    """Sources that cannot be used: exit code 1 and one sentence."""

    def refusal(self, run, source, tmp_path, *flags, code=1):
        got, out, err = run("build", source, "--out", tmp_path / "index", *TINY, *flags)
        assert (got, out) == (code, "")
        assert not (tmp_path / "index" / "CURRENT").exists()
        return sentence(err)

    def test_a_wrong_path(self, run, tmp_path):
        assert "no/such/folder" in self.refusal(run, "no/such/folder", tmp_path)
        assert not (tmp_path / "index").exists()

    def test_an_unknown_scheme(self, run, tmp_path):
        assert "Unknown source" in self.refusal(run, "flickr:me", tmp_path)

    def test_an_empty_folder(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "holds no image" in self.refusal(run, tmp_path / "empty", tmp_path)

    def test_photos_without_gps(self, run, tmp_path, photo):
        assert "GPS" in self.refusal(run, tmp_path, tmp_path)

    def test_a_table_without_coordinates(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", [("a.jpg", "x")], ("image", "caption"))
        assert "t.csv" in self.refusal(run, table, tmp_path)

    def test_a_table_with_impossible_latitudes(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", [("a.jpg", 91, 0, "", "")])
        assert "latitude is outside -90..90" in self.refusal(run, table, tmp_path)

    def test_a_table_whose_images_are_all_missing(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", world_rows(per_hub=1))
        assert "None of the 8 images could be read" in self.refusal(run, table, tmp_path)

    def test_a_table_of_an_unknown_kind(self, run, tmp_path):
        table = tmp_path / "t.xlsx"
        table.write_bytes(b"PK")
        assert "would end in" in self.refusal(run, table, tmp_path)

    def test_a_label_that_nobody_has(self, run, tmp_path):
        table = write_world(tmp_path / "world", world_rows(per_hub=1))
        assert "sequence" in self.refusal(run, table, tmp_path, "--split-by", "sequence", code=2)

    def test_weights_that_are_missing(self, run, world, tmp_path):
        flags = ["--encoder", "timm:vit_tiny_patch16_224", "--weights", tmp_path / "none.safetensors"]
        got, _, err = run("build", world, "--out", tmp_path / "index", *flags)
        assert got == 1
        assert "No weights file" in sentence(err)

    @pytest.mark.parametrize("encoder", ["timm:vit_tinny", "vit", "timm:vit_tiny_patch16_224/random?depth=x"])
    def test_an_encoder_that_is_none(self, run, world, tmp_path, encoder):
        got, _, err = run("build", world, "--out", tmp_path / "index", "--encoder", encoder)
        assert got in (1, 2)
        sentence(err)

    def test_an_index_folder_that_is_a_file(self, run, world, tmp_path):
        (tmp_path / "index").write_text("x")
        assert "Cannot write to" in self.refusal(run, world, tmp_path)


class TestBadIndexes:
    """What is no index, or a damaged one: exit code 1 and one sentence, for every command."""

    COMMANDS = ("query", "eval", "info", "rebuild")

    def refusals(self, run, folder, photo):
        for command in self.COMMANDS:
            arguments = [photo, "--index", folder] if command == "query" else [folder]
            code, out, err = run(command, *arguments)
            assert (code, out) == (1, "")
            yield sentence(err)

    def test_no_index(self, run, tmp_path, photo):
        for line in self.refusals(run, tmp_path / "none", photo):
            assert "No index at" in line
        assert not (tmp_path / "none").exists()

    def test_a_folder_that_is_none(self, run, tmp_path, photo):
        for line in self.refusals(run, tmp_path, photo):
            assert "No index at" in line

    def test_a_file(self, run, photo):
        assert all("photo.jpg" in line for line in self.refusals(run, photo, photo))

    def test_an_unfinished_index(self, run, index_folder, photo):
        (index_folder / "CURRENT").unlink()
        for line in self.refusals(run, index_folder, photo):
            assert "never finished" in line

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"generation": "000001", "sha256": "0"}'])
    def test_a_damaged_pointer(self, run, index_folder, photo, content):
        (index_folder / "CURRENT").write_bytes(content)
        for line in self.refusals(run, index_folder, photo):
            assert "CURRENT" in line

    @pytest.mark.parametrize("name", ["clusters.arrow", "gallery.npy"])
    def test_a_damaged_file_of_a_generation(self, run, index_folder, photo, name):
        path = index_folder / "generations" / "000001" / name
        path.write_bytes(bytes(path.stat().st_size))
        code, out, err = run("query", photo, "--index", index_folder)
        assert (code, out) == (1, "")
        assert "geoindex rebuild" in sentence(err)
        code, out, err = run("info", index_folder)
        assert (code, out) == (1, "")
        sentence(err)
        assert run("rebuild", index_folder)[0] == 0
        assert run("query", photo, "--index", index_folder)[0] == 0

    def test_damaged_tables(self, run, index_folder):
        for file in (index_folder / "tables" / "images.lance").rglob("*"):
            if file.is_file():
                file.write_bytes(b"\0" * 100)
        for command in ("rebuild", "eval"):
            code, out, err = run(command, index_folder)
            assert (code, out) == (1, "")
            sentence(err)

    def test_a_format_of_tomorrow(self, run, index_folder, photo):
        from geoindex.store.manifest import digest

        manifest = index_folder / "generations" / "000001" / "manifest.json"
        data = manifest.read_bytes().replace(b'"format_version": 1', b'"format_version": 2')
        manifest.write_bytes(data)
        (index_folder / "CURRENT").write_text(json.dumps({"generation": "000001", "sha256": digest(data)}))
        for line in self.refusals(run, index_folder, photo):
            assert "format 2" in line


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
        assert (code, out) == (1, "")
        assert "No image in" in sentence(err)

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


class TestProcesses:
    """What only a process of its own can show."""

    @pytest.mark.slow
    def test_results_on_stdout_and_the_rest_on_stderr(self, built, photo, bad_photo):
        process = program("query", photo, bad_photo, "--index", built.path, "--format", "jsonl")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 3
        assert [json.loads(line)["input"] for line in out.splitlines()] == [str(photo), str(bad_photo)]
        sentence(err)

    @pytest.mark.parametrize(
        "command", [["info"], pytest.param(["query", "--format", "json", "--index"], marks=pytest.mark.slow)]
    )
    def test_a_reader_that_goes_away_is_no_traceback(self, built, photo, command):
        process = program(*command, built.path, *[photo] * (40 if command[0] == "query" else 0))
        with process:
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 1

    @pytest.mark.slow
    def test_a_full_disk_is_one_sentence_and_the_index_lives(self, world, index_folder, index, tiny_encoder):
        import resource

        photos = [tile(*hub) for hub in HUBS.values()]
        before = points(index, photos)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        process = program("build", world, "--out", index_folder, *TINY, preexec_fn=limit)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (1, "")
        assert "is full" in sentence(err)
        assert points(geoindex.open_index(index_folder, encoder=tiny_encoder), photos) == before
        assert [p.name for p in (index_folder / "generations").iterdir()] == ["000001"]

    @pytest.mark.slow
    def test_ctrl_c_publishes_nothing_and_the_next_run_goes_on(self, tmp_path):
        table = write_world(tmp_path / "world", world_rows(per_hub=400))
        out = tmp_path / "index"
        command = ["build", table, "--out", out, "--split-by", "none", "--geocells.max-positions", 300, *TINY]
        process = program(*command)
        deadline = time.monotonic() + 120
        while not list(out.rglob("shard-*.npz")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, err = process.communicate(timeout=120)
        assert (process.returncode, stdout) == (130, "")
        assert "interrupted" in sentence(err)
        assert not (out / "CURRENT").exists()
        assert 0 < len(list(out.rglob("shard-*.npz"))) < 4
        # the first shard is not read again: its images may be gone
        for row in world_rows(per_hub=400)[:1024]:
            (table.parent / row[0]).unlink()
        process = program(*command)
        stdout, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")
        assert "3200 gallery images" in stdout
        assert not (out / "work").exists()


def test_an_interrupted_build_is_130(run, world, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("geoindex.pipeline.assemble", interrupt)
    code, out, err = run("build", world, "--out", tmp_path / "index", *TINY)
    assert (code, out) == (130, "")
    assert "kept for the next run" in sentence(err)


def test_a_refusal_of_the_system_is_one_sentence(run, world, tmp_path):
    code, out, err = run("build", world, "--out", tmp_path / ("x" * 300), *TINY)
    assert (code, out) == (1, "")
    assert "too long" in sentence(err)


def test_the_application_can_be_called_twice(run, built):
    assert run("info", built.path)[0] == run("info", built.path)[0] == 0
    assert app.name[0] == "geoindex"
    assert np.isfinite(built.counts["cells"])
