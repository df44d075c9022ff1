"""What the README and the pages in docs/ hold: command blocks, links, headings."""

import re
import shlex
from pathlib import Path

from tests.command_line import ROOT

README = ROOT / "README.md"
MEASURED = tuple(ROOT / "docs" / folder / "README.md" for folder in ("robustness", "studies"))
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")), *MEASURED)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMANDS = ("", "bash", "sh")  # the languages of blocks of commands
_ASSIGNMENT = re.compile(r"^([A-Z_]+)=(\S+|\"[^\"]*\")$")


def name_of(page: Path) -> str:
    """The path of a page in the repository."""
    return str(page.relative_to(ROOT))


def command_lines(page: Path) -> list[str]:
    """The lines of a page's command blocks, without comments and shell variables, continued lines as one."""
    lines = []
    for language, text in _FENCED.findall(page.read_text()):
        if language not in _COMMANDS:
            continue
        variables: dict[str, str] = {}
        for line in text.replace("\\\n", " ").splitlines():
            if assigned := _ASSIGNMENT.match(line.strip()):
                variables[assigned[1]] = assigned[2].strip('"')
                continue
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            lines.append(line)
    return lines


def main_commands(page: Path) -> list[list[str]]:
    """The arguments of each `python main.py` of a page's command blocks; optional ones, in brackets, are given."""
    found = []
    for line in command_lines(page):
        if line.startswith("python main.py"):
            plain = re.sub(r"\[(--[^\]]*)\]", r"\1", line)
            found.append(shlex.split(plain, comments=True)[2:])
    return found


def prose(page: Path) -> str:
    """The text without fenced blocks."""
    return _FENCED.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """The targets of links and images, in Markdown and in HTML."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words}
