"""The checks of the project: `nox -s tests lint types`, and `nox -s new -- GL999 name-of-the-pattern` for a new rule."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"

PAGE = """# {name} ({code})

```toml
severity = "error"
status = "preview"
since = "0.1.0"
sides = ["static"]
fix = "none"
```

## What it does

Finds …

## Why is this bad?

…

## Example

```py
optimizer.step()  # static: [{code}]
```

## Use instead

```py
optimizer.step()
```

## Known limits

…
"""


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the whole suite."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def integrations(session: nox.Session) -> None:
    """Run the tests that need the tools that gradlint works in."""
    session.install("-e", ".[test,pytest,notebook,transformers,lightning,ignite]", "accelerate", "pytest-xdist")
    session.run("pytest", "tests/integrations", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    session.install("mypy", "-e", ".[test]")
    session.run("mypy")


@nox.session(venv_backend="none")
def new(session: nox.Session) -> None:
    """Start the page of a rule: its code and its name, the bad pattern in kebab case."""
    code, name = session.posargs
    page = Path("rules") / f"{code}-{name}.md"
    if page.exists():
        session.error(f"{page} exists")
    page.write_text(PAGE.format(code=code, name=name), encoding="utf-8")
    session.log(f"{page} is a test that fails until the rule is there; see docs/writing-rules.md")
