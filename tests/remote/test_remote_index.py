"""An index on object storage: published, opened, asked, verified, fetched."""

from tiles import PHOTOS, points

import geoindex
from geoindex.integrity import verify_index


def test_it_answers_like_the_folder(published, built, tiny_encoder, service):
    local = points(geoindex.open_index(built.path, encoder=tiny_encoder), PHOTOS)
    opened = geoindex.open_index(published, encoder=tiny_encoder)
    assert points(opened, PHOTOS) == local
    service.forget()
    again = geoindex.open_index(published, encoder=tiny_encoder)
    assert dict(service.requests) == {"GET": 1}
    assert points(again, PHOTOS) == local
    assert verify_index(opened.path, full=True).faults == ()
    for full in (False, True):
        found = verify_index(published, full=full)
        assert (found.faults, found.generation, found.path) == ((), "000001", published)


def test_a_build_is_published(world, url, tiny_encoder, objects):
    from tiles import KEYS

    report = geoindex.build_index(world, out=url, **KEYS)
    assert (report.path, report.generation) == (url, "000001")
    assert geoindex.build_index(world, out=report.path, **KEYS).generation == "000002"
    assert len([n for n in objects() if "/generations/" in n]) == 2
    assert geoindex.open_index(url).manifest.generation == "000002"
    assert geoindex.rebuild_index(url).generation == "000003"
