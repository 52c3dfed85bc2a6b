// Puts the parts together.

let shown = data.runs.map((_, index) => index);

function drawPlots() {
  const [image, factor] = [byId("image").value, byId("colour").value];
  byId("shown").textContent = shown.length < data.runs.length ? `${shown.length} of ${data.runs.length} runs, as filtered in the table` : "";
  plotQuality(shown, image, factor, choose);
  plotCurves(shown, image, factor);
}

function choose(side, index) {
  byId(`run-${side}`).value = index;
  showPictures();
}

function markChosen() {
  const chosen = { a: byId("run-a").value, b: byId("run-b").value };
  document.querySelectorAll("td button").forEach((button) => button.classList.toggle("chosen", chosen[button.dataset.side] === button.dataset.run));
}

function showPictures() {
  markChosen();
  return plotPictures();
}

/** The pictures keep their shape, so that they have to be laid out anew. */
function redrawOnWidth() {
  let width = byId("pictures").clientWidth;
  new ResizeObserver(() => {
    if (byId("pictures").clientWidth === width) return;
    width = byId("pictures").clientWidth;
    plotPictures();
  }).observe(byId("pictures"));
}

function nameOf(run) {
  const parts = [run.image, `seed ${run.seed}`, ...Object.values(run.values), ...(run.status === "finished" ? [] : [run.status])];
  return `${run.name} (${parts.join(", ")})`;
}

async function start() {
  const several = data.images.length > 1;
  const colours = [...Object.keys(data.factors), ...(several ? ["image"] : []), "seed"];
  const names = data.runs.map((run, index) => [index, nameOf(run)]);
  offer("image", [...(several ? [["", "all"]] : []), ...withLabels(data.images)], drawPlots);
  offer("colour", withLabels(colours), drawPlots);
  offer("points", [["runs", "every run"], ["means", "mean of each setting"]], drawPlots);
  offer("over", withLabels(["step", "seconds", "parameters"]), drawPlots);
  if (several) byId("points").value = "means";
  for (const id of ["run-a", "run-b"]) offer(id, names, showPictures);
  [byId("run-a").value, byId("run-b").value] = firstTwo();
  const finished = data.runs.some((run) => run.status === "finished");
  for (const id of ["quality", "pictures"]) byId(id).hidden = !finished;
  startDifferences();
  const source = new Blob([JSON.parse(byId("tables-library").textContent)], { type: "text/javascript" });
  const { default: DataTable } = await import(URL.createObjectURL(source));
  const table = runsTable(DataTable, (left) => { shown = left; drawPlots(); }, choose);
  table.on("draw", markChosen);
  drawPlots();
  await showPictures();
  redrawOnWidth();
  document.body.dataset.ready = "yes";
}

await start();
