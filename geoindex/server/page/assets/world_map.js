import { leaflet as L } from "nicegui-leaflet";
import { loadResource } from "../../static/utils/resources.js";

const TURNS = [-360, 0, 360];
const HOME = [[-52, -150], [74, 170]];
const FIRST_NAMED_ZOOM = 3; // names are shown from here on
const MANY_CELLS = 3000; // more are drawn once, not again beyond the antimeridian
const NAME_ROOM = [96, 30]; // pixels that a name needs to itself

/** Positions of a ring, moved by full turns of the Earth. */
const moved = (ring, turn) => ring.map(([lat, lon]) => [lat, lon + turn]);
const quiet = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

export default {
  template: `<div role="application" :aria-label="label" :data-picking="picking || null"></div>`,
  props: { resourcePath: String, label: String, tiles: String, credit: String, picking: Boolean },

  async mounted() {
    await this.$nextTick();
    await loadResource(`${window.path_prefix}${this.resourcePath}/leaflet/leaflet.css`);
    const map = L.map(this.$el, {
      zoomSnap: 0.25, zoomDelta: 1, minZoom: 0.5, maxZoom: this.tiles ? 18 : 11, zoomControl: false,
      attributionControl: Boolean(this.tiles), maxBounds: [[-88, -360], [88, 360]], maxBoundsViscosity: 0.8,
      zoomAnimation: !quiet(), fadeAnimation: !quiet(), markerZoomAnimation: !quiet(),
    });
    this.map = map;
    for (const [name, order] of [["ground", 200], ["index", 300], ["cells", 350], ["circles", 400], ["names", 450],
      ["points", 500]]) map.createPane(name).style.zIndex = order;
    map.getPane("names").style.pointerEvents = "none";
    L.control.zoom({ position: "topright", zoomInTitle: "Zoom in", zoomOutTitle: "Zoom out" }).addTo(map);
    L.control.scale({ imperial: false }).addTo(map);
    map.fitBounds(HOME);
    this.shown = L.layerGroup().addTo(map);
    this.ofIndex = L.layerGroup().addTo(map);
    this.names = L.layerGroup().addTo(map);
    map.on("click", ({ latlng }) => this.pick(latlng));
    map.on("moveend", () => this.drawNames());
    this.$el.addEventListener("keydown", ({ key, target }) => {
      if (target !== this.$el) return;
      if (key.startsWith("Arrow")) this.$el.dataset.aiming = "yes";
      if (key === "Enter") this.pick(map.getCenter());
    });
    this.$el.addEventListener("pointerdown", () => delete this.$el.dataset.aiming);
    this.observer = new ResizeObserver(() => map.invalidateSize());
    this.observer.observe(this.$el);
    await this.drawGround();
    window.geoindexMap = this;
    document.dispatchEvent(new Event("geoindex-map"));
    if (this.waiting) this.show(this.waiting);
  },

  unmounted() {
    this.observer?.disconnect();
    if (window.geoindexMap === this) delete window.geoindexMap;
    this.map?.remove();
  },

  methods: {
    async drawGround() {
      if (this.tiles) {
        L.tileLayer(this.tiles, { attribution: this.credit, pane: "ground" }).addTo(this.map);
        return;
      }
      const [world, places] = await Promise.all(
        ["world.geojson", "places.json"].map(async (name) => (await fetch(`/page/${name}`)).json()),
      );
      for (const turn of TURNS)
        L.geoJSON(world, {
          interactive: false, pane: "ground", className: "ground",
          coordsToLatLng: ([lon, lat]) => L.latLng(lat, lon + turn),
          style: ({ properties }) => ({ className: `ground-${properties.kind}` }),
        }).addTo(this.map);
      this.places = places;
      this.drawNames();
    },

    /** Names the largest places in view, as many as have room. */
    drawNames() {
      this.names.clearLayers();
      if (!this.places || this.map.getZoom() < FIRST_NAMED_ZOOM) return;
      const view = this.map.getBounds().pad(-0.02), taken = new Set();
      for (const [name, lat, lon] of this.places) {
        const turn = TURNS.find((each) => view.contains([lat, lon + each]));
        if (turn === undefined) continue;
        const { x, y } = this.map.latLngToContainerPoint([lat, lon + turn]);
        const [column, row] = [Math.floor(x / NAME_ROOM[0]), Math.floor(y / NAME_ROOM[1])];
        const near = [-1, 0, 1].flatMap((i) => [-1, 0, 1].map((j) => `${column + i} ${row + j}`));
        if (near.some((spot) => taken.has(spot))) continue;
        taken.add(`${column} ${row}`);
        const text = document.createElement("span");
        text.textContent = name;
        const icon = L.divIcon({ className: "place-name", html: text, iconSize: null });
        L.marker([lat, lon + turn], { icon, pane: "names", interactive: false, keyboard: false }).addTo(this.names);
        if (taken.size >= 60) break;
      }
    },

    /** Draws an answer; see `answer_layers`. */
    show(answer) {
      if (!this.map || !this.shown) { this.waiting = answer; return; }
      this.clear();
      for (const turn of TURNS) {
        this.drawCells(answer.cells ?? [], turn);
        for (const { kind, ring } of answer.circles ?? [])
          L.polygon(moved(ring, turn), { className: `circle-${kind}`, pane: "circles", interactive: false })
            .addTo(this.shown);
        for (const each of [...(answer.candidates ?? [])].reverse()) this.drawCandidate(each, turn);
        for (const { kind, lat, lon, text } of answer.marks ?? []) this.mark(kind, lat, lon + turn, text);
        for (const { kind, line } of answer.lines ?? [])
          L.polyline(moved(line, turn), { className: `way-${kind}`, pane: "circles", interactive: false })
            .addTo(this.shown);
        if (answer.point) this.mark("answer", answer.point[0], answer.point[1] + turn, "answer");
      }
      if (answer.view) this.look(answer.view);
      else this.home();
    },

    look(view) {
      const narrow = this.map.getSize().x < 600;
      this.map.flyToBounds(view, { animate: !quiet(), duration: 0.8, padding: narrow ? [4, 4] : [16, 16] });
    },

    drawCells(cells, turn) {
      for (const { cell, probability, rings } of cells) {
        const told = `cell ${cell}: ${(100 * probability).toFixed(1)} %`;
        L.polygon(rings.map((ring) => [moved(ring, turn)]), {
          className: "cell", pane: "cells", fillOpacity: 0.03 + 0.35 * Math.sqrt(probability),
        }).bindTooltip(told, { sticky: true, className: "told" }).addTo(this.shown);
      }
    },

    drawCandidate({ rank, lat, lon, probability, place }, turn) {
      const size = Math.round(18 + 16 * Math.sqrt(probability));
      const icon = L.divIcon({ className: "candidate-dot", html: `${Number(rank)}`, iconSize: [size, size] });
      const told = document.createElement("span");
      told.textContent = `${place}, ${(100 * probability).toFixed(1)} %`;
      L.marker([lat, lon + turn], { icon, pane: "points", keyboard: false, zIndexOffset: -100 * rank })
        .bindTooltip(told, { className: "told" }).addTo(this.shown);
    },

    mark(kind, lat, lon, text) {
      const label = document.createElement("span");
      label.textContent = text ?? "";
      const icon = L.divIcon({ className: `mark mark-${kind}`, html: label, iconSize: [22, 22] });
      L.marker([lat, lon], { icon, pane: "points", interactive: false, keyboard: false, zIndexOffset: 2000 })
        .addTo(this.shown);
    },

    clear() {
      this.shown.clearLayers();
      this.waiting = null;
    },

    fly(lat, lon) {
      this.map.flyTo([lat, lon], Math.max(this.map.getZoom(), 6), { animate: !quiet(), duration: 0.8 });
    },

    home() {
      this.map.flyToBounds(HOME, { animate: !quiet(), duration: 0.5 });
    },

    /** Draws the index itself: nothing, the density of its images by cell, or its clusters. */
    showIndex(kind, { cells, clusters } = {}) {
      this.ofIndex.clearLayers();
      const colour = getComputedStyle(this.$el).getPropertyValue("--index").trim();
      const renderer = (this.canvas ??= L.canvas({ pane: "index", padding: 0.3 }));
      if (kind === "density") this.drawDensity(cells, colour, renderer);
      if (kind === "clusters") this.drawClusters(clusters, colour, renderer);
    },

    drawDensity(cells, colour, renderer) {
      const density = cells.map(({ images, area_km2 }) => Math.log10(1 + (1e6 * images) / Math.max(area_km2, 1)));
      const most = Math.max(...density, 1e-9);
      const turns = cells.length > MANY_CELLS ? [0] : TURNS;
      cells.forEach(({ cell, images, area_km2, rings }, row) => {
        const told = `cell ${cell}: ${images.toLocaleString("en")} images on ${area_km2.toLocaleString("en")} km²`;
        for (const turn of turns)
          L.polygon(rings.map((ring) => [moved(ring, turn)]), {
            renderer, color: colour, weight: 0.6, opacity: 0.6, fillColor: colour, fillOpacity: 0.6 * density[row] / most,
          }).bindTooltip(told, { sticky: true, className: "told" }).addTo(this.ofIndex);
      });
    },

    drawClusters(clusters, colour, renderer) {
      for (const [lat, lon, images] of clusters)
        L.circleMarker([lat, lon], {
          renderer, radius: 1.5 + Math.log10(1 + images), color: colour, weight: 0.8, fillColor: colour, fillOpacity: 0.5,
        }).bindTooltip(`${images.toLocaleString("en")} images`, { className: "told" }).addTo(this.ofIndex);
    },

    pick({ lat, lng }) {
      if (!this.picking) return;
      const lon = ((((lng + 180) % 360) + 360) % 360) - 180;
      this.$emit("pick", { lat: Math.max(-90, Math.min(90, lat)), lon });
    },

    /** Shows where somebody clicked, before it counts. */
    choose(lat, lon) {
      this.clear();
      for (const turn of TURNS) this.mark("guess", lat, lon + turn, "");
    },
  },
};
