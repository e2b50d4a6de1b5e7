// Totals of the counting rules, live.

import { api } from "./api.js";
import { h, iconButton } from "./dom.js";
import { msOf, momentText } from "./format.js";

const RETRY_MS = 5000;
const COLUMNS = [["enter", "In"], ["leave", "Out"], ["stay", "Inside"]];

export class Counts {
  #rows = new Map();
  #retry = 0;
  #key = null;

  constructor(element, site, live, actions) {
    this.actions = actions;
    this.element = element;
    this.body = h("tbody");
    element.append(h("div", { class: "bar" }, h("h2", {}, "Counts"), h("span", { class: "push" }),
      iconButton("refresh", "Read the counts again", () => this.load())),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rule"), COLUMNS.map(([, text]) => h("th", { scope: "col" }, text)))), this.body));
    live.addEventListener("counts", ({ detail }) => this.#set(detail.channel, detail.source, detail.counts));
    this.renew(site);
  }

  /** Show the counting rules of `site`. */
  renew(site) {
    const rules = site.channels.flatMap((channel) =>
      channel.rules.filter((rule) => rule.kind === "people_counting").map((rule) => ({ channel, rule })));
    const key = JSON.stringify(rules.map(({ channel, rule }) => [channel.id, channel.title, rule.id, rule.name]));
    if (key === this.#key) return;
    this.#key = key;
    this.#rows = new Map();
    this.body.replaceChildren(...rules.map(({ channel, rule }) => this.#row(channel, rule)));
    this.element.hidden = rules.length === 0;
    if (rules.length) this.load();
  }

  async load() {
    try {
      const { counts } = await api("/api/counts");
      for (const each of counts) this.#set(each.channel, each.rule, each, each.since_ns);
      this.actions.trouble("The counts", null);
    } catch (error) { // without analytics the rows say so: they stay at "-"
      this.actions.trouble("The counts", error);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.load(), RETRY_MS);
    }
  }

  #row(channel, rule) {
    const since = h("small", {}, channel.title);
    const cells = Object.fromEntries(COLUMNS.map(([name]) => [name, h("span", { class: "number" }, "–")]));
    this.#rows.set(`${channel.id}/${rule.id}`, { cells, since, title: channel.title });
    return h("tr", {}, h("td", {}, h("b", {}, rule.name), since), COLUMNS.map(([name]) => h("td", {}, cells[name])));
  }

  #set(channel, rule, counts, sinceNs = 0) {
    const row = this.#rows.get(`${channel}/${rule}`);
    if (!row) return;
    for (const [name] of COLUMNS) {
      const text = String(counts[name] ?? "–");
      const cell = row.cells[name];
      if (cell.textContent === text) continue;
      cell.classList.remove("bump");
      void cell.offsetWidth; // so that the same animation runs again
      if (cell.textContent !== "–") cell.classList.add("bump");
      cell.textContent = text;
    }
    if (sinceNs) row.since.textContent = `${row.title}  ·  since ${momentText(msOf(sinceNs))}`;
  }
}
