"""What a report page looks like, and how its tables are sorted: everything is inside the page itself."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --card: #f4f6f8; --ink: #22272b; --quiet: #5d676f;
  --line: #dbe1e5; --own: #b84f00; --link: #0062a3; }
@media (prefers-color-scheme: dark) { :root { --page: #14181b; --card: #1e2428; --ink: #e6eaed; --quiet: #a2adb5;
  --line: #343d43; --own: #ff9a52; --link: #7cc0f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: var(--link); }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
.quiet { color: var(--quiet); }
.warning { border-left: 4px solid var(--own); padding: .5rem .9rem; background: var(--card); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.tile, .weak, .case { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; }
.weak ol { margin: .4rem 0 0; padding-left: 1.4rem; font-size: 1.1rem; }
.weak h2 { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .45rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
th.text, td.text { text-align: left; white-space: normal; }
td small { display: block; color: var(--quiet); white-space: normal; min-width: 19rem; font-size: .8rem;
  font-weight: 400; }
tr.own td { color: var(--own); font-weight: 700; }
tr.few td { color: var(--quiet); }
table.sortable th button { all: unset; cursor: pointer; color: var(--link); }
table.sortable th button:focus-visible { outline: 2px solid var(--link); }
figure { margin: 1rem 0; }
figure img { width: 100%; height: auto; display: block; background: #fff; border-radius: 8px;
  border: 1px solid var(--line); }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
.case > img { height: 10rem; width: auto; max-width: 100%; object-fit: contain; object-position: left;
  margin-bottom: .5rem; }
.case img { display: block; border-radius: 4px; }
.case .error { font-size: 1.3rem; font-weight: 700; color: var(--own); }
.case dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem .7rem; margin: .6rem 0; font-size: .93rem; }
.case dt { color: var(--quiet); } .case dd { margin: 0; overflow-wrap: anywhere; }
.nothing { width: 100%; padding: 2rem .5rem; text-align: center; color: var(--quiet); border: 1px dashed var(--line);
  border-radius: 4px; font-size: .85rem; }
.evidence { display: grid; grid-template-columns: repeat(3, 1fr); gap: .5rem; font-size: .78rem; line-height: 1.35; }
.evidence img { width: 100%; height: 5.2rem; object-fit: cover; }
.evidence .nothing { padding: 1.6rem .2rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--card); padding: .8rem; border-radius: 8px; font-size: .82rem; }
.facts td { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.facts td:first-child { color: var(--quiet); width: 11rem; }
"""

SORTING = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    const name = head.textContent, button = document.createElement("button");
    button.type = "button"; button.textContent = name; button.title = "sort by this column";
    head.replaceChildren(button);
    let sign = 1;
    button.addEventListener("click", () => {
      const body = table.tBodies[0], key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => isNaN(key(a)) ? key(a).localeCompare(key(b)) : key(a) - key(b);
      body.append(...[...body.rows].sort((a, b) => sign * order(a, b)));
      sign = -sign;
    });
  });
}
"""
