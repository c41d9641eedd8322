"""The messages that sessions, the master, agents and slots exchange.

They are grouped by who speaks with whom: `peers`, `sessions`, `orders` and `reports`; `logs` is what user code says, on all
hops; `cluster` what displays of a whole master are told; `parts` is what they consist of.
Every message is a frozen struct whose class name is its tag on the wire. Arrays and opaque bytes are never inside a
message: they travel as the *frames* behind it (`protocol.codec`), and each docstring says which frames belong to it.
Most orders and reports (`Lease`, `Setup`, `Opened`, `Commit`, ...) are spoken on both hops, master - agent and agent -
slot.

Units: entries are entry numbers of one tree, `stop` is exclusive, times are seconds, sizes are bytes.
"""

from __future__ import annotations

from .cluster import (
    ACTIVITIES,
    MOST_EVENTS,
    MOST_GONE,
    MOST_PACKETS,
    AskCluster,
    Cluster,
    PacketDone,
    WorkerGone,
    WorkerState,
)
from .logs import (
    LONGEST_TEXT,
    MOST_LINES,
    AskLogs,
    LogEntry,
    Logs,
    LogSource,
    Output,
    OutputLine,
    Unkept,
)
from .orders import (
    Attachment,
    Committed,
    Compact,
    Detach,
    Lease,
    Release,
    Revoke,
    Setup,
    Truncate,
)
from .parts import (
    FINAL,
    PROTOCOL,
    Account,
    Activity,
    Failure,
    File,
    FriendTree,
    Gap,
    LeaseKey,
    LostRange,
    Message,
    Part,
    QueryInfo,
    Role,
    State,
    Wait,
    WaitsFor,
)
from .peers import (
    Bye,
    Fault,
    Heartbeat,
    Hello,
    Unknown,
    Welcome,
)
from .reports import (
    LARGEST_LAYOUT,
    Columns,
    Commit,
    Compacted,
    Described,
    Doing,
    Draining,
    Failed,
    Finished,
    Opened,
    Reached,
    Ready,
    Skipped,
    SlotDown,
    SlotUp,
    Truncated,
)
from .sessions import (
    Accepted,
    Ask,
    Attach,
    Credentials,
    Drain,
    Ended,
    Lacking,
    Leave,
    Progress,
    Queries,
    Refused,
    Remove,
    Seen,
    Shutdown,
    Snapshot,
    Stop,
    Submit,
    Workers,
)

__all__ = [
    "ACTIVITIES",
    "FINAL",
    "FROM_SESSION",
    "FROM_WORKER",
    "LARGEST_LAYOUT",
    "LONGEST_TEXT",
    "MOST_EVENTS",
    "MOST_GONE",
    "MOST_LINES",
    "MOST_PACKETS",
    "PROTOCOL",
    "Accepted",
    "Account",
    "Activity",
    "Any",
    "Ask",
    "AskCluster",
    "AskLogs",
    "Attach",
    "Attachment",
    "Bye",
    "Cluster",
    "Columns",
    "Commit",
    "Committed",
    "Compact",
    "Compacted",
    "Credentials",
    "Described",
    "Detach",
    "Doing",
    "Drain",
    "Draining",
    "Ended",
    "Failed",
    "Failure",
    "Fault",
    "File",
    "Finished",
    "FriendTree",
    "Gap",
    "Heartbeat",
    "Hello",
    "Lacking",
    "Lease",
    "LeaseKey",
    "Leave",
    "LogEntry",
    "LogSource",
    "Logs",
    "LostRange",
    "Message",
    "Opened",
    "Output",
    "OutputLine",
    "PacketDone",
    "Part",
    "Progress",
    "Queries",
    "QueryInfo",
    "Reached",
    "Ready",
    "Refused",
    "Release",
    "Remove",
    "Revoke",
    "Role",
    "Seen",
    "Setup",
    "Shutdown",
    "Skipped",
    "SlotDown",
    "SlotUp",
    "Snapshot",
    "State",
    "Stop",
    "Submit",
    "Truncate",
    "Truncated",
    "Unkept",
    "Unknown",
    "Wait",
    "WaitsFor",
    "Welcome",
    "WorkerGone",
    "WorkerState",
    "Workers",
]

Any = (
    Hello | Welcome | Heartbeat | Fault | Unknown | Bye
    | Submit | Stop | Credentials | Remove | Attach | Leave | Seen | Ask | Shutdown | Drain
    | Accepted | Lacking | Refused | Queries | Workers | Progress | Snapshot | Ended | AskLogs | Logs | Output
    | AskCluster | Cluster
    | Setup | Attachment | Detach | Lease | Truncate | Revoke | Release | Committed | Compact
    | Opened | Described | Columns | Reached | Doing | Truncated | Finished | Commit | Failed | Skipped | Compacted
    | SlotDown | SlotUp | Draining | Ready
)  # fmt: skip
"""Every message there is."""

FROM_SESSION = (
    Hello, Heartbeat, Bye, Submit, Stop, Credentials, Remove, Attach, Leave, Seen, Ask, AskLogs, AskCluster, Shutdown,
    Drain,
)  # fmt: skip
"""What a peer with a session key may say."""
FROM_WORKER = (
    Hello, Heartbeat, Bye, Draining, Opened, Described, Columns, Reached, Doing, Truncated, Finished, Commit, Failed,
    Skipped, Compacted, SlotDown, SlotUp, Output,
)  # fmt: skip
"""What a peer with a worker key may say."""
