// The table of runs. Its filters decide what the plots show.

function runsTable(DataTable, onFilter, onChoose) {
  const text = DataTable.render.text();
  const plain = (title) => ({ title: safe(title), render: text });
  const number = (metric) => ({
    title: safe(data.titles[metric]),
    className: "dt-body-right",
    render: (value, type) => (type === "display" ? format(value) : value ?? ""),
  });
  const buttons = (index) => ["a", "b"].map((side) => `<button data-side="${side}" data-run="${index}">${side.toUpperCase()}</button>`).join("");
  const reasons = data.runs.some((run) => run.reason);
  const factors = Object.keys(data.factors);
  const table = new DataTable("#runs-table", {
    data: data.runs.map((run, index) => [
      index, run.name, run.image, run.seed, run.status,
      ...factors.map((factor) => run.values[factor]),
      ...data.main.map((metric) => run.numbers[metric] ?? null),
      ...(reasons ? [run.reason] : []),
    ]),
    columns: [
      { title: "", orderable: false, searchable: false, columnControl: [], render: (index, type) => (type === "display" ? buttons(index) : index) },
      ...["run", "image", "seed"].map(plain),
      { ...plain("status"), createdCell: (cell, status) => cell.classList.add(status.replace(" ", "-")) },
      ...factors.map(plain),
      ...data.main.map(number),
      ...(reasons ? [plain("reason")] : []),
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
