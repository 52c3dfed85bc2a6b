// The lists to choose from, the table of runs, and what the plots share.

const data = JSON.parse(byId("data").textContent);
const finished = data.runs.filter((run) => run.status === "finished");
let shown = data.runs; // those that the table's filters leave

function byId(id) {
  return document.getElementById(id);
}

/** Fill a list; what was chosen stays so if it is still there. */
function offer(id, values, textOf = (value) => value) {
  const list = byId(id);
  const before = list.value;
  list.replaceChildren(...values.map((value) => new Option(textOf(value), value)));
  if (values.includes(before)) list.value = before;
}

function onChange(ids, action) {
  for (const id of ids) byId(id).addEventListener("change", action);
}

function describe({ name, image, seed, values }) {
  const where = image === undefined ? [] : [`${image}, seed ${seed}`]; // a mean has none
  return [name, ...where, ...Object.entries(values).map(([factor, value]) => `${factor}=${value}`)];
}

function drawPlots() {
  byId("shown").textContent = shown.length < data.runs.length ? `${shown.length} of ${data.runs.length} runs, as filtered in the table` : "";
  if (!finished.length) return;
  const image = byId("image").value;
  const runs = shown.filter((run) => run.status === "finished" && (!image || run.image === image));
  plotQuality(runs);
  plotCurves(runs.filter((run) => run.curve));
}

function choose(side, index) {
  byId(`run-${side}`).value = index;
  showPictures();
}

function markChosen() {
  for (const button of document.querySelectorAll("td button")) {
    button.classList.toggle("chosen", byId(`run-${button.dataset.side}`)?.value === button.dataset.run);
  }
}

async function makeTable() {
  const source = new Blob([JSON.parse(byId("tables-library").textContent)], { type: "text/javascript" });
  const { default: DataTable } = await import(URL.createObjectURL(source));
  const table = new DataTable("#runs-table", {
    columnDefs: [{ targets: 0, orderable: false, searchable: false, columnControl: { target: 1, content: [] } }],
    columnControl: { target: 1, content: ["search"] },
    layout: { topStart: "info", topEnd: "search", bottomStart: "pageLength", bottomEnd: "paging" },
    lengthMenu: [10, 25, 100, { label: "all", value: -1 }],
    order: [],
    scrollX: true,
    language: { info: "_TOTAL_ runs", infoEmpty: "no runs", infoFiltered: "of _MAX_" },
  });
  table.on("draw", markChosen);
  table.on("search", () => {
    shown = table.rows({ search: "applied" }).indexes().toArray().map((index) => data.runs[index]);
    drawPlots();
  });
  byId("runs").addEventListener("click", ({ target }) => {
    if (target.dataset.run) choose(target.dataset.side, target.dataset.run);
  });
}

async function start() {
  const several = data.images.length > 1;
  offer("image", several ? ["", ...data.images] : data.images, (image) => image || "all");
  offer("colour", [...Object.keys(data.factors), ...(several ? ["image"] : []), "seed"]);
  onChange(["image", "colour"], drawPlots);
  if (Object.keys(data.differences).length) {
    offer("factor", Object.keys(data.differences));
    onChange(["factor", "metric"], showDifferences);
    showDifferences();
  }
  if (finished.length) {
    onChange(["points", "over"], drawPlots);
    startPictures();
  }
  await makeTable();
  drawPlots();
  markChosen();
  document.body.dataset.ready = "yes";
}
