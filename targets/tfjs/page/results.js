// What was found, as text: the list, the summary that screen readers hear, times.

import { classColor, css } from "./colors.js";

/** "3 persons" without a grammar: "person (3), bus". */
export function summary(instances, names) {
  const counts = new Map();
  for (const { classId } of instances) counts.set(classId, (counts.get(classId) ?? 0) + 1);
  const words = [...counts].map(([classId, count]) => (count > 1 ? `${names[classId]} (${count})` : names[classId]));
  if (!instances.length) return "No objects found at this confidence";
  return `${instances.length} ${instances.length === 1 ? "object" : "objects"}: ${words.join(", ")}`;
}

const percent = (score) => `${Math.round(score * 100)} %`;
const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

/** The list beside the picture. */
export class ResultList {
  /** @param {(index: number) => void} onLit told which instance is to stand out, -1 for none */
  constructor(onLit) {
    this.list = document.getElementById("list");
    this.pinned = -1;
    this.onLit = onLit;
  }

  /** Show instances and times; `size` is [height, width] of the picture. */
  show({ instances, networkMs, decodeMs }, names, size) {
    this.pinned = -1;
    this.list.replaceChildren(...instances.map((instance, index) => this.#item(instance, index, names)));
    document.getElementById("count").textContent = instances.length ? `(${instances.length})` : "";
    const none = document.getElementById("none");
    none.hidden = instances.length > 0;
    none.textContent = "No objects found at this confidence. A lower one shows more.";
    document.getElementById("timing").hidden = false;
    document.getElementById("network-time").textContent = milliseconds(networkMs);
    document.getElementById("decode-time").textContent = milliseconds(decodeMs);
    document.getElementById("picture-size").textContent = `${size[1]} × ${size[0]} px`;
  }

  /** Mark the instance that stands out. */
  light(index) {
    this.list.querySelectorAll("button").forEach((button, at) => button.classList.toggle("lit", at === index));
  }

  #item({ classId, score, box }, index, names) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const swatch = document.createElement("i");
    const name = document.createElement("b");
    const text = document.createElement("span");
    swatch.style.background = css(classColor(classId));
    swatch.setAttribute("aria-hidden", "true");
    name.textContent = names[classId];
    text.textContent = percent(score);
    const [x1, y1, x2, y2] = box.map(Math.round);
    button.type = "button";
    button.title = `${x2 - x1} × ${y2 - y1} px at ${x1}, ${y1}`;
    button.setAttribute("aria-pressed", "false");
    button.append(swatch, name, text);
    button.onclick = () => this.#pin(index);
    button.onpointerenter = () => this.onLit(index);
    button.onpointerleave = () => this.onLit(this.pinned);
    button.onfocus = () => button.matches(":focus-visible") && this.onLit(index);
    button.onblur = () => this.onLit(this.pinned);
    item.append(button);
    return item;
  }

  #pin(index) {
    this.pinned = this.pinned === index ? -1 : index;
    this.list.querySelectorAll("button").forEach((button, at) => {
      button.setAttribute("aria-pressed", String(at === this.pinned));
    });
    this.onLit(this.pinned);
  }
}
