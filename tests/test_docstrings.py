"""Every public object is documented the numpydoc way; the checks stand in pyproject.toml."""

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest
from numpydoc.validate import ERROR_MSGS, validate

ROOT = Path(__file__).parents[1]
ROOMS = (
    "functional",
    "nn",
    "solvers",
    "training",
    "theory",
    "estimators",
    "datasets",
    "metrics",
    "plotting",
    "testing",
)
# A method that fills in an abstract one keeps its contract: shapes are not said twice.
INHERITED = {"PR01", "RT01", "YD01"}


def enabled_checks():
    """Return the codes to enforce; after "all" a listed code is one to leave out."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["numpydoc_validation"]["checks"])
    return set(ERROR_MSGS) - listed if "all" in listed else listed


def is_ours(obj):
    """Tell whether an object was written here, not in torch or scikit-learn."""
    return str(getattr(obj, "__module__", None)).startswith("sklearn_unroll")


def methods(cls):
    """Yield (name, owner, function) of the public methods and properties written here."""
    for name in dir(cls):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if inspect.isfunction(function) and is_ours(function) and is_ours(owner):
            yield name, owner, function


def overrides(name, owner):
    """Tell whether a base class here or in torch documents the same method."""
    bases = [b for b in owner.__mro__[1:] if is_ours(b) or b.__module__.startswith("torch")]
    return any(getattr(vars(base).get(name), "__doc__", None) for base in bases)


def public_objects():
    """Return {dotted name: checks to leave out}, each object once, under its shortest name."""
    found, seen = {}, set()
    for room in ("", *ROOMS):
        module_name = f"sklearn_unroll.{room}".rstrip(".")
        if room and importlib.util.find_spec(module_name) is None:
            continue
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            obj = getattr(module, name)
            if not (inspect.isclass(obj) or inspect.isroutine(obj)) or id(obj) in seen:
                continue
            seen.add(id(obj))
            # A constructor that torch wrote takes (*args, **kwargs): nothing to document.
            init = getattr(obj, "__init__", None)
            borrowed = inspect.isfunction(init) and not is_ours(init)
            found[f"{module_name}.{name}"] = {"PR01"} if borrowed else set()
            for method, owner, function in methods(obj) if inspect.isclass(obj) else ():
                inherits = overrides(method, owner)
                if id(function) in seen or (inherits and not function.__doc__):
                    continue
                seen.add(id(function))
                found[f"{module_name}.{name}.{method}"] = INHERITED if inherits else set()
    return found


OBJECTS = public_objects()
CHECKS = enabled_checks()


def errors(name, left_out=frozenset()):
    """Return one line per broken rule."""
    return [
        f"{code} {text}" for code, text in validate(name)["errors"] if code in CHECKS - left_out
    ]


def test_the_public_names_are_found():
    assert "sklearn_unroll.LISTARegressor" in OBJECTS
    assert any(name.endswith("Regressor.fit") for name in OBJECTS)  # once, by its first class
    assert "sklearn_unroll.functional.soft" in OBJECTS


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring(name):
    found = errors(name, OBJECTS[name])
    assert not found, "\n  ".join([f"the docstring of {name}:", *found])


def test_a_bad_docstring_is_found(monkeypatch):
    soft = importlib.import_module("sklearn_unroll.functional").soft
    monkeypatch.setattr(soft, "__doc__", "no parameters")
    assert {line[:4] for line in errors("sklearn_unroll.functional.soft")} >= {"PR01", "SS03"}
