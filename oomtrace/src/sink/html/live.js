// Of a page that a running oomtrace serves: what is new comes by itself, and replaces what stood there.
(() => {
  'use strict';
  const by = (id) => document.getElementById(id);
  const [list, state] = ['incidents', 'live'].map(by);
  const parsed = (html) => {
    const template = document.createElement('template');
    template.innerHTML = html;
    return [...template.content.children];
  };
  const changed = (parts) => document.dispatchEvent(new CustomEvent('report', { detail: parts }));
  const incident = (id) => [...list.children].find((known) => known.id === id);

  let fresh = [];
  const take = ({ data }) => {
    const [one] = parsed(data);
    const old = incident(one.id);
    if (old) {
      const focused = old.contains(document.activeElement);
      one.open = old.open;
      old.replaceWith(one);
      if (focused) one.querySelector('summary').focus();
    } else {
      list.append(one);
    }
    fresh.push(one);
  };
  const summarise = ({ data }) => {
    const { incidents, html } = JSON.parse(data);
    const known = new Set(incidents);
    for (const old of [...list.children]) if (!known.has(old.id)) old.remove();
    const searched = document.activeElement?.dataset.search;
    for (const part of parsed(html)) {
      const old = by(part.id);
      if (part instanceof HTMLSelectElement) {
        const chosen = old.value;
        if (!old.isEqualNode(part)) old.replaceChildren(...part.children);
        old.value = chosen;
        if (old.selectedIndex < 0) old.value = '';
      } else {
        old.replaceWith(part);
        fresh.push(part);
      }
    }
    document.title = by('about').querySelector('h1').textContent;
    changed(fresh);
    fresh = [];
    const buttons = [...document.querySelectorAll('button[data-search]')];
    if (searched !== undefined) buttons.find((button) => button.dataset.search === searched)?.focus();
  };

  const source = new EventSource(`events?since=${document.body.dataset.version}`);
  source.addEventListener('incident', take);
  source.addEventListener('summary', summarise);
  source.addEventListener('open', () => {
    state.textContent = 'Live: incidents appear as they come.';
  });
  source.addEventListener('error', () => {
    const gone = source.readyState === EventSource.CLOSED;
    state.textContent = gone ? 'oomtrace refuses: load the page again.' : 'oomtrace does not answer; it is tried again.';
  });
})();
