"""One experiment from configuration to fitted model: what a single run, a trial and the API do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, TextIO

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
    """A configuration in which nothing is wrong, with its data.

    Args:
        settings: The top of the configuration.
        evaluator: What is measured.
        tracker: Where the run is kept; unopened.
        model: Unfitted at first.
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
        environment.choose_backend(settings.backend, settings.threads)
        environment.use_cache(settings.cache)
        evaluator = app.make_evaluator(settings)
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
        """What it runs with: commit, code, versions, machine, fingerprints of its data."""
        return app.run_tags(self.settings, self.split)

    def log_settings(self, config: Config) -> None:
        """Tell the open tracker what the run is.

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
            listeners: Hear of each epoch after the tracker, and may stop the training.
            progress_to: Where progress goes; None = stderr.
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
        """With `refit=true`: train a fresh model for as many epochs on all but test.

        The first model is let go before, since two large ones may not fit into memory.

        Args:
            fitted: What came out of the first fit.

        Returns:
            The same, with the seconds that this took.
        """
        if not self.settings.refit:
            return fitted
        _, rows = self.split.without_test()
        self.model = app.build_group(self.settings, "model", "fit")
        return refit(self.model, rows, fitted, Seeds(self.settings.seed))

    def evaluate_on_test(self) -> Evaluation:
        """Score test: once, when nothing is left to choose."""
        popularity = training_popularity(self.split.train)
        return self.evaluator.evaluate(self.model.score, self.split.test, popularity)


def _track(tracker: RunTracker, epoch: int, metrics: Any) -> bool:
    tracker.log_metrics(metrics, step=epoch + 1)
    return True
