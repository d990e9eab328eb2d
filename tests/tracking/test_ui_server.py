"""MLflow's UI as a server of this machine; that it shows runs is held in test_store."""

import pytest
from ports import free_port

from recsweep.errors import InputError
from recsweep.tracking.ui_server import serve_ui


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(InputError, match=r"MLflow's UI must start, but does not: .*nonsense"),
        serve_ui("nonsense://x", free_port()),
    ):
        pass
