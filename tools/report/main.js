// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// The page: filters, theme, and drawing again when either changes.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const page = {
    runs: data.runs,
    charts: data.charts,
    policyLabels: format.labels(data.runs.map((run) => run.policy)),
    traceLabels: format.labels(data.runs.map((run) => run.trace)),
    columns: table.runColumns,
    errorFrom: 'requests',
    errorWord: 'failed',
    sort: {key: null, descending: false},
    filter: {},
  };

  const filters = [
    {key: 'trace', title: 'Trace', show: (value) => page.traceLabels.get(value)},
    {key: 'ceiling_bytes', title: 'Ceiling', show: (value) => format.bytes(value)},
    {key: 'load', title: 'Load', show: (value) => `${format.short(value)}x`},
    {key: 'seed', title: 'Seed', show: String},
  ];
  const valuesOf = (key) => [...new Set(page.runs.map((run) => run[key]))];

  // Positions of the runs that pass the filters, but for those of `except`.
  function selected(except = []) {
    const all = page.runs.map((_, index) => index);
    return all.filter((index) => filters.every(
        ({key}) => except.includes(key) || !(key in page.filter) ||
            page.runs[index][key] === page.filter[key]));
  }
  const finished = (indices) =>
      indices.filter((index) => page.runs[index].error === undefined);

  const cards = [
    {
      id: 'memory', title: 'Memory against the ceiling',
      note: 'When each chunk starts: live bytes, the prefix cache included (dotted), and the same with that chunk (solid).',
      option: () => charts.memory(page, finished(selected())),
    },
    {
      id: 'width', title: 'Chunk width',
      note: 'Prompt tokens of each chunk, at its start.',
      option: () => charts.width(page, finished(selected())),
    },
    {
      id: 'ttft', title: 'Time to first token',
      note: 'Share of finished requests whose last prompt chunk ended within that time.',
      option: () => charts.distribution(page, finished(selected()), 'ttft', 'slo_ttft_s'),
      empty: 'No request finished.',
    },
    {
      id: 'itl', title: 'Time between output tokens',
      note: 'Share of finished requests whose mean time a token is no longer.',
      option: () => charts.distribution(page, finished(selected()), 'itl', 'slo_itl_s'),
      empty: 'No request generated a token.',
    },
    {
      id: 'refusals', title: 'Refusals by cause',
      note: 'Requests that did not finish.',
      option: () => charts.refusals(page, finished(selected())),
      empty: 'Every request finished.',
    },
    {
      id: 'goodput', title: 'Goodput against the ceiling', compared: true,
      note: 'Requests a second that met both goals.',
      option: () => charts.goodput(page, selected(['ceiling_bytes'])),
    },
    {
      id: 'pareto', title: 'Throughput against tail latency', compared: true,
      note: 'Prompt tokens computed a second. Up and to the left is better; the line joins runs that no other beats in both.',
      option: () => charts.pareto(page, selected(['ceiling_bytes'])),
      empty: 'No request finished.',
    },
  ].filter((card) => !card.compared || page.runs.length > 1);

  function buildCards() {
    const section = document.getElementById('charts');
    for (const card of cards) {
      const box = document.createElement('section');
      box.className = 'card';
      const title = document.createElement('h2');
      title.textContent = card.title;
      const note = document.createElement('p');
      note.className = 'note';
      note.textContent = card.note;
      card.element = document.createElement('div');
      card.element.id = `chart-${card.id}`;
      box.append(title, note, card.element);
      section.append(box);
    }
  }

  function drawCard(card) {
    const option = card.option();
    if (card.chart) {
      card.chart.dispose();
      card.chart = null;
    }
    card.element.replaceChildren();
    card.element.className = option === null ? 'empty' : 'chart';
    if (option === null) {
      card.element.textContent = card.empty;
      return;
    }
    card.chart = echarts.init(card.element);
    card.chart.setOption(option);
  }

  function draw() {
    for (const card of cards) drawCard(card);
    table.draw(page, document.getElementById('runs'),
               new Set(finished(selected())));
  }

  function buildFilters() {
    const nav = document.getElementById('filters');
    for (const {key, title, show} of filters) {
      const values = valuesOf(key);
      if (values.length < 2) continue;
      // Where policies have ceilings of their own there is none to choose.
      const everywhere = values.filter(
          (value) => valuesOf('policy').every((policy) => page.runs.some(
              (run) => run.policy === policy && run[key] === value)));
      if (everywhere.length === 0) continue;
      page.filter[key] = everywhere[0];
      const label = document.createElement('label');
      label.textContent = title;
      const select = document.createElement('select');
      select.id = `filter-${key}`;
      for (const value of everywhere) {
        const option = document.createElement('option');
        option.textContent = show(value);
        option.title = String(value);
        select.append(option);
      }
      select.addEventListener('change', () => {
        page.filter[key] = everywhere[select.selectedIndex];
        draw();
      });
      label.append(select);
      nav.append(label);
    }
  }

  function writeFacts() {
    const many = (count, one, more) =>
        `${count} ${count === 1 ? one : more}`;
    const run = page.runs.find((run) => run.error === undefined);
    const facts = [
      many(page.runs.length, 'run', 'runs'),
      many(valuesOf('policy').length, 'policy', 'policies') +
          (page.runs.length === 1 ? `: ${page.runs[0].policy}` : ''),
      many(valuesOf('trace').length, 'trace', 'traces') +
          (page.runs.length === 1 ? `: ${page.runs[0].trace}` : ''),
    ];
    if (run) {
      facts.push(`goals: first token within ${format.short(run.slo_ttft_s)} s, ` +
          `then ${format.short(run.slo_itl_s)} s a token`);
    }
    document.getElementById('facts').textContent = facts.join(' · ');
  }

  buildFilters();
  buildCards();
  writeFacts();
  theme.follow(draw);
  addEventListener('resize', () => {
    for (const card of cards) {
      if (card.chart) card.chart.resize();
    }
  });
})();
