"""The command line as a process: pipes, signals, a full disk."""

import json
import signal

import pytest
from terminal import TINY, program, sentence, wait_for_shards
from tiles import HUBS, points, tile, world_rows, write_world

import geoindex


class TestProcesses:
    """What only a process of its own can show."""

    @pytest.mark.slow
    def test_results_on_stdout_and_the_rest_on_stderr(self, built, photo, bad_photo):
        process = program(
            "query", photo, bad_photo, "--index", built.path, "--format", "jsonl", "--backend", "torch"
        )  # others tell of their export first
        out, err = process.communicate(timeout=120)
        assert process.returncode == 3
        assert [json.loads(line)["input"] for line in out.splitlines()] == [str(photo), str(bad_photo)]
        sentence(err)

    @pytest.mark.parametrize("command", [
        ["info"], pytest.param(["query", "--format", "json", "--backend", "torch", "--index"], marks=pytest.mark.slow),
    ])  # fmt: skip
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
        wait_for_shards(process, out)
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
