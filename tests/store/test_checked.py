"""Blocks are compared with their checksums when they are first touched, and only then."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.errors import IndexDamagedError
from geoindex.store.checked import CheckedFile, CheckedRows
from geoindex.store.checked_table import CheckedTable
from geoindex.store.durable import block_record, measure
from geoindex.store.sidecar import write_arrow

BLOCK = 256


@pytest.fixture
def folder(tmp_path):
    """A generation's folder."""
    folder = tmp_path / "index" / "generations" / "000001"
    folder.mkdir(parents=True)
    return folder


def opened(path, digests=None):
    return CheckedFile(path, measure(path, BLOCK).digests if digests is None else digests, BLOCK)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_every_byte_belongs_to_one_block(folder):
    path = folder / "file"
    path.write_bytes(bytes(range(250)) * 5)
    digests = measure(path, BLOCK).digests
    assert len(digests) == 32 * 5
    for position in range(0, 1250, 7):
        flip(path, position)
        damaged = opened(path, digests)
        block = position // BLOCK
        damaged.check(0, block * BLOCK)
        damaged.check((block + 1) * BLOCK, 1250)
        stop = min((block + 1) * BLOCK, 1250)
        sentence = rf"file' is not what was written at bytes {block * BLOCK} to {stop}; run 'geoindex repair .*index'"
        for start in (position, block * BLOCK):
            with pytest.raises(IndexDamagedError, match=sentence):
                damaged.check(start, position + 1)
        assert not damaged.sound
        flip(path, position)
    sound = opened(path, digests)
    sound.check_all()
    assert sound.sound


def test_a_block_is_read_once(folder):
    path = folder / "file"
    path.write_bytes(bytes(1000))
    file = opened(path)
    file.check(0, 600)
    flip(path, 300)
    file.check(0, 700)
    flip(path, 900)
    with pytest.raises(IndexDamagedError):
        file.check(0, 1000)


def test_an_empty_range_needs_no_block(folder):
    path = folder / "file"
    path.write_bytes(bytes(1000))
    file = opened(path, bytes(32 * 4))
    file.check(300, 300)
    with pytest.raises(IndexDamagedError):
        file.check(300, 301)


def test_a_file_without_digests_was_checked_before(folder):
    path = folder / "file"
    path.write_bytes(b"any")
    file = CheckedFile(path)
    file.check_all()
    assert file.sound


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer"])
def test_digests_vouch_for_themselves(folder, change):
    path, blocks = folder / "file", folder / "file.blocks"
    path.write_bytes(bytes(1000))
    digests = measure(path, BLOCK).digests
    record = block_record(digests, 1000, BLOCK)
    assert record.fits(path)
    blocks.write_bytes(digests)
    CheckedFile.recorded(path, record, blocks).check_all()
    changed = {"flipped": digests[:-1] + b"x", "shorter": digests[:-32], "longer": digests + bytes(32)}
    blocks.write_bytes(changed[change])
    with pytest.raises(IndexDamagedError, match=r"file\.blocks' does not have the checksum .*run 'geoindex repair"):
        CheckedFile.recorded(path, record, blocks)


def test_rows_are_those_of_the_file(folder):
    rows = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float16)
    np.save(folder / "rows.npy", rows)
    found = CheckedRows(opened(folder / "rows.npy"))
    assert (len(found), found.shape) == (50, (50, 8))
    for key in (slice(3, 9), slice(None, None, 7), slice(9, 3, -1), slice(5, 5), [1, 49, 1], [-1], np.arange(4), []):
        key = np.array(key, np.int64) if isinstance(key, list) else key
        np.testing.assert_array_equal(found[key], rows[key])
    np.testing.assert_array_equal(np.asarray(found, np.float32), rows.astype(np.float32))


