// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
'use strict';

// Asks /stats twice a second for the points that are new, and draws them. Text
// from the server is set as text, never as HTML.
(() => {
  const {css, axis, base, limits, stepOf} = chartParts;
  const kKeep = 1200;  // as many as the server keeps
  const kEvery = 500;

  const points = [];
  let next = 0;
  let stats = null;
  const memory = echarts.init(document.getElementById('chart-memory'));
  const queue = echarts.init(document.getElementById('chart-queue'));

  const clock = (at) => new Date(at).toLocaleTimeString('en-GB');
  const timeAxis = () => axis('', clock, {
    min: 'dataMin', max: 'dataMax', nameGap: 0,
    axisLabel: {showMinLabel: false, showMaxLabel: false},
  });
  const of = (key) => points.map((point) => [point.at, point[key]]);

  function frame() {
    const frame = base(false);
    return {
      ...frame,
      toolbox: {show: false},
      grid: {...frame.grid, top: 16, bottom: 64},
      legend: {...frame.legend, icon: 'inherit', itemWidth: 26, itemHeight: 14},
    };
  }

  function line(name, colour, data, extra = {}) {
    return {
      type: 'line', name, symbol: 'none', data,
      itemStyle: {color: css(colour)}, ...extra,
      lineStyle: {width: 1.5, ...extra.lineStyle},
    };
  }

  function drawMemory() {
    const claims = points.map((point) => [point.at, point.live + point.claims]);
    let top = stats.ceiling;
    for (const point of points) {
      top = Math.max(top, point.peak, point.live + point.claims);
    }
    const step = stepOf(top);
    const lines = [{yAxis: stats.ceiling,
                    label: {formatter: `ceiling ${format.bytes(stats.ceiling)}`}}];
    if (stats.line > 0 && stats.line < stats.ceiling) {
      lines.push({yAxis: stats.line, lineStyle: {opacity: 0.5},
                  label: {position: 'insideEndBottom',
                          formatter: `less headroom ${format.bytes(stats.line)}`}});
    }
    memory.setOption({
      ...frame(),
      tooltip: {...base().tooltip, trigger: 'axis',
                valueFormatter: (value) => format.bytes(value)},
      xAxis: timeAxis(),
      yAxis: axis('', (value) => format.bytes(value, 0),
                  {max: Math.ceil(top * 1.04 / step) * step, interval: step}),
      series: [
        line('live', '--c0', of('live'), {areaStyle: {opacity: 0.15}}),
        line('peak with the step', '--c1', of('peak'), {lineStyle: {width: 1}}),
        line('live + claims', '--c2', claims, {lineStyle: {type: 'dotted'}}),
        limits(lines),
      ],
    }, {notMerge: true});
  }

  function drawQueue() {
    queue.setOption({
      ...frame(),
      tooltip: {...base().tooltip, trigger: 'axis'},
      xAxis: timeAxis(),
      yAxis: axis('', format.count, {minInterval: 1, min: 0}),
      series: [
        line('waiting', '--c4', of('waiting'), {step: 'end'}),
        line('running', '--c0', of('running'), {step: 'end'}),
      ],
    }, {notMerge: true});
  }

  function tile(name, value) {
    const box = document.createElement('div');
    box.className = 'tile';
    const label = document.createElement('span');
    label.textContent = name;
    const number = document.createElement('strong');
    number.textContent = value;
    box.append(label, number);
    return box;
  }

  function drawNumbers() {
    const now = points[points.length - 1];
    const totals = stats.totals;
    const refused = totals.too_large + totals.overloaded + totals.unsupported +
        totals.shutting_down;
    document.getElementById('facts').textContent =
        `${stats.model}; ceiling ${format.bytes(stats.ceiling)}` +
        (stats.shutting_down ? '; shutting down' : '');
    document.getElementById('tiles').replaceChildren(
        tile('waiting', format.count(now.waiting)),
        tile('running', format.count(now.running)),
        tile('live', format.bytes(now.live)),
        tile('of it requests', format.bytes(now.resident)),
        tile('claims', format.bytes(now.claims)),
        tile('finished', format.count(totals.finished)),
        tile('refused', format.count(refused)),
        tile('cancelled', format.count(totals.cancelled)));
    const rows = Object.entries(totals).map(([key, value]) => {
      const row = document.createElement('tr');
      const name = document.createElement('td');
      name.textContent = key.replaceAll('_', ' ');
      const number = document.createElement('td');
      number.textContent = format.count(value);
      number.dataset.key = key;
      row.append(name, number);
      return row;
    });
    document.querySelector('#totals tbody').replaceChildren(...rows);
  }

  function draw() {
    if (stats === null || points.length === 0) return;
    drawMemory();
    drawQueue();
    drawNumbers();
  }

  async function ask() {
    const trouble = document.getElementById('trouble');
    try {
      const response = await fetch(`/stats?since=${next}`);
      if (!response.ok) throw new Error(`status ${response.status}`);
      stats = await response.json();
      // Another server on the same port counts from the start again.
      if (stats.next < next) points.length = 0;
      next = stats.next;
      for (const values of stats.points) {
        points.push(Object.fromEntries(
            stats.columns.map((column, i) => [column, values[i]])));
      }
      points.splice(0, Math.max(0, points.length - kKeep));
      trouble.hidden = true;
      draw();
    } catch (error) {
      trouble.textContent =
          `The server does not answer (${error.message}); asking again.`;
      trouble.hidden = false;
    }
    setTimeout(ask, kEvery);
  }

  addEventListener('resize', () => {
    memory.resize();
    queue.resize();
  });
  theme.follow(draw);
  ask();
})();
