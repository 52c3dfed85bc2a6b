// What every part of the page needs: the data, lists to choose from, text made safe, colours.

const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#5D3A9B"];
const PLOT = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
const FONT = { family: "system-ui, Segoe UI, Helvetica Neue, Arial, sans-serif", size: 13, color: "#1f2933" };

function byId(id) {
  return document.getElementById(id);
}

/** Fill a list with [value, label] pairs; it hides where there is nothing to choose. */
function offer(id, options, onChange) {
  const list = byId(id);
  list.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
  list.closest("label").hidden = !options.length;
  if (onChange) list.addEventListener("change", onChange);
}

function withLabels(values) {
  return values.map((value) => [value, value]);
}

/** Text for the places that take HTML: titles of columns, and all text that Plotly draws. */
function safe(text) {
  return String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function format(number) {
  if (typeof number !== "number") return "–";
  if (Number.isInteger(number)) return number.toLocaleString("en");
  return Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en") : String(+number.toPrecision(4));
}

/** A colour for each value: a ramp for many numbers, else colours that differ much. */
function colourOf(values) {
  const ramp = values.length > 3 && values.every((value) => value !== "" && isFinite(value));
  const colour = (i) => ramp ? `hsl(${250 - (220 * i) / (values.length - 1)}, 65%, 45%)` : COLOURS[i % COLOURS.length];
  return new Map(values.map((value, i) => [value, colour(i)]));
}

/** What a run has for the chosen factor, or its image or seed. */
function groupOf(run, factor) {
  if (factor === "image" || factor === "seed") return run[factor];
  return factor === "" ? "" : run.values[factor];
}

function groups(runs, factor) {
  const found = [...new Set(runs.map((run) => groupOf(run, factor)))];
  const order = data.factors[factor] ?? [];
  return found.sort((a, b) => order.indexOf(a) - order.indexOf(b));
}

function described(run) {
  const values = Object.entries(run.values).map(([factor, value]) => `${factor}=${value}`);
  return [run.name, `${run.image}, seed ${run.seed}`, ...values].map(safe).join("<br>");
}
