// A chart of the last minute on a canvas: lines over time, ticks where something happened, a legend with values.

const SECONDS = 60;
const GAP = 1.5; // seconds without a sample: the line breaks
const LEFT = 40, RIGHT = 8, TOP = 10, BOTTOM = 22;

export class Chart {
  // series: {name, colour (a CSS variable), dashed, thin, fill, of(sample)}; ticks: {name, colour, of(sample)}
  constructor(figure, { title, unit, digits, series, ticks, labels }) {
    Object.assign(this, { unit, digits, series, ticks, labels });
    this.caption = document.createElement("figcaption");
    this.caption.innerHTML = `<strong>${title}</strong><span>${unit}</span>`;
    this.values = series.map((one) => this.addKey(one));
    if (ticks) this.addKey({ ...ticks, className: "ticks" }).remove();
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.title = title;
    figure.append(this.caption, this.canvas);
    this.points = []; // what is drawn, a list for each series: {t0, t1, value}
    this.changes = [];
  }

  addKey({ name, colour, dashed, className = dashed ? "dashed" : "" }) {
    const key = document.createElement("span"), value = document.createElement("output");
    key.className = `key ${className}`;
    key.style.setProperty("--colour", `var(${colour})`);
    key.append(`${name} `, value);
    this.caption.append(key);
    return value;
  }

  // samples, oldest first; changes: [{t, text}]; at: the time that the pointer is at, or null
  draw(samples, changes, at) {
    if (!samples.length) return;
    this.end = samples.at(-1).t1;
    const shown = samples.filter((sample) => sample.t1 > this.end - SECONDS);
    this.points = this.series.map(({ of }) => shown.map((s) => ({ t0: s.t0, t1: s.t1, value: of(s) ?? null })));
    this.prepare();
    this.drawGrid();
    this.changes = changes.filter(({ t }) => t > this.end - SECONDS);
    this.drawChanges();
    this.series.forEach((one, i) => this.drawLine(one, this.points[i]));
    if (this.ticks) this.drawTicks(shown);
    this.drawPointer(shown, at);
  }

  prepare() {
    const { canvas } = this, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.style = getComputedStyle(document.documentElement);
    const context = (this.context = canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `11px ${this.style.fontFamily}`;
    context.lineJoin = "round";
    this.right = width - RIGHT;
    this.bottom = height - BOTTOM;
    const values = this.points.flat().map((point) => point.value ?? 0);
    this.step = niceStep(Math.max(...values, 1e-9) / (height > 160 ? 4 : 3));
    this.top = this.step * Math.ceil((Math.max(...values) * 1.04) / this.step) || this.step;
  }

  colour(name) { return this.style.getPropertyValue(name); }
  x(t) { return this.right - ((this.end - t) / SECONDS) * (this.right - LEFT); }
  y(value) { return this.bottom - (value / this.top) * (this.bottom - TOP); }
  timeAt(x) { return this.end - ((this.right - x) / (this.right - LEFT)) * SECONDS; }

  drawGrid() {
    const { context } = this;
    context.lineWidth = 1;
    context.strokeStyle = this.colour("--grid");
    context.fillStyle = this.colour("--muted");
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let value = 0; value <= this.top * 1.001; value += this.step) {
      const y = Math.round(this.y(value)) + 0.5;
      this.strokePath([[LEFT, y], [this.right, y]]);
      context.fillText(String(+value.toPrecision(6)), LEFT - 7, y);
    }
    const every = this.right - LEFT < 420 ? 20 : 10;
    context.textBaseline = "alphabetic";
    for (let ago = 0; ago <= SECONDS; ago += every) {
      context.textAlign = ago ? "center" : "right";
      context.fillText(ago ? `−${ago} s` : "now", this.x(this.end - ago), this.bottom + 16);
    }
  }

  drawChanges() {
    const { context } = this;
    context.textAlign = "left";
    context.textBaseline = "top";
    let free = -Infinity; // where the next label may begin
    for (const { t, text } of this.changes) {
      const x = Math.round(this.x(t)) + 0.5, width = context.measureText(text).width;
      if (x < LEFT) continue;
      context.strokeStyle = context.fillStyle = this.colour("--muted");
      context.globalAlpha = 0.55;
      context.setLineDash([1, 3]);
      this.strokePath([[x, TOP], [x, this.bottom]]);
      context.setLineDash([]);
      context.globalAlpha = 1;
      if (this.labels && x > free) {
        const start = Math.min(x + 4, this.right - width);
        context.fillText(text, start, 0);
        free = start + width + 8;
      }
    }
  }

  drawLine({ colour, dashed, thin, fill }, points) {
    const { context } = this;
    context.strokeStyle = context.fillStyle = this.colour(colour);
    context.lineWidth = dashed || thin ? 1.25 : 1.75;
    context.setLineDash(dashed ? [5, 4] : []);
    for (const run of runs(points)) {
      const path = run.map(({ t1, value }) => [this.x(t1), this.y(value)]);
      this.strokePath(path);
      if (!fill) continue;
      context.lineTo(path.at(-1)[0], this.bottom);
      context.lineTo(path[0][0], this.bottom);
      context.globalAlpha = 0.1;
      context.fill();
      context.globalAlpha = 1;
    }
    context.setLineDash([]);
  }

  drawTicks(samples) {
    const { context, ticks } = this;
    context.fillStyle = this.colour(ticks.colour);
    for (const sample of samples) {
      const count = ticks.of(sample);
      if (count) context.fillRect(this.x(sample.t1) - 1, this.bottom - 4 - Math.min(count, 12), 2, 4 + Math.min(count, 12));
    }
  }

  // The values in the legend: at the pointer, or the newest.
  drawPointer(samples, at) {
    const shown = at === null ? samples.length - 1 : nearest(samples, at);
    this.series.forEach((_, i) => {
      const value = this.points[i][shown].value;
      this.values[i].value = value === null ? "–" : value.toFixed(this.digits);
    });
    this.canvas.setAttribute("aria-label", `${this.title}: ${this.values[0].value} ${this.unit}`);
    if (at === null) return;
    const x = Math.round(this.x(samples[shown].t1)) + 0.5;
    this.context.lineWidth = 1;
    this.context.strokeStyle = this.colour("--muted");
    this.strokePath([[x, TOP], [x, this.bottom]]);
  }

  strokePath(path) {
    this.context.beginPath();
    path.forEach(([x, y]) => this.context.lineTo(x, y));
    this.context.stroke();
  }
}

// The stretches of points without a gap in time or value.
function* runs(points) {
  let run = [];
  for (const point of points) {
    if (run.length && (point.value === null || point.t1 - run.at(-1).t1 > GAP)) {
      yield run;
      run = [];
    }
    if (point.value !== null) run.push(point);
  }
  if (run.length) yield run;
}

function nearest(samples, t) {
  let best = 0;
  samples.forEach((sample, i) => {
    if (Math.abs(sample.t1 - t) < Math.abs(samples[best].t1 - t)) best = i;
  });
  return best;
}

// The smallest of 1, 2, 5, 10 ... that is not below `wanted`.
function niceStep(wanted) {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= wanted * 0.999);
}
