"""What MLflow runs to load a registered model: users' histories in, their best items out.

No module imports this one: its file is logged with every registered model, and MLflow executes that
copy ("models from code") beside the run's own files:

    config.yaml   of the run: backend, transform, which values count
    model/        what `recsweep.persistence` has saved
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from recsweep import environment
from recsweep.app import Settings, made
from recsweep.build import validated
from recsweep.data.ids import as_ids
from recsweep.data.interactions import quoted
from recsweep.data.table import LARGEST
from recsweep.data.user_histories import CATALOGUE, Requested, histories, places, unknown_ids
from recsweep.errors import InputError
from recsweep.recommendations.fitted_model import FittedModel, rank_items
from recsweep.tracking.registry import PARAMS, RUN_FILES, UNKNOWN_ITEMS


class ServedModel(PythonModel):
    """The model of a run, as MLflow loads it."""

    fitted: FittedModel

    def load_context(self, context: Any) -> None:
        """Read the run's files, with the run's backend.

        Args:
            context: MLflow's; knows where the files are.

        Raises:
            InputError: This process runs another backend, or a file was changed.
        """
        from recsweep.persistence import load_model

        folder = Path(context.artifacts[RUN_FILES])
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        settings = validated(Settings, config, "")
        environment.choose_backend(settings.backend, settings.threads)
        environment.load_backend()
        self.fitted = FittedModel(settings, "", *load_model(folder / "model"))

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The best items that each user does not have.

        Args:
            model_input: A row per interaction: `user`, `item` (original ids) and, if there are any,
                `value` as the run's data has them; a pair without a value is a click. A user
                without any item that counts is scored as new.
            params: `k`, items per user (default 10), and `unknown_items`, what happens to items
                that the model does not know: `ignore` (default) or `refuse`.

        Returns:
            `user`, `rank` (1 = best), `item` and `score`; users in the order of their first rows.
            A user who has almost all items gets fewer than k.

        Raises:
            InputError: The table or a parameter cannot be used.
        """
        k, unknown_items = ({**PARAMS, **(params or {})}[name] for name in PARAMS)
        n_items = len(self.fitted.item_ids)
        if not 1 <= k <= n_items:
            raise InputError(f"k must be from 1 to the catalogue's {n_items:,} items, but is {k}")
        if unknown_items not in UNKNOWN_ITEMS:
            raise InputError(
                f"unknown_items must be {' or '.join(UNKNOWN_ITEMS)}, but is {unknown_items!r}"
            )
        requested = self._requested(_checked(model_input), unknown_items == "refuse")
        return _as_table(
            rank_items(self.fitted, requested, k, self._batch_size), self.fitted.item_ids
        )

    @property
    def _batch_size(self) -> int:
        return self.fitted.settings.evaluation_batch_size

    def _requested(self, table: pd.DataFrame, is_strict: bool) -> Requested:
        """Users as they are written, and what they have, with the values that training gave."""
        settings, item_ids = self.fitted.settings, self.fitted.item_ids
        at = places(table["item"], item_ids)
        found = unknown_ids(table["item"], at, "items of the histories", CATALOGUE)
        if is_strict and found:
            raise InputError(
                f"every item must be known, but {found}; remove them, or set unknown_items=ignore"
            )
        transform = made(settings, "transform", "apply")
        least = settings.data.get("min_rating")
        requested = histories(table, "the histories", item_ids, least, transform)
        is_first = ~as_ids(table["user"]).duplicated()
        return requested._replace(user_ids=table["user"][is_first].to_numpy())


def _checked(table: Any) -> pd.DataFrame:
    """A table of histories in which nothing is wrong; values as float64."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            "histories must be a pandas DataFrame with a row per interaction, but are of type "
            f"{type(table).__name__}"
        )
    names = [str(name) for name in table.columns]
    if sorted(set(names) | {"value"}) != ["item", "user", "value"] or len(set(names)) < len(names):
        raise InputError(
            "histories must have the columns user, item and, if there are any, value, but have "
            f"{', '.join(names) or 'none'}; rename or drop columns"
        )
    pairs = pd.DataFrame({name: as_ids(table[name]) for name in ("user", "item")})
    _refuse_rows(table, pairs.isna().any(axis=1), "name a user and an item")
    _refuse_rows(table, pairs.duplicated(), "be a pair of user and item that occurs once")
    if "value" in table:
        table = table.assign(value=pd.to_numeric(table["value"], errors="coerce").astype(float))
        is_bad = ~table["value"].between(0, LARGEST)
        _refuse_rows(table, is_bad, "have a finite value of at least 0")
    return table


def _refuse_rows(table: pd.DataFrame, is_bad: "pd.Series[bool]", must: str) -> None:
    if is_bad.any():
        first = ", ".join(
            f"{name} {quoted(entry)}" for name, entry in table[is_bad].iloc[0].items()
        )
        raise InputError(
            f"every row of the histories must {must}, but {int(is_bad.sum()):,} rows do not "
            f"(first: {first}); mend or remove them"
        )


def _as_table(rankings: Any, item_ids: np.ndarray) -> pd.DataFrame:
    """A row per recommendation."""
    lists = list(rankings)
    lengths = [len(each.items) for each in lists]
    users = np.repeat(np.array([each.user for each in lists], object), lengths)
    return pd.DataFrame(
        {
            "user": pd.Series(users).infer_objects(),
            "rank": np.concatenate([np.arange(0), *map(np.arange, lengths)]) + 1,
            "item": np.concatenate([item_ids[:0], *(each.items for each in lists)]),
            "score": np.concatenate([np.zeros(0, np.float32), *(each.scores for each in lists)]),
        }
    )


set_model(ServedModel())
