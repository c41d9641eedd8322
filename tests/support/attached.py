"""What an agent does with the attachments of an analysis, for tests that have no agent."""

from __future__ import annotations

from pathlib import Path

from eventmill.analysis import attachments
from eventmill.analysis.analysis import Analysis
from eventmill.system.content_folder import ContentFolder


def store(analysis: Analysis, folder: Path) -> None:
    """Put the attachments into a folder, and let this process find them there as a slot does."""
    stored = ContentFolder(folder)
    for digest, content in analysis.attachments.items():
        stored.add(digest, content)
    attachments.find_in(folder)
