"""The shipped engines keep the promises of their ports."""

from __future__ import annotations

from pathlib import Path

from interlock.adapters.files import FileArtifacts
from interlock.adapters.memory import (
    MemoryArtifacts,
    MemoryPredictionLog,
    MemoryRecord,
)
from interlock.adapters.sqlrecord import SqlRecord
from interlock.ports import Artifacts, PredictionLog, Record
from interlock.testing.contracts import (
    ArtifactsContract,
    PredictionLogContract,
    RecordContract,
)


class TestMemoryRecord(RecordContract):
    def make(self, folder: Path) -> Record:
        return MemoryRecord(self.wall)


class TestSqliteRecord(RecordContract):
    def make(self, folder: Path) -> Record:
        return SqlRecord(folder / "record.db", self.wall)


class TestMemoryArtifacts(ArtifactsContract):
    def make(self, folder: Path) -> Artifacts:
        return MemoryArtifacts()


class TestFileArtifacts(ArtifactsContract):
    def make(self, folder: Path) -> Artifacts:
        return FileArtifacts(folder / "artifacts")


class TestMemoryPredictionLog(PredictionLogContract):
    def make(self, folder: Path) -> PredictionLog:
        return MemoryPredictionLog()
