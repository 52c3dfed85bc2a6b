// The pictures of two runs, as plots that are zoomed and moved in step.

const TITLES = { reconstruction: "reconstruction", blocks: "blocks of each level", error: "error" };
const thumbnails = JSON.parse(byId("thumbnails").textContent);

function startPictures() {
  for (const id of ["run-a", "run-b"]) offer(id, Object.keys(data.runs), (index) => describe(data.runs[index]).join(", "));
  const [a = "0", ...others] = Object.keys(data.runs).filter((index) => Object.keys(thumbnails[index]).length);
  const same = (index, name) => data.runs[index][name] === data.runs[a][name];
  const likeness = (index) => 2 * same(index, "image") + same(index, "seed");
  const [b = a] = others.toSorted((one, other) => likeness(other) - likeness(one));
  [byId("run-a").value, byId("run-b").value] = [a, b];
  onChange(["run-a", "run-b"], showPictures);
  showPictures();
}

function showPictures() {
  markChosen();
  const sides = [...new Set([byId("run-a").value, byId("run-b").value])];
  const kinds = Object.keys(TITLES).filter((kind) => sides.some((run) => thumbnails[run][kind]));
  byId("no-pictures").hidden = kinds.length;
  byId("pictures").hidden = !kinds.length;
  const [rows, columns] = kinds.length > 1 ? [sides.length, kinds.length] : [1, sides.length];
  const layout = {
    height: 400 * rows, margin: { l: 0, r: 0, t: 25, b: 0 }, dragmode: "pan", uirevision: "kept",
    grid: { rows, columns, pattern: "independent", xgap: 0.03, ygap: 0.1 }, images: [], annotations: [],
  };
  sides.flatMap((run, side) => kinds.map((kind) => [run, "AB"[side], kind])).forEach(([run, side, kind], i) => {
    const { psnr_db } = data.runs[run].numbers;
    const psnr = kind === "reconstruction" && psnr_db !== undefined ? `, ${psnr_db.toFixed(2)} dB` : "";
    const source = thumbnails[run][kind];
    const { xaxis: xref, yaxis: yref } = addAxes(layout, i, { visible: false, range: [0, 1], matches: "x" }, { visible: false, range: [0, 1], matches: "y" });
    const corner = { x: 0, y: 1, xanchor: "left" };
    layout.images.push({ ...corner, xref, yref, yanchor: "top", source, sizex: 1, sizey: 1, sizing: "contain" });
    const text = `${side} ${TITLES[kind]}${source ? psnr : ": not kept"}`;
    layout.annotations.push({ ...corner, xref: `${xref} domain`, yref: `${yref} domain`, yanchor: "bottom", text, showarrow: false });
  });
  plot("pictures", [], layout, { scrollZoom: true, displayModeBar: false, doubleClick: "reset", doubleClickDelay: 500 });
}

await start();
