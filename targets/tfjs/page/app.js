// The page: what its controls do.

import { toCoco } from "./coco.js";
import { drawInstances, instanceAt } from "./drawing.js";
import { Camera, bitmapOf, pictureIn, pixelsOf, put, save } from "./pictures.js";
import { ResultList, summary } from "./results.js";
import { Segmenter } from "./segmenter.js";

const at = (id) => document.getElementById(id);
const [frame, picture, overlay, status] = ["frame", "picture", "overlay", "status"].map(at);
const controls = ["file", "camera", "backend"].map(at);
const BACKENDS = { webgl: "Graphics card (WebGL)", webgpu: "Graphics card (WebGPU)", wasm: "Processor (WebAssembly)" };

const state = { metadata: null, name: "", result: null, lit: -1, score: 0.25, turn: 0 };
const segmenter = new Segmenter((part) => say(`Loading the network: ${Math.round(part * 100)} %`));
const camera = new Camera(at("video"));
const list = new ResultList(light);

// Saying and drawing

function say(text, wrong = false) {
  if (status.textContent === text) return;
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function enable(on) {
  for (const control of controls) control.disabled = !on;
  for (const id of ["save-picture", "save-json"]) at(id).disabled = !on || !state.result;
}

function draw() {
  if (!state.result) return;
  const shows = Object.fromEntries(["masks", "boxes", "labels"].map((part) => [part, at(`show-${part}`).checked]));
  drawInstances(overlay, state.result.instances, { ...shows, names: state.metadata.names, lit: state.lit });
}

function light(index) {
  if (index === state.lit) return;
  state.lit = index;
  list.light(index);
  draw();
}

function show(result) {
  const { names } = state.metadata;
  state.result = result;
  state.lit = -1;
  list.show(result, names, [picture.height, picture.width]);
  const text = summary(result.instances, names);
  overlay.setAttribute("aria-label", `${state.name}. ${text}`);
  // A camera would have a screen reader talk without end.
  if (!camera.running) say(`${text}.`);
  draw();
}

// Finding

/** Show a picture and what is in it. */
function look(source, name) {
  put(source, picture);
  overlay.width = picture.width;
  overlay.height = picture.height;
  frame.style.setProperty("--ratio", picture.width / picture.height);
  frame.classList.add("filled");
  at("empty").hidden = true;
  picture.hidden = overlay.hidden = false;
  state.name = name;
  return find();
}

/** Find what is in the picture that is shown. */
async function find() {
  const turn = ++state.turn;
  const result = await segmenter.find(pixelsOf(picture), { score: state.score });
  // Another picture may have come meanwhile.
  if (turn === state.turn) show(result);
}

/** Find in a file that was chosen, dropped or pasted. */
async function open(file) {
  if (!file || at("file").disabled) return;
  stopCamera();
  await busy(`Looking at ${file.name} …`, async () => {
    const bitmap = await bitmapOf(file).catch(() => {
      throw new Error(`${file.name} is no picture that this browser can read.`);
    });
    state.result = null;
    await look(bitmap, file.name);
    bitmap.close();
  });
}

/** Do something during which the controls rest; what goes wrong is said. */
async function busy(text, action) {
  say(text);
  enable(false);
  frame.classList.add("busy");
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  } finally {
    frame.classList.remove("busy");
    enable(state.metadata !== null);
  }
}

async function startCamera() {
  try {
    await camera.start();
  } catch (error) {
    say(error.name === "NotAllowedError" ? "The camera was not allowed." : `No camera: ${error.message}`, true);
    return;
  }
  at("camera").setAttribute("aria-pressed", "true");
  at("camera").textContent = "Stop the camera";
  at("backend").disabled = true;
  say("The camera is on.");
  try {
    while (camera.running) await look(camera.video, "Camera");
  } catch (error) {
    say(error.message, true);
  }
  stopCamera();
  enable(!frame.classList.contains("busy"));
}

function stopCamera() {
  camera.stop();
  at("camera").setAttribute("aria-pressed", "false");
  at("camera").textContent = "Use the camera";
}

// Starting

/** Load the network with a backend. */
async function start(backend) {
  const known = state.metadata;
  await busy(known ? "Starting again …" : "Loading the network …", async () => {
    state.metadata = null;
    const { metadata, execution } = await segmenter.start(backend);
    state.metadata = metadata;
    const half = execution.arithmetic ? " It computes in 16 bits here." : "";
    say(`Ready: knows ${metadata.names.length} kinds of objects.${half}`);
    const [height, width] = metadata.image_size;
    const facts = [metadata.name, `${width} × ${height}`, metadata.precision, metadata.license, `TensorFlow.js ${execution.tfjs}`];
    at("about").textContent = `${facts.filter(Boolean).join(" · ")} · made with edgeseg`;
  });
  // A backend that does not start leaves the choice of another.
  at("backend").disabled = false;
}

async function begin() {
  const backends = await segmenter.backends();
  at("backend").replaceChildren(...backends.map((name) => new Option(BACKENDS[name], name)));
  const asked = new URLSearchParams(location.search).get("backend");
  if (backends.includes(asked)) at("backend").value = asked;
  await start(at("backend").value);
}

at("file").onchange = ({ target }) => {
  open(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};
at("camera").onclick = () => (camera.running ? stopCamera() : startCamera());
at("backend").onchange = async ({ target }) => {
  await start(target.value);
  if (state.metadata && state.result) await busy("Looking again …", find);
};
for (const part of ["masks", "boxes", "labels"]) at(`show-${part}`).onchange = draw;

let deciding = false;
at("score").oninput = async ({ target }) => {
  state.score = target.value / 100;
  at("score-text").textContent = `${target.value} %`;
  target.setAttribute("aria-valuetext", `${target.value} percent`);
  if (deciding || !state.result || camera.running) return;
  deciding = true;
  try {
    for (let done = -1; done !== state.score; ) {
      done = state.score;
      show(await segmenter.again({ score: done }));
    }
  } catch (error) {
    say(error.message, true);
  }
  deciding = false;
};

at("save-json").onclick = () => {
  const rows = toCoco(state.result.instances, state.metadata.names, [picture.height, picture.width], state.name);
  save(new Blob([JSON.stringify(rows)], { type: "application/json" }), `${state.name.replace(/\.[^.]*$/, "")}.json`);
};
at("save-picture").onclick = async () => {
  const whole = new OffscreenCanvas(picture.width, picture.height);
  const context = whole.getContext("2d");
  context.drawImage(picture, 0, 0);
  context.drawImage(overlay, 0, 0);
  save(await whole.convertToBlob({ type: "image/png" }), `${state.name.replace(/\.[^.]*$/, "")}-found.png`);
};

overlay.onpointermove = ({ offsetX, offsetY }) => {
  const scale = overlay.width / overlay.clientWidth;
  light(instanceAt(state.result?.instances ?? [], offsetX * scale, offsetY * scale));
};
overlay.onpointerleave = () => light(list.pinned);
new ResizeObserver(draw).observe(overlay);

document.ondragover = (event) => {
  event.preventDefault();
  frame.classList.add("over");
};
document.ondragleave = () => frame.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  frame.classList.remove("over");
  open(pictureIn(event.dataTransfer));
};
document.onpaste = (event) => open(pictureIn(event.clipboardData));

begin().catch((error) => say(error.message, true));
