// The pictures of two runs side by side; they are zoomed and moved together.

const KINDS = ["reconstruction", "blocks", "error"];
const TITLES = { reconstruction: "reconstruction", blocks: "blocks of each level", error: "error" };
const thumbnails = JSON.parse(byId("thumbnails").textContent);

/** The first run with pictures, and the next one of the same image that has some. */
function firstTwo() {
  const some = data.runs.map((_, index) => index).filter((index) => Object.keys(thumbnails[index]).length);
  const [a = 0] = some;
  const b = some.find((index) => index !== a && data.runs[index].image === data.runs[a].image) ?? some[1] ?? a;
  return [a, b];
}

async function plotPictures() {
  const chosen = ["run-a", "run-b"].map((id) => Number(byId(id).value));
  const sides = chosen[0] === chosen[1] ? chosen.slice(0, 1) : chosen;
  const shapes = await Promise.all(sides.map(shapeOf));
  const width = 320;
  const height = Math.max(...shapes.map((shape) => (width * shape.height) / shape.width));
  const across = byId("pictures-plot").clientWidth;
  const [gap, head] = [12, 30];
  const cell = Math.min((across - 2 * gap) / 3, 560);
  const tall = Math.min((cell * height) / width, 620);
  const total = sides.length * (tall + head);
  const layout = { height: total, width: across, margin: { l: 0, r: 0, t: 0, b: 0 }, font: FONT, dragmode: "pan", images: [], annotations: [], hovermode: false, showlegend: false };
  const traces = [];
  sides.forEach((run, row) => KINDS.forEach((kind, column) => {
    const number = row * KINDS.length + column + 1;
    const suffix = number > 1 ? number : "";
    const left = (column * (cell + gap)) / across;
    const top = 1 - (row * (tall + head) + head) / total;
    layout[`xaxis${suffix}`] = { domain: [left, left + cell / across], range: [0, width], ...HIDDEN, ...(number > 1 ? { matches: "x" } : {}), anchor: `y${suffix}` };
    layout[`yaxis${suffix}`] = { domain: [top - tall / total, top], range: [height, 0], ...HIDDEN, ...(number > 1 ? { matches: "y" } : { scaleanchor: "x" }), anchor: `x${suffix}` };
    traces.push({ x: [0], y: [0], xaxis: `x${suffix}`, yaxis: `y${suffix}`, type: "scatter", mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" });
    layout.annotations.push({ text: `<b>${"AB"[row]}</b> ${TITLES[kind]}${column ? "" : safe(` of ${titleOf(run)}`)}`, xref: "paper", yref: "paper", x: left, y: top, xanchor: "left", yanchor: "bottom", showarrow: false });
    const source = thumbnails[run][kind];
    if (source) layout.images.push({ source, xref: `x${suffix}`, yref: `y${suffix}`, x: 0, y: 0, sizex: width, sizey: (width * shapes[row].height) / shapes[row].width, sizing: "stretch", layer: "below" });
    else layout.annotations.push({ text: "not kept", xref: `x${suffix} domain`, yref: `y${suffix} domain`, x: 0.5, y: 0.5, showarrow: false, font: { color: "#616e7c" } });
  }));
  await Plotly.react("pictures-plot", traces, layout, { ...PLOT, responsive: false, scrollZoom: true });
}

const HIDDEN = { showgrid: false, zeroline: false, showticklabels: false, ticks: "", showline: true, linecolor: "#d9dfe5", mirror: true };

function titleOf(run) {
  const { name, image, numbers } = data.runs[run];
  return `${image}, ${name}` + (typeof numbers.psnr_db === "number" ? `, ${numbers.psnr_db.toFixed(2)} dB` : "");
}

async function shapeOf(run) {
  const [source] = Object.values(thumbnails[run]);
  if (!source) return { width: 3, height: 1 };
  const picture = new Image();
  picture.src = source;
  await picture.decode().catch(() => undefined);
  return { width: picture.naturalWidth || 1, height: picture.naturalHeight || 1 };
}
