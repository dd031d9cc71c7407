// The live page: asks the same public API as everybody else, whenever the
// node says that something changed, and at least every two seconds.
'use strict';

const $ = (id) => document.getElementById(id);

async function getJSON(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(path + ': ' + answer.status + ' ' + (await answer.text()).slice(0, 200));
  return answer.json();
}

// query returns the rows as objects, or an empty list while the table does not exist yet.
async function query(sql) {
  const answer = await getJSON('/v1/query', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ query: sql }) });
  $('applied-index').textContent = 'answers as of log index ' + answer.index;
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((c, i) => [c.name, row[i]])));
}

function cell(text, className) {
  const td = document.createElement('td');
  if (className) td.className = className;
  if (text instanceof Node) td.append(text); else td.textContent = text ?? '–';
  return td;
}

function fill(tbody, rows, render) {
  tbody.replaceChildren(...rows.map((r) => {
    const tr = document.createElement('tr');
    tr.append(...render(r));
    return tr;
  }));
}

const clock = (stamp) => (stamp ? String(stamp).slice(11, 19) : '–');
// thousands keeps every digit: the number is text with commas.
const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ',');
// BEHIND is how many log entries a sink may lack before the page says so: less is what is on its way.
const BEHIND = 1000;
const percent = (v) => (v === null || v === undefined ? '–' : Math.round(Number(v) * 100) + ' %');

async function showFleet() {
  const [total] = await query('SELECT passengers, buses FROM fleet_now');
  if (total) {
    $('fleet-passengers').textContent = thousands(total.passengers ?? 0);
    $('fleet-buses').textContent = total.buses;
  }
  const buses = await query('SELECT bus_id, route, passengers, capacity, passengers / capacity AS load FROM bus_now ORDER BY load DESC, bus_id LIMIT 14');
  $('fleet-full').textContent = (await query('SELECT count(*) AS n FROM bus_now WHERE passengers >= capacity'))[0].n;
  $('buses').replaceChildren(...buses.map(busBar));
}

function busBar(b) {
  const row = document.createElement('div');
  row.className = 'bus';
  const load = Number(b.load);
  const track = document.createElement('div');
  track.className = 'track';
  const bar = document.createElement('div');
  bar.className = 'fill' + (load >= 1 ? ' bad' : load >= 0.8 ? ' warn' : '');
  bar.style.width = Math.min(100, load * 100) + '%';
  track.append(bar);
  const text = (value, className) => {
    const span = document.createElement('span');
    span.textContent = value;
    if (className) span.className = className;
    return span;
  };
  row.append(text(b.bus_id), text(b.route ?? '', 'soft'), track, text(b.passengers + ' / ' + b.capacity, 'right'));
  return row;
}

async function showRoutes() {
  const rows = await query('SELECT start, route, readings, passengers_max, passengers_avg, peak FROM route_load ORDER BY start DESC, peak DESC LIMIT 12');
  const windows = new Map((await query('SELECT start, state, agents_complete, agents_expected, missing FROM `route_load$windows` ORDER BY start DESC LIMIT 200')).map((w) => [w.start, w]));
  fill($('routes'), rows, (r) => [cell(clock(r.start)), cell(r.route), cell(r.readings, 'right'), cell(r.passengers_max, 'right'),
    cell(Number(r.passengers_avg).toFixed(1), 'right'), cell(percent(r.peak), 'right'), cell(completeness(windows.get(r.start)))]);
}

// completeness says in words whether a window can still change, and whose readings it lacks.
function completeness(w) {
  const span = document.createElement('span');
  if (!w || w.agents_expected === null || w.state === 'open') { span.textContent = '–'; return span; }
  const lacks = w.agents_expected - w.agents_complete;
  span.className = lacks === 0 ? 'soft' : 'lacks';
  span.textContent = w.agents_complete + ' of ' + w.agents_expected + (lacks === 0 ? '' : ', missing ' + w.missing);
  span.title = lacks === 0 ? 'Final: every agent has sent all its readings of this window.'
    : w.state === 'closed' ? 'Not complete, and too old to be corrected.' : 'Not complete yet: it is corrected when the missing agents have sent their readings.';
  return span;
}

// keyOf names what an alert is about: its labels without those that every alert of the rule has.
const keyOf = (labels) => Object.entries(labels).filter(([name]) => name !== 'alertname' && name !== 'severity').map(([, value]) => value).join(', ');

async function showAlerts() {
  const status = await getJSON('/v1/alerts');
  // What is over stays visible for a while; firing ones come first, but never crowd out the last to resolve.
  const over = (status.resolved ?? []).slice(0, 5);
  const alerts = status.alerts.slice(0, 14 - over.length).concat(over);
  $('alerts-count').textContent = ['firing', 'pending'].map((s) => status.alerts.filter((a) => a.state === s).length + ' ' + s).join(', ');
  $('alerts-empty').hidden = alerts.length > 0;
  fill($('alerts'), alerts, (a) => {
    const state = document.createElement('span');
    state.className = 'state ' + a.state;
    state.textContent = a.state;
    return [cell(state), cell(a.rule), cell(keyOf(a.by)), cell(clock(a.since)), cell(a.value, 'right')];
  });
}

async function showCluster() {
  const s = await getJSON('/v1/status');
  $('readings').textContent = thousands(s.readings.applied);
  fill($('nodes'), s.nodes, (n) => [cell(n.id), cell(n.leader ? 'leader' : n.reachable === false ? 'not reachable' : 'follower'), cell(n.address)]);
  fill($('sinks'), s.sinks, (k) => [cell(k.name), cell(k.scope), cell(k.error ? 'waiting, ' + k.lag + ' log entries behind: ' + k.error : k.lag > BEHIND ? 'catching up, ' + k.lag + ' log entries' : 'ok')]);
  fill($('agents'), s.agents, (a) => [cell(a.id), cell(a.standing), cell(thousands(a.applied), 'right'), cell(clock(a.last_seen)), cell(clock(a.low_water))]);
  $('complete').replaceChildren(...s.streams.map((x) => {
    const line = document.createElement('p');
    line.className = x.missing ? 'lacks' : 'soft';
    line.textContent = x.stream + ': results up to ' + clock(x.low_water) + ' from ' + x.agents_complete + ' of ' + x.agents_expected + ' agents' + (x.missing ? ', missing ' + x.missing : '');
    return line;
  }));
}

let running = false;
let again = false;

async function refresh() {
  if (running) { again = true; return; }
  running = true;
  const results = await Promise.allSettled([showFleet(), showRoutes(), showAlerts(), showCluster()]);
  const failed = results.find((r) => r.status === 'rejected');
  const line = $('connection');
  line.textContent = failed ? 'waiting: ' + failed.reason.message : 'live · ' + new Date().toISOString().slice(11, 19) + ' UTC';
  line.className = failed ? 'lost' : '';
  running = false;
  if (again) { again = false; setTimeout(refresh, 300); }
}

const events = new EventSource('/v1/events');
events.onmessage = refresh;
events.addEventListener('change', refresh);
setInterval(refresh, 2000);
refresh();
