"use strict";
// Sorting and pictures of the page. Every string from data goes through textContent or shown(), never through markup.

const data = JSON.parse(document.getElementById("payload").textContent);
const byId = (id) => document.getElementById(id);

// Plotly reads a few tags, entities and formulas in its strings; this makes it show them.
const shown = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");
const cut = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);

/* Sorting */

function valueOf(row, column) {
  const text = row.cells[column].dataset.value;
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function compare(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (typeof one === "string" ? one.localeCompare(other) : one - other);
}

function sortBy(heading) {
  const row = heading.parentElement;
  const column = [...row.children].indexOf(heading);
  const first = heading.querySelector("button").dataset.first || (column ? "descending" : "ascending");
  const turned = first === "ascending" ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? turned : first;
  for (const other of row.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const body = row.closest("table").tBodies[0];
  const sign = order === "ascending" ? 1 : -1;
  body.append(...[...body.rows].sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign)));
}

for (const heading of document.querySelectorAll(".sortable thead th")) {
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
}

/* What all pictures share */

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const CONFIG = { displayModeBar: false, responsive: true };
const SYMBOLS = { baselines: "cross", frozen: "circle", finetune: "square", peft: "diamond" };

function axis(changes) {
  const line = { gridcolor: colour("rule"), linecolor: colour("quiet"), zeroline: false, ticks: "", automargin: true };
  return { ...line, title: { font: { size: 13 } }, tickfont: { size: 12 }, fixedrange: false, ...changes };
}

function layout(changes) {
  const font = { family: colour("sans"), size: 13, color: colour("quiet") };
  const label = { bgcolor: colour("paper"), bordercolor: colour("quiet"), font: { ...font, color: colour("ink") }, align: "left" };
  return {
    font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hoverlabel: label,
    margin: { l: 56, r: 16, t: 16, b: 48 }, dragmode: false, ...changes,
  };
}

/* Quality against cost */

