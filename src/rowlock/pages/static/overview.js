// The overview: its live parts, which replace the elements with their ids, and its charts by uPlot,
// which are fed by the points that come with them.
"use strict";
(() => {
  const place = document.querySelector("[data-charts]");
  const source = place.closest("[data-live]");
  const span = Number(place.dataset.charts);  // seconds

  // A line is told from the others by its colour, its dashes and its words.
  const looks = { main: ["--accent", []], second: ["--warn", [6, 3]], third: ["--good", [2, 3]], bad: ["--bad", [6, 3]] };
  const rate = (value) => `${value >= 10 ? Math.round(value).toLocaleString("en") : value}/s`;
  const milli = (value) => value >= 1000 ? `${(value / 1000).toPrecision(3)} s` : `${value} ms`;
  const plain = (value) => value.toLocaleString("en");
  const line = (key, label, look, show, scale = "y") => ({ key, label, look, show, scale });

  const kinds = {
    requests: { title: "Requests", lines: [
      line("requests", "answered", "main", rate), line("failed", "failed", "bad", rate)] },
    latency: { title: "Latency of requests", lines: [
      line("p99", "p99", "main", milli), line("p50", "p50", "third", milli)] },
    lane: { lines: [
      line("took", "transaction p99", "main", milli), line("wait", "wait p99", "second", milli),
      line("batch", "per batch", "third", plain, "batch")] },
  };
  const at = [];
  const charts = new Map();
  const resolved = (name) => {  // light-dark() as the one of the two that is on
    const probe = place.appendChild(document.createElement("i"));
    probe.style.color = `var(${name})`;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  class Chart {
    constructor(kind, title) {
      this.lines = kinds[kind].lines;
      this.columns = this.lines.map(() => []);
      this.card = document.createElement("section");
      this.card.className = "card chart c6";
      const heading = this.card.appendChild(document.createElement("h3"));
      heading.textContent = kinds[kind].title || title;
      const legend = this.card.appendChild(document.createElement("p"));
      legend.className = "legend";
      this.values = this.lines.map((each) => {
        const item = legend.appendChild(document.createElement("span"));
        item.append(sample(each.look), `${each.label} `);
        return item.appendChild(document.createElement("b"));
      });
      this.box = this.card.appendChild(document.createElement("div"));
      this.box.className = "plot";
      this.box.setAttribute("role", "img");
      this.box.setAttribute("aria-label", `Chart of ${heading.textContent}: ${this.lines.map((each) => each.label).join(", ")}`);
      place.append(this.card);
    }

    draw() {
      const width = this.box.clientWidth;
      if (!width) return;
      if (this.plot) this.plot.destroy();
      const soft = resolved("--soft"), grid = resolved("--line");
      const axis = { stroke: soft, font: "11px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { show: false } };
      const shown = (show) => (_, splits) => splits.map((value) => value === null ? "" : show(Number(value.toPrecision(6))));
      const own = this.lines[0].show;
      const axes = [
        { ...axis, grid: { show: false }, space: 60, size: 22, incrs: [60, 120, 300, 600, 900, 1800], values: "{HH}:{mm}" },
        { ...axis, scale: "y", size: 52, space: 30, values: shown(own) },
      ];
      const twoSided = this.lines.some((each) => each.scale === "batch");
      if (twoSided) axes.push({ ...axis, scale: "batch", side: 1, size: 36, space: 30, grid: { show: false }, values: shown(plain) });
      const range = (_, least, most) => [0, most > 0 ? most * 1.1 : 1];
      this.plot = new uPlot({
        width, height: this.box.clientHeight, legend: { show: false }, tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "UTC"),
        cursor: { y: false, drag: { setScale: false }, points: { size: 6 }, sync: { key: "overview" } },
        scales: { x: { range: () => [Math.max(at.at(-1) - span, Math.min(at[0], at.at(-1) - 60)), at.at(-1)] }, y: { range }, batch: { range } },
        axes,
        series: [{}, ...this.lines.map((each) => ({
          label: each.label, scale: each.scale, stroke: resolved(looks[each.look][0]), dash: looks[each.look][1],
          width: 1.5, points: { size: 4 }, spanGaps: false }))],
        hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
      }, [at, ...this.columns], this.box);
      this.tell(null);
    }

    renew() {
      if (this.plot) this.plot.setData([at, ...this.columns]); else this.draw();
      this.tell(null);
    }

    // Tell the values at the pointer, else the last ones.
    tell(index) {
      const shown = index ?? at.length - 1;
      this.lines.forEach((each, number) => {
        const value = this.columns[number][shown];
        this.values[number].textContent = value == null ? "–" : each.show(value);
      });
    }
  }

  const sample = (look) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 18 8");
    svg.setAttribute("aria-hidden", "true");
    const path = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    path.setAttribute("d", "M0 4H18");
    path.setAttribute("stroke", `var(${looks[look][0]})`);
    path.setAttribute("stroke-width", "2");
    path.setAttribute("stroke-dasharray", looks[look][1].join(" "));
    return svg;
  };

  const take = (name, kind, columns, count) => {
    let chart = charts.get(name);
    if (!chart) {
      chart = new Chart(kind, name);
      chart.columns.forEach((column) => { column.length = at.length - count; column.fill(null); });
      charts.set(name, chart);
    }
    chart.lines.forEach((each, number) => {
      chart.columns[number].push(...(columns ? columns[each.key] : Array(count).fill(null)));
    });
  };

  const isLane = (name) => name !== "requests" && name !== "latency";

  const draw = (detail) => {
    const count = detail.at.length;
    at.push(...detail.at);
    take("requests", "requests", detail.requests, count);
    take("latency", "latency", detail.latency, count);
    for (const name of new Set([...charts.keys(), ...Object.keys(detail.lanes)])) {
      if (isLane(name)) take(name, "lane", detail.lanes[name], count);
    }
    const old = at.findIndex((time) => time >= at.at(-1) - span);
    at.splice(0, old);
    for (const [name, chart] of charts) {
      chart.columns.forEach((column) => column.splice(0, old));
      const isIdle = isLane(name) && chart.columns.every((column) => column.every((value) => value === null));
      if (isIdle) { chart.card.remove(); charts.delete(name); } else chart.renew();
    }
  };

  // The button to pause is as the visitor has left it.
  const callbacks = { beforeNodeMorphed: (node) => !(node.matches && node.matches("[data-pause]")) };
  const replace = (html) => {
    const made = document.createRange().createContextualFragment(html).firstElementChild;
    const shown = document.getElementById(made.id);
    const known = new Set([...shown.querySelectorAll("li[id]")].map((each) => each.id));
    Idiomorph.morph(shown, made, { callbacks });
    for (const each of shown.querySelectorAll("li[id]")) {
      if (known.size && !known.has(each.id)) each.classList.add("fresh");
    }
  };

  source.addEventListener("stream", ({ detail: stream }) => {
    const listen = (kind, take) => stream.addEventListener(kind, (message) => {
      source.dataset.last = message.lastEventId;
      take(message.data);
    });
    listen("part", replace);
    listen("points", (data) => { draw(JSON.parse(data)); });
  });

  const redraw = () => charts.forEach((chart) => chart.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width) return;
    width = place.clientWidth;
    redraw();
  }).observe(place);
})();
