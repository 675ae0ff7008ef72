# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""What type checkers are told is what there is."""

from __future__ import annotations

import ast
import pathlib

import pytest
from conftest import ROOT

import tidegate
import tidegate._core

STUB = ROOT / "bindings/python/tidegate/_core.pyi"


def test_the_stub_of_the_extension_is_what_nanobind_makes_of_it():
    stubgen = pytest.importorskip("nanobind.stubgen")
    made = stubgen.StubGen(tidegate._core)
    made.put(tidegate._core)
    # Layout differs between versions of nanobind.
    expected, found = (ast.unparse(ast.parse(text)) for text in (made.get(), STUB.read_text()))
    assert found == expected, "python -m nanobind.stubgen -m tidegate._core -O bindings/python/tidegate"


def test_the_package_and_its_examples_are_strictly_typed(monkeypatch):
    api = pytest.importorskip("mypy.api")
    package = pathlib.Path(tidegate.__file__).parent
    monkeypatch.setenv("MYPYPATH", str(package.parent))
    examples = sorted(str(path) for path in (ROOT / "examples/python").glob("*.py"))
    # The stub, which is generated, says "dict" and "tuple" alone.
    arguments = ["--strict", "--allow-any-generics", "--no-incremental", "--ignore-missing-imports", "--explicit-package-bases"]
    out, err, status = api.run([*arguments, str(package), *examples])
    assert status == 0, out + err
