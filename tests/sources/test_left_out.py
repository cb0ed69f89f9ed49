from geoindex.sources import LeftOut


def left_out(*entries):
    found = LeftOut()
    for reason, name, broken in entries:
        found.add(reason, name, broken=broken)
    return found


def test_what_two_parts_of_a_run_left_out_adds_up():
    scan = left_out(("empty", "a", True), ("no GPS", "b", False))
    embedding = left_out(*[("empty", f"c{i}", True) for i in range(7)], ("no pixels", "d", False))
    scan.absorb(embedding)
    assert scan.counts == {"empty": 8, "no GPS": 1, "no pixels": 1}
    assert scan.total == 10
    entries = scan.to_dict()
    assert entries["empty"] == {"count": 8, "examples": ["a", "c0", "c1", "c2", "c3"], "broken": True}
    assert not entries["no GPS"]["broken"]
    assert not entries["no pixels"]["broken"]
