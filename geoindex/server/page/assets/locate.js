/* Photos go to the server as a form that it reads in memory; the answer comes back as HTML and layers of the map. */

const ui = (selector) => document.querySelector(selector);
let addresses = [];
let geojson = null;
let indexLayers = null;
let asked = 0;

const map = () =>
  new Promise((resolve) => {
    if (window.geoindexMap) resolve(window.geoindexMap);
    else document.addEventListener("geoindex-map", () => resolve(window.geoindexMap), { once: true });
  });

function preview(files) {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = files.map((file) => URL.createObjectURL(file));
  ui(".photos").replaceChildren(
    ...addresses.map((address, row) =>
      Object.assign(document.createElement("img"), { src: address, alt: `Your photo ${row + 1}` }),
    ),
  );
}

async function ask(files) {
  if (!files.length) return;
  const started = performance.now(), turn = ++asked, app = ui(".app");
  app.classList.add("asked", "busy");
  ui(".failure").textContent = "";
  ui(".state").textContent = files.length > 1 ? `Locating ${files.length} photos of one place …` : "Locating the photo …";
  preview(files);
  const form = new FormData();
  files.forEach((file) => form.append("image", file));
  try {
    const response = await fetch("/page/answer", { method: "POST", body: form });
    const body = await response.json();
    if (turn !== asked) return;
    if (!response.ok) throw new Error(body.error?.message ?? "The server did not answer.");
    await show(body);
    app.dataset.answeredMs = (performance.now() - started).toFixed(1);
  } catch (error) {
    if (turn !== asked) return;
    for (const part of ["#answer", "#details", ".legend"]) ui(part).replaceChildren();
    window.geoindexMap?.clear();
    ui(".failure").textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
  } finally {
    if (turn === asked) {
      app.classList.remove("busy");
      ui(".state").textContent = "";
    }
  }
}

async function show({ summary, details, legend, layers, geojson: features }) {
  geojson = features;
  ui("#answer").innerHTML = summary; // made by the server, which escapes every name
  ui("#details").innerHTML = details;
  ui(".legend").innerHTML = legend;
  (await map()).show(layers);
}

function download() {
  const blob = new Blob([JSON.stringify(geojson, null, 1)], { type: "application/geo+json" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "answer.geojson" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function showIndex(kind) {
  try {
    if (kind !== "none" && !indexLayers) {
      const response = await fetch("/page/index.json");
      const body = await response.json();
      if (!response.ok) throw new Error(body.error.message);
      indexLayers = body;
    }
    (await map()).showIndex(kind, indexLayers ?? {});
  } catch (error) {
    ui(".failure").textContent = error.message;
  }
}

const images = (transfer) => [...(transfer?.files ?? [])].filter(({ type }) => type.startsWith("image/") || !type);

document.addEventListener("change", ({ target }) => {
  if (target.matches("#photo")) {
    ask([...target.files]);
    target.value = ""; // the same photo may be chosen again
  }
  if (target.matches("[name=layer]")) showIndex(target.value);
});
document.addEventListener("click", async ({ target }) => {
  if (target.closest("[data-download]")) download();
  const place = target.closest("[data-lat]");
  if (!place) return;
  document.querySelectorAll("[aria-pressed]").forEach((button) => button.removeAttribute("aria-pressed"));
  place.setAttribute("aria-pressed", "true");
  (await map()).fly(Number(place.dataset.lat), Number(place.dataset.lon));
  if (window.matchMedia("(max-width: 760px)").matches) ui(".map").scrollIntoView({ block: "center" });
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  ui(".app").classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) ui(".app").classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  ui(".app").classList.remove("dragging");
  ask(images(event.dataTransfer));
});
document.addEventListener("paste", ({ clipboardData }) => ask(images(clipboardData)));
