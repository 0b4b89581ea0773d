"""The shipped engines keep the promises of their ports."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

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


class TestPostgresRecord(RecordContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_url: str) -> None:
        self.url = postgres_url

    def make(self, folder: Path) -> Record:
        schema = f"t{secrets.token_hex(6)}"
        return SqlRecord(f"{self.url}&schema={schema}", self.wall)


class TestMemoryArtifacts(ArtifactsContract):
    def make(self, folder: Path) -> Artifacts:
        return MemoryArtifacts()


class TestFileArtifacts(ArtifactsContract):
    def make(self, folder: Path) -> Artifacts:
        return FileArtifacts(folder / "artifacts")


class TestMemoryPredictionLog(PredictionLogContract):
    def make(self, folder: Path) -> PredictionLog:
        return MemoryPredictionLog()
