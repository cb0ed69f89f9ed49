"""The command line: usage, recipes and flags, what a build prints."""

import errno
import json
import os

import numpy as np
import pytest
from terminal import TINY, sentence
from tiles import TINY_ENCODER, world_rows, write_world

import geoindex
from geoindex.cli import app
from geoindex.errors import ConfigError
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.generations import IndexFolder


def recipe_of(folder):
    return recipe_from_dict(IndexFolder(folder).current().manifest.recipe)


class TestUsage:
    """Help, and commands that are not valid."""

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


def test_an_interrupted_build_is_130(run, world, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("geoindex.pipeline.assemble", interrupt)
    code, out, err = run("build", world, "--out", tmp_path / "index", *TINY)
    assert (code, out) == (130, "")
    assert "kept for the next run" in sentence(err)


def test_a_refusal_of_the_system_is_one_sentence(run, world, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("geoindex.pipeline.assemble", refuse)
    code, out, err = run("build", world, "--out", tmp_path / "index", *TINY)
    assert (code, out) == (1, "")
    assert "Too many open files" in sentence(err)


def test_the_application_can_be_called_twice(run, built):
    assert run("info", built.path)[0] == run("info", built.path)[0] == 0
    assert app.name[0] == "geoindex"
    assert np.isfinite(built.counts["cells"])


@pytest.mark.parametrize(
    ("given", "executor"),
    [
        ([], "local"),
        (["--ray"], "ray"),
        (["--ray", "10.0.0.1:6379"], "ray:10.0.0.1:6379"),
        (["--ray", "--seed", "1"], "ray"),
    ],
)
def test_ray_is_named_with_an_address_or_without(run, world, tmp_path, monkeypatch, given, executor):
    seen = []

    def build(*_, **keys):
        seen.append(keys["executor"])
        raise ConfigError("Enough.")

    monkeypatch.setattr("geoindex.pipeline.build_index", build)
    run("build", world, "--out", tmp_path / "index", *given)
    monkeypatch.setattr("geoindex.rebuilding.rebuild_index", build)
    run("rebuild", tmp_path / "index", *(given if given != ["--ray", "--seed", "1"] else ["--ray", "--format", "json"]))
    assert seen == [executor, executor]
