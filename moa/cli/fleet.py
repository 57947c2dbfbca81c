"""The engines of `moa up` on the terminal: a table that follows them, or a line for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from moa.cli.session import tell

if TYPE_CHECKING:
    from rich.table import Table

    from moa.up.engine import Engine
    from moa.up.fleet import Fleet

STYLES = {
    "ready": "green",
    "asleep": "cyan",
    "failed": "red",
    "starting": "yellow",
    "restarting": "yellow",
}


class Status:
    """Shows each change of an engine on standard error; as one table where a person watches."""

    def __init__(self, *, live: bool) -> None:
        self.fleet: Fleet | None = None
        self._live: Any = None
        if live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True, highlight=False),
                get_renderable=self._table,
                refresh_per_second=4,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *gone: object) -> None:
        if self._live is not None:
            self._live.stop()

    def heard(self, engine: Engine) -> None:
        """An engine's state has changed."""
        if engine.state == "failed":
            tell(f"{engine.error}")
        elif self._live is None:
            tell(f"{engine.launch.name}: {engine.state}: {engine.launch.root}/v1")

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("engine", "state", "device", "share", "address", "models"):
            table.add_column(title, overflow="fold")
        for engine in self.fleet.engines if self.fleet is not None else ():
            launch = engine.launch
            table.add_row(
                Text(launch.name, style="bold"),
                Text(engine.state, style=STYLES.get(engine.state, "dim")),
                launch.engine.device or "-",
                "-" if launch.share is None else f"{launch.share:.2f}",
                f"{launch.root}/v1",
                ", ".join((*launch.engine.names, *launch.engine.adapters)),
            )
        return table
