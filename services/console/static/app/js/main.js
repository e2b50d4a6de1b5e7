// Puts the page together.

import { Alarms } from "./alarms.js";
import { api, toLogin } from "./api.js";
import { Counts } from "./counts.js";
import { Dock } from "./dock.js";
import { empty, h, icon } from "./dom.js";
import { DEVICE, forgetLink, readLink } from "./link.js";
import { dayText, msOf, nsOf, setZone, timeText, zoneText } from "./format.js";
import { Live } from "./live.js";
import { Player } from "./player.js";
import { System } from "./system.js";
import { Toasts } from "./toasts.js";
import { Troubles } from "./troubles.js";
import { Wall } from "./wall.js";

/** An alarm plays from a little before it. */
const BEFORE_ALARM_MS = 3000;
const BEFORE_NOW_MS = 60_000;
const DAY_MS = 86_400_000;

const $ = (id) => document.getElementById(id);
const toasts = new Toasts($("toasts"));

function startClock() {
  const element = $("clock");
  const day = h("span", { class: "day" });
  const time = h("b");
  const zone = h("small");
  element.append(day, time, zone);
  const show = () => {
    const now = Date.now();
    day.textContent = dayText(now);
    time.textContent = timeText(now);
    zone.textContent = zoneText(now);
    element.dateTime = new Date(now).toISOString();
    setTimeout(show, 1000 - (now % 1000));
  };
  show();
}

function startTabs() {
  const views = [["live", "Live", "live"], ["alarms", "Alarms", "bell"], ["recordings", "Recordings", "record"], ["system", "System", "system"]];
  const badge = h("span", { class: "badge", hidden: true });
  const buttons = views.map(([view, text, name]) =>
    h("button", { type: "button", "aria-pressed": String(view === "live"), data: { view }, on: { click: () => show(view) } }, icon(name), text, view === "alarms" ? badge : null));
  $("tabbar").append(...buttons);
  const listeners = [];
  function show(view) {
    document.body.dataset.view = view;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    for (const listener of listeners) listener(view);
  }
  return { show, onShow: (listener) => listeners.push(listener), count: (n) => { badge.hidden = !n; badge.textContent = n > 99 ? "99+" : String(n); } };
}

/** When a channel was recorded last, within a day; milliseconds or undefined. */
async function lastRecorded(channel) {
  const now = Date.now();
  const { spans } = await api("/api/timeline", { query: { channel, from_ns: nsOf(now - DAY_MS), to_ns: nsOf(now) } });
  return spans.length ? msOf(spans.at(-1).to_ns) : undefined;
}

async function logOut() {
  await api("/api/session", { method: "DELETE" }).catch(() => null);
  toLogin({ keep: false });
}

async function main() {
  $("log-out").prepend(icon("leave"));
  $("log-out").addEventListener("click", logOut);
  let site;
  try {
    site = await api("/api/site");
  } catch (error) {
    $("stage").append(empty("exception", "The recorder does not answer", error.message, "This page tries again in a few seconds."));
    setTimeout(() => location.reload(), 5000);
    return;
  }
  const name = () => {
    setZone(site.time_zone);
    document.title = `${site.name} - Vedette`;
    $("site-name").textContent = site.name;
    $("user").textContent = site.user;
  };
  name();
  startClock();
  const tabs = startTabs();
  const live = new Live();
  const stage = $("stage");

  const troubles = new Troubles($("banner"));
  const trouble = (what, error) => troubles.set(what, error);

  const player = new Player(site, { toasts, closed: () => showWall(), moved: (channel, ms) => dock.cursor(channel, ms), changed: () => dock.refresh() });
  const playback = (id) => play(id, Date.now() - BEFORE_NOW_MS);
  const wall = new Wall(site, live, { playback, lastRecorded });
  const dock = new Dock($("dock"), site, live, { trouble, play: (id, ms) => play(id, ms) });
  const alarms = new Alarms($("alarms"), site, live, { toasts, trouble, count: tabs.count, moments: (moments) => dock.alarms(moments), play: (id, ms, alarm) => play(id, ms - BEFORE_ALARM_MS, alarm) });
  const counts = new Counts($("counts"), site, live, { trouble });
  new System($("system"), site, $("health-chip"), { toasts });

  /** The site may have another configuration: shown in place, whatever is being looked at. */
  let renewed = Promise.resolve();
  const renew = () => { renewed = renewed.then(async () => {
    const fresh = await api("/api/site").catch(() => null); // asked again when the connection is back
    if (!fresh || JSON.stringify(fresh) === JSON.stringify(site)) return;
    Object.assign(site, fresh);
    name();
    for (const part of [wall, dock, alarms, counts, player]) part.renew(site);
  }); };
  live.addEventListener("site", renew);

  function play(channel, ms, alarm = null) {
    forgetLink();
    show(channel, ms, alarm);
  }
  function show(channel, ms, alarm) {
    alarms.choose(alarm);
    stage.classList.add("playing");
    stage.replaceChildren(...player.elements);
    wall.hide(true);
    dock.follow(ms);
    tabs.show("recordings");
    player.play(channel, ms);
  }
  async function follow({ channel, ms, problem }) {
    if (problem) { toasts.show("This link leads nowhere", problem, "error"); return; }
    const alarm = await alarms.find(channel ?? DEVICE, ms);
    if (alarm && (readLink(site) || !channel)) alarms.choose(alarm, { reveal: true }); // unless something else was opened meanwhile
  }
  function showWall() {
    forgetLink();
    stage.classList.remove("playing");
    stage.replaceChildren(...wall.elements);
    wall.hide(false);
    dock.cursor(null, 0);
    alarms.choose(null);
    if (document.body.dataset.view === "recordings") tabs.show("live");
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && stage.classList.contains("playing")) player.close(); });
  tabs.onShow((view) => { if (view === "live" && stage.classList.contains("playing")) player.close(); });
  const link = readLink(site);
  if (link?.channel) show(link.channel, link.ms, null);
  else showWall();
  if (link) follow(link);

  $("health-chip").addEventListener("click", () => {
    tabs.show(matchMedia("(max-width: 760px)").matches ? "system" : document.body.dataset.view);
    $("system").scrollIntoView({ block: "nearest" });
  });
  live.addEventListener("notice", ({ detail }) => {
    const channel = site.channels.find((each) => each.id === detail.channel);
    const title = channel?.title ?? "Vedette";
    toasts.show(detail.text.includes(title) ? "" : title, detail.text, "alarm");
  });
  live.addEventListener("link", ({ detail }) => {
    if (detail) renew();
    if (detail) for (const part of [alarms, counts, dock]) part.load(); // what happened before it was open
    $("link").hidden = detail;
    $("link").textContent = detail ? "" : "Connection lost, trying again";
  });
  live.connect();
}

main();
