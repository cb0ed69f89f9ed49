"""The command line: numbers that no limit can be."""

import pytest
from terminal import sentence


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "20001", "0", "-1"])
def test_a_precision_that_is_none(run, built, photo, value):
    code, out, err = run("query", photo, "--index", built.path, f"--max-precision-km={value}")
    assert (code, out) == (2, "")
    assert "it must be from 0.001 to 20000" in sentence(err)
    assert run("serve", f"--max-precision-km={value}")[0] == 2


@pytest.mark.parametrize("flag", ["--max-image-mb", "--max-megapixels"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "-1", "0"])
def test_a_size_of_images_that_is_none(run, flag, value):
    code, out, err = run("serve", f"{flag}={value}")
    assert (code, out) == (2, "")
    assert f"{flag} is " in sentence(err)


@pytest.mark.parametrize(("flag", "needed"), [
    (("--tiles-credit", "OSM"), "--tiles"), (("--game-photos", 9), "--games"), (("--replicas", 2), "--ray"),
])  # fmt: skip
def test_a_flag_of_serve_without_the_one_that_it_is_about(run, built, flag, needed):
    code, out, err = run("serve", "--index", built.path, *flag)
    assert (code, out) == (2, "")
    assert f"give {needed}" in sentence(err)


@pytest.mark.parametrize("flag", ["--gpus", "--cores"])
def test_fewer_than_no_computers(run, flag):
    code, _, err = run("plan", "synthetic:100", "--images", "1e6", f"{flag}=-1")
    assert code == 2
    assert "cannot be" in sentence(err)


@pytest.mark.parametrize("flag", ["--top-k", "--top-cells", "--evidence"])
@pytest.mark.parametrize("value", ["1.5", "x", "1e400", "nan"])
def test_a_number_that_is_not_whole(run, built, photo, flag, value):
    code, out, err = run("query", photo, "--index", built.path, flag, value)
    assert (code, out) == (2, "")
    assert value in sentence(err)