def test_rows_are_right_or_an_error_wherever_the_damage_is(folder):
    path = folder / "rows.npy"
    rows = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float16)
    np.save(path, rows)
    digests = measure(path, BLOCK).digests
    for position in range(0, path.stat().st_size, 50):
        flip(path, position)
        hurt = set(range(((position // BLOCK) * BLOCK - 128) // 16, ((position // BLOCK + 1) * BLOCK - 128) // 16))
        if position < BLOCK:
            with pytest.raises(IndexDamagedError, match="at bytes 0 to"):
                CheckedRows(opened(path, digests))
        else:
            for row in range(60):
                found = CheckedRows(opened(path, digests))
                for key in ([row], slice(row, row + 1), slice(row, None, 100)):
                    if row in hurt:
                        with pytest.raises(IndexDamagedError):
                            found[key]
                    else:
                        np.testing.assert_array_equal(found[key], rows[row : row + 1])
        flip(path, position)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 9999), size=st.sampled_from([40, 200, BLOCK, 300, 900]))
def test_nothing_of_the_rows_is_left_unchecked(tmp_path_factory, seed, size):
    rng, path = np.random.default_rng(seed), tmp_path_factory.mktemp("file") / "file"
    path.write_bytes(rng.bytes(5000))
    file = opened(path)
    for start in rng.integers(0, 4000, rng.integers(0, 9)).tolist():  # some blocks are known to be sound
        file.check(start, start + int(rng.integers(1, 800)))
    starts = rng.integers(0, 5000 - size, rng.integers(1, 5))
    file.check_each(starts, size)
    checked = []
    file._check_block = checked.append
    for start in starts.tolist():
        file.check(start, start + size)
    assert checked == []


def test_what_is_no_array_of_rows_is_refused(folder):
    np.save(folder / "rows.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"'rows\.npy' is not \(N, D\)"):
        CheckedRows(CheckedFile(folder / "rows.npy"))


def make_table(count, seed=0):
    """A table with every kind of column that a sidecar has, and more."""
    rng = np.random.default_rng(seed)
    words = [None if n % 7 == 3 else "wort" * int(rng.integers(0, 9)) for n in range(count)]
    return pa.table(
        {
            "row": pa.array(np.arange(count)),
            "lat": pa.array(rng.standard_normal(count)),
            "half": pa.array(rng.standard_normal(count).astype(np.float16)),
            "id": pa.array([f"ünï {n}" for n in range(count)]),
            "word": pa.array(words, pa.string()),
            "long": pa.array(words, pa.large_string()),
            "none": pa.array([None if n % 3 else n for n in range(count)], pa.int32()),
            "flag": pa.array([bool(n % 2) for n in range(count)]),
            "inside": pa.array([list(range(n % 4)) for n in range(count)], pa.list_(pa.int32())),
            "empty": pa.array([""] * count),
        }
    )


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 90), seed=st.integers(0, 99), data=st.data())
def test_a_table_is_that_of_the_file(tmp_path_factory, count, seed, data):
    path = tmp_path_factory.mktemp("table") / "table.arrow"
    table = make_table(count, seed)
    write_arrow(path, table)
    found = CheckedTable(opened(path))
    assert (len(found), found.column_names) == (count, table.column_names)
    rows = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    assert found.rows(rows) == table.take(np.array(rows, np.int64)).to_pylist()
    for name in table.column_names:
        assert found.column(name).equals(table[name])
        assert found[name].equals(table[name])


def test_a_table_is_right_or_an_error_wherever_the_damage_is(folder):
    path, table = folder / "table.arrow", make_table(60)
    write_arrow(path, table)
    digests, truth = measure(path, BLOCK).digests, table.to_pylist()
    columns = {name: table[name].to_pylist() for name in table.column_names}
    refused = served = 0
    for position in range(BLOCK // 2, path.stat().st_size, BLOCK):
        flip(path, position)
        for ask in (*range(0, 60, 7), *columns):
            try:
                found = CheckedTable(opened(path, digests))
                right = found[ask].to_pylist() == columns[ask] if ask in columns else found.rows([ask]) == [truth[ask]]
                served += 1
                assert right, (position, ask)
            except IndexDamagedError:
                refused += 1
        flip(path, position)
    assert min(refused, served) > 100


def test_several_batches_are_told_apart(folder):
    path, table = folder / "table.arrow", make_table(60)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=17)
    for row in range(60):
        assert CheckedTable(opened(path)).rows([row, 59 - row]) == table.take([row, 59 - row]).to_pylist()
    digests = measure(path, BLOCK).digests
    flip(path, path.stat().st_size // 2)
    answers = []
    for row in range(60):
        try:
            answers.append(CheckedTable(opened(path, digests)).rows([row]) == table.slice(row, 1).to_pylist())
        except IndexDamagedError:
            answers.append(None)
    assert False not in answers
    assert None in answers


def test_opening_a_table_touches_only_what_describes_it(folder):
    path = folder / "table.arrow"
    write_arrow(path, pa.table({"number": np.arange(10_000)}))
    digests = measure(path, BLOCK).digests
    flip(path, 40_000)
    table = CheckedTable(opened(path, digests))
    assert table.rows([0, 9999]) == [{"number": 0}, {"number": 9999}]
    with pytest.raises(IndexDamagedError, match="at bytes 39936 to 40192"):
        table.column("number")


def test_what_is_no_table_is_refused(folder):
    path = folder / "table.arrow"
    path.write_bytes(b"no table at all" * 9)
    with pytest.raises(ValueError, match="Arrow"):
        CheckedTable(CheckedFile(path))


def test_rows_are_counted_from_the_first(folder):
    write_arrow(folder / "table.arrow", make_table(9))
    with pytest.raises(IndexError, match="row -1"):
        CheckedTable(opened(folder / "table.arrow")).rows([3, -1])


def test_numbers_are_read_as_they_are_mapped(tmp_path):
    batches = [pa.record_batch({"a": pa.array([1.5, 2.5], pa.float32()), "b": pa.array([1, 2], pa.int32())})] * 2
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    table = CheckedTable(CheckedFile(tmp_path / "t.arrow"))
    assert (table.numbers("a").dtype, table.numbers("a").tolist()) == (np.float32, [1.5, 2.5, 1.5, 2.5])
    assert (table.numbers("b").dtype, table.numbers("b").tolist()) == (np.int32, [1, 2, 1, 2])
