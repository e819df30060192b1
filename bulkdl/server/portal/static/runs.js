// The numbers of runs under way, as the server sends them once a second, and their rate as a chart.

const sections = [...document.querySelectorAll("section.run")];
const rates = sections.map(() => []);
const most = 600;

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (bytes >= 999.95 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}
function time(seconds) {
  if (seconds === null) return "not known";
  const whole = Math.round(seconds), [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
const counts = ["series", "instances", "held", "owed", "failed", "quarantined"];
function row(one) {
  const made = document.createElement("tr"), name = made.appendChild(document.createElement("th"));
  name.scope = "row";
  name.textContent = one.collection;
  for (const count of counts) {
    const cell = made.appendChild(document.createElement("td"));
    cell.className = "number";
    cell.dataset.label = count[0].toUpperCase() + count.slice(1);
    cell.textContent = one[count].toLocaleString("en");
  }
  return made;
}
function points(samples, name, top) {
  return samples.map((one, number) => `${((number / Math.max(samples.length - 1, 1)) * 600).toFixed(1)},${(118 - (one[name] / top) * 112).toFixed(1)}`).join(" ");
}

function chart(section, samples) {
  section.querySelector("figure").hidden = samples.length < 2;
  section.querySelector("[data-show=top]").textContent = `highest: ${size(Math.max(...samples.map((one) => one.rate)))}/s`;
  const fastest = Math.max(1, ...samples.map((one) => one.rate)), most = Math.max(1, ...samples.map((one) => one.limit));
  for (const [name, top] of [["rate", fastest], ["flight", most], ["limit", most]]) {
    section.querySelector(`polyline.${name}`).setAttribute("points", points(samples, name, top));
  }
}

function show(section, state, samples) {
  const set = (name, text) => { const place = section.querySelector(`[data-show=${name}]`); if (place && place.textContent !== text) place.textContent = text; };
  const bar = section.querySelector("progress"), progress = state.progress;
  if (state.error || !bar) return;
  bar.hidden = !progress;
  for (const name of ["held", "owed", "failed", "quarantined"]) set(name, state[name].toLocaleString("en"));
  if (progress) {
    set("summary", `A run is under way: ${state.verb}, started ${state.started}.`);
    if (progress.bytes_selected) bar.value = progress.bytes_fetched / progress.bytes_selected; else bar.removeAttribute("value");
    set("rate", `${size(progress.bytes_per_second)}/s`);
    set("left", time(progress.seconds_left));
    set("fetched", size(progress.bytes_fetched) + (progress.bytes_selected ? ` of ${size(progress.bytes_selected)}` : ""));
    set("flight", `${progress.in_flight}, ${progress.limit}`);
    set("retries", String(progress.retries));
    samples.push({ rate: progress.bytes_per_second, flight: progress.in_flight, limit: progress.limit });
    if (samples.length > most) samples.shift();
    chart(section, samples);
  } else if (state.verb) {
    set("summary", `No run is under way. The last one was ${state.verb}, started ${state.started}${state.outcome ? `: ${state.outcome}` : ""}.`);
    for (const name of ["rate", "left", "fetched", "flight", "retries"]) set(name, "");
  }
  section.querySelector("[data-show=collections]").replaceChildren(...state.collections.map(row));
  const reasons = Object.entries(state.failures).map(([reason, count]) => `${reason}: ${count.toLocaleString("en")}`);
  section.querySelector("[data-show=failures]").replaceChildren(...(reasons.length ? reasons : ["none"]).map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

const source = new EventSource("/runs/events");
source.addEventListener("message", (event) => {
  for (const [number, state] of JSON.parse(event.data).entries()) if (sections[number]) show(sections[number], state, rates[number]);
});
addEventListener("pagehide", () => source.close());
