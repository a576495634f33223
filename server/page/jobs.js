// jobs.js - work that outlives its request: check, compact, optimize, backup; with its progress.

import {badge, button, empty, failure, h, link, loading, say, show} from './dom.js';
import {count, moment, plural, seconds, size} from './bytes.js';
import * as api from './api.js';

const STATES = {running: ['running', 'live'], done: ['done', 'good'], failed: ['failed', 'bad'], cancelled: ['stopped', '']};

// What came of it, in a sentence.
function outcome(job) {
  const r = job.result;
  if (!r) return job.file || '';
  return [`${plural(r.records, 'key')}, ${size(r.bytes_before)} became ${size(r.bytes_after)}`, job.file && `in ${job.file}`,
    r.frozen_keys > 0 && `${count(r.frozen_keys)} keys in a perfect hash of ${r.perfect_bits.toFixed(2)} bits each`, r.note].filter(Boolean).join('; ');
}

function jobNode(job, stop) {
  const [text, kind] = job.state === 'done' && job.success === false ? ['problems found', 'bad'] : STATES[job.state] || [job.state, ''];
  const share = job.total > 0 ? job.done / job.total : null, taken = ((job.finished_at || Date.now()) - job.started_at) / 1000;
  const meter = h('progress', {'aria-label': `${job.kind} of ${job.store}`, max: 1, ...(share === null ? {} : {value: share})});
  return h('li', {class: 'job'},
    h('div', {class: 'row'},
      h('span', {}, h('strong', {}, job.kind), ' of ', link(job.store, `#/stores/${job.store}/manage`, {class: 'mono'})), badge(text, kind)),
    job.state === 'running' && h('div', {class: 'row meter'}, meter, job.kind !== 'check' && button('Stop', () => stop(job.id), {'aria-label': `Stop the ${job.kind} of ${job.store}`})),
    h('p', {class: 'faint'}, `${moment(job.started_at)} · ${taken < 1 ? 'under a second' : seconds(taken)}`, job.state === 'running' && share !== null && ` · ${job.phase || ''} ${Math.floor(share * 100)} %`),
    outcome(job) && h('p', {class: 'faint'}, outcome(job)),
    job.detail && h('p', {}, job.detail),
    job.report?.length > 0 && h('details', {}, h('summary', {}, plural(job.problems, 'problem')),
      h('ul', {}, job.report.map(one => h('li', {}, `at ${one.offset}: ${one.sentence}`)))));
}

// A list of jobs that keeps itself current.  Returns a function that asks again now.
export function jobList(place, store, signal) {
  let drawn = null, running = false, ticks = 0;
  async function refresh() {
    let jobs;
    try {
      jobs = await api.json('GET', 'jobs', {signal});
    } catch (problem) {
      if (problem.name === 'AbortError' || drawn === problem.code) return;      // said once
      drawn = problem.code;
      running = false;
      show(place, failure(problem, () => { drawn = null; refresh(); }));
      return;
    }
    jobs = jobs.filter(job => !store || job.store === store).reverse();
    running = jobs.some(job => job.state === 'running');
    const text = JSON.stringify(jobs) + (running ? Date.now() : '');
    if (text === drawn) return;
    const open = [...place.querySelectorAll('details')].map(d => d.open);
    drawn = text;
    show(place, jobs.length ? h('ul', {class: 'jobs'}, jobs.map(job => jobNode(job, stop)))
      : empty('No jobs', h('p', {}, store ? 'Long work on this store is listed here, with its progress.' : 'Checks, compactions, optimizations and backups are listed here, with their progress. Start one on a store’s Manage page.')));
    [...place.querySelectorAll('details')].forEach((d, i) => { d.open = open[i] || false; });
  }
  async function stop(id) {
    try { await api.request('DELETE', `jobs/${id}`); } catch (problem) { say(problem.message); }
    refresh();
  }
  show(place, loading());
  // Each second while something runs, else now and then.
  api.repeat(1000, signal, async () => { if (running || ticks++ % 5 === 0) await refresh(); });
  return () => { drawn = null; return refresh(); };
}

export function jobsView(place, route, signal) {
  const list = h('div');
  show(place, h('h1', {}, 'Jobs'), list);
  jobList(list, null, signal);
}
