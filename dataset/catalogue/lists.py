"""Lists of files as other catalogues write them: which format it is, and what is in it. Nothing is looked for here.

| format | written by |
| --- | --- |
| text | anybody: a path or URL a line, and `rucio list-file-replicas --pfns` |
| fileset | coffea: JSON or YAML, `{name: {"files": ..., "metadata": ...}}` |
| rucio | `rucio list-file-replicas`: its table, its metalink (`--metalink`), or JSON of its client's `list_replicas` |
| das | CMS: `dasgoclient -json -query "file dataset=..."`, a record a line or a list |
| opendata | CERN Open Data: the file index of a record, or the record |
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

from ...protocol.errors import DatasetError
from ...protocol.messages import CatalogueFile, File

Format = Literal["auto", "text", "fileset", "rucio", "das", "opendata"]
_ROW = re.compile(r"\s*\|(.*)\|\s*")
_PFN = re.compile(r"(?:\((?P<state>\w+)\)\s*)?(?P<rse>[A-Za-z0-9_.-]+):\s*(?P<pfn>\S+://\S+|/\S+)")
_METALINK = "{urn:ietf:params:xml:ns:metalink}"
_GZIP = b"\x1f\x8b"
Listed = list[CatalogueFile] | dict[str, Any]
"""Files with what is known of them; or a coffea fileset, which `Dataset` takes as it is."""


class _Wrong(Exception):
    """What is wrong in a list, and where: in which line, if in one."""

    def __init__(self, words: str, line: int = 0) -> None:
        super().__init__(words)
        self.line = line


def text_of(path: str | os.PathLike[str]) -> str:
    """What is in a list of files, which may be compressed by gzip. Raises `DatasetError` when there is none."""
    where = Path(path).expanduser()
    try:
        content = where.read_bytes()
        return (gzip.decompress(content) if content[:2] == _GZIP else content).decode()
    except UnicodeDecodeError:
        raise DatasetError(f"the list of files {where} is no text") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"the list of files {where} is not whole: {error}") from None
    except OSError as error:
        raise DatasetError(f"the list of files {where} cannot be read: {error.strerror}") from None


def parsed(text: str, name: str, written: Format = "auto", prefix: str = "") -> Listed:
    """What is in a list of files.

    Args:
        text: what is in the file.
        name: of the file, for messages.
        written: in which format; "auto" finds out.
        prefix: what is put before paths that are no URLs, as `root://xrootd-cms.infn.it/` before CMS' `/store/...`.

    Raises:
        DatasetError: it is in no format that is known, or not in this one; names the line.

    Example:
        >>> [it.file.path for it in parsed("root://host//a.root\\n\\n# old ones\\nb.root\\n", "files.txt")]
        ['root://host//a.root', 'b.root']
        >>> parsed('[{"uri": "root://host//a.root", "size": 7, "checksum": "adler32:1a"}]', "index.json")[0].checksum
        'adler32:0000001a'
    """
    if written not in get_args(Format):
        raise DatasetError(f"kind={written!r}: lists of files are {', '.join(get_args(Format))}")
    if not text.strip():
        raise DatasetError(f"the list of files {name} is empty")
    try:
        kind = _format_of(text, name) if written == "auto" else written
        found = _PARSERS[kind](text)
    except _Wrong as wrong:
        at = f", line {wrong.line}" if wrong.line else ""
        raise DatasetError(f"the list of files {name}{at}: {wrong}") from None
    if isinstance(found, dict):
        return found
    if not found:
        raise DatasetError(f"the list of files {name} names no files ({kind})")
    return [_with_prefix(it, prefix) for it in found] if prefix else found


def _format_of(text: str, name: str) -> str:
    """In which format a list is, by how it looks."""
    start = text.lstrip()[:1]
    if start == "<":
        return "rucio"
    if start in "[{":
        records = list(_records(text))
        first = records[0]
        if isinstance(first, Mapping):
            if "pfns" in first or "rses" in first:
                return "rucio"
            if "file" in first or "das" in first or "das_id" in first:
                return "das"
            if "uri" in first or _has_index(first):
                return "opendata"
            if len(records) == 1 and all(isinstance(value, Mapping | Sequence) for value in first.values()):
                return "fileset"
        raise _Wrong(
            "it is JSON, but no coffea fileset, no output of rucio or of dasgoclient, and no index of CERN Open Data: "
            f"it begins with {json.dumps(first)[:100]}", _line(text, text.index(start)),
        )  # fmt: skip
    if re.search(r"\.ya?ml(\.gz)?$", name):
        return "fileset"
    return "rucio" if re.search(r"^\s*\|.*RSE: REPLICA.*\|\s*$", text, re.MULTILINE) else "text"


def _has_index(record: Mapping[str, Any]) -> bool:
    """Whether a record has files as those of CERN Open Data have them."""
    files = _of_record(record).get("files")
    return isinstance(files, list) and bool(files) and isinstance(files[0], Mapping) and "uri" in files[0]


# --- formats ----------------------------------------------------------------------------------------------------------


def _text(text: str) -> list[CatalogueFile]:
    """A path or URL a line; what follows a `#` that begins a word is a remark."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        path = re.sub(r"(^|\s)#.*", "", line).strip()
        if not path:
            continue
        if re.search(r"\s", path):
            raise _Wrong(f"{path[:100]!r} is no path: one a line, without blanks in it", number)
        if not path.isprintable():
            raise _Wrong("it is no text: is it compressed, or a ROOT file?", number)
        found.append(CatalogueFile(File(path)))
    return found


