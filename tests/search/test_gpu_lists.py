"""FAISS's lists on a GPU. Where there is none, its index of the processor stands in for the copy: it takes the same
calls with the same pointers."""

import logging
from threading import Thread
from time import sleep

import faiss
import numpy as np
import pytest
import torch
from worlds import DIM, World, unit

from geoindex.ann import NO_CLUSTER, TwoStageIndex, gpu_lists
from geoindex.ann.gpu_lists import GpuLists
from geoindex.search import device_lists, device_ranker
from geoindex.search.device_lists import TorchLists, open_lists
from geoindex.search.device_ranker import Copies, DeviceRanker
from geoindex.search.posterior import Breadth, Ranker, Scales

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
ENTRIES = [np.float32, np.float16]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """Where the lists are."""
    if request.param == "cuda":
        return torch.device("cuda:0")
    stand_in(monkeypatch, lambda ivf, _: (None, ivf))
    return torch.device("cpu")


def stand_in(monkeypatch, copied):
    """Let the processor stand for a GPU, with what this makes of an index as the copy there."""
    monkeypatch.setattr(gpu_lists, "_copied", copied)
    monkeypatch.setattr(gpu_lists, "_check_device", lambda *_: None)
    monkeypatch.setattr(gpu_lists, "_follow", lambda *_: None)


def build(world, entries=np.float32):
    return TwoStageIndex.build(world.cells, world.clusters, world.cell_of, np.dtype(entries))


@pytest.mark.parametrize("entries", ENTRIES)
def test_lists_come_back_whole_by_falling_score(device, entries):
    world = World(1, n_cells=25, n_clusters=300)
    ann = build(world, entries)
    queries, cells = unit(world.rng, 7, DIM), np.stack([world.rng.permutation(25)[:6] for _ in range(7)])
    wanted, wanted_scores = ann.clusters_in(queries, cells)
    asked = torch.from_numpy(queries).to(device), torch.from_numpy(cells).to(device)
    found, scores = (each.cpu().numpy() for each in GpuLists(ann, device).score(*asked, wanted.shape[2]))
    assert (found != NO_CLUSTER).sum(axis=2).tolist() == ann.list_sizes[cells].tolist()
    np.testing.assert_array_equal(found, wanted)
    there = wanted != NO_CLUSTER
    np.testing.assert_allclose(scores[there], wanted_scores[there], atol=1e-5)


@pytest.mark.parametrize("entries", ENTRIES)
def test_torch_scores_the_same_clusters(device, entries):
    world = World(2, n_cells=25, n_clusters=300)
    ann, cells = build(world, entries), torch.tensor([[3, 8, 1], [0, 24, 8]], device=device)
    queries = torch.from_numpy(unit(world.rng, 2, DIM)).to(device)
    width = int(ann.list_sizes[cells.cpu().numpy()].max())
    found, scores = GpuLists(ann, device).score(queries, cells, width)
    other, other_scores = TorchLists(ann, device).score(queries, cells, width)
    for row in np.ndindex(2, 3):
        own = {int(i): s for i, s in zip(found[row].tolist(), scores[row].tolist(), strict=True) if i >= 0}
        wanted = {int(i): s for i, s in zip(other[row].tolist(), other_scores[row].tolist(), strict=True) if i >= 0}
        assert own == pytest.approx(wanted, abs=1e-5)
        assert len(own) == ann.list_sizes[int(cells[row])]


@pytest.mark.parametrize("breadth", [Breadth(4), Breadth(30, 0.6)])
def test_rankings_are_those_of_the_processor(device, breadth):
    world = World(3, n_cells=30, n_clusters=200)
    ranker = Ranker.of(world.ann, world.geography, Scales(4.0, 9.0, True))
    there = Copies(torch.from_numpy(world.cells.copy()).to(device), GpuLists(world.ann, device))
    queries = unit(world.rng, 9, DIM)
    found = DeviceRanker(ranker, there).rank(queries, breadth)
    for own, wanted in zip(found, ranker.rank(queries, breadth), strict=True):
        np.testing.assert_array_equal(own.clusters, wanted.clusters)
        np.testing.assert_allclose(own.probability, wanted.probability, rtol=1e-4)
        np.testing.assert_allclose(own.scores, wanted.scores, atol=1e-5)
        assert own.log_total == pytest.approx(wanted.log_total, abs=0.05)