const UNITS = {
  seconds: [[3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"]],
  milliseconds: [[1000, "s"], [1, "ms"], [1e-3, "µs"]],
  bytes: [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
};

function told(unit, value) {
  const [size, name] = UNITS[unit].find(([factor]) => value >= factor * 0.999) || UNITS[unit].at(-1);
  return `${Number((value / size).toPrecision(3))} ${name}`;
}

const asTicks = (unit, values) => ({ tickvals: values, ticktext: values.map((value) => (value ? told(unit, value) : "0")) });

function logTicks(unit, range) {
  const powers = Array.from({ length: 18 }, (_, i) => 10 ** (i - 5));
  const inside = (value) => Math.log10(value) >= range[0] && Math.log10(value) <= range[1];
  const isClock = unit === "seconds";
  const coarse = (isClock ? [...powers.filter((value) => value <= 10), 60, 600, 3600, 36000] : powers).filter(inside);
  const short = powers.flatMap((value) => [value, 2 * value, 5 * value]);
  const fine = (isClock ? [...short.filter((value) => value <= 20), 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000] : short).filter(inside);
  return asTicks(unit, coarse.length < 3 ? fine : coarse);
}

function linearTicks(unit, range) {
  const [size] = UNITS[unit].find(([factor]) => range[1] >= 2 * factor) || UNITS[unit].at(-1);
  const raw = range[1] / size / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) * size;
  return asTicks(unit, Array.from({ length: 8 }, (_, i) => i * step).filter((value) => value >= range[0] && value <= range[1]));
}

const LESS_IS_BETTER = new Set(["log_loss"]);

function ends(values, pad) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = high > low ? (high - low) * pad : Math.abs(high) / 2 || 1;
  return [low - room, high + room];
}

// Writes a name beside each sign where it covers nothing that is already there, the important ones first.
function placed(points, box, rangeX, rangeY) {
  const taken = [];
  const across = (x) => ((x - rangeX[0]) / (rangeX[1] - rangeX[0])) * box.width;
  const down = (y) => (1 - (y - rangeY[0]) / (rangeY[1] - rangeY[0])) * box.height;
  for (const point of points) {
    taken.push([across(point.x) - 7, down(point.y) - 7, 14, 14]);
    const top = Math.min(down(point.low), down(point.high));
    taken.push([across(point.x) - 1, top, 2, Math.abs(down(point.low) - down(point.high))]);
  }
  const free = (one) => one[0] > -8 && one[0] + one[2] < box.width + 8 && one[1] > 0 && one[1] + one[3] < box.height
    && taken.every((other) => one[0] + one[2] < other[0] || other[0] + other[2] < one[0] || one[1] + one[3] < other[1] || other[1] + other[3] < one[1]);
  const labels = [];
  for (const point of points) {
    const width = point.name.length * 7.3 + 4, height = 15;
    const x = across(point.x), y = down(point.y);
    const spots = [[-width - 9, -height - 3, "right", "bottom"], [9, -height - 3, "left", "bottom"], [9, 3, "left", "top"], [-width - 9, 3, "right", "top"], [11, -height / 2, "left", "middle"], [-width - 11, -height / 2, "right", "middle"]];
    const spot = spots.find(([dx, dy]) => free([x + dx, y + dy, width, height]));
    if (!spot) continue;
    taken.push([x + spot[0], y + spot[1], width, height]);
    const beside = spot[3] === "middle";
    labels.push({
      x: point.x, y: point.y, text: shown(point.name), showarrow: false, xanchor: spot[2], yanchor: spot[3],
      xshift: (spot[2] === "left" ? 1 : -1) * (beside ? 11 : 8), yshift: beside ? 0 : spot[3] === "bottom" ? 3 : -3,
      bgcolor: colour("paper"), borderpad: 0, opacity: 0.92,
      font: { family: colour("mono"), size: 12, color: colour(point.isChosen ? "accent" : point.isSolid ? "ink" : "quiet") },
    });
  }
  return labels;
}

function drawCost() {
  const chart = byId("cost-chart");
  const cost = data.axes.find((one) => one.name === byId("cost-axis").value);
  const metric = data.metrics.find((one) => one.name === byId("cost-metric").value);
  const asLog = byId("cost-log").checked;
  const isShare = metric.name === "accuracy";
  const all = data.variants.filter((one) => one.scores[metric.name] && one.costs[cost.name] > 0);
  const line = data.frontiers[cost.name][metric.name].map((name) => all.find((one) => one.name === name)).filter(Boolean);
  const ranked = all.filter((one) => one.is_ranked);
  const spans = (ranked.length ? ranked : all).flatMap((one) => [one.scores[metric.name].low, one.scores[metric.name].high]);
  const rangeY = ends(spans, 0.08);
  const inside = all.filter((one) => one.scores[metric.name].value >= rangeY[0] && one.scores[metric.name].value <= rangeY[1]);
  const place = (one) => (asLog ? Math.log10(one.costs[cost.name]) : one.costs[cost.name]);
  const rangeX = ends(inside.map(place), 0.12);
  const isSolid = (one) => one.is_ranked && one.is_on_main_hardware;
  const trace = {
    type: "scatter", mode: "markers", cliponaxis: false,
    x: inside.map((one) => one.costs[cost.name]), y: inside.map((one) => one.scores[metric.name].value),
    error_y: {
      type: "data", symmetric: false, width: 0, thickness: 1, color: colour("quiet"),
      array: inside.map((one) => one.scores[metric.name].high - one.scores[metric.name].value),
      arrayminus: inside.map((one) => one.scores[metric.name].value - one.scores[metric.name].low),
    },
    marker: {
      size: inside.map((one) => (one.is_chosen ? 14 : 10)), opacity: 1,
      symbol: inside.map((one) => (SYMBOLS[one.family] || "triangle-up") + (isSolid(one) ? "" : "-open")),
      color: inside.map((one) => colour(SYMBOLS[one.family] ? one.family : "other")),
      line: { width: 1.5, color: inside.map((one) => (isSolid(one) ? colour("paper") : colour("quiet"))) },
    },
    text: inside.map((one) => [`<b>${shown(one.name)}</b>`, `${metric.title} ${one.scores[metric.name].text}`, ...Object.values(one.facts).map(shown)].join("<br>")),
    hovertemplate: "%{text}<extra></extra>",
  };
  const steps = {
    type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: colour("accent"), width: 1.5, shape: "hv" }, opacity: 0.7,
    x: line.map((one) => one.costs[cost.name]), y: line.map((one) => one.scores[metric.name].value),
  };
  const wide = chart.clientWidth - 56 - 16, high = chart.clientHeight - 16 - 48;
  const turned = LESS_IS_BETTER.has(metric.name);
  const shownY = turned ? [rangeY[1], rangeY[0]] : rangeY;
  const weight = (one) => 4 * one.is_chosen + 2 * line.includes(one) + one.is_tied;
  const points = [...inside].sort((a, b) => weight(b) - weight(a)).map((one) => ({
    name: one.name, x: place(one), y: one.scores[metric.name].value, low: one.scores[metric.name].low, high: one.scores[metric.name].high,
    isChosen: one.is_chosen, isSolid: isSolid(one),
  }));
  const labels = wide > 320 ? placed(points, { width: wide, height: high }, rangeX, shownY) : placed(points.slice(0, 6), { width: wide, height: high }, rangeX, shownY);
  Plotly.react(chart, [steps, trace], layout({
    annotations: labels,
    xaxis: axis({
      type: asLog ? "log" : "linear", range: rangeX, title: { text: cost.title, font: { size: 13 } },
      ...(asLog ? logTicks : linearTicks)(cost.unit, rangeX),
    }),
    yaxis: axis({ range: shownY, tickformat: isShare ? ".3~%" : ".3~f", title: { text: turned ? `${metric.title} (higher up is better)` : metric.title, font: { size: 13 } } }),
  }), CONFIG);
  const left = all.length - inside.length;
  const caption = `Best for its cost, cheapest first: ${line.map((one) => `${one.name} (${one.scores[metric.name].short}, ${one.cost_texts[cost.name]})`).join(", ") || "none"}.`
    + (left ? ` ${left} below the picture: ${all.filter((one) => !inside.includes(one)).map((one) => one.name).join(", ")}.` : "");
  byId("cost-caption").textContent = caption;
  chart.setAttribute("aria-label", `${metric.title} against: ${cost.title}. ${caption}`);
}

