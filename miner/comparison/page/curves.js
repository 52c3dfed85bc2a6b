// PSNR while fitting, one line for each run.

const MOST_CURVES = 150;

function plotCurves(shown, image, factor) {
  const over = byId("over").value;
  const all = shown.map((index) => data.runs[index]).filter((run) => run.curve && (!image || run.image === image));
  const every = Math.ceil(all.length / MOST_CURVES);
  const runs = all.filter((_, i) => i % every === 0);
  byId("curves").hidden = !data.runs.some((run) => run.curve);
  byId("curves-note").textContent = [
    "Each line breaks between levels, as PSNR is measured at a level's own resolution.",
    runs.length < all.length ? `${runs.length} of ${all.length} runs, evenly picked; filter the table to see others.` : "",
    all.length ? "" : "None of these runs kept a curve.",
  ].join(" ");
  const values = groups(runs, factor);
  const colours = colourOf(values);
  const first = new Set();
  const traces = runs.map((run) => {
    const value = groupOf(run, factor);
    const inLegend = !first.has(value) && first.add(value);
    return { ...broken(run.curve, over), name: safe(value), legendgroup: safe(value), showlegend: Boolean(inLegend), text: described(run),
      type: "scatter", mode: "lines", line: { color: colours.get(value), width: 1.5 }, opacity: 0.75,
      hovertemplate: `%{text}<br>PSNR %{y:.2f} dB at %{x:,.4~g}<extra></extra>` };
  });
  const titles = { step: "steps", seconds: "seconds", parameters: "parameters" };
  Plotly.react("curves-plot", traces, {
    height: 430, font: FONT, margin: { l: 60, r: 15, t: 50, b: 55 }, hovermode: "closest", showlegend: values.length > 1,
    legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom" },
    xaxis: { title: { text: titles[over] }, zeroline: false, linecolor: "#9aa5b1", mirror: true },
    yaxis: { title: { text: "PSNR (dB)" }, zeroline: false, linecolor: "#9aa5b1", mirror: true },
  }, PLOT);
}

/** A curve with a gap wherever a new level begins. */
function broken(curve, over) {
  const [x, y] = [[], []];
  curve.level.forEach((level, i) => {
    if (i && level !== curve.level[i - 1]) { x.push(curve[over][i]); y.push(null); }
    x.push(curve[over][i]);
    y.push(curve.psnr_db[i]);
  });
  return { x, y };
}
