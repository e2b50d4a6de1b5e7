// Building elements. Data only ever becomes text nodes and attributes, never markup.

/** An element. `props`: `class`, `on` ({event: handler}), `data`, `vars` (CSS variables), or attributes; null and false are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "vars") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Make `wanted` the children of an element. Those that stay are left where they are: with focus, scrolling and what is pressed. */
export function arrange(element, wanted) {
  const stay = new Set(wanted);
  for (const child of [...element.children]) if (!stay.has(child)) child.remove();
  wanted.forEach((child, at) => { if (element.children[at] !== child) element.insertBefore(child, element.children[at] ?? null); });
}

/** Make an element like `fresh`, child by child: what stays the same keeps focus and what is pressed. Handlers stay those of `element`. */
export function liken(element, fresh) {
  if (element.isEqualNode(fresh)) return;
  if (element.nodeName !== fresh.nodeName || element.nodeType !== Node.ELEMENT_NODE || element.dataset?.is !== fresh.dataset?.is) { element.replaceWith(fresh); return; }
  for (const { name } of [...element.attributes]) if (!fresh.hasAttribute(name)) element.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (name === "style") element.style.cssText = value; // as an attribute the page's policy refuses it
    else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  const nodes = [...fresh.childNodes];
  while (element.childNodes.length > nodes.length) element.lastChild.remove();
  nodes.forEach((node, at) => (element.childNodes[at] ? liken(element.childNodes[at], node) : element.append(node)));
}

/** Text with its `names` as code. */
export const prose = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

const ICONS = {
  camera: "M3 7.500h11v9H3zM14 10.500l7-3.500v10l-7-3.500",
  off: "M3 3l18 18M9 7.500h5v4M14 14v2.500H3v-9h2M16 11l5-3v9",
  bell: "M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4",
  tripwire: "M4 20L20 4M8 8l-3 3 3 3M16 10l3 3-3 3",
  intrusion: "M4 8l8-5 8 5v8l-8 5-8-5zM12 8v8M8 12h8",
  smd: "M12 5a2 2 0 1 0 .010 0M8 21l2-6-2-3 2-4h4l3 4M14 21l-2-5",
  vehicle: "M3 16v-4l3-5h9l4 5h2v4zM3 12h16M7 16a1.500 1.500 0 1 0 .010 0M17 16a1.500 1.500 0 1 0 .010 0",
  people_counting: "M8 6a2.500 2.500 0 1 0 .010 0M3 20v-3a5 5 0 0 1 10 0v3M16 8l4 4-4 4M20 12h-6",
  exception: "M12 4l9 16H3zM12 10v4M12 17v.010",
  check: "M4 12.500l5 5L20 7",
  play: "M7 4l13 8-13 8z",
  pause: "M8 5v14M16 5v14",
  sound: "M4 9.500v5h4l5 4v-13l-5 4zM16.500 9a4.200 4.200 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11",
  muted: "M4 9.500v5h4l5 4v-13l-5 4zM16.500 9.500l5 5M21.500 9.500l-5 5",
  lock: "M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3",
  unlock: "M6 11h12v9H6zM9 11V8a3 3 0 0 1 5.800-1",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  close: "M5 5l14 14M19 5L5 19",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  clock: "M12 3a9 9 0 1 0 .010 0M12 7v5l3.500 2",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4",
  info: "M12 3a9 9 0 1 0 .010 0M12 11v5M12 8v.010",
  system: "M4 5h16v5H4zM4 14h16v5H4zM8 7.500v.010M8 16.500v.010",
  live: "M12 10a2 2 0 1 0 .010 0M7.500 7.500a6.400 6.400 0 0 0 0 9M16.500 7.500a6.400 6.400 0 0 1 0 9",
  record: "M4 12h4M10 12h10M4 7h10M16 7h4M4 17h16",
  leave: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  refresh: "M20 12a8 8 0 1 1-2.300-5.600M20 3v4h-4",
};

const SVG = "http://www.w3.org/2000/svg";

/** A line icon; decoration, so hidden from readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.info);
  svg.append(path);
  return svg;
}

/** A button with an icon and a name for readers; `label` is shown when given. */
export function iconButton(name, title, onClick, { label = null, className = "plain icon" } = {}) {
  return h("button", { type: "button", class: className.split(" ").filter((name) => name !== "icon" || !label).join(" "), title, "aria-label": title, on: { click: onClick } }, icon(name), label);
}

/** What a panel shows when it has nothing, and what to do about it. */
export function empty(iconName, title, ...lines) {
  return h("div", { class: "empty" }, icon(iconName), h("strong", {}, title), lines.map((line) => h("p", {}, prose(line))));
}

/** A row of buttons of which one is chosen. `choices`: [value, label]. */
export function segments(label, choices, chosen, onChoose) {
  const buttons = choices.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), on: { click: () => choose(value) } }, text));
  function choose(value) {
    choices.forEach(([each], at) => buttons[at].setAttribute("aria-pressed", String(each === value)));
    onChoose(value);
  }
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}
