"""Commands of the game that `geoindex serve --games FILE` offers at /play."""

from pathlib import Path

from cyclopts import App

from geoindex.cli.application import ReportFormat, app, print_report

game = App(name="game", help="The game of guessing where held-out photos were taken: people beside the index.")
app.command(game)


@game.command
def report(games: Path, /, *, deck: str | None = None, format: ReportFormat = "table") -> int:
    """Say how good people are: the mean over players with its interval, the index on the same photos, Table 1's row.

    Args:
        games: File that 'geoindex serve --games' keeps.
        deck: Key of the photos, where games of several were played; without it those with the most finished games.
        format: How to print it.
    """
    from geoindex.errors import DatasetNotFoundError
    from geoindex.server.game.players import report_players
    from geoindex.server.game.store import GameStore

    if not games.is_file():
        raise DatasetNotFoundError(f"No games at '{games}'; 'geoindex serve --games {games}' keeps them there.")
    print_report(report_players(GameStore(games).games(), deck), format)
    return 0
