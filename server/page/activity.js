// activity.js - what the server does: requests a second and their latency, from the difference of
// two readings of /metrics.

import { button, empty, failure, h, loading, show, svg } from "./dom.js";
import { brief, count, seconds, size } from "./bytes.js";
import * as api from "./api.js";

const EVERY_MS = 2000,
  SPAN_MS = 5 * 60 * 1000;
// What this page itself asks for, and feeds, whose latency is how long somebody watched.
const LEFT_OUT = new Set(["metrics", "page", "page_file", "changes", "changes_ws"]);

// Prometheus' text as [{name, labels, value}].
export function parseMetrics(text) {
  const out = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries(
      [...(found[2] || "").matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]])
    );
    out.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return out;
}

// Everything known of each route, and of all together: {requests, errors, sum, buckets: Map(le ->
// count)}.
function byRoute(metrics) {
  const routes = new Map();
  for (const { name, labels, value } of metrics) {
    if (!labels.route || LEFT_OUT.has(labels.route)) continue;
    if (!routes.has(labels.route))
      routes.set(labels.route, { requests: 0, errors: 0, sum: 0, buckets: new Map() });
    const r = routes.get(labels.route);
    if (name === "maph_http_requests_total") {
      r.requests += value;
      if (labels.status === "5xx") r.errors += value;
    }
    if (name === "maph_http_request_duration_seconds_sum") r.sum += value;
    if (name === "maph_http_request_duration_seconds_bucket")
      r.buckets.set(labels.le === "+Inf" ? Infinity : Number(labels.le), value);
  }
  return routes;
}
function together(routes) {
  const all = { requests: 0, errors: 0, sum: 0, buckets: new Map() };
  for (const r of routes.values()) {
    for (const name of ["requests", "errors", "sum"]) all[name] += r[name];
    for (const [le, n] of r.buckets) all.buckets.set(le, (all.buckets.get(le) || 0) + n);
  }
  return all;
}

// The latency below which `share` of the requests stayed, straight within its bucket; null without
// any.
export function quantile(buckets, share) {
  const steps = [...buckets].sort((a, b) => a[0] - b[0]),
    total = steps.length ? steps[steps.length - 1][1] : 0;
  let low = 0,
    before = 0;
  if (!total) return null;
  for (const [le, n] of steps) {
    if (n >= share * total)
      return le === Infinity
        ? low
        : low + ((le - low) * (share * total - before)) / Math.max(1, n - before);
    low = le;
    before = n;
  }
  return low;
}
const since = (now, then) => new Map([...now].map(([le, n]) => [le, n - (then.get(le) || 0)]));

// ---------------------------------------------------------------------------------------- charts
// A round number at or above the largest value.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * unit >= value) * unit;
}

// Of a line the stretches of samples that have a value; none where all of them are nothing: a line
// along the bottom says no more than its figure does.
function drawnOf(line, samples) {
  if (!samples.some((s) => line.at(s))) return [];
  const stretches = [[]];
  for (const s of samples)
    if (line.at(s) !== null) stretches.at(-1).push(s);
    else stretches.push([]);
  return stretches.filter((stretch) => stretch.length > 0);
}

// Lines over the last minutes.  lines: [{name, kind, at: sample => number or null}].
function chart(title, samples, lines, text) {
  const now = samples[samples.length - 1].time,
    span = Math.max(60000, now - samples[0].time),
    width = 600,
    height = 160;
  const top = ceiling(Math.max(0, ...samples.flatMap((s) => lines.map((l) => l.at(s) || 0))));
  const x = (s) => width * (1 - (now - s.time) / span),
    y = (value) => height - (height * value) / top;
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    [0, 0.25, 0.5, 0.75].map((share) =>
      svg("line", { x1: 0, x2: width, y1: height * share, y2: height * share, class: "grid-line" })
    ),
    lines.map((line) =>
      drawnOf(line, samples).map((stretch) => {
        const points = stretch.map((s) => `${x(s).toFixed(1)},${y(line.at(s)).toFixed(1)}`);
        return points.length > 1
          ? svg("polyline", { points: points.join(" "), class: `line ${line.kind}` })
          : svg("path", { d: `M${points[0]}h0`, class: `line point ${line.kind}` });
      })
    )
  );
  const last = (line) => text(line.at(samples[samples.length - 1]));
  return h(
    "figure",
    { class: "card chart" },
    h(
      "figcaption",
      {},
      h("h2", {}, title),
      h(
        "ul",
        { class: "legend" },
        lines.map((line) =>
          h("li", { class: line.kind }, line.name, " ", h("strong", {}, last(line)))
        )
      )
    ),
    h(
      "div",
      {
        class: "plot",
        role: "img",
        "aria-label":
          `${title}, the last minutes. ` +
          `Now ${lines.map((l) => `${l.name} ${last(l)}`).join(", ")}; ` +
          `the scale ends at ${text(top)}.`
      },
      h("span", { class: "scale" }, text(top)),
      drawing
    ),
    h(
      "div",
      { class: "row faint axis", "aria-hidden": "true" },
      h("span", {}, span > 90000 ? `${Math.round(span / 60000)} min ago` : "a minute ago"),
      h("span", {}, "now")
    )
  );
}

