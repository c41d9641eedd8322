"""Runs the notebooks in this folder and saves them with what they show.

    python run.py                    all of them, each in a kernel and a folder of its own
    python run.py systematics        one of them
    python run.py --fresh            also where nothing has changed but times

What is saved names nothing of the machine: hosts, users, numbers of processes and folders are replaced. Where only times and
rates are others than before, what was there is left, so that a second run changes no file. Cells with the tag `varies` show
other numbers each time; they are left too, as long as their code is.

Needs `pip install 'eventmill[notebook,plot]' jupyterlab`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SECONDS = 300
"""That a cell may take."""
WIDGET = "application/vnd.jupyter.widget-view+json"
VARIES = "varies"
USER, HOST, PID = "physicist", "node7", "4711"
_PICTURE = re.compile(r'<br><img alt="([^"]*)" src="data:image/png;base64,([^"]*)">')
_TIMES = re.compile(r"\b\d[\d.,]* ?(?=s\b|ms\b|MB\b|/s\b|entries/s)|\b\d\d?:\d\d(:\d\d)?\b|━+|(?<=%) +")


def executed(path: Path, folder: Path, more: str = "") -> Any:
    """A notebook with what its cells show when they are run in a folder, and nothing of this machine in it.

    Args:
        path: of the notebook.
        folder: where it is run.
        more: code of a cell that is run after all others, and is not in what is returned.
    """
    notebook = nbformat.read(path, as_version=4)
    if more:
        notebook.cells.append(nbformat.v4.new_code_cell(more))
    own = {"LOGNAME": USER, "COLUMNS": "100"}
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **own})
    if more:
        notebook.cells.pop()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(made) for output in cell.outputs for made in _parts(output, folder)]
    return notebook


def _parts(output: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """An output as it is saved: without the widget, which lives in a kernel, and with its picture as an output of its own,
    since not every viewer shows pictures within HTML."""
    if output.output_type == "stream":
        yield {**output, "text": _neutral(output.text, folder)}
        return
    if output.output_type == "error":
        raise RuntimeError(f"a cell ends with {output.ename}: {output.evalue}")
    data = {kind: content for kind, content in output.data.items() if kind != WIDGET}
    pictures = []
    if "text/html" in data:
        pictures = _PICTURE.findall(data["text/html"])
        data["text/html"] = _neutral(_PICTURE.sub("", data["text/html"]), folder)
    data["text/plain"] = _neutral(data.get("text/plain", ""), folder)
    yield {**output, "data": data, "metadata": {}}
    for name, picture in pictures:
        shown = {"text/plain": f"<{name}>", "image/png": picture}
        yield {"output_type": "display_data", "data": shown, "metadata": {}}


def _neutral(text: str, folder: Path) -> str:
    for path, instead in ((str(folder.resolve()), "."), (str(folder), "."), (str(Path.home()), "~")):
        text = text.replace(path, instead)
    text = re.sub(rf"\b{re.escape(platform.node())}\b", HOST, text)
    # Beside the host, in a table of text or of HTML, is the number of the process.
    return re.sub(rf"({HOST}(?: +|</td><td[^>]*>))\d+", rf"\g<1>{PID}", text)


def same_but_for_times(one: Any, other: Any) -> bool:
    """Whether two outputs of a cell differ in times and rates at most. Pictures are not looked at, nor notices of what is
    waited for, which a slow machine shows and a fast one does not."""
    return _told(one) == _told(other)


def _told(outputs: Any) -> list[tuple[str, str]]:
    found = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        data = output.get("data", {})
        text = output.get("text") or data.get("text/html") or data.get("text/plain", "")
        found.append((output["output_type"], _TIMES.sub("#", "".join(text))))
    return found


def _pictures(outputs: Any) -> list[str]:
    return [output.data["image/png"].strip() for output in outputs if "image/png" in output.get("data", {})]


def keep_what_is_the_same(made: Any, kept: Any) -> None:
    """Take the outputs of `kept` where those of `made` say nothing new."""
    for new, old in zip(made.cells, kept.cells, strict=True):
        if new.cell_type != "code" or not old.outputs or new.source != old.source:
            continue
        same = same_but_for_times(new.outputs, old.outputs) and _pictures(new.outputs) == _pictures(old.outputs)
        if same or VARIES in new.metadata.get("tags", []):
            new.outputs, new.execution_count = old.outputs, old.execution_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of notebooks, without .ipynb; by default all of them")
    parser.add_argument("--fresh", action="store_true", help="save all that is shown now")
    options = parser.parse_args()
    names = options.names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    for name in names:
        path = HERE / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            made = executed(path, Path(folder))
        if not options.fresh:
            keep_what_is_the_same(made, nbformat.read(path, as_version=4))
        made.metadata = {key: made.metadata[key] for key in ("kernelspec",)}
        nbformat.write(made, path)
        print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in made.cells)} cells")


if __name__ == "__main__":
    main()
