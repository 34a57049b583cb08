"""How templates become pages and Markdown."""

from __future__ import annotations

from typing import Any

import jinja2

from labctl.report.words import band, host_rows, node_words


def render(template: str, **values: object) -> str:
    """The text of `template`; what is inserted is escaped, in pages as HTML and else as Markdown."""
    is_page = template.endswith(".html.j2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labctl.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=None if is_page else _markdown,
    )
    environment.filters["seconds"] = _seconds
    environment.globals.update(band=band, host_rows=host_rows, node_words=node_words)
    return environment.get_template(template).render(**values)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _markdown(value: Any) -> str:  # noqa: ANN401 - whatever a template inserts
    """In one line, and neither a table's cell nor HTML ends or begins in it."""
    text = " ".join(str(value).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
