"""The command-line client that MariaDB and MySQL have in common."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.process import ServerError
from launcher.server import Row

BATCH = ("--default-character-set=utf8mb4", "--batch", "--binary-mode", "--skip-reconnect")


class Client:
    """Runs statements as administrator; `command` is the client with the server's address.

    `server` is how errors name that.
    """

    def __init__(self, command: Sequence[str], server: object) -> None:
        self._command = [*command, *BATCH]
        self._server = server

    def rows(self, statements: str, timeout: float) -> list[Row]:
        """Run statements in a session of their own and return their rows.

        All values are text; NULL is None, and so is the text "NULL". Raises ServerError with the
        server's message when a statement fails or the server is away, and TimeoutError if it has
        not answered after `timeout` seconds.
        """
        return [_row(line) for line in self._run(["--skip-column-names"], statements, timeout)]

    def row_by_column(self, statement: str, timeout: float = 30.0) -> dict[str, str | None]:
        """The row that a statement returns, by the names of its columns; empty if it returns none."""
        lines = self._run([], statement, timeout)
        if not lines:
            return {}
        names, values = (_row(line) for line in lines)
        return {name or "": value for name, value in zip(names, values, strict=True)}

    def run_file(self, file: Path, variables: Mapping[str, str], timeout: float = 30.0) -> None:
        """Run a file of SQL; it reads the values as user variables (`@name`)."""
        assignments = (f"SET @{name} = {literal(value)};" for name, value in variables.items())
        self._run([], "\n".join([*assignments, file.read_text(encoding="utf-8")]), timeout)

    def _run(self, options: Sequence[str], statements: str, timeout: float) -> list[str]:
        try:
            result = subprocess.run(
                [*self._command, *options],
                input=statements.encode(),
                env={name: value for name, value in os.environ.items() if name != "MYSQL_PWD"},
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self._server} has not answered in {timeout:g} s.") from None
        if result.returncode != 0:
            raise ServerError(f"{self._server}: {result.stderr.decode(errors='replace').strip()}")
        # Not splitlines(): it would also split at a carriage return, say, inside a value.
        return result.stdout.decode(errors="replace").split("\n")[:-1]


def literal(text: str) -> str:
    """The text as an SQL string, quotes included."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as SQL takes it whatever it contains, quotes included."""
    return "`" + name.replace("`", "``") + "`"


def _row(line: str) -> Row:
    """A row as the client prints it with --batch: tabs between fields, tabs in them escaped."""
    return tuple(None if field == "NULL" else _unescape(field) for field in line.split("\t"))


def _unescape(field: str) -> str:
    letters = {"n": "\n", "t": "\t", "0": "\0"}
    return re.sub(r"\\(.)", lambda match: letters.get(match[1], match[1]), field)
