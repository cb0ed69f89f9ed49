"""Records of checksums that are lost: they are told, and made again from what else has them."""

import shutil

import pytest

from geoindex.errors import IndexDamagedError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder

GENERATION = "generations/000001"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def truncate(path):
    path.write_bytes(path.read_bytes()[:10])


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), truncate])
def test_a_lost_copy_of_checksums_comes_back_as_it_was(index_folder, spoil):
    before = contents(index_folder)
    spoil(index_folder / GENERATION / "tables.json")
    repaired = repair_index(index_folder)
    assert repaired.left == ()
    assert repaired.generation == "000001"
    assert contents(index_folder) == before
    assert verify_index(index_folder, full=True).faults == ()


def test_where_the_lists_differ_too_the_generation_is_made_again(index_folder):
    (index_folder / GENERATION / "tables.json").unlink()
    (index_folder / "tables/checksums/cells-1.json").unlink()
    repaired = repair_index(index_folder)
    assert (repaired.generation, repaired.left) == ("000002", ())
    assert verify_index(index_folder, full=True).faults == ()


def test_a_checksum_that_is_not_the_manifests_is_found_and_written_again(index_folder):
    seal = index_folder / GENERATION / "manifest.sha256"
    before = seal.read_bytes()
    seal.write_text("0\n")
    found = verify_index(index_folder, full=True)
    assert len(found.faults) == 1
    assert "manifest.sha256' is not the checksum of the manifest" in found.faults[0]
    assert repair_index(index_folder).left == ()
    assert seal.read_bytes() == before
    (index_folder / "CURRENT").unlink()  # which the checksum is for
    assert repair_index(index_folder).generation == "000001"


def test_a_generation_without_that_checksum_is_of_an_older_geoindex(index_folder):
    (index_folder / GENERATION / "manifest.sha256").unlink()
    assert verify_index(index_folder, full=True).faults == ()


def test_where_no_generation_can_be_read_that_is_said(index_folder):
    (index_folder / GENERATION / "manifest.json").write_text("{")
    text = verify_index(index_folder, full=True).to_text()
    assert f"{index_folder}: no generation can be read; run 'geoindex repair {index_folder}'\n- " in text


def test_a_refusal_of_repair_does_not_advise_repair(index_folder):
    shutil.rmtree(index_folder / "tables")
    (index_folder / GENERATION / "index.faiss").unlink()
    with pytest.raises(IndexDamagedError, match=r"cannot be repaired: .*; restore it from a copy or build") as refusal:
        repair_index(index_folder)
    assert "run 'geoindex repair" not in str(refusal.value)
    assert IndexFolder(index_folder).names() == ["000001"]
