"""The command line: parse, call, print. Results go to stdout, all else to stderr.

Exit codes: 0 all fine, 1 failed, 2 wrong usage, 3 some inputs failed and the others were done, 130 interrupted,
143 stopped by SIGTERM.
"""

import logging
import os
import re
import sys
from itertools import pairwise

from cyclopts import CycloptsError, UnusedCliTokensError
from cyclopts.config import Dict

from geoindex.cli import asking, changing, keeping, making, playing, serving  # noqa: F401  (they add their commands)
from geoindex.cli.application import ANY_CLUSTER, app, complain
from geoindex.cli.streams import prepare_streams
from geoindex.errors import ConfigError, GeoindexError
from geoindex.recipe import paper_recipe
from geoindex.recipe_files import load_recipe, recipe_to_dict
from geoindex.signals import Terminated, forget_children, raising_on_sigterm

INTERRUPTED, TERMINATED = 130, 143
ON_RAY = ("build", "rebuild", "train", "serve")
"""Commands that can run on a Ray cluster."""

OF_RECIPES = ("build", "plan", "train", "table1")
"""Commands that take a recipe file and its keys as flags."""

RESUMABLE = ("build", "rebuild", "add", "train", "demo", "table1")
"""Commands that go on where they were stopped."""


NAMES = ("--index", "--out", "--source", "--encoder", "--weights", "--recipe", "--token-file", "--ids-from", "--root")
"""Flags that take a name, which is never empty."""


def _usage_text(error: CycloptsError, tokens: list[str]) -> str:
    command = tokens[0] + " " if tokens[:1] and tokens[0] in app else ""
    text = re.sub(r" Available commands: .*", "", str(error).strip()).rstrip(".")
    if isinstance(error, UnusedCliTokensError):
        text = f"There are arguments too many: {', '.join(map(repr, error.unused_tokens or ()))}"
    return f"{text}{'' if text.endswith('?') else '.'} See 'geoindex {command}--help'."


def _read_recipe_file(tokens: list[str]) -> None:
    """Let `build FILE.toml` take its flags' defaults from the file, once it is known to be a recipe; so the others."""
    file = _recipe_file(tokens)
    for name in OF_RECIPES:
        start = load_recipe(file) if file else paper_recipe() if name == "table1" else None
        # under the command's name: a key such as geocells is also the name of another command
        app[name].config = (Dict({name: recipe_to_dict(start)}),) if start else ()


def _recipe_file(tokens: list[str]) -> str | None:
    if tokens[:1] not in ([name] for name in OF_RECIPES):
        return None
    for before, token in pairwise(tokens):
        is_value = before.startswith("--") and "=" not in before
        if token.endswith(".toml") and not token.startswith("--") and not is_value:
            return token
    return None


def _refuse_empty(tokens: list[str]) -> None:
    """Refuse names that are empty, as an unset variable of a shell leaves them: a folder would be the one it runs in.

    Raises:
        ConfigError: if there is one.
    """
    for before, token in pairwise([*tokens[:1], *tokens]):
        flag = token[:-1] if token.endswith("=") else before if token == "" and before.startswith("--") else ""
        if flag in NAMES:
            raise ConfigError(f"{flag} is empty; give it a value, or leave it out.")
        if token == "" and not before.startswith("--"):
            raise ConfigError("An argument is empty; give it a value, or leave it out.")


def with_address(tokens: list[str]) -> list[str]:
    """Give `--ray` the value that it may go without."""
    found = []
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        found.append(token)
        if token == "--ray" and not re.fullmatch(r"(ray://)?(?!synthetic:|planted:)[\w.-]+:\d+|auto", after):
            found.append(ANY_CLUSTER)
    return found


def _run(tokens: list[str]) -> int:
    if tokens[:1] in (["query"], ["remove"]):
        tokens = ["stdin:" if token == "-" else token for token in tokens]  # a lone dash would be taken for a flag
    if tokens[:1] in ([name] for name in ON_RAY):
        tokens = with_address(tokens)
    _refuse_empty(tokens)
    _read_recipe_file(tokens)
    code = int(app(tokens, exit_on_error=False, print_error=False) or 0)
    sys.stdout.flush()
    return code


def _complain_of_stop(tokens: list[str], stop: KeyboardInterrupt) -> int:
    """Say that a command was stopped; return its exit code."""
    forget_children()
    goes_on = tokens[:1] in ([name] for name in RESUMABLE)
    word = "stopped" if isinstance(stop, Terminated) else "interrupted"
    kept = "; what was finished is kept for the next run: the same command goes on where it stopped"
    complain(f"{word}{kept if goes_on else ''}.")
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    tokens = sys.argv[1:] if arguments is None else arguments
    try:
        prepare_streams()
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="geoindex: %(message)s")
        with raising_on_sigterm():
            return _run(tokens)
    except CycloptsError as error:
        complain(_usage_text(error, tokens))
        return 2
    except GeoindexError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt as stop:
        return _complain_of_stop(tokens, stop)
    except BrokenPipeError:
        # the interpreter flushes stdout once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        complain(f"The system refuses: {error}.")
        return 1