def _fileset(text: str) -> dict[str, Any]:
    """A coffea fileset, or any other dict that `Dataset` takes, in JSON or YAML."""
    try:
        found = yaml.safe_load(text) if text.lstrip()[:1] != "{" else json.loads(text)
    except json.JSONDecodeError as error:
        raise _Wrong(f"it is no JSON: {error.msg}", error.lineno) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _Wrong(
            f"it is no YAML: {getattr(error, 'problem', error)}", 0 if mark is None else mark.line + 1
        ) from None
    if not isinstance(found, dict) or not found:
        raise _Wrong('it is no fileset, {name: {"files": [...], "metadata": {...}}}', 1)
    return {str(name): part for name, part in found.items()}


def _rucio(text: str) -> list[CatalogueFile]:
    """What rucio says of replicas: an XML metalink, records in JSON, or its table."""
    start = text.lstrip()[:1]
    if start == "<":
        return _metalink(text)
    if start in "[{":
        return [_rucio_record(record) for record in _records(text)]
    return _table(text)


def _metalink(text: str) -> list[CatalogueFile]:
    try:
        root = ElementTree.fromstring(text.strip())  # noqa: S314  (a list of the user's own; expat bounds what it expands)
    except ElementTree.ParseError as error:
        raise _Wrong(f"it is no metalink: {error}", error.position[0]) from None
    found = []
    for file in root.iter(f"{_METALINK}file"):
        name = (file.findtext(f"{_METALINK}identity") or file.get("name") or "").strip()
        urls = [
            (int(url.get("priority", "999999")), (url.text or "").strip())
            for url in file.iter(f"{_METALINK}url") if (url.text or "").strip()
        ]  # fmt: skip
        if not urls:
            raise _Wrong(f"{name} has no replica")
        size = file.findtext(f"{_METALINK}size")
        sums = {it.get("type", ""): (it.text or "").strip() for it in file.iter(f"{_METALINK}hash")}
        found.append(_replicas([path for _, path in sorted(urls)], size, _of_sums(sums), name))
    return found


