"""One experiment from configuration to fitted model: a single run, a trial or an API call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self, TextIO

from recsweep import app, environment
from recsweep.app import Config, Settings
from recsweep.data.split import Split
from recsweep.evaluation import Evaluation, Evaluator, training_popularity
from recsweep.fitting import FitResult, Listener, Patience, fit_best_epoch, refit
from recsweep.interfaces import Recommender, RunTracker
from recsweep.progress import Progress
from recsweep.seeds import Seeds


@dataclass
class Experiment:
    """A validated configuration with its data.

    Args:
        settings: The top of the configuration.
        evaluator: Metrics and objective.
        tracker: The run's tracker; unopened.
        model: The model, initially unfitted.
        split: The data.
    """

    settings: Settings
    evaluator: Evaluator
    tracker: RunTracker
    model: Recommender
    split: Split

    @classmethod
    def prepare(
        cls, settings: Settings, tracker: RunTracker | None = None, split: Split | None = None
    ) -> Self:
        """Check a configuration, load the backend with its threads, and prepare the data.

        Args:
            settings: The top of the configuration.
            tracker: An unopened one; None = the one that `tracking` describes.
            split: The data; None = what `data`, `transform` and `split` describe.

        Raises:
            InputError: The configuration or the data cannot be used.
        """
        environment.choose_backend(
            settings.backend, settings.threads, settings.device, settings.precision
        )
        environment.use_cache(settings.cache)
        evaluator = app.make_evaluator(settings)
        evaluator.refuse_objective()
        for group, method in (*app.DATA_STEPS, ("optimizer", "build")):
            app.build_group(settings, group, method)
        tracker = tracker or app.build_group(settings, "tracking", "log_metrics")
        tracker = tracker.named(f"{settings.called}-{app.data_name(settings)}")
        tracker.refuse_unusable()
        environment.load_backend()  # late, since it takes seconds
        model = app.build_group(settings, "model", "fit")
        split = app.load_split(settings) if split is None else split
        evaluator.refuse_large_k(split.train.shape[1])
        return cls(settings, evaluator, tracker, model, split)

    @cached_property
    def tags(self) -> dict[str, str]:
        """Its environment: commit, code, versions, machine, fingerprints of its data."""
        return app.run_tags(self.settings, self.split)

    def log_settings(self, config: Config) -> None:
        """Log the run's settings to the open tracker.

        Args:
            config: The whole configuration, without passwords.
        """
        self.tracker.log_settings(app.parameters_of_run(config), self.tags)
        name, split = app.data_name(self.settings), self.split
        self.tracker.log_data(name, split.data_fingerprint, split.profile())

    def fit(
        self, listeners: Sequence[Listener] = (), progress_to: TextIO | None = None
    ) -> FitResult:
        """Train, and keep the epoch that is best on validation.

        Args:
            listeners: Called after each epoch, after the tracker; may stop the training.
            progress_to: Stream for progress; None = stderr.
        """
        objective = str(self.evaluator.objective)
        n_epochs = getattr(self.model, "n_epochs", 1)
        with Progress(n_epochs, objective, progress_to) as progress:
            return fit_best_epoch(
                self.model, self.split.train, self.split.valid, self.evaluator,
                Seeds(self.settings.seed),
                [
                    partial(_track, self.tracker), Patience(self.settings.patience, objective),
                    progress, *listeners,
                ],
            )  # fmt: skip

    def refit(self, fitted: FitResult) -> FitResult:
        """With `refit=true`: train a new model for as many epochs on all data but test.

        The first model is freed before, since two large ones may not fit into memory.

        Args:
            fitted: The result of the first fit.

        Returns:
            The same result, with the duration of the refit.
        """
        if not self.settings.refit:
            return fitted
        _, rows = self.split.without_test()
        self.model = app.build_group(self.settings, "model", "fit")
        return refit(self.model, rows, fitted, Seeds(self.settings.seed))

    def evaluate_on_test(self) -> Evaluation:
        """Score test: once, after all choices are made."""
        popularity = training_popularity(self.split.train)
        return self.evaluator.evaluate(self.model.score, self.split.test, popularity, by_group=True)


def _track(tracker: RunTracker, epoch: int, metrics: Mapping[str, float]) -> bool:
    tracker.log_metrics(metrics, step=epoch + 1)
    return True
