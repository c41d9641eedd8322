"""Skims in a store of objects: `s3_skim.py FILE` reads that file twice from s3://, and prints what became of it as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import awkward as ak
import eventmill as em
import s3fs  # type: ignore[import-not-found]
from eventmill.protocol.errors import OutputError

SECONDS = 60


def main(path: str) -> dict[str, Any]:
    """Rows of skims in both formats, what is summed over them, and what lies in the store afterwards."""
    store = s3fs.S3FileSystem()
    for name in "ab":
        store.put_file(path, f"bucket/in/{name}.root")
    data, found = em.Dataset("s3://bucket/in/*.root", tree="Events"), dict[str, Any]()

    def numbers(events: ak.Array) -> dict[str, Any]:
        return {"rows": len(events), "sum": int(ak.sum(events.number))}

    with em.connect(slots=1) as session:
        for form in ("parquet", "root"):

            def skim(events: ak.Array, form: Any = form) -> dict[str, Any]:
                return {"skim": em.write(events[events.met > 50], f"s3://bucket/{form}", format=form)}

            files = session.process(data, skim).result(SECONDS)["skim"]
            found[form] = dict(session.process(files.dataset(), numbers).result(SECONDS))
            found[form]["files"] = sorted(name.rpartition(".")[2] for name in store.find(f"bucket/{form}"))
            try:
                session.process(data, skim).result(SECONDS)
            except OutputError as error:
                found[form]["again"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
