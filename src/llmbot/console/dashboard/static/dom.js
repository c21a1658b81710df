// Small helpers: making elements, telling figures, saying things to screen readers.

const worth = (child) => child !== null && child !== undefined && child !== false && child !== "";

/** Make an element. Props: `on` (listeners), `data`, anything else an attribute. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter(worth));
  return element;
}

/** Put children in the place of those an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(worth));
  return element;
}

/** Change a text only where it differs, so that nothing flickers and no reader is disturbed. */
export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
  return element;
}

export const byId = (id) => document.getElementById(id);
export const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

const SPACE = "http://www.w3.org/2000/svg";

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// Each state has a shape of its own, so that none is told by colour alone.
const ICONS = {
  good: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 12.3l2.7 2.7L16 9.3",
  warn: "M12 3.5L22 20.5H2zM12 10v4.5M12 17.3v.1",
  bad: "M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3zM9 9l6 6M15 9l-6 6",
  wait: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.2l3.3 2",
  pause: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM10 9v6M14 9v6",
  none: "M6 12h12",
  next: "M5 12h13M13 6l6 6-6 6",
  out: "M9 5H5v14h14v-4M13 4h7v7M20 4l-9 9",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name) {
  const drawing = svg("svg", { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" });
  drawing.append(svg("path", { d: ICONS[name] ?? ICONS.none }));
  return drawing;
}

/** A state as shape and word. */
export function chip(kind, words) {
  return h("span", { class: `chip ${kind}` }, icon(kind), words);
}

/** A table of rows; where there is no room beside each other, each cell carries its title. */
export function tableOf(titles, rows, { hidden = false, ...props } = {}) {
  for (const row of rows) {
    for (const [index, cell] of [...row.cells].entries()) if (titles[index] && cell.tagName === "TD") cell.dataset.label = titles[index];
  }
  return h("div", { class: "table-wrap", tabindex: "0" }, h("table", props,
    h("thead", { class: hidden ? "sr-only" : null }, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows)));
}

/** Say something to who cannot see it. */
export function announce(words) {
  byId("announcer").textContent = words;
}

/** A dialog that is gone once it is closed. */
export function openDialog(props, ...children) {
  const dialog = h("dialog", props, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
