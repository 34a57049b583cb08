"""How templates become pages and Markdown."""

from __future__ import annotations

import jinja2


def render(template: str, **values: object) -> str:
    """The text of `template`; in pages all that is inserted is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labctl.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    return environment.get_template(template).render(**values)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
