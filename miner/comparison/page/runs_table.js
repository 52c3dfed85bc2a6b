// The table of runs. Its filters decide what the plots show.

function runsTable(DataTable, onFilter, onChoose) {
  const text = DataTable.render.text();
  const plain = { render: text };
  const number = {
    className: "dt-body-right",
    render: (value, type) => (type === "display" ? format(value) : value ?? ""),
  };
  const buttons = (index) => ["a", "b"].map((side) => `<button data-side="${side}" data-run="${index}">${side.toUpperCase()}</button>`).join("");
  const reasons = data.runs.some((run) => run.reason);
  const factors = Object.keys(data.factors);
  writeHead(["", "run", "image", "seed", "status", ...factors, ...data.main.map((metric) => data.titles[metric]), ...(reasons ? ["reason"] : [])]);
  const table = new DataTable("#runs-table", {
    data: data.runs.map((run, index) => [
      index, run.name, run.image, run.seed, run.status,
      ...factors.map((factor) => run.values[factor]),
      ...data.main.map((metric) => run.numbers[metric] ?? null),
      ...(reasons ? [run.reason] : []),
    ]),
    columns: [
      { orderable: false, columnControl: { target: 1, content: [] }, searchable: false, render: (index, type) => (type === "display" ? buttons(index) : index) },
      plain, plain, plain,
      { ...plain, createdCell: (cell, status) => cell.classList.add(status.replace(" ", "-")) },
      ...factors.map(() => plain),
      ...data.main.map(() => number),
      ...(reasons ? [plain] : []),
    ],
    columnControl: { target: 1, content: ["search"] },
    layout: { topStart: "info", topEnd: "search", bottomStart: "pageLength", bottomEnd: "paging" },
    lengthMenu: [10, 25, 100, { label: "all", value: -1 }],
    order: [],
    scrollX: true,
    language: { info: "_TOTAL_ runs", infoEmpty: "no runs", infoFiltered: "of _MAX_" },
  });
  byId("runs").addEventListener("click", ({ target }) => {
    if (target.dataset?.run) onChoose(target.dataset.side, Number(target.dataset.run));
  });
  table.on("search", () => onFilter(filtered(table)));
  return table;
}

function filtered(table) {
  return table.rows({ search: "applied" }).data().toArray().map((row) => row[0]);
}

/** The table's own head, as its filters need one to stand below. */
function writeHead(titles) {
  const row = byId("runs-table").createTHead().insertRow();
  for (const title of titles) {
    const cell = document.createElement("th");
    cell.textContent = title;
    row.append(cell);
  }
}
