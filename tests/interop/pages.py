"""Pages of the documentation: their blocks of commands, what those print, and whether all hangs together.

    python pages.py        # checks every page; runs nothing

A block of commands begins with ```sh and is run by newcomer.py. One that cannot be run there says why, as in
```sh no-run: needs an NVIDIA card. A block ```text right after a run one is what it prints: line by line, in this order,
where `…` stands for anything, numbers for other numbers, and lines in between may be left out.
"""

import os
import re
import sys
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Pages that newcomer.py follows, and every page of a folder beside them.
FOLLOWED = ["README.md", "docs/tutorial.md", "docs/devices.md"]
HOW_TO = "docs/how-to"
INFO = re.compile(r"^(?P<language>[\w+-]*)(?:,[\w,]+)?(?:\s+no-run: (?P<reason>\S.{9,}))?$")
LANGUAGES = {"sh", "text", "toml", "rust", "json", "python", "csv"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Block:
    """A fenced block of a page."""

    def __init__(self, page, line, info):
        self.page, self.line, self.lines = page, line, []
        found = INFO.match(info)
        self.language = found["language"] if found else None
        self.reason = found["reason"] if found else None

    @property
    def place(self):
        return "%s:%d" % (self.page, self.line)

    @property
    def runs(self):
        return self.language == "sh" and self.reason is None


def followed_pages():
    """Pages whose commands are run, in the order of docs/SUMMARY.md."""
    summary = [link for link in links(read("docs/SUMMARY.md")) if link.startswith("how-to/")]
    return FOLLOWED + ["docs/" + link for link in summary]


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def links(text):
    return LINK.findall(re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^ *```.*?^ *```", "", text)))


def blocks_of(page, text):
    """The blocks of a page in their order."""
    blocks, open_block = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            if open_block is None:
                open_block = Block(page, number, line.strip()[3:].strip())
            else:
                blocks.append(open_block)
                open_block = None
        elif open_block is not None:
            open_block.lines.append(line)
    for block in blocks:
        block.lines = textwrap.dedent("\n".join(block.lines)).splitlines()
    if open_block is not None:
        raise SystemExit("%s: the block is never closed" % open_block.place)
    return blocks


def shown_after(blocks):
    """Blocks that are run, each with the output that the page shows of it, or None."""
    pairs = []
    for block, after in zip(blocks, blocks[1:] + [None]):
        if block.runs:
            pairs.append((block, after if after is not None and after.language == "text" else None))
    return pairs


def pattern(line):
    """What a line of shown output stands for: numbers for numbers, blanks for blanks, … for anything."""
    parts = []
    for part in re.split(r"(\d+(?:[.,]\d+)*|…|\s+)", line.strip()):
        if NUMBER.fullmatch(part):
            parts.append(r"\d+(?:[.,]\d+)*")
        elif part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def missing_line(shown, printed):
    """The first line of shown output that is not printed, in order; None if all are."""
    printed = iter(printed)
    for line in shown:
        if line.strip() in ("", "…"):
            continue
        wanted = pattern(line)
        if not any(wanted.fullmatch(found.strip()) for found in printed):
            return line
    return None


def faults():
    """What is wrong with the pages, a line each."""
    pages = [page for page in walk(".") if page.endswith(".md")]
    followed = followed_pages()
    on_disk = FOLLOWED + [page for page in pages if page.startswith(HOW_TO + "/")]
    for page in sorted(set(on_disk) ^ set(followed)):
        yield "%s: is on the disk but not in docs/SUMMARY.md, or the reverse" % page
    for page in set(followed) | {page for page in pages if page.startswith("docs/")}:
        for block in blocks_of(page, read(page)):
            if block.language not in LANGUAGES:
                yield "%s: say what the block is: ```sh, ```sh no-run: REASON, ```text …" % block.place
            elif block.language != "sh" and block.reason is not None:
                yield "%s: only a block of commands can be left out" % block.place
            elif block.runs and page not in followed:
                yield "%s: nobody follows this page: say why its commands are not run" % block.place
    listed = {os.path.normpath("docs/" + link.split("#")[0]) for link in links(read("docs/SUMMARY.md"))}
    for page in pages:
        if page.startswith("docs/") and page != "docs/SUMMARY.md" and page not in listed:
            yield "%s: is not in docs/SUMMARY.md" % page
        for link in links(read(page)):
            target = link.split("#")[0]
            if target and "://" not in target and not target.startswith(("mailto:", "crate::")):
                path = os.path.normpath(os.path.join(os.path.dirname(page), target))
                if "/" in target + "/" and looks_like_file(target) and not os.path.exists(os.path.join(ROOT, path)):
                    yield "%s: links to %s, which is not there" % (page, target)


def looks_like_file(target):
    """Not an item of Rust, to which a crate's README may link."""
    return "/" in target or "." in target


def walk(top):
    for folder, inside, files in os.walk(os.path.join(ROOT, top)):
        inside[:] = [name for name in inside if name not in ("target", ".git", "fixtures", "node_modules", "vendor", "book")]
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), ROOT).replace(os.sep, "/")


def main():
    found = list(faults())
    for fault in found:
        print(fault)
    blocks = [block for page in followed_pages() for block in blocks_of(page, read(page)) if block.language == "sh"]
    n_run = sum(block.runs for block in blocks)
    print("%d blocks of commands, %d run, %d say why not" % (len(blocks), n_run, len(blocks) - n_run))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
