"""YAML as data: no objects, and no aliases of lists and tables, of which a few lines can stand for any number."""

from __future__ import annotations

from typing import Any

import yaml


class _Plain:
    """What both loaders below have in common."""

    anchors: dict[str, yaml.Node]

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As PyYAML's, but for aliases of what is no scalar."""
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            event = self.peek_event()  # type: ignore[attr-defined]
            if not isinstance(self.anchors.get(event.anchor), yaml.ScalarNode):
                raise yaml.composer.ComposerError(
                    None, None, f"the alias *{event.anchor} of a list or table is not read", event.start_mark
                )
        return super().compose_node(parent, index)  # type: ignore[misc]


class _Values(_Plain, yaml.SafeLoader):
    pass


class _Texts(_Plain, yaml.BaseLoader):
    pass


def parsed(text: str, *, texts: bool = False) -> Any:
    """The content of a YAML file; with `texts`, scalars stay text: classes may be named `no` or `1`.

    Raises yaml.YAMLError, or RecursionError where it is nested too deep.
    """
    return yaml.load(text, Loader=_Texts if texts else _Values)
