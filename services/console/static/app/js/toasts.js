// Notices: one line each, where they cover no picture.

import { h, icon, iconButton } from "./dom.js";

const SHOWN_MS = 5000;
const MOST = 2;

export class Toasts {
  constructor(element) { this.element = element; }

  /** The notice. `kind`: alarm, error or info; `stays`: until it is dismissed or removed. */
  show(title, text = "", kind = "info", { stays = false } = {}) {
    const toast = h("div", { class: `toast ${kind}${stays ? " stays" : ""}`, title: [title, text].filter(Boolean).join(": ") }, icon(kind === "alarm" ? "bell" : kind === "error" ? "exception" : "info"),
      h("div", {}, title ? h("b", {}, title) : null, text ? h("span", {}, text) : null),
      iconButton("close", "Dismiss", () => toast.remove()));
    this.element.append(toast);
    const passing = [...this.element.querySelectorAll(".toast:not(.stays)")];
    for (const old of passing.slice(0, -MOST)) old.remove();
    if (!stays) setTimeout(() => toast.remove(), SHOWN_MS);
    return toast;
  }

  error(error) { this.show("That did not work", error.message, "error"); }
}
