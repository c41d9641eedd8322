"""The messages that sessions, the master, agents and slots exchange.

They are grouped by who speaks with whom: `peers`, `sessions`, `orders` and `reports`; `logs` is what user code says, on all
hops; `cluster` what displays of a whole master are told; `launches` is about workers on their way; `parts` is what
they consist of.
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
from .launches import (
    BOOT_STAGES,
    MOST_LAUNCHES,
    AccessList,
    AddUser,
    AskAccess,
    AskPools,
    Done,
    Enrol,
    Enrolled,
    LaunchInfo,
    LaunchStage,
    MakeToken,
    PoolInfo,
    Pools,
    RemoveUser,
    RevokeToken,
    Scale,
    Stage,
    StopLaunches,
    TellPools,
    TokenInfo,
    TokenTerms,
    UserInfo,
    WorkerIs,
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
    Serve,
    Setup,
    Truncate,
)
from .parts import (
    FINAL,
    PROTOCOL,
    Account,
    Activity,
    CredentialsInfo,
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
    AskMiniature,
    Attach,
    Credentials,
    Drain,
    Ended,
    Lacking,
    Leave,
    Miniature,
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
    "BOOT_STAGES",
    "FINAL",
    "FROM",
    "FROM_SESSION",
    "FROM_TOKEN",
    "FROM_WORKER",
    "LARGEST_LAYOUT",
    "LONGEST_TEXT",
    "MOST_EVENTS",
    "MOST_GONE",
    "MOST_LAUNCHES",
    "MOST_LINES",
    "MOST_PACKETS",
    "PROTOCOL",
    "Accepted",
    "AccessList",
    "Account",
    "Activity",
    "AddUser",
    "Any",
    "Ask",
    "AskAccess",
    "AskCluster",
    "AskLogs",
    "AskMiniature",
    "AskPools",
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
    "CredentialsInfo",
    "Described",
    "Detach",
    "Doing",
    "Done",
    "Drain",
    "Draining",
    "Ended",
    "Enrol",
    "Enrolled",
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
    "LaunchInfo",
    "LaunchStage",
    "Lease",
    "LeaseKey",
    "Leave",
    "LogEntry",
    "LogSource",
    "Logs",
    "LostRange",
    "MakeToken",
    "Message",
    "Miniature",
    "Opened",
    "Output",
    "OutputLine",
    "PacketDone",
    "Part",
    "PoolInfo",
    "Pools",
    "Progress",
    "Queries",
    "QueryInfo",
    "Reached",
    "Ready",
    "Refused",
    "Release",
    "Remove",
    "RemoveUser",
    "Revoke",
    "RevokeToken",
    "Role",
    "Scale",
    "Seen",
    "Serve",
    "Setup",
    "Shutdown",
    "Skipped",
    "SlotDown",
    "SlotUp",
    "Snapshot",
    "Stage",
    "State",
    "Stop",
    "StopLaunches",
    "Submit",
    "TellPools",
    "TokenInfo",
    "TokenTerms",
    "Truncate",
    "Truncated",
    "Unkept",
    "Unknown",
    "UserInfo",
    "Wait",
    "WaitsFor",
    "Welcome",
    "WorkerGone",
    "WorkerIs",
    "WorkerState",
    "Workers",
]

Any = (
    Hello | Welcome | Heartbeat | Fault | Unknown | Bye
    | Submit | Stop | Credentials | Remove | Attach | Leave | Seen | Ask | Shutdown | Drain
    | Accepted | Lacking | Refused | Queries | Workers | Progress | Snapshot | Ended | AskLogs | Logs | Output
    | AskCluster | Cluster | AskMiniature | Miniature
    | Setup | Serve | Attachment | Detach | Lease | Truncate | Revoke | Release | Committed | Compact
    | Opened | Described | Columns | Reached | Doing | Truncated | Finished | Commit | Failed | Skipped | Compacted
    | SlotDown | SlotUp | Draining | Ready
    | Enrol | Stage | Enrolled | TellPools | WorkerIs | Scale | StopLaunches | AskPools | Pools
    | MakeToken | RevokeToken | AddUser | RemoveUser | AskAccess | Done | AccessList
)  # fmt: skip
"""Every message there is."""

FROM_SESSION = (
    Hello, Heartbeat, Bye, Submit, Stop, Credentials, Remove, Attach, Leave, Seen, Ask, AskLogs, AskCluster,
    AskMiniature, Shutdown, Drain, AddUser, RemoveUser, MakeToken, RevokeToken, AskAccess, TellPools, AskPools, Scale,
    StopLaunches, Done, Refused,
)  # fmt: skip
"""What a peer with a session key may say: a session, or a launcher."""
FROM_WORKER = (
    Hello, Heartbeat, Bye, Draining, Opened, Described, Columns, Reached, Doing, Truncated, Finished, Commit, Failed,
    Skipped, Compacted, SlotDown, SlotUp, Output, Stage,
)  # fmt: skip
"""What a peer with a worker key may say."""
FROM_TOKEN = (Enrol, Stage, Heartbeat, Bye)
"""What a peer may say that comes with a token."""
FROM = {"session": FROM_SESSION, "worker": FROM_WORKER, "token": FROM_TOKEN}
"""What a peer may say, by the role of its key."""
