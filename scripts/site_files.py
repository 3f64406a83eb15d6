"""The hook of mkdocs.yml: lists the files of the site, which are the README files and their links.

A module has a page of its docstrings, in the folder reference/. A link to a module leads to this page, and a
link to a package without README to that of the package.
"""

import ast
import posixpath
import re
from pathlib import Path
from subprocess import check_output

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(\]\()([^)#\s]+)")  # the start of a link, and its target without the anchor


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the theme, the files of the repository to which pages link, and the pages of modules."""
    ours = [file for file in files if file.src_dir != config.docs_dir]
    tracked = set(check_output(["git", "ls-files"], cwd=ROOT, text=True).split())
    pages = {name for name in tracked if name.endswith(".md")}
    modules = sorted(name for name in tracked if name.startswith("ganlab/") and name.endswith(".py"))
    contents: dict[str, str | bytes] = {}
    for page in pages:
        contents[page] = relink(page, (ROOT / page).read_text(), tracked)
        for target in linked_files(page, tracked) - pages:
            contents[target] = (ROOT / target).read_bytes()
    contents |= {reference(module): f"# {dotted(module)}\n\n::: {dotted(module)}\n" for module in modules}
    contents["reference/README.md"] = index(modules)
    return Files(
        [*ours, *(File.generated(config, name, content=text) for name, text in sorted(contents.items()))]
    )


def dotted(module: str) -> str:
    return module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def reference(module: str) -> str:
    """The file of a module's page, such as reference/core.batch.md."""
    return f"reference/{dotted(module).removeprefix('ganlab.')}.md"


def resolve(page: str, target: str, tracked: set[str]) -> str:
    """The file of the site to which a link leads; it may be one that does not exist."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    if path in tracked:
        return reference(path) if path.startswith("ganlab/") and path.endswith(".py") else path
    for candidate in (f"{path}/README.md", f"{path}/__init__.py"):
        if candidate in tracked:
            return reference(candidate) if candidate.endswith(".py") else candidate
    return path


def relink(page: str, text: str, tracked: set[str]) -> str:
    """The text of a page, whose links lead to files of the site."""

    def replace(match: re.Match[str]) -> str:
        start, target = match.groups()
        if "://" in target:
            return match.group()
        return start + posixpath.relpath(resolve(page, target, tracked), posixpath.dirname(page) or ".")

    return LINK.sub(replace, text)


def linked_files(page: str, tracked: set[str]) -> set[str]:
    """The files of the repository to which a page links, such as pictures and settings."""
    targets = (match.group(2) for match in LINK.finditer((ROOT / page).read_text()))
    return {resolve(page, target, tracked) for target in targets if "://" not in target} & tracked


def index(modules: list[str]) -> str:
    """A page that lists all modules with the first sentence of their docstrings."""
    lines = ["# Reference", ""]
    for module in modules:
        if text := ast.get_docstring(ast.parse((ROOT / module).read_text())):
            first = " ".join(text.partition("\n\n")[0].split())
            lines.append(f"* [{dotted(module)}]({reference(module).partition('/')[2]}): {first}")
    return "\n".join(lines) + "\n"
