// Differences of a factor, quality against cost, and quality while fitting.

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#5D3A9B"];
const AXIS = { zeroline: false, linecolor: "#9aa5b1", mirror: true };
const STYLE = { // what all plots share
  font: { family: "system-ui, Segoe UI, Helvetica Neue, Arial, sans-serif", size: 13, color: "#1f2933" },
  margin: { l: 60, r: 15, t: 50, b: 55 },
  legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom" },
};
const MOST_DIFFERENCES = 40;
const MOST_CURVES = 150;

function plot(id, traces, layout, options) {
  const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
  Plotly.react(id, traces, { ...STYLE, ...layout }, { responsive: true, displaylogo: false, modeBarButtons: buttons, ...options });
}

/** Add the axes of a grid's i-th plot and give their names for its traces. */
function addAxes(layout, i, xaxis, yaxis) {
  const number = i ? i + 1 : "";
  layout[`xaxis${number}`] = xaxis;
  layout[`yaxis${number}`] = yaxis;
  return { xaxis: `x${number}`, yaxis: `y${number}` };
}

// Plotly reads text as HTML.
const safe = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const hoverText = (run) => describe(run).map(safe).join("<br>");

function showDifferences() {
  const byMetric = data.differences[byId("factor").value];
  offer("metric", Object.keys(byMetric), (metric) => data.titles[metric]);
  const lines = byMetric[byId("metric").value] ?? [];
  const overall = lines.filter((line) => !line.setting);
  const single = lines.filter((line) => line.setting);
  byId("difference-lines").textContent = overall.map((line) => `${line.pair} = ${line.text}`).join("\n") || "No two finished runs differ in this factor alone.";
  byId("setting-lines").textContent = single.map((line) => `${line.setting}: ${line.pair} = ${line.text}`).join("\n");
  byId("by-setting").hidden = !single.length;
  const drawn = overall.length > MOST_DIFFERENCES ? [] : overall;
  byId("difference-plot").hidden = !drawn.length;
  plot("difference-plot", [{
    x: drawn.map((line) => line.mean), error_x: { array: drawn.map((line) => line.half_width ?? 0) },
    y: drawn.map((line) => safe(line.pair)), mode: "markers", marker: { size: 9, color: COLOURS[0] }, hoverinfo: "x",
  }], {
    height: 70 + 27 * drawn.length, margin: { l: 20, r: 20, t: 10, b: 45 },
    xaxis: { title: { text: safe(`difference in ${data.titles[byId("metric").value]}`) }, zerolinecolor: "#9aa5b1", rangemode: "tozero", automargin: true },
    yaxis: { type: "category", autorange: "reversed", automargin: true },
  });
}

/** The runs by what they have for a factor, or their image or seed, each group with a colour. */
function grouped(runs, factor) {
  const valueOf = (run) => run.values[factor] ?? run[factor] ?? "";
  const order = data.factors[factor] ?? [];
  const values = [...new Set(runs.map(valueOf))].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const ramp = values.length > 3 && values.every((value) => value !== "" && isFinite(value));
  return values.map((value, i) => ({
    name: safe(value), legendgroup: safe(value), runs: runs.filter((run) => valueOf(run) === value),
    color: ramp ? `hsl(${250 - (220 * i) / (values.length - 1)}, 65%, 45%)` : COLOURS[i % COLOURS.length],
  }));
}

