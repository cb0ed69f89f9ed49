"""The command line: one sentence for what goes wrong."""

import json

import pytest
from terminal import TINY, sentence
from tiles import world_rows, write_table, write_world


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
            assert "is gone; run 'geoindex repair" in line
        generation = index_folder / "generations" / "000001"
        generation.rename(generation.with_name(".000001.partial"))
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
        assert "geoindex repair" in sentence(err)
        code, out, err = run("info", index_folder)
        assert (code, out) == (1, "")
        sentence(err)
        assert run("repair", index_folder)[0] == 0
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
        data = manifest.read_bytes().replace(b'"format_version": 2', b'"format_version": 3')
        manifest.write_bytes(data)
        (index_folder / "CURRENT").write_text(json.dumps({"generation": "000001", "sha256": digest(data)}))
        for line in self.refusals(run, index_folder, photo):
            assert "format 3" in line
