// Drawing a span of time: the axis, and one channel's track.

import { minuteText, timeText } from "./format.js";

const STEPS_MIN = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240];

function prepare(canvas) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(canvas);
  return { context, width, height, colour: (name) => style.getPropertyValue(`--bar-${name}`) };
}

function stepMs(span, width, room) {
  const minutes = STEPS_MIN.find((step) => ((step * 60_000) / span) * width >= room) ?? STEPS_MIN.at(-1);
  return minutes * 60_000;
}

/** Ticks at whole steps of the site's wall clock, counted from `origin` (the start of the day). */
function* ticks({ from, to, origin }, step) {
  for (let at = origin + Math.ceil((from - origin) / step) * step; at <= to; at += step) yield at;
}

export function drawAxis(canvas, view) {
  const { context, width, colour } = prepare(canvas);
  const step = stepMs(view.to - view.from, width, 62);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colour("text");
  for (const at of ticks(view, step)) {
    const x = ((at - view.from) / (view.to - view.from)) * width;
    const text = minuteText(at);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(x - half, 0), width - half * 2), 13);
  }
}

/** `spans`: {from, to, kind}; `locks`: {from, to}; `alarms`: {ms}; times in milliseconds. */
export function drawTrack(canvas, view, { spans, locks, alarms = [], cursor, now, hover }) {
  const { context, width, height, colour } = prepare(canvas);
  const scale = width / (view.to - view.from);
  const x = (ms) => (ms - view.from) * scale;
  context.fillStyle = colour("none");
  context.fillRect(0, 0, width, height);
  if (now < view.to) {
    context.fillStyle = colour("future");
    context.fillRect(Math.max(0, x(now)), 0, width, height);
  }
  for (const kind of ["general", "alarm"]) {
    context.fillStyle = colour(kind);
    for (const span of spans) {
      if (span.kind !== kind) continue;
      const left = Math.floor(x(span.from)); // whole pixels: neighbours show no seam
      context.fillRect(left, 0, Math.max(1, Math.ceil(x(span.to)) - left), height);
    }
  }
  context.fillStyle = colour("locked");
  for (const lock of locks) {
    const [left, wide] = [Math.floor(x(lock.from)), Math.max(4, Math.ceil(x(lock.to) - x(lock.from)))];
    context.fillRect(left, height - 7, wide, 7);
    context.fillRect(left, 0, wide, 3);
    for (const end of [left, left + wide - 2]) context.fillRect(end, 0, 2, height);
  }
  context.fillStyle = colour("grid");
  for (const at of ticks(view, stepMs(view.to - view.from, width, 62))) context.fillRect(Math.round(x(at)), 0, 1, height);
  drawTicks(context, alarms.map(({ ms }) => Math.round(x(ms))), height, colour);
  if (hover !== null) {
    context.fillStyle = colour("hover");
    context.fillRect(Math.round(x(hover)), 0, 1, height);
  }
  if (cursor !== null) {
    context.fillStyle = colour("edge");
    context.fillRect(Math.round(x(cursor)) - 2, 0, 5, height);
    context.fillStyle = colour("cursor");
    context.fillRect(Math.round(x(cursor)) - 1, 0, 3, height);
  }
}

/** Alarms at their moments, each a line under a flag; all edges first, so that of a crowd none is covered. Below them the kind of the footage shows. */
function drawTicks(context, xs, height, colour) {
  for (const [name, grow] of [["edge", 1], ["tick", 0]]) {
    context.fillStyle = colour(name);
    for (const x of xs) {
      context.fillRect(x - 1 - grow, 0, 2 + grow * 2, height * 0.6);
      context.beginPath();
      context.moveTo(x - 4 - grow, 0);
      context.lineTo(x + 4 + grow, 0);
      context.lineTo(x, 7 + grow);
      context.fill();
    }
  }
}

export const hoverText = (ms) => timeText(ms);
