// The pictures of two runs side by side; they are zoomed and moved together.

const KINDS = ["reconstruction", "blocks", "error"];
const TITLES = { reconstruction: "reconstruction", blocks: "blocks of each level", error: "error" };
const [WIDTH, GAP, HEAD, TALLEST] = [320, 12, 30, 420]; // a picture's width on its axes; pixels of the page
const BARE = { showgrid: false, zeroline: false, showticklabels: false, ticks: "", showline: true, linecolor: "#d9dfe5", mirror: true };
const thumbnails = JSON.parse(byId("thumbnails").textContent);

/** The first run with pictures, and the next of the same image, and seed if it can be. */
function firstTwo() {
  const some = data.runs.map((_, index) => index).filter((index) => Object.keys(thumbnails[index]).length);
  const [a = 0] = some;
  const alike = (...names) => some.find((index) => index !== a && names.every((name) => data.runs[index][name] === data.runs[a][name]));
  const b = alike("image", "seed") ?? alike("image") ?? some[1] ?? a;
  return [a, b];
}

async function plotPictures() {
  const chosen = ["run-a", "run-b"].map((id) => Number(byId(id).value));
  const sides = chosen[0] === chosen[1] ? chosen.slice(0, 1) : chosen;
  const kinds = KINDS.filter((kind) => sides.some((run) => thumbnails[run][kind]));
  byId("pictures-plot").hidden = !kinds.length;
  byId("no-pictures").hidden = kinds.length > 0;
  if (!kinds.length) return;
  const shapes = await Promise.all(sides.map(shapeOf));
  const height = Math.max(...shapes.map(heightOf));
  const [ranges, whole] = rangesFor(height);
  const across = byId("pictures-plot").clientWidth;
  const columns = kinds.length > 1 ? kinds.length : sides.length; // of one kind, A and B stand side by side
  const rows = kinds.length > 1 ? sides.length : 1;
  const cell = Math.min((across - (columns - 1) * GAP) / columns, (TALLEST * WIDTH) / height);
  const tall = (cell * height) / WIDTH;
  const total = rows * (tall + HEAD);
  const layout = { height: total, width: across, margin: { l: 0, r: 0, t: 0, b: 0 }, font: FONT, dragmode: "pan", images: [], annotations: [], hovermode: false, showlegend: false };
  const traces = sides.flatMap((run, side) => kinds.map((kind, k) => {
    const place = side * kinds.length + k;
    const left = ((place % columns) * (cell + GAP)) / across;
    const top = 1 - (Math.floor(place / columns) * (tall + HEAD) + HEAD) / total;
    const suffix = place ? place + 1 : "";
    const [x, y] = [`x${suffix}`, `y${suffix}`];
    layout[`xaxis${suffix}`] = { ...BARE, domain: [left, left + cell / across], range: ranges.x, anchor: y, ...(place ? { matches: "x" } : {}) };
    layout[`yaxis${suffix}`] = { ...BARE, domain: [Math.max(0, top - tall / total), top], range: ranges.y, anchor: x, ...(place ? { matches: "y" } : { scaleanchor: "x" }) };
    layout.annotations.push({ text: headOf(run, side, kind), xref: "paper", yref: "paper", x: left, y: top, xanchor: "left", yanchor: "bottom", showarrow: false });
    const source = thumbnails[run][kind];
    if (source) layout.images.push({ source, xref: x, yref: y, x: 0, y: 0, sizex: WIDTH, sizey: heightOf(shapes[side]), sizing: "stretch", layer: "below" });
    else layout.annotations.push({ text: "not kept", xref: `${x} domain`, yref: `${y} domain`, x: 0.5, y: 0.5, showarrow: false });
    return { x: [0], y: [0], xaxis: x, yaxis: y, type: "scatter", mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" };
  }));
  await Plotly.react("pictures-plot", traces, layout, { ...PLOT, responsive: false, scrollZoom: true, doubleClick: false, modeBarButtons: [["zoom2d", "pan2d"]] });
  byId("pictures-plot").removeAllListeners("plotly_doubleclick");
  byId("pictures-plot").on("plotly_doubleclick", () => Plotly.relayout("pictures-plot", { "xaxis.range": whole.x, "yaxis.range": whole.y }));
}

/** What is seen now, so that another run shows the same part, if its shape allows; and all of it. */
function rangesFor(height) {
  const plot = byId("pictures-plot");
  const whole = { x: [0, WIDTH], y: [height, 0] };
  const kept = plot.dataset.height === String(height) && plot.layout;
  plot.dataset.height = height;
  return [kept ? { x: [...plot.layout.xaxis.range], y: [...plot.layout.yaxis.range] } : whole, whole];
}

function headOf(run, side, kind) {
  const title = kind === "reconstruction" ? `${TITLES[kind]} of ${titleOf(run)}` : TITLES[kind];
  return `<b>${"AB"[side]}</b> ${safe(title)}`;
}

function heightOf(shape) {
  return (WIDTH * shape.height) / shape.width;
}

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
