// The dashboard's script. What comes from the proxy is written as text, never as markup.
"use strict";

const KEPT = 120; // seconds of history
const WINDOW = 10; // seconds that a rate or a percentile is taken over
const MOST_CELLS = 48; // slots drawn one by one; beyond that in groups
const history = [];
const $ = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}

// The state about `seconds` before a place in the history.
function before(place, seconds) {
  const until = history[place].at - seconds * 1000;
  let found = place;
  while (found > 0 && history[found].at > until) found -= 1;
  return history[found];
}

function laneOf(state, name) {
  return state.lanes.find((lane) => lane.name === name);
}

function rate(name, what, place = history.length - 1) {
  const now = history[place], then = before(place, WINDOW);
  const a = laneOf(then, name), b = laneOf(now, name);
  if (!a || !b || now.at <= then.at) return null;
  return ((b[what] - a[what]) * 1000) / (now.at - then.at);
}

// A percentile of what ended within the window, out of the histogram's growth.
function percentile(name, share, place = history.length - 1) {
  const now = history[place], then = before(place, WINDOW);
  const a = laneOf(then, name), b = laneOf(now, name);
  if (!a || !b) return null;
  const grown = b.buckets.map((count, index) => count - a.buckets[index]);
  const all = grown.reduce((sum, count) => sum + count, 0);
  if (all <= 0) return null;
  let passed = 0;
  for (let index = 0; index < grown.length; index += 1) {
    if (passed + grown[index] >= share * all) {
      const low = index === 0 ? 0 : now.bounds_us[index - 1];
      const high = now.bounds_us[index] === undefined ? low * 2 : now.bounds_us[index];
      return (low + (high - low) * ((share * all - passed) / grown[index])) / 1e6;
    }
    passed += grown[index];
  }
  return null;
}

// The lane that others yield to: the one with an objective, else the one that a throttle watches.
function protectedLane(state) {
  if (state.objectives.length) return state.objectives[0].lane;
  return state.throttles.length ? state.throttles[0].watch : state.lanes[0] && state.lanes[0].name;
}

function blockedNow(state, name) {
  const then = before(history.length - 1, WINDOW);
  return state.observed.blocked.filter((pair) => pair.blocked === name).map((pair) => {
    const old = then.observed.blocked.find((one) => one.blocker === pair.blocker && one.blocked === name);
    return { blocker: pair.blocker, seconds: pair.seconds - (old ? old.seconds : 0) };
  }).filter((pair) => pair.seconds > 0.05);
}

function verdict(state, name) {
  if (state.draining) return ["wait", "The proxy is ending: what runs finishes, nothing new begins."];
  if (state.upstream.state === "down") return ["bad", `PostgreSQL cannot be reached: ${state.upstream.why}`];
  if (state.out_of_sync > 0) return ["bad", "A server connection was closed out of sync: please report it."];
  const lane = laneOf(state, name);
  if (!lane) return ["wait", "There are no lanes."];
  const blocked = blockedNow(state, name);
  if (blocked.length) return ["bad", `${name} waits for locks of ${blocked.map((one) => one.blocker).join(", ")}.`];
  if (lane.waiting > 0 && lane.oldest_wait_s > 0.05) return ["wait", `${name} waits for slots: ${count(lane.waiting, "transaction")}, the oldest ${duration(lane.oldest_wait_s)}.`];
  const objective = state.objectives.find((one) => one.lane === name);
  const worst = objective && objective.ratios.find((one) => one.ratio !== null && one.ratio > one.target);
  const active = rate(name, "transactions") > 0 || lane.busy > 0;
  if (!active) return ["good", `${name} is at rest; everybody else has the database.`];
  if (worst) return ["wait", `${name} is disturbed: ${worst.ratio.toFixed(2)} times its quiet latency (target ${worst.target.toFixed(2)}).`];
  const held = state.throttles.filter((one) => one.active && one.watch === name).map((one) => one.lane);
  return ["good", `${name} runs undisturbed${held.length ? `; ${[...new Set(held)].join(" and ")} yield` : ""}.`];
}

