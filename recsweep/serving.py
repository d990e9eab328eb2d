"""The code that MLflow runs to load a registered model: histories in, best items out.

No module imports this one: its file is logged with every registered model, and MLflow executes that
copy ("models from code") beside the run's own files:

    config.yaml   the run's configuration: backend, transform, which values count
    model/        the model saved by `recsweep.persistence`
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from recsweep import environment
from recsweep.recommendations.fitted_model import FittedModel
from recsweep.recommendations.tables import recommend_to
from recsweep.run_files import MODEL
from recsweep.runs.past_run import PastRun
from recsweep.tracking.registry import PARAMS, RUN_FILES
from recsweep.trust import of_environment


class ServedModel(PythonModel):
    """The model of a run, as MLflow loads it."""

    fitted: FittedModel

    def load_context(self, context: PythonModelContext) -> None:
        """Read the run's files, with the run's backend.

        Args:
            context: MLflow's context with the paths of the files.

        Raises:
            InputError: This process uses another backend, a file was changed, or a class is named
                that is neither recsweep's nor in a module that RECSWEEP_TRUST names.
        """
        from recsweep.persistence import load_model

        folder = Path(context.artifacts[RUN_FILES])
        trusted = of_environment()
        run = PastRun("the served run", folder)
        settings = run.settings(run.config(trusted))
        environment.choose_backend(settings.backend, settings.threads)
        environment.load_backend()
        self.fitted = FittedModel(settings, "", *load_model(folder / MODEL, trusted))

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the best unseen items of each user.

        Args:
            model_input: A row per interaction: `user`, `item` (original ids) and optionally
                `value`, on the scale of the run's data; a pair without a value is a click. A user
                without any click on a known item is scored as new.
            params: `k`, items per user (default 10), and `unknown_items`, how to treat items
                unknown to the model: `ignore` (default) or `refuse`.

        Returns:
            `user`, `rank` (1 = best), `item` and `score`; users in the order of their first rows.
            A user who has almost all items gets fewer than k.

        Raises:
            InputError: The table or a parameter cannot be used.
        """
        return recommend_to(self.fitted, model_input, **{**PARAMS, **(params or {})})


set_model(ServedModel())
