"""What watches on a machine that its provider may take back: it asks the metadata service, and has the worker leave in time.

It is a program of its own, for any Python 3 without packages, and runs as root: the worker's user may not ask that service,
since the user-data are there as well, with the token in them.
"""

from __future__ import annotations

WATCH_SECONDS = 2.0
"""Between two questions; a provider tells between 30 s and two minutes before the end."""

WATCH = """\
import json, os, signal, sys, time, urllib.request
from email.utils import parsedate_to_datetime
from datetime import datetime

kind, url, wait, notice, pid = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], int(sys.argv[5])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, headers, method="GET"):
    return opener.open(urllib.request.Request(url + path, headers=headers, method=method), timeout=5)


def ec2():
    try:
        token = ask("/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT").read().decode()
        headers = {"X-aws-ec2-metadata-token": token}
    except OSError:
        headers = {}  # the first version of the service, which some have still
    answer = ask("/latest/meta-data/spot/instance-action", headers)
    ends = datetime.fromisoformat(json.load(answer)["time"].replace("Z", "+00:00"))
    return (ends - parsedate_to_datetime(answer.headers["Date"])).total_seconds()  # our own clock may be wrong


def gce():
    answer = ask("/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"}).read()
    return 30.0 if answer.strip() == b"TRUE" else None


look = {"ec2": ec2, "gce": gce}[kind]
while True:
    try:
        left = look()
    except (OSError, ValueError, KeyError, TypeError):
        left = None  # 404: nothing of the kind; or no answer, which is asked for again
    try:
        os.kill(pid, 0)
        if left is not None:
            why = "the provider takes this machine back in %.0f s" % left
            print("eventmill: " + why, flush=True)
            with open(notice, "w") as file:
                file.write(why)
            os.kill(pid, signal.SIGTERM)
            break
    except ProcessLookupError:
        break
    time.sleep(wait)
"""
