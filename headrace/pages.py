"""What our pages share, the planner's report and the replay's: a plot with its sentence, and templates that escape."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import jinja2


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with the sentence that tells what to see."""

    title: str
    caption: str
    svg: str


def templates(*packages: str) -> jinja2.Environment:
    """Templates of the packages' `templates` folders, the first that has the name. HTML is escaped, a missing value
    raises."""
    folders = [files(package) / "templates" for package in packages]

    def load(name: str) -> str | None:
        for folder in folders:
            if (folder / name).is_file():
                return (folder / name).read_text(encoding="utf-8")
        return None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