function plotQuality(runs) {
  const means = byId("points").value === "means";
  const points = (means ? meansOf(runs) : runs).filter((run) => run.numbers.psnr_db !== undefined);
  const single = means || new Set(runs.map((run) => run.image)).size < 2;
  const groups = grouped(points, byId("colour").value);
  const layout = { height: 460, showlegend: groups.length > 1, grid: { rows: 1, columns: data.costs.length, pattern: "independent", xgap: 0.05 } };
  const traces = data.costs.flatMap((cost, i) => {
    const xaxis = { ...AXIS, type: "log", nticks: 6, exponentformat: "SI", title: { text: safe(data.titles[cost]) } };
    const yaxis = { ...AXIS, matches: "y", ...(i ? { showticklabels: false } : { title: { text: "PSNR (dB)" } }) };
    const shared = { ...addAxes(layout, i, xaxis, yaxis), showlegend: i === 0 };
    const drawn = groups.map((group) => pointsOf(group, cost));
    if (single) drawn.push(paretoFront(points, cost));
    return drawn.map((trace) => ({ ...trace, ...shared }));
  });
  plot("quality-plot", traces, layout);
  byId("quality-plot").removeAllListeners("plotly_click");
  byId("quality-plot").on("plotly_click", ({ points: [{ customdata }], event }) => {
    if (customdata >= 0) choose(event.shiftKey ? "b" : "a", customdata);
  });
}

/** Means over seeds, then over images, of the settings that have all images of these runs. */
function meansOf(runs) {
  const n_images = new Set(runs.map((run) => run.image)).size;
  const settings = Object.values(Object.groupBy(runs, (run) => JSON.stringify(run.values)));
  return settings.flatMap((chosen) => {
    const byImage = Object.values(Object.groupBy(chosen, (run) => run.image));
    if (byImage.length < n_images) return [];
    const meanOf = (metric) => mean(byImage.map((seeds) => mean(seeds.flatMap((run) => run.numbers[metric] ?? []))));
    const numbers = Object.fromEntries(["psnr_db", ...data.costs].map((metric) => [metric, meanOf(metric)]));
    return { values: chosen[0].values, numbers, name: `mean of ${chosen.length} runs, ${n_images} image${n_images === 1 ? "" : "s"}` };
  });
}

function mean(values) {
  const known = values.length && values.every((value) => value !== undefined);
  return known ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
}

function pointsOf({ runs, color, ...group }, cost) {
  return {
    ...group, x: runs.map((run) => run.numbers[cost]), y: runs.map((run) => run.numbers.psnr_db), mode: "markers",
    marker: { color, size: 8, line: { width: 1, color: "#fff" } }, text: runs.map(hoverText), customdata: runs.map((run) => data.runs.indexOf(run)),
    hovertemplate: `%{text}<br>PSNR %{y:.2f} dB<br>${safe(data.titles[cost])} %{x:,.4~g}<extra></extra>`,
  };
}

function paretoFront(runs, cost) {
  const ordered = runs.filter((run) => run.numbers[cost] > 0).sort((a, b) => a.numbers[cost] - b.numbers[cost] || b.numbers.psnr_db - a.numbers.psnr_db);
  const front = ordered.filter((run, i) => ordered.slice(0, i).every((other) => other.numbers.psnr_db < run.numbers.psnr_db));
  return {
    x: front.map((run) => run.numbers[cost]), y: front.map((run) => run.numbers.psnr_db), name: "Pareto front", legendgroup: "Pareto front",
    hoverinfo: "skip", mode: "lines", line: { color: "#52606d", width: 1.5, dash: "dash", shape: "hv" },
  };
}

function plotCurves(runs) {
  byId("curves").hidden = !data.runs.some((run) => run.curve);
  const over = byId("over");
  const every = Math.ceil(runs.length / MOST_CURVES);
  const groups = grouped(runs.filter((_, i) => i % every === 0), byId("colour").value);
  const traces = groups.flatMap(({ runs: chosen, color, ...group }) => chosen.map((run, i) => ({
    ...group, x: run.curve[over.value], y: run.curve.psnr_db, showlegend: i === 0, text: hoverText(run),
    mode: "lines", line: { color, width: 1.5 }, opacity: 0.75, hovertemplate: "%{text}<br>PSNR %{y:.2f} dB at %{x:,.4~g}<extra></extra>",
  })));
  const axes = { xaxis: { ...AXIS, title: { text: over.selectedOptions[0].text } }, yaxis: { ...AXIS, title: { text: "PSNR (dB)" } } };
  plot("curves-plot", traces, { height: 430, showlegend: groups.length > 1, ...axes });
}
