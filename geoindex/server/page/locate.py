"""The page that answers photos."""

from html import escape

from nicegui import ui
from starlette.responses import Response

from geoindex.server.page.frame import framed, when_full
from geoindex.server.page.site import Site

ASK = """
<section class="ask" aria-label="Your photo">
  <div class="drop"><input type="file" id="photo" accept="image/*" multiple
    aria-label="Choose a photo, or several of one place">
    <b><span class="first">Drop a photo here</span><span class="again">Ask about another photo</span></b>
    <span>or choose or paste one. Several photos of one place are answered together.</span></div>
  <div class="photos"></div>
  <p class="hint">Photos are read in memory and never kept. Their GPS is not used.</p>
  <p class="state" role="status"></p><p class="failure" role="alert"></p>
</section>
<section id="answer" aria-live="polite" aria-label="Answer"></section>
<section id="details" aria-label="Candidates and evidence"></section>
"""

LAYERS = """
<fieldset class="layers"><legend>What the index knows</legend>
  <label><input type="radio" name="layer" value="none" checked> Answer only</label>
  <label><input type="radio" name="layer" value="density"> Cells, darker with more photos by area</label>
  <label><input type="radio" name="layer" value="clusters"> Clusters</label>
  {facts}
</fieldset>
"""


def add_locate_page(site: Site) -> None:
    """Offer the page at /."""

    @ui.page("/", title="geoindex: where was this photo taken?")
    async def locate() -> Response | None:
        if refused := when_full(site):
            return refused
        with framed(site, "locate", script="locate.js", label="Map of the answer; arrows move it, plus and minus zoom"):
            ui.html(ASK, sanitize=False)
            ui.html(LAYERS.format(facts=_facts(site)) if site.shows_cells else "", sanitize=False)
        return None


def _facts(site: Site) -> str:
    manifest = site.engine.index.manifest
    counts = manifest.counts
    facts = {
        "photos": f"{counts['gallery']:,}", "cells": f"{counts['cells']:,}", "clusters": f"{counts['clusters']:,}",
        "generation": manifest.generation, "built": manifest.created[:10],
    }  # fmt: skip
    items = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f'<dl class="index">{items}</dl>'