// Readings outlive the view, so that coming back shows what was seen before.
let before = null,
  samples = [];

function take(metrics) {
  const time = Date.now(),
    routes = byRoute(metrics),
    all = together(routes);
  const value = (name) => metrics.find((m) => m.name === name)?.value ?? 0,
    writes = value("maph_writes_total");
  if (before && all.requests >= before.all.requests) {
    const dt = (time - before.time) / 1000,
      buckets = since(all.buckets, before.all.buckets);
    samples.push({
      time,
      rate: (all.requests - before.all.requests) / dt,
      errors: (all.errors - before.all.errors) / dt,
      writes: (writes - before.writes) / dt,
      p50: quantile(buckets, 0.5),
      p99: quantile(buckets, 0.99)
    });
  } else samples = [];
  samples = samples.filter((s) => s.time > time - SPAN_MS);
  before = { time, all, writes };
  return { routes, value };
}

export function activityView(place, route, signal) {
  const figures = h("dl", { class: "figures" }),
    charts = h("div", { class: "grid" }),
    table = h("div");
  let failed = null,
    paused = false;
  const toggle = button("Pause", () => {
    paused = !paused;
    toggle.textContent = paused ? "Go on" : "Pause";
  });
  show(place, h("div", { class: "row" }, h("h1", {}, "Activity"), toggle), figures, charts, table);
  show(charts, loading());

  function draw({ routes, value }) {
    const figure = (term, text) => h("div", {}, h("dt", {}, term), h("dd", {}, text));
    show(
      figures,
      figure(
        "Connections",
        `${count(value("maph_http_connections"))} of ${count(value("maph_http_connections_max"))}`
      ),
      figure("In flight", count(value("maph_http_requests_running"))),
      figure("Received", size(value("maph_http_received_bytes_total"))),
      figure("Sent", size(value("maph_http_sent_bytes_total"))),
      figure("Writes", count(value("maph_writes_total"))),
      figure("Timeouts", count(value("maph_http_timeouts_total")))
    );
    if (!samples.length) show(charts, loading("Measuring…"));
    else
      show(
        charts,
        chart(
          "Requests a second",
          samples,
          [
            { name: "requests", kind: "one", at: (s) => s.rate },
            { name: "writes", kind: "two", at: (s) => s.writes },
            { name: "server errors", kind: "three", at: (s) => s.errors }
          ],
          (n) => brief(n ?? 0)
        ),
        chart(
          "Latency",
          samples,
          [
            { name: "median", kind: "one", at: (s) => s.p50 },
            { name: "99 %", kind: "two", at: (s) => s.p99 }
          ],
          seconds
        )
      );
    if (!routes.size)
      show(
        table,
        empty("No requests yet", h("p", {}, "This page’s own readings are not counted."))
      );
    else
      show(
        table,
        h(
          "table",
          { class: "cards" },
          h("caption", {}, "Since the server started"),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Route", "Requests", "Server errors", "Mean", "Median", "99 %"].map((t) =>
                h("th", { scope: "col" }, t)
              )
            )
          ),
          h(
            "tbody",
            {},
            [...routes]
              .sort((a, b) => b[1].requests - a[1].requests)
              .map(([name, r]) =>
                h(
                  "tr",
                  {},
                  h("th", { scope: "row", class: "mono" }, name),
                  [
                    ["Requests", count(r.requests)],
                    ["Server errors", count(r.errors)],
                    ["Mean", seconds(r.requests ? r.sum / r.requests : null)],
                    ["Median", seconds(quantile(r.buckets, 0.5))],
                    ["99 %", seconds(quantile(r.buckets, 0.99))]
                  ].map(([n, text]) => h("td", { "data-name": n }, text))
                )
              )
          )
        )
      );
  }

  const turn = api.repeat(EVERY_MS, signal, async () => {
    if (paused) return;
    try {
      draw(take(parseMetrics(await (await api.request("GET", "metrics", { signal })).text())));
      failed = null;
    } catch (problem) {
      if (problem.name === "AbortError" || failed === problem.code) return; // said once
      failed = problem.code;
      show(figures);
      show(table);
      show(
        charts,
        failure(problem, () => {
          failed = null;
          turn();
        })
      );
    }
  });
}
