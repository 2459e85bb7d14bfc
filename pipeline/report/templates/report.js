"use strict";
const island = JSON.parse(document.getElementById("island").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const SMALLEST = 0.75; // of its size, to which a figure is scaled down where it cannot be drawn narrower
const touch = matchMedia("(pointer: coarse)");

// Place panels side by side while there is room; widen a single column to the page.
function fitPanels(spec, available, drawn) {
  const panels = spec.concat || [spec];
  const columns = Math.min(spec.columns || 1, panels.length);
  const panelWidth = drawn / columns;
  const fittingColumns = Math.min(columns, Math.max(1, Math.floor(available / panelWidth)));
  if (spec.concat) spec.columns = fittingColumns;
  const spare = fittingColumns === 1 ? Math.floor(available - panelWidth) : 0;
  panels.forEach((panel) => { panel.width = Math.max(110, Math.min(panel.width + spare, 560)); });
}

async function draw(box) {
  const spec = structuredClone(island.figures[box.dataset.figure]);
  const available = box.parentElement.clientWidth;
  const theme = structuredClone(island.themes[dark.matches ? "dark" : "light"]);
  theme.legend.columns = Math.max(1, Math.floor(available / (60 + 7 * Math.min(island.longest, 60))));
  theme.legend.labelLimit = Math.min(theme.legend.labelLimit, available - 60);
  theme.axis.labelLimit = Math.min(theme.axis.labelLimit, available * 0.4);
  theme.padding = 4;
  if (available < 640) narrowLabels(spec);
  if (touch.matches) dropZoom(spec); // or a finger on a figure could not scroll the page
  const options = {
    config: theme, renderer: "svg", tooltip: { theme: dark.matches ? "dark" : "light" },
    actions: false,
  };
  for (let tries = 0; tries < 4; tries++) {
    const done = await vegaEmbed(box, spec, options);
    const drawn = box.querySelector("svg").width.baseVal.value; // before the style sheet scales it down
    box.style.setProperty("--least", `${SMALLEST * drawn}px`);
    if (drawn <= available + 1) break;
    done.finalize();
    fitPanels(spec, available, drawn);
  }
}

// Break labels into shorter lines, and make their rows as high as these need.
function narrowLabels(spec) {
  const line = (spec.params || []).find((param) => param.name === "label_line");
  if (!line) return;
  line.value = island.narrow;
  const most = Math.max(...spec.usermeta.labels.map((name) => name.match(new RegExp(island.narrow, "g")).length));
  const lines = most > 1 ? most + 0.8 : 1; // with a gap between two names, see figures/lines.py
  (spec.concat || [spec]).forEach(({ height }) => {
    height.step = Math.max(height.step, (height.for === "offset" ? 6.5 : 13) * lines);
  });
}

function dropZoom(spec) {
  if (spec.params) spec.params = spec.params.filter((param) => param.bind !== "scales");
}

async function drawAll() {
  for (const box of document.querySelectorAll("[data-figure]")) {
    try {
      await draw(box);
    } catch (error) {
      box.textContent = "This figure could not be drawn: " + error.message;
      console.error(error);
    }
  }
  markScrolling();
}

// Sort a table by a column, numerically if it holds numbers; unknown values stay last.
function sort(heading) {
  const table = heading.closest("table"), column = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.key;
  const rows = [...table.tBodies[0].rows];
  const numbers = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
  rows.sort((a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    const order = numbers ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b));
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

// The contents list, and which tables and figures are wider than the page.
const list = document.querySelector(".contents ol");
document.querySelectorAll("main section[id] > h2").forEach((heading) => {
  const link = document.createElement("a");
  link.href = "#" + heading.parentElement.id;
  link.textContent = heading.textContent;
  list.appendChild(document.createElement("li")).append(link);
});
if (innerWidth < 640) document.querySelector(".contents").removeAttribute("open");
function markScrolling() {
  document.querySelectorAll(".wide").forEach((box) => {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
  });
}
document.querySelectorAll(".sortable th").forEach((heading) => {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
});
dark.addEventListener("change", drawAll);
let width = innerWidth, timer;
addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (innerWidth !== width) { width = innerWidth; drawAll(); }
  }, 250);
});
drawAll();
