"""Pages for a browser: single HTML files without script, link or anything to load, made from a template."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskwright.errors import visible
from maskwright.runs import write_text

__all__ = ["write_page"]


def write_page(path: Path, template: Path, **values: Any) -> None:
    """Fill a template in and write the page, atomically.

    Parameters
    ----------
    path
        The page.
    template
        A Jinja template; those in its folder can be included. Values are escaped, control characters
        too, and one that the template names and nobody gives is an error.
    values
        What the template shows; `written`, the date and time, is added.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = datetime.now().astimezone().strftime("%d %B %Y, %H:%M")
    write_text(path, visible(environment.get_template(template.name).render(written=written, **values)))
