import pickle
import re

import pytest

from geoindex import errors

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GeoindexError)]


def drawn_tree():
    """The (class, parent) pairs of the tree in the module's docstring."""
    pairs, above = {}, {}
    for indent, name in re.findall(r"^( *)[*x+] (\w+Error)\b", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 2
        pairs[name] = above.get(depth - 1)
        above[depth] = name
    return pairs


def test_the_docstring_draws_the_tree_of_the_classes():
    parents = {c.__name__: c.__bases__[0].__name__ for c in CLASSES}
    assert drawn_tree() == parents | {"GeoindexError": None}


def test_every_class_says_what_it_is():
    for kind in CLASSES:
        assert kind.__doc__.strip().endswith(".") or "\n" in kind.__doc__


def test_exit_codes():
    assert errors.ConfigError.exit_code == 2
    assert {c.exit_code for c in CLASSES if c is not errors.ConfigError} == {1}


def test_a_bad_position_is_a_value_error_too():
    assert issubclass(errors.CoordinateError, ValueError)


@pytest.mark.parametrize("kind", [c for c in CLASSES if c is not errors.UnreadableImageError])
def test_errors_travel_between_processes(kind):
    copy = pickle.loads(pickle.dumps(kind("what failed; the cure")))
    assert type(copy) is kind
    assert str(copy) == "what failed; the cure"


def test_an_unreadable_image_travels_with_name_and_reason():
    copy = pickle.loads(pickle.dumps(errors.UnreadableImageError("a b.jpg", "it is empty")))
    assert (copy.name, copy.reason) == ("a b.jpg", "it is empty")
    assert str(copy) == "Cannot read image 'a b.jpg': it is empty."


def test_no_name_of_the_standard_library_is_hidden():
    import builtins

    assert not {c.__name__ for c in CLASSES} & set(vars(builtins))
