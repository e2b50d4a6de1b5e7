// Live notices: one line each, where they cover no picture.

import { h, icon, iconButton } from "./dom.js";

const SHOWN_MS = 5000;
const MOST = 2;

export class Toasts {
  constructor(element) { this.element = element; }

  /** `kind`: alarm, error or info. */
  show(title, text = "", kind = "info") {
    const toast = h("div", { class: `toast ${kind}`, title: [title, text].filter(Boolean).join(": ") }, icon(kind === "alarm" ? "bell" : kind === "error" ? "exception" : "info"),
      h("div", {}, title ? h("b", {}, title) : null, text ? h("span", {}, text) : null),
      iconButton("close", "Dismiss", () => toast.remove()));
    this.element.append(toast);
    while (this.element.children.length > MOST) this.element.firstElementChild.remove();
    setTimeout(() => toast.remove(), SHOWN_MS);
  }

  error(error) { this.show("That did not work", error.message, "error"); }
}
