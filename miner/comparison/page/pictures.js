// The pictures of two runs; they are zoomed and moved in step.

const TITLES = { reconstruction: "reconstruction", blocks: "blocks of each level", error: "error" };
const thumbnails = JSON.parse(byId("thumbnails").textContent);
const view = { scale: 1, x: 0, y: 0 }; // of the top left corner, in sizes of a picture

function startPictures() {
  for (const id of ["run-a", "run-b"]) offer(id, Object.keys(data.runs), (index) => describe(data.runs[index]).join(", "));
  [byId("run-a").value, byId("run-b").value] = firstTwo();
  onChange(["run-a", "run-b"], showPictures);
  const pictures = byId("pictures");
  pictures.addEventListener("wheel", zoom, { passive: false });
  pictures.addEventListener("pointermove", (event) => {
    if (event.buttons) move(event.movementX / event.target.clientWidth, event.movementY / event.target.clientHeight);
  });
  pictures.addEventListener("dblclick", () => {
    view.scale = 1;
    move(0, 0);
  });
  showPictures();
}

/** The first run with pictures, and the next with the same image, if possible the same seed. */
function firstTwo() {
  const [a = "0", ...others] = Object.keys(data.runs).filter((index) => Object.keys(thumbnails[index]).length);
  const same = (index, name) => data.runs[index][name] === data.runs[a][name];
  const likeness = (index) => 2 * same(index, "image") + same(index, "seed");
  const [b = a] = others.toSorted((one, other) => likeness(other) - likeness(one));
  return [a, b];
}

function showPictures() {
  markChosen();
  const sides = [...new Set([byId("run-a").value, byId("run-b").value])];
  const kinds = Object.keys(TITLES).filter((kind) => sides.some((run) => thumbnails[run][kind]));
  const figures = sides.flatMap((run, side) => kinds.map((kind) => figureOf(run, "AB"[side], kind)));
  byId("pictures").style.setProperty("--columns", kinds.length > 1 ? kinds.length : sides.length);
  byId("pictures").replaceChildren(...(kinds.length ? figures : ["None of these two runs kept pictures."]));
}

function figureOf(run, side, kind) {
  const { psnr_db } = data.runs[run].numbers;
  const psnr = kind === "reconstruction" && psnr_db !== undefined ? `, ${psnr_db.toFixed(2)} dB` : "";
  const [figure, caption, frame] = ["figure", "figcaption", "div"].map((tag) => document.createElement(tag));
  caption.textContent = `${side} ${TITLES[kind]}${psnr}`;
  if (thumbnails[run][kind]) frame.append(Object.assign(new Image(), { src: thumbnails[run][kind], draggable: false }));
  else frame.textContent = "not kept";
  figure.append(caption, frame);
  return figure;
}

function zoom(event) {
  if (event.target.tagName !== "IMG") return;
  event.preventDefault();
  const box = event.target.parentElement.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const scale = Math.min(Math.max(view.scale * 2 ** (-event.deltaY / 400), 1), 64);
  const grown = scale / view.scale;
  view.scale = scale;
  move((x - view.x) * (1 - grown), (y - view.y) * (1 - grown));
}

/** Move by so many picture sizes, never beyond a picture's edge. */
function move(x, y) {
  view.x = Math.min(0, Math.max(1 - view.scale, view.x + x));
  view.y = Math.min(0, Math.max(1 - view.scale, view.y + y));
  byId("pictures").style.setProperty("--view", `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.scale})`);
}

await start();
