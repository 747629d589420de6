// The page: its WebSocket, its controls, its numbers. Telemetry comes in bytes, seconds and bits per second.

import { Chart } from "./chart.js";

const KEPT = 62; // seconds of samples
const $ = (id) => document.getElementById(id);
const mbits = (bytes) => (bytes === undefined ? null : (bytes * 8) / 1e6);
const kib = (bytes) => (bytes == null ? null : bytes / 1024);
const ms = (seconds) => (seconds ? seconds * 1000 : null);
const text = (value, digits) => (value === null ? "–" : value.toFixed(digits));

const again = { name: "sent again", colour: "--red", of: (s) => s.retransmitted };
const charts = {
  goodput: new Chart($("goodput"), {
    title: "Goodput", unit: "Mbit/s", digits: 1, ticks: again, labels: true,
    series: [
      { name: "goodput", colour: "--blue", fill: true, of: (s) => mbits(s.goodput) },
      { name: "rate of the link", colour: "--muted", dashed: true, of: (s) => s.rate / 1e6 },
    ],
  }),
  cwnd: new Chart($("cwnd"), {
    title: "Congestion window", unit: "KiB", digits: 0, ticks: again,
    series: [
      { name: "cwnd", colour: "--blue", of: (s) => kib(s.cwnd) },
      { name: "in flight", colour: "--teal", thin: true, of: (s) => kib(s.pipe) },
      { name: "ssthresh", colour: "--amber", dashed: true, of: (s) => kib(s.ssthresh) },
    ],
  }),
  rtt: new Chart($("rtt"), {
    title: "Round-trip time", unit: "ms", digits: 0,
    series: [
      { name: "smoothed", colour: "--blue", of: (s) => ms(s.rtt) },
      { name: "delay of the link", colour: "--muted", dashed: true, of: (s) => s.delay * 2000 },
    ],
  }),
};

// what came

let samples = [], changes = [], pointer = null, drawing = false;

function receive({ samples: fresh, connections, running }) {
  for (const sample of fresh) {
    noteChanges(samples.at(-1), sample);
    samples.push(sample);
  }
  const oldest = samples.at(-1)?.t1 - KEPT;
  samples = samples.filter((sample) => sample.t1 > oldest);
  changes = changes.filter(({ t }) => t > oldest);
  showConnections(connections);
  showControls(samples.at(-1), running);
  showNow();
  redraw();
}

function noteChanges(before, { t1, loss, delay, rate }) {
  if (!before) return;
  const changed = Object.entries({ loss, delay, rate }).filter(([name, value]) => before[name] !== value);
  if (changed.length) changes.push({ t: t1, text: changed.map(([name, value]) => `${name} ${controls[name].text(value)}`).join(", ") });
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const at = pointer && pointer.chart.timeAt(pointer.x);
    for (const chart of Object.values(charts)) chart.draw(samples, changes, at);
  });
}

function showNow() {
  const last = samples.at(-1);
  if (!last) return;
  const second = samples.slice(-4).filter((s) => s.goodput !== undefined);
  const goodput = second.length ? mbits(second.reduce((sum, s) => sum + s.goodput, 0) / second.length) : null;
  $("now-goodput").textContent = text(goodput, 1);
  $("now-share").textContent = goodput === null ? "no transfer" : `${((goodput * 1e8) / last.rate).toFixed(0)} % of the link's rate`;
  $("now-cwnd").textContent = text(kib(last.cwnd), 0);
  $("now-phase").textContent = phase(last);
  $("now-rtt").textContent = text(ms(last.rtt), 0);
  const queueing = ms(last.rtt) - last.delay * 2000;
  $("now-queueing").textContent = last.rtt ? `${Math.max(queueing, 0).toFixed(0)} ms of it in queues` : "\u00a0";
  $("now-again").textContent = samples.reduce((sum, s) => sum + (s.retransmitted ?? 0), 0);
}

