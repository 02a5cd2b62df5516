// Runs a graph model in a browser that a program drives: tensors come and go by /tensors of the server.

import { loadLibrary } from "../page/library.js";
import { Network } from "../page/network.js";

let network;

window.start = async (backend, folder) => {
  const address = new URL(folder, location.href).href;
  const tf = await loadLibrary(address, backend);
  network = await Network.load(tf, "/model/model.json", backend);
};

window.execution = () => network.execution;

window.run = async () => {
  const given = await fetch("/tensors", { cache: "no-store" });
  const outputs = await network.run(new Float32Array(await given.arrayBuffer()));
  const names = Object.keys(outputs);
  const body = new Blob(names.map((name) => outputs[name].data));
  await fetch("/tensors", { method: "POST", body });
  return { names, shapes: names.map((name) => [1, outputs[name].height, outputs[name].width, outputs[name].channels]) };
};
