"""load format.`path` where options as table;"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Load

from . import formats, replace
from .registry import statement

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result


@statement(Load)
def load(session: Session, load: Load) -> Result:
    name = load.table.resolve(session.variables)
    ask = formats.request(session, load)
    with formats.errors_explained(ask):
        if ask.format.lower() in replace.FORMATS and not session.settings.spark.remote:
            for path in ask.paths:
                replace.recover(session, path)
        if loader := formats.LOADERS.get(ask.format.lower()):
            frame = loader(ask)
        else:
            frame = session.spark.read.format(ask.format).options(**ask.options).load(ask.path)
    return session.name_table(frame, name, load.place)