function phase({ phase, cwnd, ssthresh }) {
  if (!phase) return "\u00a0";
  if (phase === "recovery") return "recovering from a loss";
  if (phase === "loss") return "after a time-out";
  return ssthresh === null || cwnd < ssthresh ? "slow start" : "congestion avoidance";
}

const rows = new Map();
function showConnections(connections) {
  const seen = new Set();
  for (const one of connections) {
    const key = `${one.local} ${one.remote}`;
    seen.add(key);
    if (!rows.has(key)) rows.set(key, $("connections").insertRow(one.link === "faulty" ? 0 : -1));
    const row = rows.get(key);
    row.className = one.link;
    [one.link, one.remote, one.local, one.state, one.phase, text(kib(one.cwnd), 0), text(kib(one.ssthresh), 0),
      text(kib(one.pipe), 0), text(ms(one.rtt), 1), one.retransmits, (one.acked / 1e6).toFixed(1),
    ].forEach((value, i) => {
      const cell = row.cells[i] ?? row.insertCell();
      if (cell.textContent !== String(value)) cell.textContent = value;
    });
  }
  for (const [key, row] of rows) {
    if (!seen.has(key)) {
      row.remove();
      rows.delete(key);
    }
  }
}

// what is asked for

const controls = {
  loss: { steps: [0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2], text: (v) => `${+(v * 100).toFixed(3)} %` },
  delay: { steps: [0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2], text: (v) => `${+(v * 1000).toFixed(1)} ms` },
  rate: { steps: [0.5, 1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50].map((mbit) => mbit * 1e6), text: (v) => `${+(v / 1e6).toFixed(2)} Mbit/s` },
};
const DEFAULTS = { loss: 0.0002, delay: 0.02, rate: 20e6 };
let touched = -Infinity; // when a slider was last moved: until the answer is here, it knows better

for (const [name, control] of Object.entries(controls)) {
  control.input = $(name);
  control.output = document.querySelector(`output[for=${name}]`);
  control.input.max = control.steps.length - 1;
  control.input.addEventListener("input", () => {
    touched = performance.now();
    const value = control.steps[control.input.value];
    show(control, value);
    send({ [name]: value });
  });
}

function show(control, value) {
  control.output.value = control.text(value);
  control.input.setAttribute("aria-valuetext", control.text(value));
}

function showControls(sample, running) {
  $("toggle").textContent = running ? "Stop" : "Start";
  $("restart").disabled = !running;
  if (!sample || performance.now() - touched < 1000) return;
  for (const [name, control] of Object.entries(controls)) {
    const distance = (step) => Math.abs(step - sample[name]);
    const nearest = control.steps.reduce((best, step) => (distance(step) < distance(best) ? step : best));
    control.input.value = control.steps.indexOf(nearest);
    show(control, sample[name]);
  }
}

$("toggle").addEventListener("click", () => send({ transfer: $("toggle").textContent.toLowerCase() }));
$("restart").addEventListener("click", () => send({ transfer: "restart" }));
$("defaults").addEventListener("click", () => send(DEFAULTS));

for (const chart of Object.values(charts)) {
  const point = (x) => {
    pointer = x === null ? null : { chart, x };
    redraw();
  };
  chart.canvas.addEventListener("pointermove", (event) => point(event.offsetX));
  chart.canvas.addEventListener("pointerleave", () => point(null));
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// the WebSocket

let socket, wait = 500;

function connect() {
  status("connecting", "connecting");
  socket = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
  socket.addEventListener("open", () => {
    status("live", "live");
    samples = [];
    changes = [];
    wait = 500;
  });
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    status("lost", `lost, again in ${Math.ceil(wait / 1000)} s`);
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 5000);
  });
}

function status(state, words) {
  $("status").dataset.state = state;
  $("status").textContent = words;
  $("controls").inert = state !== "live";
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

window.charts = charts; // for a look at what is drawn, from the console or a test
connect();