/* Confusion */

function drawConfusion() {
  const chart = byId("confusion-chart");
  const variant = data.variants[Number(byId("confusion-variant").value)];
  const n = data.classes.length;
  const apart = (label) => `\u2068${label}\u2069`; // keeps a right-to-left label from turning what stands beside it
  const mistakes = variant.mixed_up.map(([truth, answer, text]) => `${apart(data.classes[truth])} taken for ${apart(data.classes[answer])} (${text})`);
  const caption = mistakes.length ? `Most frequent mistakes of ${variant.name}, as shares of the true class: ${mistakes.join("; ")}.` : `${variant.name} makes no mistake.`;
  byId("confusion-caption").textContent = caption;
  chart.setAttribute("aria-label", `Confusion matrix of ${variant.name}. ${caption}`);
  if (!variant.confusion) {
    chart.hidden = true;
    return;
  }
  const counts = Array.from({ length: n }, () => new Array(n).fill(0));
  for (const [i, j, times] of variant.confusion) counts[i][j] = times;
  const sums = counts.map((row) => row.reduce((sum, value) => sum + value, 0) || 1);
  const shares = counts.map((row, i) => row.map((value) => value / sums[i]));
  const names = data.classes.map((name) => shown(cut(name, n > 12 ? 16 : 24)));
  const places = data.classes.map((_, i) => i);
  const isSmall = n <= 12;
  const per = isSmall ? Math.max(34, 64 - 3 * n) : Math.max(8, 640 / n);
  chart.style.maxWidth = `${Math.round(n * per * (isSmall ? 2 : 1.25) + 240)}px`;
  const longest = 7 * Math.min(24, Math.max(...data.classes.map((name) => name.length)));
  const isWide = longest > (chart.clientWidth - 160) / n;
  const height = Math.round(n * per + (isWide ? 60 + longest : 90));
  chart.style.height = `${height}px`;
  const ticks = { tickmode: "array", tickvals: places, ticktext: names, tickfont: { size: n > 40 ? 8 : n > 20 ? 10 : 12 }, gridcolor: "rgba(0,0,0,0)" };
  Plotly.react(chart, [{
    type: "heatmap", z: shares, zmin: 0, zmax: 1, xgap: n > 40 ? 0.5 : 2, ygap: n > 40 ? 0.5 : 2,
    colorscale: [[0, colour("raised")], [1, colour("accent")]], showscale: false,
    customdata: counts.map((row, i) => row.map((value, j) => [shown(cut(data.classes[i], 60)), shown(cut(data.classes[j], 60)), value])),
    hovertemplate: "%{customdata[0]}<br>answered as %{customdata[1]}<br>%{z:.1%} of its texts (%{customdata[2]:,})<extra></extra>",
    texttemplate: isSmall ? "%{z:.0%}" : undefined, textfont: { size: 13 },
  }], layout({
    height,
    margin: { l: 60, r: 8, t: 60, b: 8 },
    xaxis: axis({ ...ticks, side: "top", showticklabels: chart.clientWidth - 160 > 7 * n, title: { text: "answered", font: { size: 13 }, standoff: 10 }, tickangle: isWide ? -90 : 0, range: [-0.5, n - 0.5] }),
    yaxis: axis({ ...ticks, title: { text: "labelled", font: { size: 13 }, standoff: 10 }, range: [n - 0.5, -0.5] }),
  }), CONFIG);
}

