import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from geoindex.encoder.weights import load_strictly, read_weights  # noqa: E402
from geoindex.errors import WeightsError, WeightsNotFoundError  # noqa: E402


@pytest.fixture
def model():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 4))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"model": {"state_dict": s}},
    ],
)
def test_torch_files_are_unwrapped(model, wrap, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(wrap(model.state_dict()), path)
    state = read_weights(path)
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["0.weight"], model[0].weight)


def test_safetensors_are_read(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(read_weights(str(tmp_path / "model.safetensors"))["1.bias"], model[1].bias)


def test_a_pickle_that_could_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match=r"evil\.pt"):
        read_weights(tmp_path / "evil.pt")


def test_missing_damaged_and_empty_files(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"none\.pt"):
        read_weights(tmp_path / "none.pt")
    for suffix in (".pt", ".safetensors"):
        (tmp_path / f"cut{suffix}").write_bytes(b"\x00" * 20)
        with pytest.raises(WeightsError, match="damaged"):
            read_weights(tmp_path / f"cut{suffix}")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no weights by name"):
        read_weights(tmp_path / "list.pt")


def test_weights_must_fit_in_name_and_shape(model):
    good = model.state_dict()
    with pytest.raises(WeightsError, match=r"missing: 0\.weight; unknown: extra"):
        load_strictly(model, {"extra": good["0.weight"], **{k: good[k] for k in list(good)[1:]}}, "x")
    with pytest.raises(WeightsError, match=r"other shape: 1\.bias \(5,\) for \(4,\)"):
        load_strictly(model, good | {"1.bias": torch.zeros(5)}, "x")
    with pytest.raises(WeightsError, match="and 1 more"):
        load_strictly(model, {}, "x")
    with pytest.raises(WeightsError, match=r"not finite .1\.bias"):
        load_strictly(model, good | {"1.bias": torch.full((4,), torch.nan)}, "x")


def test_fitting_weights_arrive(model):
    load_strictly(model, {name: torch.ones_like(v) for name, v in model.state_dict().items()}, "x")
    assert all((value == 1).all() for value in model.state_dict().values())
