// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
'use strict';

// Numbers and names as people read them.
const format = (() => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

  function bytes(value, digits = 2) {
    let unit = 0;
    while (Math.abs(value) >= 1024 && unit + 1 < units.length) {
      value /= 1024;
      ++unit;
    }
    return `${value.toFixed(unit === 0 ? 0 : digits)} ${units[unit]}`;
  }

  function count(value) {
    return Math.round(value).toLocaleString('en-US');
  }

  function decimal(value, digits) {
    return value.toLocaleString('en-US', {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
  }

  // For axes: no more digits than the number has.
  const short = (value) => String(Number(value.toPrecision(6)));

  // The last part of a path, unless two of them end alike.
  function labels(names) {
    const base = (name) =>
        name.replace(/^.*\//, '').replace(/\.(toml|csv|jsonl)$/, '') || name;
    const times = new Map();
    const unique = [...new Set(names)];
    for (const name of unique) {
      times.set(base(name), (times.get(base(name)) || 0) + 1);
    }
    return new Map(unique.map(
        (name) => [name, times.get(base(name)) === 1 ? base(name) : name]));
  }

  return {bytes, count, decimal, short, labels};
})();
