// A cursor and a zoom that all charts share. Without this script the page says the same; it only cannot be pointed at.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const charts = [...document.querySelectorAll("#time .chart")];
  if (!charts.length) return;
  const tools = document.getElementById("tools");
  const slider = document.getElementById("cursor");
  const output = document.getElementById("at");
  const SVG = "http://www.w3.org/2000/svg";
  const whole = [data.start, data.end];
  let shown = whole;
  let cursor = null;

  const make = (name, attributes, parent) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return parent.appendChild(element);
  };
  const plots = charts.map((chart) => {
    const plot = chart.querySelector(".plot");
    const height = Number(plot.getAttribute("height"));
    return { chart, plot, height, line: make("line", { class: "cursor", y1: 0, y2: height, visibility: "hidden" }, plot) };
  });

  // ---- figures in words, as the page's own ----
  const digits = (value) => (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0));
  const duration = (us) =>
    us == null ? "n/a" : us < 999.5 ? `${digits(us)} µs` : us < 999500 ? `${digits(us / 1e3)} ms` : `${digits(us / 1e6)} s`;
  const offset = (ms) => `${ms < 0 ? "−" : "+"}${(Math.abs(ms) / 1e3).toFixed(2)} s`;
  const rate = (count, track) => `${Math.round((count * 1e3) / track.slice).toLocaleString("en")}/s`;
  const say = {
    latency: (t, i) => `p50 ${duration(t.p50[i])}  p90 ${duration(t.p90[i])}  p99 ${duration(t.p99[i])}  max ${duration(t.max[i])}`,
    heat: (t, i) => `${t.due[i]} operations, p50 ${duration(t.p50[i])}, max ${duration(t.max[i])}`,
    success: (t, i) => (t.due[i] ? `${t.ok[i]} of ${t.due[i]} ok` : "none due"),
    attempts: (t, i) =>
      Object.entries(t.outcomes).filter(([, counts]) => counts[i]).map(([name, counts]) => `${name} ${rate(counts[i], t)}`).join("  ") || "none",
    goodput: (t, i) => `${rate(t.good[i], t)} ok, ${rate(t.due[i], t)} due`,
  };
  const readouts = [...document.querySelectorAll("figure[data-track]")].map((figure) => ({
    text: figure.querySelector(".readout"),
    track: data.tracks[figure.dataset.track],
    say: say[figure.closest(".row").dataset.kind],
  }));

  // ---- the cursor ----
  const point = (ms) => {
    cursor = Math.min(Math.max(ms, shown[0]), shown[1]);
    slider.value = cursor;
    slider.setAttribute("aria-valuetext", offset(cursor));
    output.textContent = offset(cursor);
    for (const { line } of plots) {
      line.setAttribute("x1", cursor);
      line.setAttribute("x2", cursor);
      line.setAttribute("visibility", "visible");
    }
    for (const { text, track, say } of readouts) {
      const index = Math.floor((cursor - track.start) / track.slice);
      text.textContent = index >= 0 && index < track.due.length ? say(track, index) : "no load";
    }
  };

  // ---- the zoom ----
  const label = (ms) => {
    const size = Math.round(Math.abs(ms) * 1e3) / 1e3;
    const sign = ms < 0 ? "−" : "+";
    if (size === 0) return "0";
    if (size < 1e3) return `${sign}${size} ms`;
    return size < 12e4 ? `${sign}${Math.round(size) / 1e3} s` : `${sign}${Math.round(size / 6e3) / 10} min`;
  };
  const ticks = () => {
    const rough = (shown[1] - shown[0]) / 6;
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((step) => step * decade >= rough) * decade;
    const times = [];
    for (let n = Math.ceil(shown[0] / step); n * step <= shown[1]; n++) times.push(n * step);
    return times;
  };
  const percent = (ms) => ((ms - shown[0]) / (shown[1] - shown[0])) * 100;
  const show = (from, to) => {
    const least = 20;
    let [start, end] = [Math.max(from, whole[0]), Math.min(to, whole[1])];
    if (end - start < least) [start, end] = [Math.max(whole[0], (start + end - least) / 2), Math.min(whole[1], (start + end + least) / 2)];
    shown = [start, end];
    slider.min = start;
    slider.max = end;
    for (const { chart, plot, height } of plots) {
      plot.setAttribute("viewBox", `${start} 0 ${end - start} ${height}`);
      const total = Number(chart.getAttribute("height"));
      chart.querySelectorAll("text.x").forEach((text) => text.remove());
      for (const at of ticks()) {
        const x = percent(at);
        if (x > 4 && x < 96) make("text", { class: "x", x: `${x}%`, y: total - 4 }, chart).textContent = label(at);
      }
      for (const text of chart.querySelectorAll("text[data-t]")) {
        const x = percent(Number(text.dataset.t));
        // A state that began before what is shown keeps its label at the edge.
        const kept = text.classList.contains("lane") && x < 0;
        text.setAttribute("x", `${kept ? 0 : x}%`);
        text.setAttribute("visibility", (x >= 0 || kept) && x <= 100 ? "visible" : "hidden");
      }
      // Of the states that began before, only the last one is still true.
      const lanes = [...chart.querySelectorAll("text.lane")];
      lanes.forEach((text, index) => {
        const next = lanes[index + 1];
        const over = next && next.getAttribute("y") === text.getAttribute("y") && Number(next.dataset.t) <= start;
        if (over) text.setAttribute("visibility", "hidden");
      });
    }
    if (cursor != null) point(cursor);
  };
  const zoom = (factor) => {
    const middle = cursor ?? (shown[0] + shown[1]) / 2;
    show(middle - (middle - shown[0]) * factor, middle + (shown[1] - middle) * factor);
  };

  const buttons = document.querySelector(".zoom");
  const button = (text, action) => {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = text;
    element.addEventListener("click", action);
    buttons.append(element);
  };
  button("whole run", () => show(...whole));
  for (const fault of data.faults.slice(0, 4)) {
    const margin = Math.max((fault.end - fault.start) * 0.15, 100);
    button(fault.name.length > 24 ? `${fault.name.slice(0, 23)}…` : fault.name, () => show(fault.start - margin, fault.end + margin));
  }
  button("closer", () => zoom(0.5));
  button("wider", () => zoom(2));
  slider.addEventListener("input", () => point(Number(slider.value)));

  // ---- pointing and dragging on a chart ----
  for (const { chart, plot, height } of plots) {
    let from = null;
    let brush = null;
    const time = (event) => {
      const box = chart.getBoundingClientRect();
      return shown[0] + ((event.clientX - box.left) / box.width) * (shown[1] - shown[0]);
    };
    const end = () => {
      brush?.remove();
      from = brush = null;
    };
    chart.addEventListener("pointermove", (event) => {
      const at = time(event);
      point(at);
      if (from == null || Math.abs(percent(at) - percent(from)) < 1) return;
      brush ??= make("rect", { class: "brush", height }, plot);
      brush.setAttribute("x", Math.min(from, at));
      brush.setAttribute("width", Math.abs(at - from));
    });
    chart.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      from = time(event);
      chart.setPointerCapture(event.pointerId);
    });
    chart.addEventListener("pointerup", (event) => {
      const [start, drawn] = [from, brush];
      const at = time(event);
      end();
      if (drawn) show(Math.min(start, at), Math.max(start, at));
    });
    chart.addEventListener("pointercancel", end);
    chart.addEventListener("dblclick", () => show(...whole));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(...whole);
  });

  tools.hidden = false;
  show(...whole);
  // A moment can be pointed at from outside, in seconds: report.html#at=0.62, report.html#zoom=-0.5,1.5
  const [, what, seconds] = location.hash.match(/^#(at|zoom)=([-\d.,]+)$/) ?? [];
  const times = (seconds ?? "").split(",").map((text) => Number(text) * 1e3);
  if (what === "at" && Number.isFinite(times[0])) point(times[0]);
  if (what === "zoom" && times.length === 2 && times.every(Number.isFinite)) show(Math.min(...times), Math.max(...times));
  if (what) document.getElementById("time").scrollIntoView();
})();
