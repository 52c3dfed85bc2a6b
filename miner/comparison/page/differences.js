// Paired differences for a chosen factor and metric. They were computed when the page was written.

const MOST_DRAWN = 40;

function startDifferences() {
  const factors = Object.keys(data.differences);
  byId("no-differences").hidden = factors.length > 0;
  byId("differences-body").hidden = factors.length === 0;
  if (!factors.length) return;
  offer("factor", withLabels(factors), chooseFactor);
  offer("metric", data.metrics.map((metric) => [metric, data.titles[metric]]), showDifferences);
  offer("basis", [], chooseBasis);
  chooseFactor();
}

function chooseFactor() {
  offer("basis", withLabels(Object.keys(data.differences[byId("factor").value])));
  chooseBasis();
}

function chooseBasis() {
  const known = data.differences[byId("factor").value][byId("basis").value];
  const before = byId("metric").value;
  const metrics = data.metrics.filter((metric) => metric in known);
  offer("metric", metrics.map((metric) => [metric, data.titles[metric]]));
  if (metrics.includes(before)) byId("metric").value = before;
  showDifferences();
}

function showDifferences() {
  const [factor, basis, metric] = ["factor", "basis", "metric"].map((id) => byId(id).value);
  const found = data.differences[factor][basis][metric] ?? [];
  const overall = found.filter((line) => !line.setting);
  const single = found.filter((line) => line.setting);
  byId("difference-lines").replaceChildren(...overall.map((line) => lineOf(line, "difference")));
  if (!overall.length) byId("difference-lines").textContent = "No two finished runs differ in this factor alone.";
  byId("setting-lines").replaceChildren(...single.map((line) => lineOf(line, "difference small")));
  byId("by-setting").hidden = !single.length;
  plotDifferences(overall, metric);
}

function lineOf(line, style) {
  const paragraph = document.createElement("p");
  paragraph.className = style;
  paragraph.textContent = `${line.pair} = ${line.text}`;
  if (line.setting) {
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = `  ${line.setting}`;
    paragraph.append(where);
  }
  return paragraph;
}

function plotDifferences(lines, metric) {
  const drawn = lines.length > 0 && lines.length <= MOST_DRAWN;
  const height = 70 + 27 * lines.length;
  byId("difference-plot").hidden = !drawn;
  byId("difference-plot").style.height = `${height}px`;
  if (!drawn) return;
  const trace = {
    x: lines.map((line) => line.mean),
    y: lines.map((_, i) => i),
    error_x: { array: lines.map((line) => line.half_width ?? 0), color: COLOURS[0] },
    text: lines.map((line) => safe(`${line.pair} = ${line.text}`)),
    mode: "markers", marker: { size: 9, color: COLOURS[0] }, hovertemplate: "%{text}<extra></extra>",
  };
  const layout = {
    height, margin: { l: 20, r: 20, t: 10, b: 45 }, font: FONT,
    xaxis: { title: { text: safe(`difference in ${data.titles[metric]}`) }, zeroline: true, zerolinecolor: "#9aa5b1", rangemode: "tozero", automargin: true },
    yaxis: { tickvals: lines.map((_, i) => i), ticktext: lines.map((line) => safe(line.pair)), range: [lines.length - 0.5, -0.5], automargin: true, zeroline: false },
  };
  Plotly.react("difference-plot", [trace], layout, PLOT);
}
