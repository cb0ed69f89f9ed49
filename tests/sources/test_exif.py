import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from geoindex.sources.exif import (
    NO_GPS,
    NO_HEMISPHERE,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    VOID,
    ZERO,
    NoPositionError,
    parse_heading,
    parse_moment,
    parse_position,
)

LAT_REF, LAT, LON_REF, LON, TIME, STATUS, DIRECTION, DATE = 1, 2, 3, 4, 7, 9, 17, 29
PARIS = {LAT_REF: "N", LAT: (48.0, 51.0, 30.0), LON_REF: "E", LON: (2.0, 17.0, 40.0)}


@given(lat=st.floats(-90, 90), lon=st.floats(-180, 180))
def test_degrees_minutes_seconds_come_back(lat, lon):
    def dms(angle):
        minutes, degrees = math.modf(abs(angle))
        seconds, minutes = math.modf(minutes * 60)
        return degrees, minutes, seconds * 60

    gps = {LAT_REF: "NS"[lat < 0], LAT: dms(lat), LON_REF: "EW"[lon < 0], LON: dms(lon)}
    if (lat, lon) == (0, 0):
        with pytest.raises(NoPositionError, match="0, 0"):
            parse_position(gps)
    else:
        assert parse_position(gps) == pytest.approx((lat, lon), abs=1e-9)


@pytest.mark.parametrize(
    ("value", "degrees"),
    [
        ((48.5,), 48.5),
        (48.5, 48.5),
        (IFDRational(97, 2), 48.5),
        ((IFDRational(48), IFDRational(30)), 48.5),
        ([48, 30, 0], 48.5),
        (((48, 1), (60, 2), (0, 1)), 48.5),
        ((48.0, 30.0, IFDRational(0, 0)), 48.5),
        (((48, 1), (30, 1), (0, 0)), 48.5),
        (((48, 1), (29, 1), (6000, 100)), 48.5),
    ],
)
def test_angles_in_every_form(value, degrees):
    assert parse_position({**PARIS, LAT: value})[0] == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("refs", "signs"),
    [
        (("N", "E"), (1, 1)),
        (("S", "W"), (-1, -1)),
        (("s", "e"), (-1, 1)),
        ((b"N\0", b"W\0"), (1, -1)),
        (("South", "West\0"), (-1, -1)),
    ],
)
def test_hemispheres_in_every_form(refs, signs):
    lat, lon = parse_position({**PARIS, LAT_REF: refs[0], LON_REF: refs[1]})
    assert (math.copysign(1, lat), math.copysign(1, lon)) == signs


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({LAT: IFDRational(1, 0)}, NOT_A_NUMBER),
        ({LON: (2.0, IFDRational(0, 0), 40.0)}, NOT_A_NUMBER),
        ({LON: (2.0, 17.0, IFDRational(1, 0))}, NOT_A_NUMBER),
        ({LAT: ((48, 0), (0, 1), (0, 1))}, NOT_A_NUMBER),
        ({LAT: "north"}, NOT_A_NUMBER),
        ({LAT: ()}, NOT_A_NUMBER),
        ({LAT: (1, 2, 3, 4)}, NOT_A_NUMBER),
        ({LAT: None}, NOT_A_NUMBER),
        ({LAT: (91.0, 0.0, 0.0)}, OUT_OF_RANGE),
        ({LON: (180.0, 0.0, 1.0)}, OUT_OF_RANGE),
        ({LON: (12.0, 61.0, 0.0)}, OUT_OF_RANGE),
        ({LON: (-12.0, 0.0, 0.0)}, OUT_OF_RANGE),
        ({LAT_REF: None}, NO_HEMISPHERE),
        ({LON_REF: ""}, NO_HEMISPHERE),
        ({LON_REF: "N"}, NO_HEMISPHERE),
        ({LAT: (0, 0, 0), LON: (0, 0, 0)}, ZERO),
        ({STATUS: "V"}, VOID),
        ({STATUS: b"v\0"}, VOID),
    ],
)
def test_bad_positions_have_a_reason(change, reason):
    with pytest.raises(NoPositionError) as error:
        parse_position({**PARIS, **change})
    assert str(error.value) == reason


def test_half_a_position_is_none():
    for tag in (LAT, LON):
        with pytest.raises(NoPositionError, match=NO_GPS):
            parse_position({k: v for k, v in PARIS.items() if k != tag})


def test_the_equator_and_the_meridian_are_places():
    assert parse_position({**PARIS, LAT: (0, 0, 0)})[0] == 0
    assert parse_position({**PARIS, LON: (0, 0, 0)})[1] == 0


@pytest.mark.parametrize(
    ("value", "heading"),
    [(IFDRational(905, 10), 90.5), (360.0, 0.0), (0, 0.0), (361, None), (-1, None), (IFDRational(1, 0), None)],
)
def test_heading(value, heading):
    assert parse_heading({DIRECTION: value}) == heading


def test_heading_may_be_missing():
    assert parse_heading({}) is None


@pytest.mark.parametrize(
    ("gps", "exif", "moment"),
    [
        ({DATE: "2020:05:17", TIME: (10.0, 20.0, 30.7)}, {}, "2020-05-17T10:20:30Z"),
        ({DATE: "2020-05-17"}, {}, "2020-05-17"),
        ({DATE: "2020:13:17"}, {36867: "2019:01:02 03:04:05"}, "2019-01-02T03:04:05"),
        ({DATE: "2020:05:17", TIME: (IFDRational(0, 0),) * 3}, {}, None),
        ({TIME: (1.0, 2.0, 3.0)}, {36867: "2019:01:02 03:04:05\0", 36881: "+09:00"}, "2019-01-02T03:04:05+09:00"),
        ({}, {36867: b"2019:01:02 03:04:05", 36881: "  :  "}, "2019-01-02T03:04:05"),
        ({}, {36867: "0000:00:00 00:00:00"}, None),
        ({}, {36867: 7}, None),
        ({}, {}, None),
    ],
)  # fmt: skip
def test_moments(gps, exif, moment):
    assert parse_moment(gps, exif) == moment
