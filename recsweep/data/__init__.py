"""From files to a split: source -> `Interactions` -> protocol -> `Split`, kept in a cache."""
