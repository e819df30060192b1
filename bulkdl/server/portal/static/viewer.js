// The viewer of a Series: scrolls, windows, zooms and plays what the page shows without it.

const root = document.getElementById("viewer");
const find = (id) => document.getElementById(id);
const [stage, layers, picture, mask, contours, slider] = ["stage", "layers", "picture", "mask", "contours", "slider"].map(find);
const series = root.dataset.series;
const frames = Number(root.dataset.frames);
const isGrey = root.dataset.grey === "1";
const state = {
  step: Number(root.dataset.step), steps: Number(root.dataset.steps), sops: [root.dataset.sop],
  centre: Number(root.dataset.centre), width: Number(root.dataset.width) || 0, chosen: root.dataset.chosen === "1",
  zoom: 1, x: 0, y: 0, playing: 0,
};
let loading = false, again = false, tagsTimer = 0;

const sopAt = (step) => (frames > 1 || state.sops.length < 2 ? root.dataset.sop : state.sops[step - 1]);
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== ""));

function pictureAt(step) {
  const window = state.chosen ? { centre: state.centre, width: state.width } : {};
  return `/picture?${query({ series, sop: sopAt(step), frame: frames > 1 ? step : null, ...window })}`;
}

// At most one picture is requested at a time; the one that was chosen last comes next.
async function show() {
  if (loading) { again = true; return; }
  loading = true;
  const { step } = state;
  const next = new Image();
  next.src = pictureAt(step);
  try { await next.decode(); } catch { /* the drawing that says why has no natural size */ }
  picture.src = next.src;
  picture.alt = find("position").textContent = `Image ${step} of ${state.steps}`;
  root.dataset.shown = step;
  loading = false;
  if (again) { again = false; show(); return; }
  overlay();
  remember();
  for (const near of [step + 1, step - 1, step + 2]) if (near >= 1 && near <= state.steps) new Image().src = pictureAt(near);
}

// A search in the attributes keeps the image and what was chosen for it.
find("tag-search").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = new URL(location.href);
  url.searchParams.set("tag", find("tag").value);
  if (find("over")?.value) url.searchParams.set("over", find("over").value);
  location.assign(url);
});

// The button of the window that is shown.
function markWindow() {
  for (const link of root.querySelectorAll("a[data-centre]")) {
    const isShown = Number(link.dataset.centre) === state.centre && Number(link.dataset.width) === state.width;
    if (isShown) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
}

function remember() {
  slider.value = state.step;
  if (state.width) find("window-now") && (find("window-now").textContent = `${Math.round(state.centre)} / ${Math.round(state.width)}`);
  markWindow();
  const url = new URL(location.href);
  url.searchParams.set("sop", sopAt(state.step));
  if (frames > 1) url.searchParams.set("frame", state.step);
  if (state.chosen) { url.searchParams.set("centre", state.centre); url.searchParams.set("width", state.width); }
  history.replaceState(null, "", url);
  const download = find("this-instance"), instance = new URL(download.href);
  instance.searchParams.set("SOPInstanceUID", sopAt(state.step));
  download.href = instance;
  clearTimeout(tagsTimer);
  if (frames === 1 && !state.playing) tagsTimer = setTimeout(tags, 250);
}

async function tags() {
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const rows = page.getElementById("tag-rows");
  if (rows) find("tag-rows").replaceWith(rows);
}

function go(step) {
  const wanted = Math.min(Math.max(step, 1), state.steps);
  if (wanted !== state.step) { state.step = wanted; show(); }
}

function setWindow(centre, width) {
  Object.assign(state, { centre, width: Math.max(1, width), chosen: true });
  show();
}

async function overlay() {
  const chosen = find("over")?.selectedOptions[0];
  const over = chosen?.value, step = state.step;
  const address = query({ series, sop: sopAt(step), frame: frames > 1 ? step : null, over: over ?? "" });
  mask.hidden = !(over && chosen.dataset.modality === "SEG");
  if (!mask.hidden) mask.src = `/mask?${address}`;
  let lines = [];
  if (over && chosen.dataset.modality === "RTSTRUCT") {
    const answer = await fetch(`/contours?${address}`);
    if (answer.ok) lines = await answer.json();
    if (step !== state.step) return;
  }
  contours.replaceChildren(...lines.map((line) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", line.closed ? "polygon" : "polyline");
    shape.setAttribute("points", line.points.map((point) => point.join(",")).join(" "));
    shape.setAttribute("fill", "none");
    shape.setAttribute("stroke", line.colour);
    return shape;
  }));
  find("legend").replaceChildren(...[...new Set(lines.map((line) => line.name))].map((name) => {
    const item = document.createElement("li");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg"), square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [key, value] of [["class", "swatch"], ["viewBox", "0 0 1 1"], ["aria-hidden", "true"]]) swatch.setAttribute(key, value);
    for (const [key, value] of [["width", "1"], ["height", "1"], ["fill", lines.find((line) => line.name === name).colour]]) square.setAttribute(key, value);
    swatch.append(square);
    item.append(swatch, name);
    return item;
  }));
}