/* Training curves */

function drawCurves() {
  const chart = byId("curves-chart");
  const variant = data.variants[Number(byId("curves-variant").value)];
  const keys = [...new Set(variant.curves.flatMap((curve) => Object.keys(curve.series)))].sort((a, b) => b.endsWith("loss") - a.endsWith("loss")).slice(0, 3);
  const colours = [colour("accent"), colour("finetune"), colour("frozen"), colour("other"), colour("quiet")];
  const traces = keys.flatMap((key, k) => variant.curves.filter((curve) => curve.series[key]).map((curve, i) => ({
    type: "scatter", mode: curve.series[key][0].length < 25 ? "lines+markers" : "lines", x: curve.series[key][0], y: curve.series[key][1],
    xaxis: k ? `x${k + 1}` : "x", yaxis: k ? `y${k + 1}` : "y", marker: { size: 5 },
    line: { width: 1.4, color: colours[i % colours.length] }, opacity: 0.85,
    hovertemplate: `seed ${curve.seed}<br>step %{x}<br>${shown(key)} %{y:.4f}<extra></extra>`,
  })));
  const isNarrow = chart.clientWidth < 640;
  const changes = { height: isNarrow ? 240 * keys.length : 320, grid: isNarrow ? { rows: keys.length, columns: 1, pattern: "independent" } : { rows: 1, columns: keys.length, pattern: "independent", xgap: 0.14 } };
  keys.forEach((key, k) => {
    changes[k ? `xaxis${k + 1}` : "xaxis"] = axis({ title: { text: "step", font: { size: 13 } } });
    changes[k ? `yaxis${k + 1}` : "yaxis"] = axis({ title: { text: shown(key.replaceAll("_", " ")), font: { size: 13 } } });
  });
  chart.style.height = `${changes.height}px`;
  Plotly.react(chart, traces, layout(changes), CONFIG);
  chart.setAttribute("aria-label", `Training curves of ${variant.name}: ${keys.join(", ").replaceAll("_", " ")}, ${variant.curves.length} seeds`);
}

/* Drawing, and drawing again when light turns to dark or the width changes */

const pictures = [["cost-chart", drawCost], ["confusion-chart", drawConfusion], ["curves-chart", drawCurves]]
  .filter(([id]) => byId(id)).map(([, picture]) => picture);

for (const id of ["cost-axis", "cost-metric", "cost-log"]) byId(id)?.addEventListener("change", drawCost);
byId("confusion-variant")?.addEventListener("change", drawConfusion);
byId("curves-variant")?.addEventListener("change", drawCurves);

// One picture per task, so that a click is answered between two of them.
const redraw = () => pictures.forEach((picture) => setTimeout(picture));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 150); });
redraw();
