/* The browser remembers which game it was in the middle of. */

const KEY = "geoindex-game";
const place = location.pathname.match(/\/play\/([\w-]+)$/);

document.addEventListener("geoindex-map", () => {
  const app = document.querySelector(".app");
  if (place) localStorage.setItem(KEY, place[1]);
  const link = document.querySelector("[data-resume]");
  const kept = localStorage.getItem(KEY);
  if (link && kept && !place) {
    link.href = `/play/${kept}`;
    link.hidden = false;
  }
  app.dataset.ready = "yes";
});
