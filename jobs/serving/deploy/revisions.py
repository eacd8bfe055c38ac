"""Revisions of a model: what it is deployed with, and the fingerprint of the files that were there then."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from sqlllm.errors import ModelError

from .. import applications
from ..worker.fingerprint import fingerprint

if TYPE_CHECKING:
    from ..spec import ModelSpec


@dataclass(frozen=True)
class Revision:
    """`digest` is empty where only the nodes of a cluster see the files."""

    spec: ModelSpec
    digest: str

    @property
    def id(self) -> str:
        """Eight characters, the same for equal specs of equal files."""
        told = orjson.dumps([self.spec.shown(), self.digest], option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(told, digest_size=4).hexdigest()

    def check(self) -> None:
        """ModelError if its files are not there any more, or are others."""
        if self.digest and fingerprint(self.spec) != self.digest:
            raise ModelError(
                f"the files of revision {self.id} in {self.spec.model_path} have changed or are gone",
                cure="Give each revision a folder of its own.",
            )


class History:
    """The revision that each model had before: of this process, and of Ray while it is used."""

    def __init__(self) -> None:
        self._here: dict[str, Revision] = {}

    def keep(self, before: Revision, *, on_ray: bool) -> None:
        """A model had this revision until now."""
        self._here[before.spec.name] = before
        if on_ray:
            applications.remember(before.spec, before.digest, applications.BEFORE)

    def before(self, name: str, *, on_ray: bool) -> Revision | None:
        """The revision that a model had before, also if another session has replaced it."""
        spec = applications.recall(name, applications.BEFORE) if on_ray else None
        if spec is not None:
            return Revision(spec, applications.recall_digest(name, applications.BEFORE))
        return self._here.get(name)

    def forget(self, name: str, *, on_ray: bool) -> None:
        """A model is removed."""
        self._here.pop(name, None)
        if on_ray:
            applications.forget(name, applications.BEFORE)
