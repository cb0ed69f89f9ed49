"""Delimited text that is not as it should be: quotes, encodings, separators."""

import pytest

from geoindex.errors import TableError
from geoindex.sources.table import TableSource


def scan(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = TableSource(path).scan()
    return [(sample.id, sample.labels.get("city")) for sample in found.samples], found.left_out.counts


HEADER = "id,lat,lon,city\n"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('a,1,2,"Ulm\nb,3,4,Bonn\nc,5,6,Jena\n', 2),
        ('a,1,2,Ulm\nb,3,4,"Bonn\nc,5,6,"Jena"\nd,7,8,Kiel\n', 3),
        ('a,1,2,"two\nlines"\r\nb,3,4,"', 4),
        ('"a,1,2,Ulm\n', 2),
    ],
)
def test_a_quote_that_is_not_closed_is_refused_with_its_line(tmp_path, rows, line):
    for suffix, text in (("csv", HEADER + rows), ("tsv", (HEADER + rows).replace(",", "\t"))):
        with pytest.raises(TableError, match=f"has a quote in line {line} that is not closed"):
            scan(tmp_path / f"t.{suffix}", text)


def test_quotes_that_are_text_or_closed_are_read(tmp_path):
    rows = 'a,1,2,5" nail\n"b",3,4,"say ""hi"""\nc,5,6,"two\nlines" \nd,7,8,""\ne,1,1,"x"y\n'
    wanted = [("a", '5" nail'), ("b", 'say "hi"'), ("c", "two\nlines"), ("d", None), ("e", "xy")]
    assert scan(tmp_path / "t.csv", f"\ufeff{HEADER}{rows}") == (wanted, {})