function drawFacts(state) {
  const facts = [["slots", `${state.slots.in_use} of ${state.slots.total}`], ["sessions", state.sessions], ["waiting", state.waiting], ["PostgreSQL", state.upstream.state]];
  $("facts").replaceChildren(...facts.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", String(value)));
    return pair;
  }));
}

function drawProtected(state, name) {
  const objective = state.objectives.find((one) => one.lane === name);
  const figures = [[duration(percentile(name, 0.5)), "p50"], [duration(percentile(name, 0.95)), "p95"], [duration(percentile(name, 0.99)), "p99"]];
  for (const one of objective ? objective.ratios : []) {
    figures.push([one.ratio === null ? "–" : `${one.ratio.toFixed(2)}x`, `of its quiet p${one.quantile * 100 | 0}, target ${one.target.toFixed(2)}x`]);
  }
  if (objective) figures.push([objective.phase, objective.limit === null ? "nothing is held back" : `leaves others ${objective.limit.toFixed(1)} slots`]);
  const big = element("div", undefined, "big");
  for (const [value, label] of figures) {
    const box = element("div");
    box.append(element("b", value), document.createTextNode(label));
    big.append(box);
  }
  $("protected-title").textContent = name ? `The protected lane: ${name}` : "The protected lane";
  $("protected").replaceChildren(big);
  drawTrace(name);
}

function drawTrace(name) {
  const points = history.map((_, place) => percentile(name, 0.95, place));
  const known = points.filter((value) => value !== null);
  const svg = $("trace"), namespace = "http://www.w3.org/2000/svg";
  for (const old of [...svg.querySelectorAll("path, line")]) old.remove();
  svg.toggleAttribute("hidden", !known.length);
  if (!known.length) { $("trace-legend").textContent = "No transaction of it has ended yet."; return; }
  const most = Math.max(...known) * 1.1;
  const sorted = [...known].sort((a, b) => a - b), middle = sorted[sorted.length >> 1];
  let line = "", pen = "M";
  points.forEach((value, place) => {
    if (value === null) { pen = "M"; return; }
    line += `${pen}${((place + KEPT - history.length) * 600 / KEPT).toFixed(1)},${(118 - 112 * value / most).toFixed(1)}`;
    pen = "L";
  });
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", line);
  const usual = document.createElementNS(namespace, "line");
  for (const [key, value] of [["x1", 0], ["x2", 600], ["y1", 118 - 112 * middle / most], ["y2", 118 - 112 * middle / most]]) usual.setAttribute(key, value);
  svg.append(usual, path);
  $("trace-legend").textContent = `p95 of the last two minutes; dashed: its middle, ${duration(middle)}; top: ${duration(most)}`;
}

function cells(lane) {
  const group = Math.max(1, Math.ceil(lane.max / MOST_CELLS));
  const box = element("div", undefined, "slots");
  const busy = lane.busy, opening = lane.opening, idle = lane.idle;
  const words = [`${busy} in use`];
  if (busy > lane.min) words.push(`${busy - lane.min} of them borrowed`);
  if (opening) words.push(`${opening} opening`);
  if (idle) words.push(`${idle} idle`);
  words.push(lane.effective < lane.max ? `${lane.effective} allowed now of ${lane.max}` : `of ${lane.max}`);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", words.join(", "));
  box.title = words.join(", ") + (group > 1 ? ` (a square is ${group} slots)` : "");
  for (let slot = 0; slot < lane.max; slot += group) {
    let kind = slot >= lane.effective ? "closed" : "free";
    if (slot < busy) kind = slot < lane.min ? "own" : "borrowed";
    else if (slot < busy + opening) kind = "opening";
    else if (slot < busy + opening + idle && kind !== "closed") kind = "idle";
    box.append(element("span", undefined, `slot ${kind}`));
  }
  return box;
}