def _rucio_record(record: Any) -> CatalogueFile:
    if not isinstance(record, Mapping) or not isinstance(record.get("pfns") or record.get("rses"), Mapping):
        raise _Wrong(f"{json.dumps(record)[:100]} is no record of rucio with its pfns or rses")
    name = f"{record.get('scope', '')}:{record.get('name', '')}"
    if record.get("pfns"):
        pfns = sorted(record["pfns"].items(), key=lambda it: it[1].get("priority", 999999))
        paths = [pfn for pfn, _ in pfns]
    else:
        paths = [pfn for of_rse in record["rses"].values() for pfn in of_rse]
    if not paths:
        raise _Wrong(f"{name} has no replica")
    sums = {kind: record[kind] for kind in ("adler32", "md5") if record.get(kind)}
    return _replicas(paths, record.get("bytes"), _of_sums(sums), name)


def _table(text: str) -> list[CatalogueFile]:
    """The table of `rucio list-file-replicas`: a row for each replica. Its sizes are rounded, and are not taken."""
    columns: list[str] = []
    replicas: dict[str, list[str]] = {}
    sums: dict[str, str] = {}
    known = ""
    for number, line in enumerate(text.splitlines(), 1):
        row = _ROW.fullmatch(line)
        if row is None or set(line.strip()) <= set("+-=|"):
            continue
        cells = [cell.strip() for cell in row[1].split("|")]
        if not columns:
            columns = [cell.upper() for cell in cells]
            if not {"SCOPE", "NAME"} <= set(columns) or "RSE: REPLICA" not in columns[-1]:
                raise _Wrong(f"its columns are {', '.join(cells)}, and not those of rucio list-file-replicas", number)
            continue
        if len(cells) != len(columns):
            raise _Wrong(f"it has {len(cells)} columns and not {len(columns)}: is the table cut off?", number)
        of = dict(zip(columns, cells, strict=True))
        known = f"{of['SCOPE']}:{of['NAME']}" if of["NAME"] else known
        replica = _PFN.fullmatch(cells[-1])
        if replica is None or not known:
            raise _Wrong(f"{cells[-1][:100]!r} is no replica, SITE_DISK: root://host//path", number)
        if replica["state"] in (None, "A", "AVAILABLE"):
            replicas.setdefault(known, []).append(replica["pfn"])
        if of.get("ADLER32"):
            sums[known] = of["ADLER32"]
    if not columns:
        raise _Wrong("it has no table of rucio list-file-replicas")
    return [_replicas(paths, None, _of_sums({"adler32": sums.get(name, "")}), name) for name, paths in replicas.items()]


def _das(text: str) -> list[CatalogueFile]:
    """Records of files of CMS' data aggregation service: several services may have said something of one file."""
    found: dict[str, CatalogueFile] = {}
    for record in _records(text):
        files = record.get("file") if isinstance(record, Mapping) else None
        if not isinstance(files, list) or not all(isinstance(it, Mapping) and it.get("name") for it in files):
            raise _Wrong(
                f"{json.dumps(record)[:100]} is no record of a file: the query must be of files, "
                'dasgoclient -json -query "file dataset=/A/B/NANOAODSIM"'
            )
        for it in files:
            if it.get("is_file_valid", 1) in (0, False):
                continue
            name = str(it["name"])
            sums = {kind: it[kind] for kind in ("adler32", "md5") if str(it.get(kind) or "NOTSET") != "NOTSET"}
            entries = it.get("nevents")
            new = CatalogueFile(
                File(name, entries=None if entries is None else _whole(entries, name, "nevents")),
                None if it.get("size") is None else _whole(it["size"], name, "size"), _of_sums(sums),
            )  # fmt: skip
            found[name] = new if name not in found else _joined(found[name], new)
    return list(found.values())