def test_threads_do_not_mix_their_answers(device):
    world = World(4, n_cells=12, n_clusters=150)
    lists, width = GpuLists(world.ann, device), int(world.ann.list_sizes.max())
    asked = [torch.from_numpy(unit(world.rng, 1, DIM)).to(device) for _ in range(16)]
    cells = torch.arange(12, device=device)[None]
    wanted = [lists.score(query, cells, width)[1].cpu() for query in asked]
    found = [None] * len(asked)

    def ask(i):
        for _ in range(20):
            found[i] = lists.score(asked[i], cells, width)[1].cpu()

    threads = [Thread(target=ask, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(own, one) for own, one in zip(found, wanted, strict=True))


class Exclusive:
    """An index that, as FAISS's on a GPU, is not to be asked by two threads at once."""

    def __init__(self, index):
        self.index, self.d, self.asked, self.met = index, index.d, 0, False

    def search_preassigned_c(self, *arguments):
        self.asked += 1
        self.met = self.met or self.asked > 1
        sleep(1e-4)
        self.index.search_preassigned_c(*arguments)
        self.asked -= 1


def test_one_thread_at_a_time_asks_it(monkeypatch):
    world, indexes = World(15), []
    stand_in(monkeypatch, lambda ivf, _: (None, indexes.append(Exclusive(ivf)) or indexes[-1]))
    lists, cells = GpuLists(world.ann, torch.device("cpu")), torch.arange(9)[None]
    query, width = torch.from_numpy(unit(world.rng, 1, DIM)), int(world.ann.list_sizes.max())
    threads = [Thread(target=lambda: [lists.score(query, cells, width) for _ in range(30)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not indexes[0].met


@pytest.mark.parametrize(("capability", "free", "cause"), [
    ((6, 1), 2**40, "built for compute capability 7.0 and up, not 6.1"), ((9, 0), 2**20, "1 MiB of it are free, and 7"),
])  # fmt: skip
def test_a_gpu_on_which_faiss_would_end_the_process_is_refused(monkeypatch, capability, free, cause):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2**40))
    monkeypatch.setattr(gpu_lists, "_copied", lambda *_: pytest.fail("copied all the same"))
    with pytest.raises(RuntimeError, match=cause):
        GpuLists(World(16).ann, torch.device("cuda:0"))


@pytest.mark.parametrize(("sizes", "entries", "wanted"), [
    ([1, 0, 33], np.float16, 3 * 32 * (2 * DIM + 8) + 3 * 4 * DIM), ([32], np.float32, 32 * (4 * DIM + 8) + 4 * DIM),
])  # fmt: skip
def test_the_memory_it_takes_counts_whole_blocks(sizes, entries, wanted):
    rng, cell_of = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    ann = TwoStageIndex.build(unit(rng, len(sizes), DIM), unit(rng, sum(sizes), DIM), cell_of, np.dtype(entries))
    assert gpu_lists._bytes_of(ann) == wanted + gpu_lists.SCRATCH_BYTES + gpu_lists.SPARE_BYTES


def test_every_kernel_that_a_search_may_take_is_loaded_at_once(monkeypatch):
    asked = []

    class Watched(Exclusive):
        def search_preassigned_c(self, *arguments):
            asked.append(arguments[2])
            super().search_preassigned_c(*arguments)

    world = World(17, n_cells=3, n_clusters=200)
    stand_in(monkeypatch, lambda ivf, _: (None, Watched(ivf)))
    GpuLists(world.ann, torch.device("cpu"))
    assert asked[:-1] == [1, 32, 64]
    assert asked[-1] == world.ann.list_sizes.max()
    assert 64 < asked[-1] <= 128


def test_no_query_finds_nothing(device):
    world = World(5)
    found, scores = GpuLists(world.ann, device).score(
        torch.zeros((0, DIM), device=device), torch.zeros((0, 3), dtype=torch.int64, device=device), 4
    )
    assert found.shape == scores.shape == (0, 3, 4)


def test_a_cell_without_clusters_has_none(device):
    cells, clusters = unit(np.random.default_rng(6), 3, DIM), unit(np.random.default_rng(7), 5, DIM)
    ann = TwoStageIndex.build(cells, clusters, np.array([0, 0, 2, 2, 2]))
    query = torch.from_numpy(cells[:1].copy()).to(device)
    found, _ = GpuLists(ann, device).score(query, torch.tensor([[1, 0]], device=device), 2)
    assert found[0, 0].tolist() == [NO_CLUSTER, NO_CLUSTER]
    assert sorted(found[0, 1].tolist()) == [0, 1]


def test_lists_that_would_be_cut_are_refused(device, monkeypatch):
    world = World(8, n_cells=4, n_clusters=90)
    monkeypatch.setattr(gpu_lists, "MOST_ENTRIES", int(world.ann.list_sizes.max()) - 1)
    with pytest.raises(RuntimeError, match="a cell has"):
        GpuLists(world.ann, device)


def other_scores(ivf):
    """An index with the same lists and one vector that is another."""
    other = faiss.clone_index(ivf)
    size = other.invlists.list_size(2)
    codes = faiss.rev_swig_ptr(other.invlists.get_codes(2), size * other.code_size)
    codes.view(np.float32)[0] += 0.5
    return other


def other_clusters(ivf):
    """An index with the same vectors, of which two have changed their numbers."""
    other = faiss.clone_index(ivf)
    ids = [faiss.rev_swig_ptr(other.invlists.get_ids(cell), 1) for cell in (1, 2)]
    ids[0][0], ids[1][0] = ids[1][0], ids[0][0]
    return other


@pytest.mark.parametrize("change", [other_scores, other_clusters])
def test_a_copy_that_answers_otherwise_is_not_used(monkeypatch, change):
    world = World(9, n_cells=8, n_clusters=60)
    stand_in(monkeypatch, lambda ivf, _: (None, change(ivf)))
    with pytest.raises(RuntimeError, match="something else"):
        GpuLists(world.ann, torch.device("cpu"))


class Somewhere:
    """Stands for a GPU to `open_lists`."""

    type = "cuda"

    def __str__(self):
        return "cuda:0"


def refusing(*_):
    raise RuntimeError("Error in GpuResources: no memory\nat line 1")


@pytest.mark.parametrize(("gpus", "faiss_lists", "wanted"), [
    (1, lambda *_: "faiss", "faiss"), (0, lambda *_: "faiss", "torch"), (1, refusing, "torch"),
])  # fmt: skip
def test_faiss_searches_where_it_has_a_gpu_and_torch_elsewhere(monkeypatch, caplog, gpus, faiss_lists, wanted):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: gpus)
    monkeypatch.setattr(device_lists, "GpuLists", faiss_lists)
    monkeypatch.setattr(device_lists, "TorchLists", lambda *_: "torch")
    with caplog.at_level(logging.INFO, "geoindex"):
        assert open_lists(None, Somewhere()) == wanted
    told = [record.getMessage() for record in caplog.records]
    cause = "FAISS does not search on cuda:0 (Error in GpuResources: no memory); torch does."
    assert told == ([cause] if faiss_lists is refusing else [])


def test_faiss_is_not_asked_about_a_processor(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(device_lists, "GpuLists", lambda *_: pytest.fail("asked"))
    world = World(10)
    assert isinstance(open_lists(world.ann, torch.device("cpu")), TorchLists)


def full(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def check_the_processor_ranks(ranker, there, world, caplog):
    queries = unit(world.rng, 3, DIM)
    for asked in (queries, torch.from_numpy(queries)):
        for own, wanted in zip(there.rank(asked, Breadth(4)), ranker.rank(queries, Breadth(4)), strict=True):
            assert own.clusters.tolist() == wanted.clusters.tolist()
            assert own.probability.tolist() == wanted.probability.tolist()
    assert "No room to search on the GPU (CUDA out of memory); the processor does." in caplog.text


def test_the_processor_ranks_what_does_not_fit_there(monkeypatch, caplog):
    world = World(11)
    monkeypatch.setattr(device_ranker, "open_lists", full)
    ranker = Ranker.of(world.ann, world.geography, Scales())
    check_the_processor_ranks(ranker, DeviceRanker.on("cpu", ranker), world, caplog)
    assert len(caplog.records) == 1  # told once, and not tried again


def test_the_processor_ranks_when_the_device_fills_up(device, monkeypatch, caplog):
    if device.type != "cpu":
        pytest.skip("a full device is made up")
    world = World(12)
    ranker, lists = Ranker.of(world.ann, world.geography, Scales()), GpuLists(world.ann, device)

    class Full:
        def search_preassigned_c(self, *_):
            raise RuntimeError("CUDA out of memory. FAISS")

    monkeypatch.setattr(lists, "_index", type("Index", (Full,), {"d": DIM})())
    there = DeviceRanker(ranker, Copies(torch.from_numpy(world.cells.copy()), lists))
    check_the_processor_ranks(ranker, there, world, caplog)


def test_other_weights_take_the_same_copies():
    world = World(13, n_cells=12, n_clusters=60)
    inside = world.rng.random(60) < 0.3
    own = DeviceRanker.on("cpu", Ranker.of(world.ann, world.geography, Scales()))
    other = own.weighing(Ranker.of(world.ann, world.geography, Scales(), inside))
    assert other._copies is own._copies
    queries = unit(world.rng, 5, DIM)
    assert all(inside[ranking.clusters].all() for ranking in other.rank(queries, Breadth(12)))
    assert not all(inside[ranking.clusters].all() for ranking in own.rank(queries, Breadth(12)))


def test_other_weights_that_do_not_fit_are_those_of_the_processor(monkeypatch, caplog):
    world = World(18)
    ranker = Ranker.of(world.ann, world.geography, Scales())
    there = DeviceRanker.on("cpu", ranker)
    monkeypatch.setattr(device_ranker, "put", full)
    check_the_processor_ranks(ranker, there.weighing(ranker), world, caplog)


def test_the_callers_autocast_changes_nothing(device):
    world = World(19, n_cells=20, n_clusters=120)
    there = DeviceRanker.on(device.type, Ranker.of(world.ann, world.geography, Scales()))
    queries = unit(world.rng, 5, DIM)
    plain = there.rank(queries, Breadth(6))
    with torch.autocast(device.type, torch.bfloat16):
        rough = there.rank(queries, Breadth(6))
    for own, wanted in zip(rough, plain, strict=True):
        assert own.clusters.tolist() == wanted.clusters.tolist()
        assert own.probability.tolist() == wanted.probability.tolist()


@pytest.mark.gpu
@pytest.mark.parametrize("entries", ENTRIES)
def test_faiss_searches_on_a_real_gpu(entries):
    world = World(14, n_cells=40, n_clusters=5000)
    lists = open_lists(build(world, entries), torch.device("cuda:0"))
    assert isinstance(lists, GpuLists)