function drawLanes(state) {
  redraw($("lanes"), state.lanes.map((lane) => {
    const row = element("div", undefined, "lane"), head = element("div"), figures = element("div", undefined, "figures");
    head.append(element("h3", lane.name));
    const notes = [count(lane.sessions, "session")];
    if (lane.paused) notes.push("paused");
    if (lane.mode !== "enforce") notes.push(`mode: ${lane.mode}`);
    if (lane.leases) notes.push(count(lane.leases, "lease"));
    for (const [reason, count] of Object.entries(lane.pinned)) notes.push(`${count} pinned: ${reason}`);
    head.append(element("small", notes.join(" · ")));
    const speed = rate(lane.name, "transactions");
    figures.append(element("div", `${speed === null ? "–" : speed.toFixed(speed < 10 ? 1 : 0)}/s · p95 ${duration(percentile(lane.name, 0.95))}`));
    if (lane.waiting) figures.append(element("div", `${lane.waiting} waiting, ${duration(lane.oldest_wait_s)}`, "queue"));
    if (lane.throttled_by.length) figures.append(element("div", `held back: ${lane.throttled_by.join("; ")}`, "legend"));
    if (lane.rejected) figures.append(element("div", `${lane.rejected} turned away`, "legend"));
    const verb = lane.paused ? "resume" : "pause";
    const button = act(verb === "pause" ? "Pause" : "Resume", `/lanes/${encodeURIComponent(lane.name)}/${verb}`, `${verb} ${lane.name}`);
    button.classList.add("acting");
    head.append(document.createElement("br"), button);
    row.append(head, cells(lane), figures);
    return row;
  }));
}

// What is drawn anew every second must not take the keyboard's focus with it.
function redraw(box, rows) {
  const focused = document.activeElement && box.contains(document.activeElement) ? document.activeElement.dataset.what : null;
  box.replaceChildren(...rows);
  if (focused) for (const button of box.querySelectorAll("button")) if (button.dataset.what === focused) button.focus();
}

// A button that asks the proxy for something, with the token.
function act(label, path, what) {
  const button = element("button", label, "small");
  button.type = "button";
  button.dataset.what = what;
  button.setAttribute("aria-label", what);
  button.addEventListener("click", () => post(path, undefined, `Done: ${what}.`));
  return button;
}

async function post(path, body, done) {
  const answer = $("answer");
  try {
    const got = await fetch(path, { method: "POST", body, headers: { "authorization": `Bearer ${$("token").value}`, "content-type": "application/json" } });
    const told = await got.json();
    answer.textContent = got.ok ? done : told.error || told.reason || `Refused (${got.status}).`;
  } catch (error) {
    answer.textContent = `The proxy does not answer: ${error.message}`;
  }
}

function drawSessions(state) {
  redraw($("sessions"), state.clients.map((one) => {
    const row = element("tr");
    const does = one.for_s === null ? one.state : `${one.state} for ${duration(one.for_s)}`;
    for (const text of [one.application_name || "(no name)", `${one.user}, ${one.database}`, one.lane, one.rule || "(default)", does.replaceAll("_", " "), one.pins.join(", ")]) row.append(element("td", text));
    const cell = element("td", undefined, "acting");
    if (one.state !== "idle") cell.append(act("Cancel", `/sessions/${one.id}/cancel`, `cancel what session ${one.id} runs`));
    row.append(cell);
    return row;
  }));
}

function drawThrottles(state) {
  const rows = state.throttles.map((one) => {
    const row = element("li");
    row.append(element("span", one.active ? "holds back" : "open", one.active ? "tag on" : "tag"), document.createTextNode(one.name));
    const left = one.limit === null ? "" : `, leaves ${one.limit} slots`;
    row.append(element("div", `${one.lane} yields to ${one.watch}${one.active ? left : ""}; ${one.held_back} kept waiting, ${one.cancels} cancelled${one.mode === "enforce" ? "" : ` (${one.mode})`}`, "legend"));
    return row;
  });
  $("throttles").replaceChildren(...(rows.length ? rows : [element("li", "No throttles.")]));
}