function place() {
  layers.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
  find("zoom-now").textContent = `${Math.round(state.zoom * 100)} %`;
}
function zoom(factor) { state.zoom = Math.min(Math.max(state.zoom * factor, 0.25), 16); place(); }
function reset() {
  Object.assign(state, { zoom: 1, x: 0, y: 0, chosen: false, centre: Number(root.dataset.centre), width: Number(root.dataset.width) || 0 });
  place();
  show();
}

function play() {
  const button = find("play");
  if (!button) return;
  clearInterval(state.playing);
  state.playing = state.playing ? 0 : setInterval(() => go(state.step < state.steps ? state.step + 1 : 1), 1000 / Number(root.dataset.fps));
  button.textContent = state.playing ? "Pause" : "Play";
  button.setAttribute("aria-pressed", String(Boolean(state.playing)));
}

const keys = {
  ArrowUp: () => go(state.step - 1), ArrowLeft: () => go(state.step - 1), ArrowDown: () => go(state.step + 1), ArrowRight: () => go(state.step + 1),
  PageUp: () => go(state.step - 10), PageDown: () => go(state.step + 10), Home: () => go(1), End: () => go(state.steps),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: reset, " ": play,
};
stage.addEventListener("keydown", (event) => {
  if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
});
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.ctrlKey) zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  else go(state.step + Math.sign(event.deltaY));
}, { passive: false });
stage.addEventListener("dragstart", (event) => event.preventDefault());
stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  let { clientX: x, clientY: y } = event, rest = 0;
  const what = event.shiftKey || event.button === 1 ? "pan" : find("drag").value;
  const move = (to) => {
    const [dx, dy] = [to.clientX - x, to.clientY - y];
    [x, y] = [to.clientX, to.clientY];
    if (what === "pan") { state.x += dx; state.y += dy; place(); }
    else if (what === "scroll") { rest += dy; if (Math.abs(rest) >= 8) { go(state.step + Math.trunc(rest / 8)); rest %= 8; } }
    else if (isGrey && state.width) { const scale = Math.max(state.width / 300, 0.5); setWindow(state.centre + dy * scale, state.width + dx * scale); }
  };
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", () => stage.removeEventListener("pointermove", move), { once: true });
  stage.addEventListener("pointercancel", () => stage.removeEventListener("pointermove", move), { once: true });
});
slider.addEventListener("input", () => go(Number(slider.value)));
for (const [id, act] of [["play", play], ["closer", () => zoom(1.25)], ["farther", () => zoom(0.8)], ["reset", reset]]) find(id)?.addEventListener("click", act);
for (const [id, by] of [["previous", -1], ["following", 1]]) find(id)?.addEventListener("click", (event) => { event.preventDefault(); go(state.step + by); });
for (const link of root.querySelectorAll("a[data-centre]")) link.addEventListener("click", (event) => {
  event.preventDefault();
  setWindow(Number(link.dataset.centre), Number(link.dataset.width));
});
find("over")?.addEventListener("change", overlay);

for (const id of ["tools", "dragging", "zoom-now"]) find(id).hidden = false;
if (find("overlay")) find("overlay").hidden = true;
slider.hidden = state.steps < 2;
markWindow();
if (frames === 1 && state.steps > 1) fetch(`/instances?${query({ series })}`).then((answer) => answer.json()).then((sops) => { state.sops = sops; root.dataset.ready = "1"; });
else root.dataset.ready = "1";
