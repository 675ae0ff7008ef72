// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// The table of `page.runs`, by `page.columns(page)`. Every cell keeps the number
// of the data beside what it shows; where a run failed, its error stands after
// `page.errorWord` from the column `page.errorFrom` on.
const table = (() => {
  const number = (key, title, show) => ({key, title, show});
  const text = (key, title, show) => ({key, title, show, text: true});

  function runColumns(page) {
    const one = (value) => format.decimal(value, 1);
    const seconds = (value) => format.decimal(value, 3);
    const varies = (key) =>
        page.runs.some((run) => run[key] !== page.runs[0][key]);
    return [
      text('policy', 'policy', (value) => page.policyLabels.get(value)),
      text('trace', 'trace', (value) => page.traceLabels.get(value)),
      number('ceiling_bytes', 'ceiling', format.bytes),
      ...(varies('load') ? [number('load', 'load', format.short)] : []),
      ...(varies('seed') ? [number('seed', 'seed', format.count)] : []),
      number('requests', 'requests', format.count),
      number('finished', 'finished', format.count),
      number('rejected', 'rejected', format.count),
      number('out_of_memory', 'out of memory', format.count),
      number('tokens_per_s', 'tokens/s', one),
      number('goodput_per_s', 'goodput/s', (value) => format.decimal(value, 3)),
      number('ttft_p50_s', 'TTFT p50, s', seconds),
      number('ttft_p90_s', 'TTFT p90, s', seconds),
      number('ttft_p99_s', 'TTFT p99, s', seconds),
      number('e2e_p50_s', 'end to end p50, s', seconds),
      number('e2e_p99_s', 'end to end p99, s', seconds),
      number('itl_p50_s', 'ITL p50, s', seconds),
      number('itl_p99_s', 'ITL p99, s', seconds),
      number('peak_bytes', 'peak memory', format.bytes),
      number('chunks', 'chunks', format.count),
    ];
  }

  function row(page, run, index, shown) {
    const line = document.createElement('tr');
    line.dataset.run = index;
    if (shown.has(index)) line.className = 'shown';
    const all = page.columns(page);
    for (let i = 0; i < all.length; ++i) {
      const column = all[i];
      const cell = line.insertCell();
      const value = run[column.key];
      if (value === undefined || value === null) {
        if (run.error !== undefined && column.key === page.errorFrom) {
          cell.className = 'error';
          cell.colSpan = all.length - i;
          cell.dataset.key = 'error';
          cell.textContent = `${page.errorWord}: ${run.error}`;
          break;
        }
        continue;
      }
      if (column.text) {
        cell.className = 'text';
        cell.title = value;
      }
      cell.dataset.key = column.key;
      cell.dataset.value = value;
      if (column.link) {
        const link = document.createElement('a');
        link.href = column.link(index);
        link.textContent = column.show(value);
        cell.append(link);
      } else {
        cell.textContent = column.show(value);
      }
    }
    return line;
  }

  function compare(a, b) {
    if (a === undefined || b === undefined) {
      return a === b ? 0 : a === undefined ? 1 : -1;
    }
    return typeof a === 'number' ? a - b : a < b ? -1 : a > b ? 1 : 0;
  }

  // `shown`: positions of the runs that the charts over time show.
  function draw(page, element, shown) {
    const sort = page.sort;
    const order = page.runs.map((_, index) => index);
    if (sort.key) {
      order.sort((a, b) => {
        const sign = sort.descending ? -1 : 1;
        return sign * compare(page.runs[a][sort.key], page.runs[b][sort.key]) ||
            a - b;
      });
    }
    const head = document.createElement('tr');
    for (const column of page.columns(page)) {
      const cell = document.createElement('th');
      cell.scope = 'col';
      cell.dataset.key = column.key;
      if (column.text) cell.className = 'text';
      if (sort.key === column.key) {
        cell.setAttribute('aria-sort', sort.descending ? 'descending' : 'ascending');
      }
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = column.title;
      button.addEventListener('click', () => {
        page.sort = {
          key: column.key,
          descending: sort.key === column.key && !sort.descending,
        };
        draw(page, element, shown);
      });
      cell.append(button);
      head.append(cell);
    }
    const thead = document.createElement('thead');
    thead.append(head);
    const tbody = document.createElement('tbody');
    for (const index of order) {
      tbody.append(row(page, page.runs[index], index, shown));
    }
    element.replaceChildren(thead, tbody);
  }

  return {draw, number, text, runColumns};
})();