// What gets worse, and what to do: those that have lasted first, then those that are watched.
function drawWarnings(state) {
  const words = (one) => one.fires ? one.severity : "watched";
  const shape = state.warnings.map((one) => `${words(one)} ${one.name} ${one.says}`).join("\n");
  const fires = state.warnings.filter((one) => one.fires).length;
  $("warnings-title").textContent = fires ? `Warnings (${fires})` : "Warnings";
  // A list that is drawn anew is read out anew.
  if (drawWarnings.last === shape) return;
  drawWarnings.last = shape;
  const rows = state.warnings.map((one) => {
    const row = element("li"), kind = !one.fires ? "tag" : one.severity === "info" ? "tag on" : "tag bad";
    row.append(element("span", words(one), kind), element("b", one.says));
    row.append(element("div", `${one.do} (alert ${one.name})`, "legend"));
    return row;
  });
  $("warnings").replaceChildren(...(rows.length ? rows : [element("li", "Nothing gets worse.")]));
}

function drawRound(state) {
  const rows = [];
  const add = (tag, bad, text) => { const row = element("li"); row.append(element("span", tag, bad ? "tag bad" : "tag"), document.createTextNode(text)); rows.push(row); };
  if (!state.observed.seen) add("unseen", false, "PostgreSQL's own view is not looked at (observe).");
  for (const one of state.observed.direct) add("past the proxy", true, `${one.application_name || "(no name)"} as ${one.user}: ${one.connections} connections, ${one.busy} busy; would be in ${one.lane}`);
  for (const one of state.observed.blocked) add("locks", false, `${one.blocked} has waited ${duration(one.seconds)} for ${one.blocker}`);
  if (state.observed.autovacuum) add("autovacuum", false, `${state.observed.autovacuum} workers`);
  if (state.observed.checkpoint) add("checkpoint", false, "is being written");
  if (!rows.length) add("quiet", false, "Nobody connects past the proxy, and no lane waits for another's locks.");
  $("round").replaceChildren(...rows);
}

function drawEvents(state) {
  const latest = state.events[0], shape = latest && `${latest.number} ${latest.times}`;
  if (drawEvents.last === shape) return;
  drawEvents.last = shape;
  const rows = state.events.map((event) => {
    const row = element("tr");
    row.append(element("td", new Date(event.at).toLocaleTimeString()), element("td", event.kind.replaceAll("_", " ")), element("td", event.lane || ""), element("td", event.times > 1 ? `${event.detail} (${event.times} times)` : event.detail));
    return row;
  });
  $("events").replaceChildren(...rows);
}

function drawLeaseLanes(state) {
  const names = state.lanes.map((lane) => lane.name), select = $("lease-lane");
  if ([...select.options].map((option) => option.value).join("\n") === names.join("\n")) return;
  select.replaceChildren(...names.map((name) => element("option", name)));
}

function draw(state) {
  // A proxy that was started anew counts from zero.
  if (history.length && state.lanes.some((lane) => { const old = laneOf(history[history.length - 1], lane.name); return old && lane.transactions < old.transactions; })) history.length = 0;
  history.push(state);
  if (history.length > KEPT) history.shift();
  const name = protectedLane(state);
  const [kind, words] = verdict(state, name);
  const shown = $("verdict");
  if (shown.textContent !== words) shown.textContent = words;
  shown.className = kind;
  document.title = `${kind === "good" ? "" : "! "}pglanes`;
  drawFacts(state); drawProtected(state, name); drawLanes(state); drawThrottles(state); drawWarnings(state); drawRound(state); drawEvents(state); drawLeaseLanes(state); drawSessions(state);
}

$("lease").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const form = new FormData(submitted.target);
  const body = JSON.stringify({ lane: form.get("lane"), holder: "dashboard", ttl_seconds: 60 * Number(form.get("minutes")) });
  post("/leases", body, `Taken: it ends by itself after ${form.get("minutes")} minutes.`);
});
$("token").addEventListener("input", () => document.body.classList.toggle("armed", $("token").value !== ""));

const stream = new EventSource("/stream");
stream.addEventListener("message", (message) => draw(JSON.parse(message.data)));
stream.addEventListener("stuck", () => { $("verdict").className = "bad"; $("verdict").textContent = "The data path does not answer."; });
stream.addEventListener("error", () => { if (stream.readyState !== EventSource.OPEN && history.length && Date.now() - history[history.length - 1].at > 5000) { $("verdict").className = "bad"; $("verdict").textContent = "The proxy does not answer; trying again."; } });
