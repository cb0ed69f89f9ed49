import re
import shlex
import shutil
from pathlib import Path

from geoindex.cli import app, with_address
from geoindex.encoder.spec import UNTRAINED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_the_test_command_of_the_readme():
    command = next(block.strip() for block in blocks("sh") if "pytest" in block)
    assert "\n" not in command
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_the_main_job_is_one_line():
    assert sum(block.strip().endswith("geoindex demo") and "\n" not in block.strip() for block in blocks("sh")) == 1


def test_every_command_of_the_readme_parses():
    commands = [line.partition("#")[0] for block in blocks("sh") for line in block.splitlines()]
    lines = [line for line in commands if line.startswith("geoindex ")]
    assert len(lines) >= 4
    for line in lines:
        app.parse_args(with_address(shlex.split(line)[1:]), exit_on_error=False, print_error=False)


def test_the_table_of_commands_is_complete():
    named = set(re.findall(r"\| `geoindex (\w+)", README))
    assert named == {name for name in app if not name.startswith("-")}


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_example_runs(tmp_path, monkeypatch, capsys, world):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("geoindex.encoder.defaults.PRETRAINED", UNTRAINED)  # nothing is downloaded
    shutil.copytree(world.parent, "photos")
    for name in ("beach.jpg", "a.jpg", "b.jpg"):
        shutil.copy(next(Path("photos").rglob("*.jpg")), name)
    source = blocks("python")[0].replace('"photos/"', '"photos/metadata.csv"')
    exec(compile(source, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("Prediction(") == 2
