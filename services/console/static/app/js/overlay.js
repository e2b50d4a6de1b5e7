// Drawing: the picture, the rules' lines and zones, the boxes. Geometry is 0..1 of the frame.

import { targetText } from "./format.js";

const COLOURS = { human: "#4fe0c2", motor_vehicle: "#ffb454", non_motor_vehicle: "#c4a0ff" };
const RULE = "#7cc4ff";
const ALARM = "#ff5d6c";
const LABEL = 16; // height of a name with its margin, CSS pixels
const FONT = "600 11px system-ui, sans-serif";

/** Where a picture of that size lies in a canvas: whole, centred. CSS pixels. */
export function fit(width, height, areaWidth, areaHeight) {
  const scale = Math.min(areaWidth / width, areaHeight / height);
  const w = width * scale;
  const hgt = height * scale;
  return { x: (areaWidth - w) / 2, y: (areaHeight - hgt) / 2, width: w, height: hgt };
}

const place = (area, [x, y]) => [area.x + x * area.width, area.y + y * area.height];

function path(context, points, close) {
  context.beginPath();
  points.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (close) context.closePath();
}

function labelWidth(context, text) {
  context.font = FONT;
  return context.measureText(text).width + 8;
}

function label(context, text, x, y, background, colour = "#05090d") {
  const width = labelWidth(context, text);
  context.fillStyle = background;
  context.fillRect(x, y - 15, width, 15);
  context.fillStyle = colour;
  context.fillText(text, x + 4, y - 4);
}

function arrow(context, [x, y], angle, length) {
  const tip = [x + Math.cos(angle) * length, y + Math.sin(angle) * length];
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(...tip);
  for (const side of [-1, 1]) {
    context.moveTo(...tip);
    context.lineTo(tip[0] - Math.cos(angle + side * 0.5) * 7, tip[1] - Math.sin(angle + side * 0.5) * 7);
  }
  context.stroke();
}

/** B lies to the left of the way along the line, as seen on the picture (y points down). */
function lineArrows(context, points, direction) {
  let longest = 1;
  const size = (at) => Math.hypot(points[at][0] - points[at - 1][0], points[at][1] - points[at - 1][1]);
  for (let at = 2; at < points.length; at += 1) if (size(at) > size(longest)) longest = at;
  const [from, to] = [points[longest - 1], points[longest]];
  const middle = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
  const toB = Math.atan2(to[1] - from[1], to[0] - from[0]) - Math.PI / 2;
  if (direction !== "b_to_a") arrow(context, middle, toB, 20);
  if (direction !== "a_to_b") arrow(context, middle, toB + Math.PI, 20);
  context.font = FONT;
  context.fillStyle = context.strokeStyle;
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.lineWidth = 3;
  for (const [name, angle] of [["B", toB], ["A", toB + Math.PI]]) {
    const at = [middle[0] + Math.cos(angle) * 29 - 4 + Math.cos(angle - Math.PI / 2) * 10, middle[1] + Math.sin(angle) * 29 + 4 + Math.sin(angle - Math.PI / 2) * 10];
    context.strokeText(name, ...at);
    context.fillText(name, ...at);
  }
}

/** The rules; those in alarm last, so that nothing hides them. Names that would cover each other stand below each other. */
export function drawRules(context, area, rules, alarming) {
  const drawn = rules
    .map((rule) => ({ rule, shape: rule.line.length ? rule.line : rule.zone, alarm: alarming.has(rule.id) }))
    .filter(({ rule, shape }) => rule.enabled && shape.length)
    .map((each) => ({ ...each, points: each.shape.map((point) => place(area, point)), colour: each.alarm ? ALARM : RULE }))
    .sort((one, other) => one.alarm - other.alarm);
  const alarmed = drawn.filter(({ alarm }) => alarm);
  for (const each of drawn) {
    // On one line with a rule in alarm, only the alarm's arrow is drawn: it is of one colour.
    const under = !each.alarm && alarmed.some((other) => String(other.shape) === String(each.shape));
    drawShape(context, each, !under);
  }
  const taken = [];
  for (const each of [...drawn].reverse()) drawName(context, area, each, taken);
}

function drawShape(context, { rule, points, colour, alarm }, arrows) {
  context.lineJoin = "round";
  for (const [stroke, width] of [["rgb(0 0 0 / 55%)", alarm ? 4.5 : 3.5], [colour, alarm ? 2.5 : 1.75]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    path(context, points, !rule.line.length);
    context.stroke();
  }
  if (!rule.line.length) {
    context.fillStyle = alarm ? "rgb(255 93 108 / 16%)" : "rgb(124 196 255 / 10%)";
    path(context, points, true);
    context.fill();
    return;
  }
  if (arrows) lineArrows(context, points, rule.direction);
  for (const [x, y] of points) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, 3, 0, Math.PI * 2);
    context.fill();
  }
}

/** `taken`: where names stand already. */
function drawName(context, area, { rule, points, colour }, taken) {
  const top = points.reduce((best, point) => (point[1] < best[1] ? point : best));
  const width = labelWidth(context, rule.name);
  const x = Math.min(Math.max(top[0] + 6, area.x + 4), area.x + area.width - width - 4);
  let y = Math.max(top[1] + 19, area.y + 20);
  const covers = (other) => x < other.x + other.width && other.x < x + width && Math.abs(y - other.y) < LABEL;
  for (let other = taken.find(covers); other; other = taken.find(covers)) y = other.y + LABEL;
  taken.push({ x, y, width });
  label(context, rule.name, x, y, "rgb(9 14 20 / 74%)", colour);
}

export function drawBoxes(context, area, boxes) {
  for (const box of boxes) {
    const colour = COLOURS[box.target] ?? "#fff";
    const [x1, y1] = place(area, [box.x1, box.y1]);
    const [x2, y2] = place(area, [box.x2, box.y2]);
    context.strokeStyle = "rgb(0 0 0 / 50%)";
    context.lineWidth = 3.5;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.strokeStyle = colour;
    context.lineWidth = 1.75;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${targetText(box.target)} ${Math.round(box.score * 100)} %`;
    label(context, text, Math.min(x1 - 0.9, area.x + area.width - labelWidth(context, text)), Math.max(y1 - 0.9, area.y + 15), colour);
  }
}
