// The grid of channels. Asks only for the pictures that can be seen.

import { arrange, empty, h, segments } from "./dom.js";
import { plural } from "./format.js";
import { Tile } from "./tile.js";

const PAD = 6; // as in stage.css
/** Tiles side by side may be this much of the largest possible. */
const NEAR_LARGEST = 0.9;

export class Wall {
  #tiles = new Map();
  #statuses = new Map(); // channel: its latest, also of channels that this page does not know yet
  #enlarged = null;
  #hidden = false;
  #split = "auto";

  constructor(site, live, actions) {
    this.live = live;
    this.show = { boxes: true, rules: true };
    const enlarge = (id) => this.enlarge(this.#enlarged === id ? null : id);
    this.grid = h("div", { class: "wall" });
    this.watched = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const tile = this.#tiles.get(entry.target.dataset.channel);
        if (tile) tile.visible = entry.isIntersecting;
      }
      this.#ask();
    });
    this.actions = { enlarge, ...actions };
    this.count = h("span", { class: "count" });
    this.split = segments("Split", [["auto", "All"], ["2", "4"], ["3", "9"], ["4", "16"]], "auto", (split) => { this.#split = split; this.#arrange(); });
    this.bar = h("div", { class: "bar" }, h("h2", {}, "Live"), this.count,
      h("span", { class: "push" }), this.#toggle("boxes", "Boxes"), this.#toggle("rules", "Rules"), this.split);
    this.elements = [this.bar, this.grid];
    this.renew(site);
    live.addEventListener("picture", ({ detail }) => {
      const tile = this.#tiles.get(detail.channel);
      if (tile) tile.picture(detail, performance.now());
      else detail.bitmap.close();
    });
    live.addEventListener("detections", ({ detail }) => this.#tiles.get(detail.channel)?.detections(detail, performance.now()));
    live.addEventListener("status", ({ detail }) => this.#status(detail));
    live.addEventListener("link", () => { for (const tile of this.#tiles.values()) tile.measureAnew(); });
    live.addEventListener("alarm", ({ detail }) => {
      if (detail.state === "raised") this.#tiles.get(detail.channel)?.alarm(detail.source, performance.now());
    });
    document.addEventListener("visibilitychange", () => this.#ask());
    document.addEventListener("keydown", (event) => { if (event.key === "Escape" && this.#enlarged && !this.#hidden) this.enlarge(null); });
    new ResizeObserver(() => this.#arrange()).observe(this.grid);
    const frame = (now) => {
      if (!this.#hidden) for (const tile of this.#tiles.values()) tile.tick(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** Show the channels of `site`, in its order; those that stay keep their picture. */
  renew(site) {
    const before = this.#tiles;
    this.#tiles = new Map(site.channels.map((channel) => [channel.id, before.get(channel.id) ?? this.#tile(channel)]));
    for (const channel of site.channels) this.#tiles.get(channel.id).configure(channel);
    for (const [id, tile] of before) {
      if (this.#tiles.has(id)) continue;
      this.watched.unobserve(tile.element);
      this.#statuses.delete(id);
      tile.close();
    }
    if (!this.#tiles.size || [...before.keys()].join() !== [...this.#tiles.keys()].join()) {
      arrange(this.grid, this.#tiles.size ? [...this.#tiles.values()].map((tile) => tile.element)
        : [empty("camera", "No channels yet", "Add cameras under `channels` in the site's file.")]);
    }
    this.count.textContent = plural(this.#tiles.size, "channel");
    this.split.hidden = this.#tiles.size <= 4;
    this.enlarge(this.#tiles.has(this.#enlarged) ? this.#enlarged : null);
    this.#ask();
  }

  #status(status) {
    this.#statuses.set(status.channel, status);
    this.#tiles.get(status.channel)?.status(status);
  }

  /** What channels said of themselves when they were asked: what is not newer than what they told by themselves changes nothing. */
  statuses(statuses) {
    for (const status of statuses) if (status.at_ns > (this.#statuses.get(status.channel)?.at_ns ?? -1)) this.#status(status);
  }

  #tile(channel) {
    const tile = new Tile(channel, this.show, this.actions);
    if (this.#statuses.has(channel.id)) tile.status(this.#statuses.get(channel.id));
    tile.element.dataset.channel = channel.id;
    this.watched.observe(tile.element);
    return tile;
  }

  /** Shown or behind the player: then no pictures are asked for. */
  hide(hidden) {
    this.#hidden = hidden;
    this.#ask();
  }

  enlarge(id) {
    this.#enlarged = id;
    for (const [each, tile] of this.#tiles) {
      tile.element.hidden = id !== null && each !== id;
      tile.element.classList.toggle("wide", each === id);
    }
    this.#arrange();
  }

  #toggle(what, text) {
    const button = h("button", { type: "button", class: "plain toggle", "aria-pressed": "true", on: { click: () => {
      this.show[what] = !this.show[what];
      button.setAttribute("aria-pressed", String(this.show[what]));
      for (const tile of this.#tiles.values()) tile.redraw();
    } } }, text);
    return button;
  }

  /** As many columns as make the pictures largest, side by side when that costs little; tiles as large as their pictures. */
  #arrange() {
    const count = this.#enlarged ? 1 : Math.max(1, this.#tiles.size);
    const width = this.grid.clientWidth - PAD * 2;
    const height = this.grid.clientHeight - PAD * 2;
    const size = (columns) => {
      const rows = Math.ceil(count / columns);
      return Math.min((width - (columns - 1) * PAD) / columns, (((height - (rows - 1) * PAD) / rows) * 16) / 9);
    };
    const choices = Array.from({ length: Math.min(count, 8) }, (_, at) => at + 1);
    const largest = Math.max(...choices.map(size));
    const best = choices.findLast((columns) => size(columns) >= largest * NEAR_LARGEST);
    const split = !this.#enlarged && this.#split !== "auto";
    const columns = split ? Number(this.#split) : best;
    const wide = Math.max(80, Math.floor(split ? (width - (columns - 1) * PAD) / columns : size(columns)));
    this.grid.style.setProperty("--columns", String(columns));
    this.grid.style.setProperty("--wide", `${wide}px`);
    this.grid.classList.toggle("scroll", split);
  }

  #ask() {
    const hidden = this.#hidden || document.hidden;
    const seen = hidden ? [] : [...this.#tiles.values()].filter((tile) => tile.visible && !tile.element.hidden);
    this.live.watch(seen.map((tile) => tile.channel.id));
  }
}
