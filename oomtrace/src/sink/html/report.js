// What a page of many incidents needs: search, filters, an order, times of the reader's own zone. Without it all of the page is
// there to be read, in the order of time. Parts of a page that is live may be replaced at any time: a `report` event says which.
(() => {
  'use strict';
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const by = (id) => document.getElementById(id);
  const list = by('incidents');
  const incidents = () => all('details.incident', list);

  const local = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });
  const localize = (within) => {
    for (const time of all('time[datetime]', within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      time.title = local.format(at);
      if (time.closest('table')) continue;
      const own = document.createElement('span');
      own.className = 'local';
      own.textContent = local.format(at);
      time.after(' ', own);
    }
  };
  localize(document);

  const open = () => {
    const named = by(decodeURIComponent(location.hash.slice(1)));
    if (named instanceof HTMLDetailsElement) {
      named.open = true;
      named.scrollIntoView();
    }
  };
  addEventListener('hashchange', open);
  open();

  let closed = [];
  addEventListener('beforeprint', () => {
    closed = incidents().filter((incident) => !incident.open);
    for (const incident of closed) incident.open = true;
  });
  addEventListener('afterprint', () => {
    for (const incident of closed) incident.open = false;
  });

  const controls = by('controls');
  if (!controls) return;
  controls.hidden = false;
  const [search, scenario, severity, order, shown] = ['search', 'scenario', 'severity', 'order', 'shown'].map(by);
  // Of a large page that takes a moment: not before somebody searches.
  const texts = new WeakMap();
  const text = (incident) => {
    if (!texts.has(incident)) texts.set(incident, incident.textContent.toLowerCase());
    return texts.get(incident);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const known = incidents();
    let count = 0;
    for (const incident of known) {
      const { scenario: its, severity: about } = incident.dataset;
      const matches = (!scenario.value || its === scenario.value) && (!severity.value || about === severity.value)
        && words.every((word) => text(incident).includes(word));
      incident.hidden = !matches;
      count += matches;
    }
    const said = count === known.length ? `${count} shown` : `${count} of ${known.length} shown`;
    if (shown.textContent !== said) shown.textContent = said;
  };
  // By id: an incident that is replaced keeps its place.
  const positions = new Map();
  let next = 0;
  const place = () => {
    for (const { id } of incidents()) if (!positions.has(id)) positions.set(id, next++);
  };
  const position = (incident) => positions.get(incident.id);
  const orders = {
    time: () => 0,
    latest: (a, b) => position(b) - position(a),
    kills: (a, b) => b.dataset.kills - a.dataset.kills,
    workload: (a, b) => a.dataset.workload.localeCompare(b.dataset.workload),
  };
  const sort = () => {
    const known = incidents();
    const sorted = [...known].sort((a, b) => orders[order.value](a, b) || position(a) - position(b));
    // What is moved loses the focus.
    if (sorted.some((incident, index) => incident !== known[index])) list.append(...sorted);
  };
  for (const control of [search, scenario, severity]) control.addEventListener('input', filter);
  order.addEventListener('input', sort);
  by('all').addEventListener('click', () => {
    const visible = incidents().filter((incident) => !incident.hidden);
    const unfold = visible.some((incident) => !incident.open);
    for (const incident of visible) incident.open = unfold;
  });
  const enable = (within) => {
    for (const button of all('button[data-search]', within)) button.disabled = false;
  };
  enable(document);
  document.addEventListener('click', ({ target }) => {
    const button = target.closest('button[data-search]');
    if (!button) return;
    search.value = button.dataset.search;
    filter();
    controls.scrollIntoView();
    search.focus();
  });
  addEventListener('keydown', (event) => {
    if (event.key === '/' && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      search.focus();
    }
  });
  document.addEventListener('report', ({ detail }) => {
    for (const part of detail) {
      localize(part);
      enable(part);
    }
    place();
    filter();
    sort();
  });
  place();
  filter();
})();