def _opendata(text: str) -> list[CatalogueFile]:
    """The file index of a record of CERN Open Data, or a record with its files."""
    found = []
    for record in _records(text):
        if not isinstance(record, Mapping):
            raise _Wrong(f"{json.dumps(record)[:100]} is no file of an index")
        files = [record] if "uri" in record else _of_record(record).get("files")
        if not isinstance(files, list):
            raise _Wrong(
                f"{json.dumps(record)[:100]} is no file of an index, which has a uri, and no record with files"
            )
        for it in files:
            if not isinstance(it, Mapping) or not it.get("uri"):
                raise _Wrong(f"{json.dumps(it)[:100]} has no uri")
            if "index" in str(it.get("type", "")):
                raise _Wrong(f"{it['uri']} is an index of files, and no file: get that one, and read it instead")
            kind, _, checksum = str(it.get("checksum") or "").partition(":")
            size = None if it.get("size") is None else _whole(it["size"], it["uri"], "size")
            found.append(CatalogueFile(File(str(it["uri"])), size, _of_sums({kind: checksum})))
    return found


def _of_record(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record as it is on the portal, or as its interface wraps it."""
    inner = record.get("metadata")
    return inner if isinstance(inner, Mapping) and "files" in inner else record


_PARSERS: Mapping[str, Callable[[str], Listed]] = {
    "text": _text, "fileset": _fileset, "rucio": _rucio, "das": _das, "opendata": _opendata,
}  # fmt: skip


# --- what they share --------------------------------------------------------------------------------------------------


def _records(text: str) -> Iterator[Any]:
    """The records in a text: those of a list, or one after the other."""
    decoder, at = json.JSONDecoder(), 0
    try:
        while at < len(text):
            found, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
            if isinstance(found, Mapping) and isinstance(found.get("data"), list) and "status" in found:
                found = found["data"]  # as das_client.py has it
            yield from found if isinstance(found, list) else [found]
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
    except json.JSONDecodeError as error:
        raise _Wrong(f"it is no JSON: {error.msg}", error.lineno) from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _replicas(paths: Sequence[str], size: Any, checksum: str, name: str) -> CatalogueFile:
    first, *others = dict.fromkeys(paths)
    length = None if size in (None, "") else _whole(size, name, "size")
    return CatalogueFile(File(first, replicas=tuple(others)), length, checksum)


def _of_sums(sums: Mapping[str, str]) -> str:
    """One checksum of those that are known, with its kind."""
    for kind in ("adler32", "md5", "sha256", "sha1", "sha512"):
        value = str(sums.get(kind) or "").strip().lower()
        if value and value != "none":
            return f"{kind}:{value.zfill(8) if kind == 'adler32' else value}"
    return ""


def _whole(value: Any, name: str, what: str) -> int:
    try:
        number = int(float(value)) if isinstance(value, float) else int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise _Wrong(f"{name} has {value!r} as its {what}, which is no number")
    return number


def _joined(known: CatalogueFile, more: CatalogueFile) -> CatalogueFile:
    """Of one file what two services know of it."""
    file = known.file if known.file.entries is not None else more.file
    return CatalogueFile(file, more.size if known.size is None else known.size, known.checksum or more.checksum)


def _with_prefix(it: CatalogueFile, prefix: str) -> CatalogueFile:
    """A file with a server before those of its paths that are no URLs."""
    file = it.file
    path, *others = (with_server(each, prefix) for each in (file.path, *file.replicas))
    return CatalogueFile(File(path, entries=file.entries, replicas=tuple(others)), it.size, it.checksum)


def with_server(path: str, prefix: str) -> str:
    """A path behind a server, unless it is a URL, or there is no prefix."""
    return path if not prefix or "://" in path else _behind(prefix, path)


def _behind(prefix: str, path: str) -> str:
    """A path at a server; those of XRootD servers begin with two slashes.

    Example:
        >>> _behind("root://host", "/store/a.root"), _behind("root://host/", "/store/a.root"), _behind("/data/", "a.root")
        ('root://host//store/a.root', 'root://host//store/a.root', '/data/a.root')
    """
    if prefix.startswith(("root://", "roots://", "xroot://")):
        return f"{prefix.rstrip('/')}//{path.lstrip('/')}"
    return f"{prefix.rstrip('/')}/{path.lstrip('/')}"
