"""The page in Chromium, against a server in another process; neither reaches beyond this machine."""

import json
import time
from pathlib import Path

import pytest
from PIL import Image
from processes import serve
from tiles import HUBS, save_tile

pytest.importorskip("selenium")

from browsing import DESKTOP, PHONE, browser
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser

TOKEN = "0123456789abcdef-token"
WINDOWS = {"desktop": (DESKTOP, False), "phone": (PHONE, False), "dark": (DESKTOP, True), "dark-phone": (PHONE, True)}
ROUNDS = 3


@pytest.fixture(scope="module")
def server(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    flags = ("--thumbnails", "--games", str(folder / "games.sqlite"), "--game-photos", str(ROUNDS))
    with serve(built.path, folder / "log", *flags) as served:
        served.games = folder / "games.sqlite"
        yield served
        assert "Traceback" not in served.log


@pytest.fixture
def window(tmp_path):
    """Open a window; when it is closed, nothing may have gone wrong in it or out of it."""
    opened = []

    def window(size=DESKTOP, dark=False):
        opened.append(browser(tmp_path, size, dark))
        return opened[-1].__enter__()

    yield window
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture
def photo(tmp_path):
    return save_tile(tmp_path / "japan.jpg", 36.3, 138.6)


def check_quiet(window):
    assert window.complaints() == []
    assert window.hosts() == {"127.0.0.1"}


def check_fits(window):
    """Nothing makes the page wider than the window."""
    assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("name", WINDOWS)
def test_a_photo_is_answered(server, window, photo, name):
    page = window(*WINDOWS[name])
    page.open(server.url)
    page.keep(f"empty-{name}")
    page.ask(photo)
    north, east = page.text(".answer .position").split(", ")
    assert (float(north.removesuffix("° N")), float(east.removesuffix("° E"))) == pytest.approx(HUBS["jp"], abs=4.0)
    assert len(page.driver.find_elements("css selector", ".candidates button")) > 1
    assert page.run("return document.querySelectorAll('.cell').length") > 0
    page.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    page.keep(f"answer-{name}")
    check_fits(page)
    check_quiet(page)


def test_an_answer_is_there_within_a_second_beside_the_encoder(server, window, photo, record_property):
    page = window()
    page.open(server.url)
    beside_ms = []
    for _ in range(5):
        from_drop_ms = page.ask(photo)
        steps = page.run(
            "return [...document.querySelectorAll('.timings tr')].map((row) => [row.cells[0].textContent,"
            " parseFloat(row.cells[1].textContent)])"
        )
        beside_ms.append(from_drop_ms - dict(steps)["encode"])
    record_property("beside_encoder_ms", beside_ms)
    assert max(beside_ms) < 1000.0, beside_ms


def test_a_candidate_is_flown_to(server, window, photo):
    page = window()
    page.open(server.url)
    page.ask(photo)
    page.centre()
    button = page.driver.find_elements("css selector", ".candidates button")[-1]
    lat, lon = float(button.get_attribute("data-lat")), float(button.get_attribute("data-lon"))
    button.click()
    assert page.centre() == pytest.approx([lat, lon], abs=0.2)
    assert button.get_attribute("aria-pressed") == "true"
    check_quiet(page)


def test_the_answer_is_downloaded_as_geojson(server, window, photo):
    page = window()
    page.open(server.url)
    page.ask(photo)
    page.find("[data-download]").click()
    features = json.loads(page.downloaded("answer.geojson").read_text())["features"]
    assert [feature["properties"]["kind"] for feature in features][:2] == ["prediction", "candidate"]
    check_quiet(page)


def test_several_photos_are_one_place(server, window, photo, tmp_path):
    page = window()
    page.open(server.url)
    page.ask(photo, save_tile(tmp_path / "other.jpg", 35.8, 139.2))
    assert page.run("return document.querySelectorAll('.photos img').length") == 2
    assert page.run("return document.querySelectorAll('.answer').length") == 1
    check_quiet(page)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted(server, window, way):
    page = window()
    page.open(server.url)
    page.run(
        """const [way] = arguments, canvas = document.createElement("canvas");
        canvas.getContext("2d").fillRect(0, 0, 9, 9);
        canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], "photo.png", { type: "image/png" }));
          document.dispatchEvent(way === "drop" ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data }));
        });""",
        way,
    )
    page.until("document.querySelector('.answer')")
    check_quiet(page)


def test_what_is_no_photo_is_told(server, window, bad_photo):
    page = window()
    page.open(server.url)
    page.find("#photo").send_keys(str(bad_photo))
    page.until("document.querySelector('.failure').textContent.includes('Cannot read image')")
    assert page.run("return document.querySelector('.answer') === null")
    assert page.hosts() == {"127.0.0.1"}


def test_the_index_can_be_looked_at(server, window):
    page = window()
    page.open(server.url)
    for layer, shapes in (("density", ".length > 7"), ("clusters", ".length > 7"), ("none", ".length === 0")):
        page.run(f"document.querySelector('[value={layer}]').click()")
        page.until(f"window.geoindexMap.ofIndex.getLayers(){shapes}")
        page.keep(f"index-{layer}")
    check_quiet(page)


def test_everything_is_reached_by_keys(server, window, photo):
    page = window()
    page.open(server.url)
    page.ask(photo)
    page.centre()
    reached = []
    for _ in range(30):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(page.run("const e = document.activeElement; return e.id || e.dataset.rank || e.tagName"))
        if reached[-1] == "2":
            ActionChains(page.driver).send_keys(Keys.ENTER).perform()
            break
    button = page.find("[data-rank='2']")
    assert button.get_attribute("aria-pressed") == "true"
    lat, lon = float(button.get_attribute("data-lat")), float(button.get_attribute("data-lon"))
    assert page.centre() == pytest.approx([lat, lon], abs=0.2)


def test_everything_has_a_name(server, window, photo):
    """Every control tells a screen reader what it is."""
    page = window()
    page.open(server.url)
    page.ask(photo)
    nameless = page.run(
        """return [...document.querySelectorAll("a, button, input, select, img, [role=application]")]
        .filter((e) => e.getClientRects().length && !(e.getAttribute("aria-label") || e.title || e.alt
          || e.hasAttribute("alt") || e.textContent.trim() || e.labels?.length))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert page.run("return document.documentElement.lang") == "en-US"


def guess(page, way):
    """Say where the photo was taken, in one of three ways."""
    page.until("document.querySelector('[data-act=guess]')")
    if way == "click":
        ActionChains(page.driver).move_to_element(page.find(".leaflet-container")).move_by_offset(
            30, -20
        ).click().perform()
        page.until("document.querySelector('[name=lat]').value")
    elif way == "keys":
        page.run("document.querySelector('.leaflet-container').focus()")
        ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT).pause(0.5).send_keys(Keys.ENTER).perform()
        page.until("document.querySelector('[name=lat]').value")
    else:
        page.find("[name=lat]").send_keys("52,1")
        page.find("[name=lon]").send_keys("5.2")


def start_game(page, server, player):
    page.open(f"{server.url}/play")
    page.find("[name=player]").send_keys(player)
    page.find("form button").click()
    page.until("window.geoindexMap && document.querySelector('.picture')?.naturalWidth > 0")


@pytest.mark.parametrize("name", ["desktop", "phone", "dark"])
def test_a_game_is_played_to_its_end(server, window, run, name):
    page, player = window(*WINDOWS[name]), f"Ada of the {name}"
    page.open(f"{server.url}/play")
    page.keep(f"start-{name}")
    start_game(page, server, player)
    for number, way in enumerate(("click", "typed", "keys"), start=1):
        page.until(f"document.querySelector('.round')?.textContent.includes('Photo {number} of {ROUNDS}')")
        guess(page, way)
        page.find("[data-act=guess]").click()
        page.until("document.querySelector('[data-act=next]')")
        assert page.run("return document.querySelectorAll('.mark-truth').length") > 0
        if number == 1:
            page.keep(f"round-{name}")
            check_fits(page)
        page.find("[data-act=next]").click()
    page.until("document.querySelector('.lead')?.textContent.includes('on average')")
    page.keep(f"card-{name}")
    check_quiet(page)
    code, told, _ = run("game", "report", server.games)
    assert (code, player in told) == (0, True)


def test_a_game_that_was_left_goes_on(server, window):
    page = window()
    start_game(page, server, "Bob")
    guess(page, "typed")
    page.find("[data-act=guess]").click()
    page.until("document.querySelector('[data-act=next]')")
    address = page.driver.current_url
    page.open(f"{server.url}/play")
    page.until("!document.querySelector('[data-resume]').hidden")
    page.find("[data-resume]").click()
    page.until("document.querySelector('.round')?.textContent.includes('Photo 2')")
    assert page.driver.current_url == address


def test_a_place_that_is_none_is_told(server, window):
    page = window()
    start_game(page, server, "Cid")
    page.find("[name=lat]").send_keys("95")
    page.find("[data-act=guess]").click()
    page.until("document.querySelector('.failure').textContent.includes('latitude')")


def test_a_game_of_nobody_leads_to_a_new_one(server, window):
    page = window()
    page.open(f"{server.url}/play/nothing")
    assert page.driver.current_url == f"{server.url}/play"


def test_the_truth_is_not_in_the_page_before_the_click(server, window):
    page = window()
    start_game(page, server, "Eve")
    source = page.driver.page_source
    assert ".jpg" in source
    assert not any(f"{hub}-0" in source for hub in HUBS)  # ids of the tiles tell their country


def test_the_token_is_asked_for_once(built, tmp_path, window, photo):
    (tmp_path / "token").write_text(TOKEN)
    with serve(built.path, tmp_path / "log", "--token-file", str(tmp_path / "token")) as served:
        page = window()
        page.driver.get(served.url)
        assert page.driver.current_url == f"{served.url}/sign-in"
        page.keep("sign-in")
        page.find("#token").send_keys("wrong")
        page.find("button").click()
        assert "not the token" in page.text("[role=alert]")
        page.find("#token").send_keys(TOKEN)
        page.find("button").click()
        page.until("window.geoindexMap")
        page.ask(photo)
        assert page.run("return document.cookie") == ""
        page.open(served.url)
        assert page.run("return window.socket.connected") or page.until("window.socket.connected")
        assert page.hosts() == {"127.0.0.1"}


def disk_bytes(served):
    """Return how many bytes a server has had written to disks."""
    lines = Path(f"/proc/{served.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def test_a_large_photo_leaves_nothing_on_the_disk(built, tmp_path, window, monkeypatch):
    page = window()
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TMPDIR", str(spool))
    Image.effect_noise((1800, 1800), 90).convert("RGB").save(tmp_path / "large.jpg", quality=95)
    assert (tmp_path / "large.jpg").stat().st_size > 2**21
    with serve(built.path, tmp_path / "log") as served:
        page.open(served.url)
        before = disk_bytes(served)
        page.ask(tmp_path / "large.jpg")
        assert disk_bytes(served) - before < 2**16
        assert list(spool.iterdir()) == []
        time.sleep(0.1)
        assert not any("deleted" in each for each in served.descriptors())
