// PSNR against each cost, with the runs that no other beats in both.

function plotQuality(shown, image, factor, onChoose) {
  const means = byId("points").value === "means";
  const runs = means ? meansOf(shown, image) : shown.map((index) => ({ ...data.runs[index], index })).filter((run) => !image || run.image === image);
  const known = runs.filter((run) => typeof run.numbers.psnr_db === "number");
  const single = means || image || data.images.length < 2;
  const left = runs.filter((run) => run.status === "finished").length - known.length;
  byId("quality-note").textContent = [
    single ? "Dashed: the Pareto front." : "Choose one image, or means, to see the Pareto front.",
    means ? "Means over seeds, then over images, of the settings that finished on every image." : "A click on a point shows its pictures as A, with the shift key as B.",
    left ? `${left} without a finite PSNR not drawn.` : "",
  ].join(" ");
  const values = groups(known, means && factor in { image, seed: 0 } ? "" : factor);
  const colours = colourOf(values);
  const traces = data.costs.flatMap((cost, i) => {
    const own = known.filter((run) => run.numbers[cost] > 0);
    const axes = { xaxis: `x${i + 1}`, yaxis: `y${i + 1}` };
    const points = values.map((value) => pointsOf(own.filter((run) => groupOf(run, values.length === 1 && value === "" ? "" : factor) === value), value, cost, colours.get(value), i));
    return [...points, ...(single ? [frontOf(own, cost, i)] : [])].map((trace) => ({ ...trace, ...axes }));
  });
  Plotly.react("quality-plot", traces, qualityLayout(known, values.length > 1), PLOT);
  const plot = byId("quality-plot");
  plot.removeAllListeners("plotly_click");
  plot.on("plotly_click", ({ points, event }) => {
    if (points[0].customdata !== undefined) onChoose(event.shiftKey ? "b" : "a", points[0].customdata);
  });
}

/** Means of the shown runs: over seeds, then over images, of settings that finished on all of these. */
function meansOf(shown, image) {
  const visible = new Set(shown.filter((index) => data.runs[index].status === "finished" && (!image || data.runs[index].image === image)));
  const images = [...new Set([...visible].map((index) => data.runs[index].image))];
  return data.settings.flatMap((setting) => {
    const runs = setting.runs.filter((index) => visible.has(index)).map((index) => data.runs[index]);
    const byImage = images.map((name) => runs.filter((run) => run.image === name));
    if (!runs.length || byImage.some((own) => !own.length)) return [];
    const numbers = {};
    for (const metric of ["psnr_db", ...data.costs]) {
      const means = byImage.map((own) => mean(own.map((run) => run.numbers[metric]).filter((value) => typeof value === "number")));
      if (means.every((value) => value !== null)) numbers[metric] = mean(means);
    }
    return [{ values: setting.values, numbers, status: "finished", name: `mean of ${runs.length} runs, ${images.length} image${images.length === 1 ? "" : "s"}` }];
  });
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

function pointsOf(runs, value, cost, colour, i) {
  return {
    x: runs.map((run) => run.numbers[cost]), y: runs.map((run) => run.numbers.psnr_db),
    text: runs.map((run) => `${run.image === undefined ? meanText(run) : described(run)}<br>PSNR ${format(run.numbers.psnr_db)} dB`),
    customdata: runs.map((run) => run.index), name: safe(value), legendgroup: safe(value), showlegend: i === 0,
    type: "scatter", mode: "markers", marker: { color: colour, size: 8, line: { width: 1, color: "#fff" } },
    hovertemplate: `%{text}<br>${safe(data.titles[cost])} %{x:,.4~g}<extra></extra>`,
  };
}

function meanText(setting) {
  return [setting.name, ...Object.entries(setting.values).map(([factor, value]) => `${factor}=${value}`)].map(safe).join("<br>");
}

function frontOf(runs, cost, i) {
  const ordered = [...runs].sort((a, b) => a.numbers[cost] - b.numbers[cost] || b.numbers.psnr_db - a.numbers.psnr_db);
  let best = -Infinity;
  const front = ordered.filter((run) => run.numbers.psnr_db > best && ((best = run.numbers.psnr_db), true));
  return {
    x: front.map((run) => run.numbers[cost]), y: front.map((run) => run.numbers.psnr_db),
    name: "Pareto front", legendgroup: "Pareto front", showlegend: i === 0, hoverinfo: "skip",
    type: "scatter", mode: "lines", line: { color: "#52606d", width: 1.5, dash: "dash", shape: "hv" },
  };
}

function qualityLayout(runs, legend) {
  const layout = { height: 460, font: FONT, margin: { l: 60, r: 15, t: 50, b: 55 }, hovermode: "closest", showlegend: legend, legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom" }, grid: { rows: 1, columns: 3, pattern: "independent", xgap: 0.05 } };
  data.costs.forEach((cost, i) => {
    const number = i ? i + 1 : "";
    layout[`xaxis${number}`] = { title: { text: safe(data.titles[cost]) }, ...logarithmic(runs.map((run) => run.numbers[cost])), zeroline: false, linecolor: "#9aa5b1", mirror: true };
    layout[`yaxis${number}`] = { title: { text: i ? "" : "PSNR (dB)" }, zeroline: false, linecolor: "#9aa5b1", mirror: true, ...(i ? { matches: "y", showticklabels: false } : {}) };
  });
  return layout;
}

/** A logarithmic axis; marked at 1, 2 and 5 where the costs span enough to meet some of these. */
function logarithmic(costs) {
  const known = costs.filter((cost) => cost > 0);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const decades = known.length ? Math.log10(most / least) : 0;
  const ticks = decades > 0.6 && decades < 4 ? { dtick: "D2" } : { nticks: 5 };
  const range = decades < 0.02 && known.length ? { range: [Math.log10(least * 0.9), Math.log10(most * 1.1)] } : { autorange: true };
  return { type: "log", tickformat: least >= 1000 ? "~s" : ",.3~g", ...ticks, ...range };
}
