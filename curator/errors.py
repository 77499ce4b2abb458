"""Every error Curator raises on purpose, as one tree.

    CuratorError                    exit code 1
    |-- UsageError                  exit code 2: the request itself is off
    |   |-- BadConfig               a key, value or file of the configuration
    |   |-- BadFilter               a filter or a `--where` predicate that does not parse or run
    |   |-- BadQuery                a search request that cannot be used
    |   |-- BadName                 a tag, collection or token that cannot be called so
    |   |   `-- NameTaken           because another is, or looks the same
    |   |-- BadDecision             a decision that cannot be kept
    |   |-- UnknownName             no such tag, collection, campaign, token, job or decision
    |   |-- UnknownModel            a model name nobody knows
    |   |-- UnknownColumn           a column that is not in the workspace
    |   |-- UnknownSelection        a selection that is not in the workspace
    |   |-- UnknownRow              a row that was never given
    |   |-- UnknownSpace            an embedding space that is not in the workspace
    |   `-- MissingPackage          an optional package that is not installed
    |-- DataError                   the data cannot be used as asked
    |   |-- NothingToRead           no image, no frame, no row
    |   |-- UnreadableSource        a source, table or archive that cannot be read
    |   |-- UnreadableImage         one image; kept as a row with its `reason`
    |   |-- BadEmbeddings           vectors of the wrong shape, length or content
    |   |-- EmptyGraph              a neighbour graph without neighbours
    |   `-- BadSelection            a budget, quota or group that cannot be met
    |-- Conflict                    somebody decided otherwise in the meantime
    |-- WorkerFailed                a worker process that cannot start or work
    `-- WorkspaceError              the directory
        |-- NotAWorkspace           nothing there, or something else
        |-- NewerFormat             written by a newer version
        |-- WorkspaceLocked         another process is writing
        |-- CannotWrite             disk full, read-only, no permission
        |-- DamagedWorkspace        a file the manifest names is gone or broken
        `-- StageMissing            an earlier stage has not run

A message says what was found, what was expected and what to do, in one line.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class CuratorError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(CuratorError):
    """The request itself is off; nothing was read or written."""

    exit_code = 2


class BadConfig(UsageError):
    """A configuration file, key or value that cannot be used."""


class BadFilter(UsageError):
    """A filter or a `--where` predicate that does not parse or does not run."""


class BadQuery(UsageError):
    """A search request that cannot be used."""


class BadName(UsageError):
    """A tag, collection, campaign or token that cannot be called so."""


class NameTaken(BadName):
    """The name is another's, or looks like another's."""


class BadDecision(UsageError):
    """A decision or document that cannot be kept."""


class UnknownName(UsageError):
    """No tag, collection, campaign, trigger, token, job or decision of that name."""


class UnknownModel(UsageError):
    """A model name that no embedder answers to."""


class UnknownColumn(UsageError):
    """A column that the workspace does not have."""


class UnknownSelection(UsageError):
    """A selection that the workspace does not have."""


class UnknownRow(UsageError):
    """A row that was never given."""


class UnknownSpace(UsageError):
    """An embedding space that the workspace does not have."""


class MissingPackage(UsageError):
    """An optional package is not installed; the message names the command that installs it."""


class DataError(CuratorError):
    """The data cannot be used as asked."""


class NothingToRead(DataError):
    """The sources hold no image, no frame and no row."""


class UnreadableSource(DataError):
    """A source, table, archive or sidecar that cannot be read."""


class UnreadableImage(DataError):
    """One image that cannot be decoded; the caller turns it into a row with this reason.

    Args:
        reason: class of the fault, one of `curator.images.REASONS`.
        message: the file's own message.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        return type(self), (self.reason, self.message)  # crosses process borders


class BadEmbeddings(DataError):
    """Vectors of the wrong shape, length or content."""


class EmptyGraph(DataError):
    """A neighbour graph without neighbours."""


class BadSelection(DataError):
    """A budget, quota or group that cannot be met."""


class Conflict(CuratorError):
    """Somebody decided otherwise, or changed the same thing, in the meantime."""


class WorkerFailed(CuratorError):
    """A worker process cannot start, or failed at something that is not the fault of one image."""


class WorkspaceError(CuratorError):
    """Something about the workspace directory."""


class NotAWorkspace(WorkspaceError):
    """The directory does not exist or holds something else."""


class NewerFormat(WorkspaceError):
    """The workspace was written by a newer version of Curator."""


class WorkspaceLocked(WorkspaceError):
    """Another process is writing to this workspace."""


class CannotWrite(WorkspaceError):
    """The disk is full or read-only, or permission is missing; nothing half-written is left."""


class DamagedWorkspace(WorkspaceError):
    """A file that the manifest names is gone or broken."""


class StageMissing(WorkspaceError):
    """An earlier stage has not run yet; the message names the command to run."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say how to install it.

    Args:
        module: dotted module name, imported now.
        extra: the extra of this project that brings it.

    Raises:
        MissingPackage: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"{module!r} is needed here and not installed ({error}); install it with: pip install 'curator[{extra}]'"
        ) from error
