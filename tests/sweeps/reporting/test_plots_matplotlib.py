from contextlib import suppress

import matplotlib.pyplot as plt

from recsweep.sweeps.reporting.plots_matplotlib import off_screen


def test_pyplot_is_as_it_was() -> None:
    mine = plt.figure()
    before = (plt.get_backend(), dict(plt.rcParams), plt.get_fignums())
    with suppress(ZeroDivisionError), off_screen():
        plt.style.use("ggplot")
        plt.subplots()
        assert plt.get_backend() == "agg"
        raise ZeroDivisionError
    assert (plt.get_backend(), dict(plt.rcParams), plt.get_fignums()) == before
    plt.close(mine)
