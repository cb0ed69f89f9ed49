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


def test_a_row_in_an_old_encoding_leaves_the_others_as_they_are(tmp_path):
    for mark in (b"", b"\xef\xbb\xbf"):
        text = (
            "id,lat,lon,city,Größe\ncafé,1,2,Köln,1\n".encode()
            + b"b,3,4,M\xfcnchen,2\nc,\xfc\n"
            + "ł,5,6,Łódź,3\n".encode()
        )
        wanted = [("café", "Köln"), ("b", "München"), ("ł", "Łódź")]
        assert scan(tmp_path / "t.csv", mark + text) == (wanted, {"row has not as many cells as the header": 1})


def test_rows_in_an_old_encoding_anywhere_in_a_long_table(tmp_path, monkeypatch):
    monkeypatch.setattr("geoindex.sources.delimited._BLOCK_BYTES", 200)
    rows = [f"ü{number},1,2,Köln\n".encode("latin-1" if number % 50 == 7 else "utf-8") for number in range(200)]
    wanted = [(f"ü{number}", "Köln") for number in range(200)]
    assert scan(tmp_path / "t.csv", HEADER.encode() + b"".join(rows)) == (wanted, {})


def test_empty_lines_before_the_header_are_not_the_header(tmp_path):
    assert scan(tmp_path / "t.csv", f"\ufeff\r\n\n{HEADER}a,1,2,Ulm\n") == ([("a", "Ulm")], {})


def test_semicolons_and_tabs_where_the_header_has_no_comma(tmp_path):
    rows = 'a;1;-2;"Ulm; Donau"\nb;3;4;x, y\n'
    assert scan(tmp_path / "t.csv", HEADER.replace(",", ";") + rows) == ([("a", "Ulm; Donau"), ("b", "x, y")], {})
    assert scan(tmp_path / "t.csv", f"Ås,{HEADER}1,a,1,2,x;y\n") == ([("a", "x;y")], {})
    assert scan(tmp_path / "t.csv", "\n" + HEADER.replace(",", "\t") + "a\t1\t2\tx;y\n") == ([("a", "x;y")], {})


def test_decimal_commas_and_utf16_are_refused_by_name(tmp_path):
    with pytest.raises(TableError, match=r"decimal comma, such as -2,25; save it with points"):
        scan(tmp_path / "t.csv", HEADER.replace(",", ";") + "a;1;2;Ulm\nb;1;-2,25;Ulm\n")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        with pytest.raises(TableError, match="looks like UTF-16; save it as UTF-8"):
            scan(tmp_path / "t.csv", f"{HEADER}a,1,2,Ulm\n".encode(encoding))
