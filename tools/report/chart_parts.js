// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// What the charts of all pages are made of.
const chartParts = (() => {
  const css = (name) =>
      getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function axis(name, label, extra = {}) {
    return {
      type: 'value',
      name,
      nameLocation: 'middle',
      nameGap: 28,
      nameTextStyle: {color: css('--soft')},
      axisLine: {lineStyle: {color: css('--line')}},
      splitLine: {lineStyle: {color: css('--grid')}},
      axisPointer: {label: {formatter: ({value}) => label(value)}},
      ...extra,
      axisLabel: {
        color: css('--soft'), formatter: label, hideOverlap: true,
        ...extra.axisLabel,
      },
    };
  }

  function base(zoom = true) {
    return {
      animation: false,
      textStyle: {fontFamily: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif'},
      grid: {left: 64, right: 24, top: 34, bottom: 72, containLabel: false},
      legend: {
        type: 'scroll', bottom: 0, icon: 'roundRect', itemWidth: 18,
        itemHeight: 8, textStyle: {color: css('--ink')},
        pageTextStyle: {color: css('--soft')}, pageIconColor: css('--soft'),
      },
      tooltip: {
        confine: true, backgroundColor: css('--card'),
        borderColor: css('--line'), textStyle: {color: css('--ink')},
      },
      toolbox: {
        right: 8, top: 0, itemSize: 13, iconStyle: {borderColor: css('--soft')},
        feature: {
          ...(zoom ? {dataZoom: {yAxisIndex: 'none', title: {zoom: 'zoom', back: 'back'}},
                      restore: {title: 'whole'}} : {}),
          saveAsImage: {title: 'save', backgroundColor: css('--card')},
        },
      },
      dataZoom: zoom ? [
        {type: 'inside', filterMode: 'none', zoomOnMouseWheel: 'ctrl'},
      ] : [],
    };
  }

  function limitLine(data) {
    return {
      silent: true, symbol: 'none',
      lineStyle: {color: css('--limit'), type: 'dashed', width: 1.5},
      label: {color: css('--limit'), position: 'insideEndTop'},
      data,
    };
  }

  // Axes that end where the data do; what stands at the ends is not round.
  const ends = {
    min: 'dataMin', max: 'dataMax',
    axisLabel: {showMinLabel: false, showMaxLabel: false},
  };

  // Lines and limits of the same chart: a series without points carries them.
  const limits = (data) =>
      ({type: 'line', name: '', data: [], markLine: limitLine(data)});

  // A power of two, so that bytes are round, that gives four to eight lines.
  function stepOf(top) {
    let step = 1;
    while (top / step > 8) step *= 2;
    return step;
  }

  return {css, axis, base, ends, limits, stepOf};
})();
