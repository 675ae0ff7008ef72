// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// The page of `tidegate calibrate`: a table of routes, and for each of them its
// fit and its residuals. As in charts.js, names reach ECharts as plain text.
(() => {
  const {css, axis, base, ends, limits, stepOf} = chartParts;
  const data = JSON.parse(document.getElementById('data').textContent);

  // A row of a route, as the page embeds it.
  const N = 0, KV_LEN = 1, STATIC = 2, MEASURED = 3, PRICE = 4, OUTLIER = 5;

  const factor = (value) => format.decimal(value, 4);
  const ratio = (value) => format.decimal(value, 3);
  // 0 where no row was large enough to say.
  const share = (value) => value === 0 ? '–' : ratio(value);

  const page = {
    runs: data.routes,
    columns: () => [
      {...table.text('label', 'model', String),
       link: (index) => `#route-${index}`},
      table.text('route', 'route', String),
      table.number('rows', 'rows', format.count),
      table.number('outliers', 'outliers', format.count),
      table.number('fixed_bytes', 'fixed', format.bytes),
      table.number('factor', 'factor', factor),
      table.number('fitted_p50', 'price/measured p50', share),
      table.number('fitted_p95', 'p95', share),
      table.number('fitted_max', 'max', share),
      table.number('rows_below', 'below the price', format.count),
      table.number('rows_under', 'under-priced', format.count),
    ],
    sort: {key: null, descending: false},
  };

  const refused = {
    runs: data.refused,
    columns: () => [
      table.text('model', 'model', String),
      table.text('route', 'route', String),
      table.number('rows', 'rows', format.count),
      table.text('reason', 'reason', String),
    ],
    sort: {key: null, descending: false},
  };

  // How rows are drawn; a row is of the first kind that it fits.
  const kinds = [
    {name: 'outliers, left out of the fit', colour: '--limit', symbol: 'triangle', size: 10,
     fits: (row) => row[OUTLIER] === 1},
    {name: `under-priced by more than ${format.bytes(data.rounding_bytes, 0)}`,
     colour: '--c1', symbol: 'diamond', size: 11,
     fits: (row) => row[PRICE] + data.rounding_bytes < row[MEASURED]},
    {name: `below ${format.bytes(data.ratio_from_bytes, 0)}, in no percentile`,
     colour: '--c7', symbol: 'circle', size: 5,
     fits: (row) => row[MEASURED] < data.ratio_from_bytes},
    {name: 'rows', colour: '--c0', symbol: 'circle', size: 6, fits: () => true},
  ];

  // Rounds outwards, so that no mark lies on the edge. Powers of `logBase` give
  // three to nine lines, and of bytes round ones.
  function range(values, logFrom) {
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    if (low > 0 && high / low > logFrom) {
      const octaves = Math.log2(high / low);
      const logBase = octaves <= 9 ? 2 : octaves <= 18 ? 4 : 16;
      const pad = (high / low) ** 0.03;
      return {...ends, type: 'log', logBase, min: low / pad, max: high * pad};
    }
    const pad = (high - low) * 0.06 || high * 0.05;
    return {...ends, min: Math.max(0, low - pad), max: high + pad};
  }

  // On axes: "16 GiB", "1.75 GiB".
  const bytes = (value) =>
      format.bytes(value).replace(/(\.\d*?)0+ /, '$1 ').replace('. ', ' ');

  // Bytes on a linear axis: lines at round ones.
  function bytesAxis(name, values, logFrom, extra = {}) {
    const of = range(values, logFrom);
    if (of.type === 'log') return axis(name, bytes, {...of, ...extra});
    const interval = stepOf(of.max - of.min);
    return axis(name, bytes, {
      ...of, interval, min: Math.floor(of.min / interval) * interval,
      max: Math.ceil(of.max / interval) * interval, axisLabel: {}, ...extra,
    });
  }

  const describe = (row) =>
      `n ${format.count(row[N])}, kv length ${format.count(row[KV_LEN])}\n` +
      `static price ${format.bytes(row[STATIC])}\n` +
      `price ${format.bytes(row[PRICE])}\n` +
      `measured ${format.bytes(row[MEASURED])}\n` +
      `price / measured ${ratio(row[PRICE] / row[MEASURED])}`;

  // A series of each kind that has rows; kinds that matter are on top.
  function scatter(rows, place) {
    const groups = new Map(kinds.map((kind) => [kind, []]));
    for (const row of rows) {
      groups.get(kinds.find((kind) => kind.fits(row))).push(row);
    }
    return kinds.filter((kind) => groups.get(kind).length > 0).reverse().map((kind) => {
      const group = groups.get(kind);
      return {
        type: 'scatter', name: kind.name, symbol: kind.symbol,
        symbolSize: kind.size, z: 5 + kinds.length - kinds.indexOf(kind),
        itemStyle: {color: css(kind.colour), opacity: kind.symbol === 'circle' ? 0.6 : 0.95},
        data: group.map(place),
        tooltip: {valueFormatter: (_, at) => describe(group[at])},
      };
    });
  }

  function frame(series) {
    const parts = base();
    return {
      ...parts,
      grid: {...parts.grid, left: 78},
      // Lines as they are drawn, and each kind of row with its mark.
      legend: {
        ...parts.legend, icon: 'inherit', itemWidth: 16, itemHeight: 10,
        data: series.filter(({name}) => name !== '').map(
            ({type, name, symbol}) => type === 'line' ? {name} : {name, icon: symbol}),
      },
      series,
      tooltip: {...parts.tooltip, trigger: 'item', extraCssText: 'white-space: pre-line'},
      toolbox: {
        ...parts.toolbox,
        feature: {...parts.toolbox.feature,
                  dataZoom: {filterMode: 'none', title: {zoom: 'zoom', back: 'back'}}},
      },
      dataZoom: [
        {type: 'inside', filterMode: 'none', xAxisIndex: 0, zoomOnMouseWheel: 'ctrl'},
        {type: 'inside', filterMode: 'none', yAxisIndex: 0, zoomOnMouseWheel: 'ctrl'},
      ],
    };
  }

  function fit(route, chart) {
    const prices = chart.rows.map((row) => row[STATIC]);
    const low = prices.reduce((a, b) => Math.min(a, b));
    const high = prices.reduce((a, b) => Math.max(a, b));
    // The dashed line is on top: where nothing is corrected the two are one.
    const line = (name, colour, type, points) => ({
      type: 'line', name, data: points, symbol: 'none', silent: true,
      lineStyle: {color: css(colour), width: type === 'dashed' ? 1.5 : 2.5, type},
      itemStyle: {color: css(colour)}, z: type === 'dashed' ? 4 : 3,
    });
    return {
      ...frame([
        line('fitted price', '--c2', 'solid', chart.line),
        line('measured = static price', '--ink', 'dashed', [[low, low], [high, high]]),
        ...scatter(chart.rows, (row) => [row[STATIC], row[MEASURED]]),
      ]),
      xAxis: bytesAxis('static price', prices, 30),
      yAxis: bytesAxis('', chart.rows.flatMap((row) => [row[MEASURED], row[PRICE]]), 30),
    };
  }

  function residuals(route, chart) {
    const ratios = chart.rows.map((row) => row[PRICE] / row[MEASURED]);
    return {
      ...frame([
        ...scatter(chart.rows, (row) => [row[STATIC], row[PRICE] / row[MEASURED]]),
        limits([{yAxis: 1, label: {show: false}}]),
      ]),
      xAxis: bytesAxis('static price', chart.rows.map((row) => row[STATIC]), 30),
      yAxis: axis('', format.short, range([1, ...ratios], 8)),
    };
  }

  function priceOf(route) {
    if (route.factor === 1 && route.fixed_bytes === 0) {
      return 'price = static price: no line fits better';
    }
    const fixed = route.fixed_bytes > 0 ? `${format.bytes(route.fixed_bytes)} + ` : '';
    return `price = ${fixed}${factor(route.factor)} × static price`;
  }

  const drawings = [];

  function buildRoute(route, index) {
    const box = document.createElement('section');
    box.className = 'card route';
    box.id = `route-${index}`;
    const add = (parent, tag, text, className = '') => {
      const element = document.createElement(tag);
      element.textContent = text;
      element.className = className;
      parent.append(element);
      return element;
    };
    add(box, 'h2', `${route.label} · ${route.route}`);
    add(box, 'p', [
      `${route.engine} ${route.version} on ${route.device}`,
      priceOf(route),
      `${format.count(route.rows)} rows` +
          (route.outliers > 0 ? `, ${format.count(route.outliers)} left out` : ''),
    ].join(' · '), 'note');
    const pair = add(box, 'div', '', 'pair');
    const place = (id, title, option) => {
      const cell = add(pair, 'div', '');
      add(cell, 'h3', title);
      const element = add(cell, 'div', '', 'chart');
      element.id = `chart-${id}-${index}`;
      drawings.push({element, chart: null, option: () => option(route, data.charts[index])});
    };
    place('fit', 'Measured against the static price', fit);
    place('residuals', 'Price / measured, against the static price', residuals);
    document.getElementById('routes').append(box);
  }

  // Only what is near the screen: a table of many models has many routes.
  const near = new Set();
  function drawOne(drawing) {
    if (drawing.chart) drawing.chart.dispose();
    drawing.chart = echarts.init(drawing.element);
    drawing.chart.setOption(drawing.option());
  }
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const drawing = drawings.find((one) => one.element === entry.target);
      if (!entry.isIntersecting) {
        near.delete(drawing);
        continue;
      }
      near.add(drawing);
      if (!drawing.chart) drawOne(drawing);
    }
  }, {rootMargin: '1000px'});

  function draw() {
    table.draw(page, document.getElementById('runs'), new Set());
    table.draw(refused, document.getElementById('refused'), new Set());
    for (const drawing of drawings) {
      if (near.has(drawing)) {
        drawOne(drawing);
      } else if (drawing.chart) {
        drawing.chart.dispose();
        drawing.chart = null;
      }
    }
  }

  const many = (count, word) => `${format.count(count)} ${word}${count === 1 ? '' : 's'}`;
  document.getElementById('facts').textContent = [
    many(data.routes.length, 'route') +
        (data.refused.length > 0 ? `, ${format.count(data.refused.length)} refused` : ''),
    `${data.files.length === 1 ? 'rows of' : 'rows of the files'} ${data.files.join(', ')}`,
    ...(data.date ? [`measured ${data.date}`] : []),
  ].join(' · ');
  const rounding = format.bytes(data.rounding_bytes, 0);
  document.getElementById('meaning').textContent =
      'Price = fixed + factor × static price. Percentiles of price / measured: rows from ' +
      `${format.bytes(data.ratio_from_bytes, 0)} on, without outliers. Below the price: rows measured ` +
      `at no more than it. Under-priced: rows measured more than ${rounding} above it.`;
  document.getElementById('refusals').hidden = data.refused.length === 0;
  document.getElementById('refusals-count').textContent =
      `${many(data.refused.length, 'route')} not fitted, and why`;
  data.routes.forEach(buildRoute);
  theme.follow(draw);
  for (const drawing of drawings) watch.observe(drawing.element);
  addEventListener('resize', () => {
    for (const {chart} of drawings) {
      if (chart) chart.resize();
    }
  });
})();
