// TensorFlow.js, loaded from the files beside the page: core, converter, and the one backend that is asked for.

const FILES = { webgl: "tf-backend-webgl", webgpu: "tf-backend-webgpu", wasm: "tf-backend-wasm" };
const loaded = new Map();

/**
 * `tf` with a backend's code.
 * @param {string} folder address of the library, with a slash at its end
 * @param {string} backend webgl, webgpu or wasm
 */
export async function loadLibrary(folder, backend) {
  for (const name of ["tf-core", "tf-converter", FILES[backend]]) {
    if (!loaded.has(name)) loaded.set(name, import(`${folder}${name}.es2017.min.js`));
    await loaded.get(name);
  }
  // Its files are no modules: they leave one global behind.
  const { tf } = globalThis;
  tf.enableProdMode();
  if (backend === "wasm") tf.wasm.setWasmPaths(folder);
  return tf;
}

/** Names of the backends that this browser has what they need for, the best known first. */
export async function availableBackends() {
  const found = [];
  if (new OffscreenCanvas(1, 1).getContext("webgl2")) found.push("webgl");
  if (await globalThis.navigator?.gpu?.requestAdapter().catch(() => null)) found.push("webgpu");
  if (globalThis.WebAssembly) found.push("wasm");
  return found;
}
