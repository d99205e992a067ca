"""Finds the code blocks of README.md. The conventions are told in CONTRIBUTING.md."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

FENCE = re.compile(r"^```(?P<language>\w*)\s*$")
HEADING = re.compile(r"^##\s+(?P<title>.+?)\s*$")
NOT_RUN = re.compile(r"^<!-- not run: (?P<reason>.+?) -->$")
HIDDEN = "<!-- python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block, or a hidden one, of README.md."""

    language: str
    code: str
    section: str
    line: int
    """The line of README.md that the code begins on."""
    not_run: str = ""
    """Why it is not executed; empty where it is."""

    @property
    def is_quick_start(self) -> bool:
        return self.section.lower() == "quick start"

    def __str__(self) -> str:
        return f"README.md:{self.line}"


def blocks(text: str | None = None) -> list[Block]:
    """Return every block, in order."""
    lines = (README.read_text(encoding="utf-8") if text is None else text).splitlines()
    found = []
    section = ""
    last_words = ""
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        language = None
        if fence := FENCE.match(line):
            language, end = fence["language"], "```"
        elif line.strip() == HIDDEN:
            language, end = "python", "-->"
        elif heading := HEADING.match(line):
            section = heading["title"]
        if language is None:
            last_words = line.strip() or last_words
            continue
        code = []
        for _number, inside in numbered:
            if inside.strip() == end:
                break
            code.append(inside)
        else:
            raise AssertionError(f"README.md:{number}: this block has no end")
        not_run = NOT_RUN.match(last_words)
        found.append(
            Block(
                language=language,
                code="\n".join(code) + "\n",
                section=section,
                line=number + 1,
                not_run=not_run["reason"] if not_run else "",
            )
        )
        last_words = ""
    return found


def python_blocks() -> list[Block]:
    return [block for block in blocks() if block.language == "python"]


def quick_start_settings() -> str:
    """Return what a reader of the quick start pastes at the end of settings.py."""
    pasted = [block.code for block in python_blocks() if block.is_quick_start]
    assert pasted, "README.md has no ```python block under the heading '## Quick start'."
    return "\n".join(pasted)


def quick_start_commands() -> list[list[str]]:
    """Return the arguments of each `python manage.py ...` line of the quick start."""
    lines = [
        line.partition("#")[0].split()
        for block in blocks()
        if block.is_quick_start and block.language in {"sh", "shell", "console", "bash"}
        for line in block.code.replace("$ ", "").splitlines()
    ]
    return [line[2:] for line in lines if line[:2] == ["python", "manage.py"]]
