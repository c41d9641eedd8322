"""Every display says what ends within two minutes, and what is not renewed."""

from __future__ import annotations

from datetime import datetime

from eventmill.display.listings import QueryList
from eventmill.display.machine_lines import query_json
from eventmill.display.progress_line import line_of
from eventmill.display.query_view import QueryHistory
from eventmill.protocol.messages import Account, CredentialsInfo, Progress, QueryInfo, Wait

ACCOUNT = Account(total=1000, files=1, files_opened=1)
WORDS = "the token ends in 100 s, and its renewal fails: no such account"
INFO = CredentialsInfo("token", 100.0, "command", "no such account")


def shown(credentials: CredentialsInfo | None, wait: Wait | None = None, reached: int = 100) -> str:
    history = QueryHistory("MET")
    history.heard(
        Progress("q1", ACCOUNT, reached, 0, 0 if wait else 2, 1, 5.0, wait, None, 0, {}, credentials=credentials)
    )
    return line_of(history.view()).plain()


def test_the_progress_line_says_it_which_all_pictures_of_a_query_have() -> None:
    """A terminal's, a notebook's, the status page's and top's; and does not say twice what is waited for."""
    assert WORDS in shown(INFO) and WORDS in shown(INFO, reached=0)
    assert WORDS in shown(INFO, Wait("workers"))
    assert shown(INFO, Wait("credentials")).count(WORDS) == 1
    assert "token" not in shown(CredentialsInfo("token", 3000.0, "command")) and "token" not in shown(None)


def test_a_query_that_is_over_says_nothing_of_it() -> None:
    history = QueryHistory("MET")
    history.heard(Progress("q1", ACCOUNT, 100, 0, 2, 1, 5.0, credentials=INFO))

    class Over:
        account, seconds, state = ACCOUNT, 6.0, "done"

    history.ended(Over())  # type: ignore[arg-type]
    assert not history.view().credentials


def test_lists_have_a_column_of_it_where_a_query_has_some() -> None:
    with_some = QueryInfo("q1", "MET", "me", "running", ACCOUNT, 5.0, 5.0, INFO)
    infos = [with_some, QueryInfo("q2", "b", "me", "done", ACCOUNT, 1.0)]
    table = repr(QueryList(infos))
    assert "credentials" in table and "token 100 s, renewal fails" in table
    assert "credentials" not in repr(QueryList(infos[1:]))
    told = query_json(infos[0], datetime.now().astimezone())
    assert told["credentials"] == "token" and told["credentials_left_seconds"] == 100.0
