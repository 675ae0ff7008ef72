// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// What each chart draws: functions from the page's data to ECharts options.
// Names reach ECharts as plain text: on the canvas they are drawn, and its own
// tooltips escape them; no HTML is built here.
const charts = (() => {
  const {css, axis, base, ends, limits, stepOf} = chartParts;

  function colour(page, policy) {
    const at = [...page.policyLabels.keys()].indexOf(policy);
    return css(`--c${at % 8}`);
  }

  const seconds = (value) => `${format.short(value)} s`;

  // What the chart calls a run: its policy, and what else tells it from others.
  const nameOf = (page, run) => page.policyLabels.get(run.policy);

  function memory(page, shown) {
    const series = [];
    const ceilings = new Set();
    let top = 0;
    for (const index of shown) {
      const run = page.runs[index];
      const data = page.charts[index];
      const line = {
        type: 'line', symbol: 'none',
        itemStyle: {color: colour(page, run.policy)},
      };
      // Of many runs, both lines of one share a name, and so a place in the
      // legend.
      const name = nameOf(page, run);
      const one = shown.length === 1;
      series.push({
        ...line, name: one ? 'with the chunk' : name, data: data.peak,
        lineStyle: {width: 1.5}, z: 3,
      }, {
        ...line, name: one ? 'live' : name, data: data.live,
        lineStyle: {width: 1.2, type: 'dotted', opacity: 0.8},
      });
      ceilings.add(run.ceiling_bytes);
      top = Math.max(top, run.ceiling_bytes);
      for (const point of data.peak) top = Math.max(top, point[1]);
    }
    const step = stepOf(top);
    series.push(limits([...ceilings].map((ceiling) => ({
      yAxis: ceiling, label: {formatter: `ceiling ${format.bytes(ceiling)}`},
    }))));
    return {
      ...base(),
      // Lines, so that dotted ones can be told from solid ones.
      legend: {...base().legend, icon: 'inherit', itemWidth: 26, itemHeight: 14},
      tooltip: {...base().tooltip, trigger: 'axis',
                valueFormatter: (value) => format.bytes(value)},
      xAxis: axis('time', seconds, ends),
      yAxis: axis('', (value) => format.bytes(value, 0),
                  {max: Math.ceil(top * 1.04 / step) * step, interval: step}),
      series,
    };
  }

  function width(page, shown) {
    return {
      ...base(),
      tooltip: {...base().tooltip, trigger: 'item',
                valueFormatter: (value) => Array.isArray(value) ?
                    `${format.count(value[1])} tokens at ${seconds(value[0])}` :
                    String(value)},
      xAxis: axis('time', seconds, ends),
      yAxis: axis('', format.count),
      series: shown.map((index) => ({
        type: 'scatter', name: nameOf(page, page.runs[index]),
        data: page.charts[index].width, symbolSize: 4,
        itemStyle: {color: colour(page, page.runs[index].policy), opacity: 0.6},
      })),
    };
  }

  function distribution(page, shown, key, levelKey) {
    const runs = shown.filter((index) => page.charts[index][key].length > 0);
    if (runs.length === 0) return null;
    const levels = new Set();
    let low = Infinity;
    let high = 0;
    for (const index of runs) {
      levels.add(page.runs[index][levelKey]);
      const data = page.charts[index][key];
      low = Math.min(low, data[0][0]);
      high = Math.max(high, data[data.length - 1][0], page.runs[index][levelKey]);
    }
    const logarithmic = low > 0 && high / low > 30;
    const share = (value) => `${format.short(value * 100)} %`;
    return {
      ...base(),
      tooltip: {...base().tooltip, trigger: 'axis', valueFormatter: share},
      xAxis: axis(logarithmic ? 'seconds, logarithmic' : 'seconds', seconds,
                  logarithmic ? {...ends, type: 'log', max: high} :
                                {min: 0, max: high * 1.05}),
      yAxis: axis('', share, {min: 0, max: 1}),
      series: [
        ...runs.map((index) => {
          const data = page.charts[index][key];
          return {
            type: 'line', name: nameOf(page, page.runs[index]), step: 'end',
            // Up from zero, so that a single value is a line too.
            data: [[data[0][0], 0], ...data],
            showSymbol: false, lineStyle: {width: 2},
            itemStyle: {color: colour(page, page.runs[index].policy)},
          };
        }),
        limits([...levels].map((level) => ({
          xAxis: level, label: {formatter: `goal ${seconds(level)}`},
        }))),
      ],
    };
  }

  const causes = [['too_large', '--c1'], ['overloaded', '--c4'],
                  ['unsupported', '--c3'], ['cancelled', '--c7']];

  function refusals(page, shown) {
    const runs = shown.map((index) => page.runs[index]);
    const of = (run, code) => code === 'cancelled' ? run.cancelled :
        (run.refusals[code] || 0);
    if (!runs.some((run) => causes.some(([code]) => of(run, code) > 0))) {
      return null;
    }
    return {
      ...base(false),
      grid: {left: 16, right: 32, top: 34, bottom: 64, containLabel: true},
      tooltip: {...base(false).tooltip, trigger: 'axis',
                axisPointer: {type: 'shadow'}},
      xAxis: axis('requests', format.count, {minInterval: 1}),
      yAxis: {
        type: 'category', inverse: true,
        data: runs.map((run) => nameOf(page, run)),
        axisLabel: {color: css('--ink'), width: 160, overflow: 'truncate'},
        axisLine: {lineStyle: {color: css('--line')}},
      },
      series: causes.filter(([code]) => runs.some((run) => of(run, code) > 0))
          .map(([code, token]) => ({
            type: 'bar', name: code.replace('_', ' '), stack: 'all',
            barMaxWidth: 34, itemStyle: {color: css(token)},
            data: runs.map((run) => of(run, code)),
          })),
    };
  }

  // Runs of each policy that differ in the ceiling alone.
  function byPolicy(page, selected) {
    const policies = new Map();
    for (const index of selected) {
      const run = page.runs[index];
      if (run.error !== undefined) continue;
      if (!policies.has(run.policy)) policies.set(run.policy, []);
      policies.get(run.policy).push(run);
    }
    return policies;
  }

  function goodput(page, selected) {
    const GiB = 2 ** 30;
    const gib = (value) => `${format.short(value)} GiB`;
    return {
      ...base(),
      tooltip: {...base().tooltip, trigger: 'axis',
                valueFormatter: (value) => `${format.decimal(value, 3)} /s`},
      xAxis: axis('ceiling', gib, {scale: true}),
      yAxis: axis('', (value) => `${format.short(value)} /s`, {min: 0}),
      series: [...byPolicy(page, selected)].map(([policy, runs]) => ({
        type: 'line', name: page.policyLabels.get(policy), symbolSize: 9,
        symbol: 'circle', itemStyle: {color: colour(page, policy)},
        data: runs.map((run) => [run.ceiling_bytes / GiB, run.goodput_per_s])
            .sort((a, b) => a[0] - b[0]),
      })),
    };
  }

  // Runs that no other beats in both throughput and tail latency.
  function front(runs) {
    const sorted = [...runs].sort((a, b) =>
        a.ttft_p99_s - b.ttft_p99_s || b.tokens_per_s - a.tokens_per_s);
    const kept = [];
    let best = -Infinity;
    for (const run of sorted) {
      if (run.tokens_per_s <= best) continue;
      best = run.tokens_per_s;
      kept.push(run);
    }
    return kept;
  }

  function pareto(page, selected) {
    const policies = byPolicy(page, selected);
    const all = [...policies.values()].flat().filter((run) => run.finished > 0);
    if (all.length === 0) return null;
    const manyCeilings = new Set(all.map((run) => run.ceiling_bytes)).size > 1;
    // A ceiling that changes nothing gives the same point again.
    const ceilingsAt = (runs, run) => runs.filter(
        (other) => other.ttft_p99_s === run.ttft_p99_s &&
            other.tokens_per_s === run.tokens_per_s)
        .map((other) => format.bytes(other.ceiling_bytes, 0)).join(', ');
    return {
      ...base(),
      tooltip: {...base().tooltip, trigger: 'item',
                valueFormatter: (value) => Array.isArray(value) ?
                    `${format.decimal(value[1], 1)} tokens/s, p99 ${seconds(value[0])}` :
                    String(value)},
      xAxis: axis('99th percentile of TTFT', seconds, {scale: true}),
      yAxis: axis('', (value) => `${format.count(value)} /s`, {scale: true}),
      series: [
        ...[...policies].map(([policy, runs]) => ({
          type: 'scatter', name: page.policyLabels.get(policy), symbolSize: 12,
          itemStyle: {color: colour(page, policy)}, z: 3,
          labelLayout: {moveOverlap: 'shiftY'},
          data: runs.filter((run) => run.finished > 0).map((run) => ({
            value: [run.ttft_p99_s, run.tokens_per_s],
            label: {
              show: manyCeilings, position: 'top', color: css('--soft'),
              formatter: ceilingsAt(runs, run),
            },
          })),
        })),
        {
          type: 'line', name: 'Pareto front', showSymbol: false, step: 'end',
          lineStyle: {type: 'dashed', color: css('--soft'), width: 1.5},
          itemStyle: {color: css('--soft')}, silent: true,
          data: front(all).map((run) => [run.ttft_p99_s, run.tokens_per_s]),
        },
      ],
    };
  }

  return {memory, width, distribution, refusals, goodput, pareto};
})();
