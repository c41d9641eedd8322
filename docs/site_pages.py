"""What the site has beside docs/: pages of the repository's root, and of what is public, one each (a hook of mkdocs).

Links between documents lead where they do on disk, so that they can be followed in a checkout as well.
"""

from __future__ import annotations

import functools
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OF_THE_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Documents outside docs/, and what they are on the site."""
RETURNED = {
    "contents": "display.contents_table.Contents",
    "account": "session.result.ResultAccount",
    "report": "display.report.report.Report",
    "progress": "protocol.messages.sessions.Progress",
    "worker": "protocol.usage.WorkerInfo",
}
"""What users get from what they import: `em.peek(...)`, `result.account`, `query.report()` and so on."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Where the navigation has a folder of pages that are made here, name them."""

    def expanded(entry: Any) -> Any:
        if isinstance(entry, list):
            return [expanded(inner) for inner in entry]
        if isinstance(entry, dict):
            return {title: expanded(inner) for title, inner in entry.items()}
        return [page for page in _pages() if page.startswith(entry)] if entry.endswith("/") else entry

    config.nav = expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; `files` has what is in docs/."""
    for page, text in _pages().items():
        files.append(File.generated(config, page, content=text))
    return files


@functools.cache
def _pages() -> dict[str, str]:
    pages = {page: _with_links((ROOT / document).read_text(), document) for document, page in OF_THE_ROOT.items()}
    package = griffe.load("eventmill")
    pages["api/index.md"] = _index(package)
    pages |= {f"api/{name}.md": f"# {name}\n\n::: eventmill.{name}\n" for name in _public(package)}
    pages |= {f"api/{name}.md": f"# {name}\n\n::: eventmill.{path}\n" for name, path in RETURNED.items()}
    pages |= {f"modules/{name}.md": text for name, text in _folders(package).items()}
    return pages


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links of docs/ to what is outside it."""
    return re.sub(r"\]\(\.\./([\w./-]+)", lambda link: f"]({OF_THE_ROOT.get(link[1], link[1])}", markdown)


def _with_links(text: str, document: str) -> str:
    """The text of a document of the root, with its links as the site has them; those to what it has not become text."""

    def there(link: re.Match[str]) -> str:
        target, anchor = link[2], link[3] or ""
        if "://" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
        if path in OF_THE_ROOT:
            return f"[{link[1]}]({OF_THE_ROOT[path]}{anchor})"
        return f"[{link[1]}]({path[5:]}{anchor})" if path.startswith("docs/") else link[1]

    return re.sub(r"\[([^\]]+)\]\(([^)#]+)(#[\w-]+)?\)", there, text)


def _public(package: griffe.Object) -> list[str]:
    """Names that users import, but for the version."""
    return [str(name) for name in package.exports or [] if not str(name).startswith("_")]


def _summary(thing: griffe.Object | griffe.Alias) -> str:
    return " ".join(thing.docstring.value.split("\n\n")[0].split()) if thing.docstring else ""


def _index(package: griffe.Object) -> str:
    rows = [f"| [`{name}`]({name}.md) | {_summary(package[name])} |" for name in _public(package)]
    rows += [f"| [{name}]({name}.md) | {_summary(package[path])} |" for name, path in RETURNED.items()]
    return "\n".join(["# What `import eventmill` offers", "", "| name | what it is |", "| --- | --- |", *rows, ""])


def _folders(package: griffe.Object) -> dict[str, str]:
    """A page for each folder of the package, with all its modules: for those who change them."""
    pages: dict[str, list[str]] = {
        "index": ["# Modules", "", "For contributors: these names may change at any time.", ""]
    }
    for folder in (module for module in package.modules.values() if not module.is_alias and module.is_package):
        pages["index"].append(f"- [`{folder.name}`]({folder.name}.md): {_summary(folder)}")
        pages[folder.name] = [f"# {folder.name}", "", _summary(folder), ""]
        for module in _modules(folder):
            pages[folder.name] += [f"::: {module.path}", ""]
    return {name: "\n".join(lines) for name, lines in pages.items()}


def _modules(folder: griffe.Object) -> list[griffe.Object]:
    """The modules of a folder, those of folders inside included."""
    inside = sorted(
        (m for m in folder.modules.values() if not m.is_alias), key=lambda module: (module.is_package, module.name)
    )
    return [leaf for module in inside for leaf in (_modules(module) if module.is_package else [module])]
